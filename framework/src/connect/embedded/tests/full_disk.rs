//! The disk becomes full after any number of changes.

use super::{create, log_with, read, valued};
use crate::connect::embedded::EmbeddedLog;
use crate::connect::embedded::faults::{fail_after, heal};
use crate::connect::{Log, TransactionError, Transactions};
use crate::error::LogError;

/// One transaction that puts three records of `number` into each partition, one of them across a segment.
fn transact(
    transactions: &mut dyn Transactions,
    number: u8,
    length: usize,
) -> Result<(), TransactionError> {
    let value = vec![number; length];
    transactions.begin(0)?;
    for _ in 0..3 {
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            transactions.send(0, &valued(topic, partition, &value))?;
        }
    }
    transactions.flush(0)?;
    transactions.commit(0)?;
    transactions.confirm(0)
}

fn state(log: &EmbeddedLog) -> Vec<u8> {
    let state = read(log, "a", 0, 0).unwrap();
    assert_eq!(read(log, "a", 1, 0).unwrap(), state);
    assert_eq!(read(log, "b", 0, 0).unwrap(), state);
    state
}

#[test]
fn wherever_the_disk_becomes_full_a_transaction_is_whole_or_not_there_and_the_redo_works() {
    let (mut doubts, mut failures, mut long_commits) = (0, 0, 0);
    for changes in 0.. {
        let (directory, log) = log_with(&[("a", 2), ("b", 1)]);
        let mut transactions = log
            .transactions("app", &["a".to_owned(), "b".to_owned()])
            .unwrap();
        transact(transactions.as_mut(), 0, 200_000).unwrap();
        let mut expected = vec![0; 3];
        // So many that the third one after them puts a checkpoint in place.
        for _ in 0..10 {
            transact(transactions.as_mut(), 0, 1).unwrap();
            expected.extend([0; 3]);
        }
        fail_after(directory.path(), changes);
        let failed = (1..4).find_map(|number| {
            let result = transact(transactions.as_mut(), number, 50_000);
            if result.is_ok() {
                expected.extend([number; 3]);
            }
            Some((number, result.err()?))
        });
        let Some((number, error)) = failed else {
            // Only a checkpoint that cannot be written fails nothing.
            assert_eq!(state(&log), expected);
            if !heal(directory.path()) {
                break;
            }
            transact(transactions.as_mut(), 4, 1).unwrap();
            long_commits += 1;
            continue;
        };
        let found = state(&log);
        match error {
            TransactionError::Doubt(_) => doubts += 1,
            TransactionError::Failed(LogError::CannotWrite { .. }) => {
                assert_eq!(found, expected, "after {changes} changes");
                failures += 1;
            }
            error => panic!("after {changes} changes: {error}"),
        }
        let _ = transactions.renew();
        heal(directory.path());
        transactions.renew().unwrap();
        if state(&log) == expected {
            transact(transactions.as_mut(), number, 50_000).unwrap();
        }
        expected.extend([number; 3]);
        assert_eq!(state(&log), expected, "after {changes} changes");
        drop(transactions);
        assert_eq!(
            state(&EmbeddedLog::open(directory.path()).unwrap()),
            expected
        );
    }
    assert!(
        doubts == 3 && failures > 20 && long_commits > 2,
        "{doubts} {failures} {long_commits}"
    );
}

#[test]
fn wherever_the_disk_becomes_full_a_topic_is_there_or_not_and_can_be_created_or_deleted_then() {
    for changes in 0.. {
        let (directory, log) = log_with(&[("old", 2)]);
        fail_after(directory.path(), changes);
        let created = create(&log, "new", 2);
        let deleted = log.delete_topic("old");
        let was_full = heal(directory.path());
        let topics = log.topics().unwrap();
        for (name, there, done) in [
            ("new", true, created.is_ok()),
            ("old", false, deleted.is_ok()),
        ] {
            assert!(
                !done || topics.contains(&name.to_owned()) == there,
                "{name} after {changes} changes"
            );
        }
        if !topics.contains(&"new".to_owned()) {
            create(&log, "new", 2).unwrap();
        }
        if !topics.contains(&"old".to_owned()) {
            create(&log, "old", 1).unwrap();
        }
        for topic in ["new", "old"] {
            assert!(read(&log, topic, 0, 0).unwrap().is_empty());
            log.writer(topic).unwrap().flush().unwrap();
        }
        if !was_full {
            return;
        }
    }
}

#[test]
fn wherever_the_disk_becomes_full_a_topic_has_all_its_new_partitions_or_none() {
    let (mut grown, mut not_grown) = (0, 0);
    for changes in 0.. {
        let (directory, log) = log_with(&[("t", 2)]);
        let mut writer = log.writer("t").unwrap();
        writer.send(&valued("t", 1, &[1])).unwrap();
        writer.flush().unwrap();
        fail_after(directory.path(), changes);
        let result = log.add_partitions("t", 5);
        let was_full = heal(directory.path());
        let count = log.topic("t").unwrap().unwrap().partitions.len();
        match (count, &result) {
            (5, _) => grown += 1,
            (2, Err(LogError::CannotWrite { .. })) => {
                not_grown += 1;
                log.add_partitions("t", 5).unwrap();
            }
            (count, result) => panic!("after {changes} changes: {count}, {result:?}"),
        }
        // Who had the topic open goes on, and who opens it now sees all of it.
        writer.send(&valued("t", 1, &[2])).unwrap();
        assert!(writer.send(&valued("t", 4, &[0])).is_err());
        writer.flush().unwrap();
        drop(writer);
        let mut writer = log.writer("t").unwrap();
        writer.send(&valued("t", 4, &[3])).unwrap();
        writer.flush().unwrap();
        let found: Vec<_> = (0..5).map(|p| read(&log, "t", p, 0).unwrap()).collect();
        assert_eq!(found, [vec![], vec![1, 2], vec![], vec![], vec![3]]);
        if !was_full {
            assert!(grown > 0 && not_grown > 4, "{grown} {not_grown}");
            return;
        }
    }
}
