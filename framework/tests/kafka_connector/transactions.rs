//! Transactions: visible whole or not at all, in order, fenced, renewed.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tiderace::connect::{EpochRecord, Log, TopicPartition, TransactionError, Transactions};
use tiderace::error::LogError;
use tiderace_testing::kafka::Kafka;

use crate::support::{LIMIT, broker, entry, record, topic, topic_with, transact, values};

fn open(broker: &Kafka, log: &dyn Log, outputs: &[&String]) -> (String, Box<dyn Transactions>) {
    let app = broker.fresh_name("app");
    let outputs: Vec<String> = outputs.iter().map(|output| (*output).clone()).collect();
    let transactions = log.transactions(&app, &outputs).unwrap();
    (app, transactions)
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let (broker, log) = broker!();
    let (one, two) = (topic(broker, &log, 1), topic(broker, &log, 2));
    let (_, mut transactions) = open(broker, &log, &[&one, &two]);
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&one, 0, "a")).unwrap();
    transactions.send(0, &record(&two, 1, "b")).unwrap();
    transactions.flush(0).unwrap();
    assert!(broker.read_visible(&one)[0].is_empty());
    transactions.commit(0).unwrap();
    transactions.confirm(0).unwrap();
    assert_eq!(values(&broker.read_committed(&one)), [["a"]]);
    assert_eq!(
        values(&broker.read_committed(&two)),
        [vec![], vec!["b".to_owned()]]
    );
}

#[test]
fn turns_overlap_and_keep_their_order() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let (_, mut transactions) = open(broker, &log, &[&name]);
    assert_eq!(transactions.turns(), 2);
    for epoch in 0..40_usize {
        let turn = epoch % 2;
        transactions.begin(turn).unwrap();
        for part in 0..20 {
            transactions
                .send(turn, &record(&name, 0, &format!("{epoch}.{part}")))
                .unwrap();
        }
        // The other turn's commit is under way until here.
        transactions.flush(turn).unwrap();
        if epoch > 0 {
            transactions.confirm(1 - turn).unwrap();
        }
        transactions.commit(turn).unwrap();
    }
    transactions.confirm(1).unwrap();
    let expected: Vec<String> = (0..40)
        .flat_map(|epoch| (0..20).map(move |part| format!("{epoch}.{part}")))
        .collect();
    assert_eq!(values(&broker.read_committed(&name)), [expected]);
}

#[test]
fn a_newer_instance_fences_the_older_which_writes_nothing_more() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let (app, mut older) = open(broker, &log, &[&name]);
    transact(older.as_mut(), 0, &[record(&name, 0, "before")]);
    older.begin(1).unwrap();
    older.send(1, &record(&name, 0, "never seen")).unwrap();
    older.flush(1).unwrap();
    let mut newer = log.transactions(&app, std::slice::from_ref(&name)).unwrap();
    transact(newer.as_mut(), 0, &[record(&name, 0, "after")]);

    let error = older.commit(1).and_then(|()| older.confirm(1)).unwrap_err();
    assert!(matches!(error, TransactionError::Fenced(_)), "{error:?}");
    // Nor can it start anew on the turn that was idle when it was fenced.
    let again = older
        .begin(0)
        .and_then(|()| older.send(0, &record(&name, 0, "never seen")))
        .and_then(|()| older.flush(0))
        .and_then(|()| older.commit(0))
        .and_then(|()| older.confirm(0));
    assert!(matches!(again.unwrap_err(), TransactionError::Fenced(_)));
    assert_eq!(values(&broker.read_committed(&name)), [["before", "after"]]);
}

#[test]
fn renewing_ends_what_is_open_and_repeating_it_makes_no_duplicate() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let (app, mut transactions) = open(broker, &log, &[&name]);
    let epochs = format!("{app}-epochs");
    let epoch = |number: u64| number.to_be_bytes();
    transact(
        transactions.as_mut(),
        0,
        &[record(&name, 0, "0"), entry(&epochs, &epoch(0), "{}")],
    );
    // Epoch 1 is sent for its commit, epoch 2 is open; then comes the doubt.
    for (turn, number) in [(1, 1_u64), (0, 2)] {
        transactions.begin(turn).unwrap();
        transactions
            .send(turn, &record(&name, 0, &number.to_string()))
            .unwrap();
        transactions
            .send(turn, &entry(&epochs, &epoch(number), "{}"))
            .unwrap();
        transactions.flush(turn).unwrap();
        if number == 1 {
            transactions.commit(1).unwrap();
        }
    }
    transactions.renew().unwrap();
    let committed = transactions.read_epochs(0).unwrap();
    let last = committed.last().unwrap().epoch;
    assert!(last <= 1, "epoch 2 was never sent for its commit");
    for (turn, number) in [0, 1].into_iter().zip(last + 1..=2) {
        let value = number.to_string();
        transact(
            transactions.as_mut(),
            turn,
            &[
                record(&name, 0, &value),
                entry(&epochs, &epoch(number), "{}"),
            ],
        );
    }
    assert_eq!(values(&broker.read_committed(&name)), [["0", "1", "2"]]);
    let read = transactions.read_epochs(0).unwrap();
    assert_eq!(
        read.iter().map(|entry| entry.epoch).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn epochs_are_read_back_from_an_offset_without_those_left_open() {
    let (broker, log) = broker!();
    let (app, mut transactions) = open(broker, &log, &[]);
    let epochs = format!("{app}-epochs");
    for number in 0..3_u64 {
        transact(
            transactions.as_mut(),
            0,
            &[entry(&epochs, &number.to_be_bytes(), &number.to_string())],
        );
    }
    transactions.begin(1).unwrap();
    transactions
        .send(1, &entry(&epochs, &3_u64.to_be_bytes(), "open"))
        .unwrap();
    transactions.flush(1).unwrap();
    // As after a kill: nobody ends the transaction but the next instance.
    std::mem::forget(transactions);
    let mut next = log.transactions(&app, &[]).unwrap();
    let read = next.read_epochs(0).unwrap();
    let expected = |offset, epoch: u64| EpochRecord {
        offset,
        epoch,
        value: epoch.to_string().into_bytes(),
    };
    assert_eq!(read, [expected(0, 0), expected(2, 1), expected(4, 2)]);
    assert_eq!(next.read_epochs(4).unwrap(), [expected(4, 2)]);
    assert_eq!(next.read_epochs(5).unwrap(), []);
    let behind = next.read_epochs(1_000).unwrap_err();
    assert!(
        matches!(
            behind,
            TransactionError::Failed(LogError::Beyond { wanted: 1_000, .. })
        ),
        "{behind:?}"
    );
}

#[test]
fn a_confirmed_transaction_knows_where_its_entry_lies() {
    let (broker, log) = broker!();
    let output = topic(broker, &log, 1);
    let (app, mut transactions) = open(broker, &log, &[&output]);
    let epochs = format!("{app}-epochs");
    transact(transactions.as_mut(), 0, &[record(&output, 0, "no entry")]);
    assert_eq!(transactions.entry_offset(0).unwrap(), None);
    let mut found = Vec::new();
    for number in 0..6_u64 {
        let turn = (number % 2) as usize;
        transactions.begin(turn).unwrap();
        transactions
            .send(turn, &entry(&epochs, &number.to_be_bytes(), "{}"))
            .unwrap();
        transactions.flush(turn).unwrap();
        if number > 0 {
            // The next entry is in the topic already when the one before is confirmed and looked for.
            transactions.confirm(1 - turn).unwrap();
            found.push(transactions.entry_offset(1 - turn).unwrap());
        }
        transactions.commit(turn).unwrap();
    }
    transactions.confirm(1).unwrap();
    found.push(transactions.entry_offset(1).unwrap());
    let read = transactions.read_epochs(0).unwrap();
    let expected: Vec<_> = read.iter().map(|entry| Some(entry.offset)).collect();
    assert_eq!(found, expected);
    // Entries of the same epoch are told apart by their bytes; of equal ones the last is meant.
    for value in ["one", "other", "one"] {
        transact(
            transactions.as_mut(),
            0,
            &[entry(&epochs, &6_u64.to_be_bytes(), value)],
        );
        let last = transactions.read_epochs(0).unwrap().pop().unwrap();
        assert_eq!(
            transactions.entry_offset(0).unwrap(),
            Some(last.offset),
            "{value}"
        );
    }
}

/// Of several entries of a transaction the last is meant, however many the other turn has sent behind it: a log that is
/// looked at too near its end is waited at, since nothing tells that no entry will come.
#[test]
fn the_last_entry_of_a_transaction_is_found_behind_many_of_the_next() {
    const WAITED: Duration = Duration::from_secs(2);
    let (broker, log) = broker!();
    let (app, mut transactions) = open(broker, &log, &[]);
    let epochs = format!("{app}-epochs");
    for (turn, numbers) in [(0, 0..3_u64), (1, 3..67)] {
        transactions.begin(turn).unwrap();
        for number in numbers {
            let key = number.to_be_bytes();
            transactions
                .send(turn, &entry(&epochs, &key, "{}"))
                .unwrap();
        }
        transactions.flush(turn).unwrap();
        if turn == 0 {
            transactions.commit(0).unwrap();
        }
    }
    transactions.confirm(0).unwrap();
    let begun = Instant::now();
    let found = transactions.entry_offset(0).unwrap();
    assert!(begun.elapsed() < WAITED, "after {:?}", begun.elapsed());
    transactions.commit(1).unwrap();
    transactions.confirm(1).unwrap();
    let read = transactions.read_epochs(0).unwrap();
    let last_of = |epoch: u64| read.iter().find(|of| of.epoch == epoch).map(|of| of.offset);
    assert_eq!(found, last_of(2));
    assert_eq!(transactions.entry_offset(1).unwrap(), last_of(66));
}

#[test]
fn the_epoch_log_never_expires() {
    let (broker, log) = broker!();
    let (app, _) = open(broker, &log, &[]);
    let described = log.topic(&format!("{app}-epochs")).unwrap().unwrap();
    assert_eq!(described.partitions.len(), 1);
    assert_eq!(described.config["retention.ms"], "-1");
    assert_eq!(described.config["cleanup.policy"], "delete");
}

#[test]
fn committed_offsets_are_shown_for_the_application_as_a_group() {
    let (broker, log) = broker!();
    let (input, output) = (topic(broker, &log, 2), topic(broker, &log, 1));
    let (app, mut transactions) = open(broker, &log, &[&output]);
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&output, 0, "x")).unwrap();
    transactions.flush(0).unwrap();
    let offsets = [
        (TopicPartition::new(&*input, 0), 17),
        (TopicPartition::new(&*input, 1), 4),
    ];
    transactions.send_offsets(0, &offsets).unwrap();
    transactions.commit(0).unwrap();
    transactions.confirm(0).unwrap();

    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", &app);
    let group: BaseConsumer = config.create().unwrap();
    let mut wanted = rdkafka::TopicPartitionList::new();
    wanted.add_partition_range(&input, 0, 1);
    let found = group.committed_offsets(wanted, LIMIT).unwrap();
    let found: Vec<_> = found
        .elements()
        .iter()
        .map(|element| element.offset())
        .collect();
    assert_eq!(
        found,
        [rdkafka::Offset::Offset(17), rdkafka::Offset::Offset(4)]
    );
}

#[test]
fn a_record_too_large_for_its_topic_fails_and_names_it() {
    let (broker, log) = broker!();
    let name = topic_with(broker, &log, 3, &[("max.message.bytes", "4000")]);
    let (_, mut transactions) = open(broker, &log, &[&name]);
    transactions.begin(0).unwrap();
    let error = transactions
        .send(0, &record(&name, 2, &"x".repeat(5_000)))
        .unwrap_err();
    let TransactionError::Failed(LogError::TooLarge {
        topic,
        partition: 2,
        limit: 4_000,
        ..
    }) = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*topic, name);
}

#[test]
fn a_record_that_the_broker_refuses_fails_and_names_its_topic() {
    let (broker, log) = broker!();
    // A compacted topic takes no null keys; only the broker knows.
    let name = topic_with(broker, &log, 1, &[("cleanup.policy", "compact")]);
    let (_, mut transactions) = open(broker, &log, &[&name]);
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&name, 0, "no key")).unwrap();
    let error = transactions.flush(0).unwrap_err();
    assert!(
        matches!(&error, TransactionError::Failed(LogError::Refused(text)) if text.contains(&name)),
        "{error:?}"
    );
}

#[test]
fn a_transaction_that_times_out_is_fenced_and_goes_on_renewed() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let properties = [("transaction.timeout.ms".to_owned(), "1000".to_owned())].into();
    let log = tiderace::connect::kafka::KafkaLog::connect(broker.bootstrap(), &properties).unwrap();
    let name = topic(broker, &log, 1);
    let (_, mut transactions) = open(broker, &log, &[&name]);
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&name, 0, "too slow")).unwrap();
    transactions.flush(0).unwrap();
    // The broker aborts it: its marker moves the visible end from 0 to 2.
    let end = || broker_end(broker, &name);
    let started = Instant::now();
    while end() < 2 {
        assert!(started.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    let error = transactions
        .commit(0)
        .and_then(|()| transactions.confirm(0))
        .unwrap_err();
    assert!(matches!(error, TransactionError::Fenced(_)), "{error:?}");
    transactions.renew().unwrap();
    transact(transactions.as_mut(), 0, &[record(&name, 0, "again")]);
    assert_eq!(values(&broker.read_committed(&name)), [["again"]]);
}

fn broker_end(broker: &Kafka, topic: &str) -> i64 {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("isolation.level", "read_committed");
    let client: BaseConsumer = config.create().unwrap();
    client
        .fetch_watermarks(topic, 0, Duration::from_secs(10))
        .unwrap()
        .1
}
