//! Transactions of the embedded log, and the locks of its writers and of an application's state directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{log_with, valued, values};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord, TopicPartition};
use tiderace::error::LogError;
use tiderace::runtime::StateDir;

#[test]
fn an_aborted_transaction_leaves_nothing_and_a_committed_one_shows_all_its_topics() {
    let (_directory, log) = log_with(&[("a", 2), ("b", 1)]);
    let outputs = ["b".to_owned(), "a".to_owned()];
    let mut transactions = log.transactions("app", &outputs).unwrap();
    assert_eq!(transactions.turns(), 1);
    assert!(log.topics().unwrap().contains(&"app-epochs".to_owned()));
    transactions.begin(0).unwrap();
    transactions.send(0, &valued("a", 1, b"lost")).unwrap();
    transactions.flush(0).unwrap();
    drop(transactions);
    let mut transactions = log.transactions("app", &outputs).unwrap();
    transactions.begin(0).unwrap();
    transactions.send(0, &valued("a", 1, b"kept")).unwrap();
    transactions.send(0, &valued("b", 0, b"kept too")).unwrap();
    let entry = SinkRecord {
        key: Some(&7_u64.to_be_bytes()),
        ..valued("app-epochs", 0, b"{}")
    };
    transactions.send(0, &entry).unwrap();
    assert!(transactions.send(0, &valued("c", 0, b"")).is_err());
    assert!(
        transactions.begin(0).is_err(),
        "a failed step asks for renew"
    );
    transactions.renew().unwrap();
    transactions.begin(0).unwrap();
    transactions.send(0, &valued("a", 1, b"kept")).unwrap();
    transactions.send(0, &valued("b", 0, b"kept too")).unwrap();
    transactions.send(0, &entry).unwrap();
    transactions.flush(0).unwrap();
    transactions
        .send_offsets(0, &[(TopicPartition::new("a", 0), 3)])
        .unwrap();
    assert_eq!(values(&log, "a", 1), Vec::<Vec<u8>>::new());
    transactions.commit(0).unwrap();
    transactions.confirm(0).unwrap();
    assert_eq!(values(&log, "a", 0), Vec::<Vec<u8>>::new());
    assert_eq!(values(&log, "a", 1), [b"kept"]);
    assert_eq!(values(&log, "b", 0), [b"kept too"]);
    let entries = transactions.read_epochs(0).unwrap();
    assert_eq!(
        (
            entries.len(),
            entries[0].offset,
            entries[0].epoch,
            &entries[0].value[..]
        ),
        (1, 0, 7, &b"{}"[..])
    );
    assert_eq!(transactions.read_epochs(1).unwrap(), []);
    assert!(transactions.read_epochs(2).is_err());
}

#[test]
fn a_confirmed_transaction_knows_where_its_entry_lies() {
    let (_directory, log) = log_with(&[("out", 1)]);
    let mut transactions = log.transactions("app", &["out".to_owned()]).unwrap();
    let key = 1_u64.to_be_bytes();
    // Two entries fill a batch: the last one is the second of the second.
    let entry = vec![b'x'; 50_000];
    let entry = SinkRecord {
        key: Some(&key),
        ..valued("app-epochs", 0, &entry)
    };
    for first in [0, 4] {
        transactions.begin(0).unwrap();
        assert!(transactions.entry_offset(0).is_err());
        for _ in 0..4 {
            transactions.send(0, &entry).unwrap();
        }
        transactions.send(0, &valued("out", 0, b"x")).unwrap();
        transactions.flush(0).unwrap();
        transactions.commit(0).unwrap();
        transactions.confirm(0).unwrap();
        assert_eq!(transactions.entry_offset(0).unwrap(), Some(first + 3));
        let last = transactions.read_epochs(first + 3).unwrap();
        assert_eq!(last.len(), 1, "the entry found is the last of the log");
    }
    transactions.begin(0).unwrap();
    transactions.send(0, &valued("out", 0, b"x")).unwrap();
    transactions.commit(0).unwrap();
    transactions.confirm(0).unwrap();
    assert_eq!(transactions.entry_offset(0).unwrap(), None);
}

#[test]
fn a_second_writer_or_instance_is_refused_with_the_pid_while_readers_and_other_topics_go_on() {
    let (directory, log) = log_with(&[("in", 1), ("out", 1)]);
    let in_use = |error: LogError, named: &str| {
        assert!(
            matches!(error, LogError::InUse { pid, .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains(named), "{error}");
    };
    let outputs = ["out".to_owned()];
    let mut transactions = log.transactions("app", &outputs).unwrap();
    let mut writer = log.writer("in").unwrap();
    in_use(log.writer("in").map(|_| ()).unwrap_err(), "`in`");
    in_use(log.writer("out").map(|_| ()).unwrap_err(), "`out`");
    in_use(
        log.transactions("app", &[]).map(|_| ()).unwrap_err(),
        "`app-epochs`",
    );
    in_use(
        log.transactions("other", &outputs).map(|_| ()).unwrap_err(),
        "`out`",
    );
    let second = EmbeddedLog::open(directory.path()).unwrap();
    for round in 1..=3 {
        writer.send(&valued("in", 0, b"x")).unwrap();
        writer.flush().unwrap();
        transactions.begin(0).unwrap();
        transactions.send(0, &valued("out", 0, b"y")).unwrap();
        transactions.commit(0).unwrap();
        transactions.confirm(0).unwrap();
        assert_eq!(values(&second, "in", 0).len(), round);
        assert_eq!(values(&second, "out", 0).len(), round);
    }
    drop(writer);
    log.writer("in").unwrap();
}

#[test]
fn the_state_directory_has_one_holder_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let held = StateDir::lock(directory.path(), "app").unwrap();
    assert_eq!(held.path(), directory.path().join("state/app"));
    let lock = directory.path().join("state/app/lock");
    assert_eq!(
        std::fs::read_to_string(&lock).unwrap(),
        format!("{}\n", std::process::id())
    );
    let error = StateDir::lock(directory.path(), "app").unwrap_err();
    assert!(
        matches!(error, LogError::InUse { pid, .. } if pid == std::process::id()),
        "{error}"
    );
    assert_eq!(error.exit_code(), 75);
    StateDir::lock(directory.path(), "other").unwrap();
    drop(held);
    StateDir::lock(directory.path(), "app").unwrap();
    assert!(matches!(
        StateDir::lock(directory.path(), "../app"),
        Err(LogError::Refused(_))
    ));
}
