//! Records that the client reads where they are: their bytes, and how long they are held.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::{Log, Records, SinkRecord};
use tiderace_testing::kafka::Record;

use crate::support::{LIMIT, TIME, broker, topic};
use crate::writer::{Case, cases};

struct Held(Vec<Case<'static>>);

impl Records for Held {
    fn get<'a>(&'a self, index: usize, topic: &'a str) -> SinkRecord<'a> {
        let (key, value, headers) = &self.0[index];
        SinkRecord {
            topic,
            partition: 0,
            timestamp: TIME + index as i64,
            key: *key,
            value: *value,
            headers,
        }
    }
}

fn held() -> (Arc<dyn Records>, usize) {
    let cases = cases();
    let count = cases.len();
    (Arc::new(Held(cases)), count)
}

/// Whether the records are, so many times, those that were sent.
fn is_all(written: &[Record], times: usize) {
    let cases = cases();
    assert_eq!(written.len(), times * cases.len());
    for (at, seen) in written.iter().enumerate() {
        let (key, value, headers) = &cases[at % cases.len()];
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        let pairs = headers.iter().map(|of| (of.name.clone(), of.value.clone()));
        let expected = (&key, &value, &pairs.collect::<Vec<_>>());
        assert_eq!((&seen.key, &seen.value, &seen.headers), expected, "{at}");
        assert_eq!(seen.timestamp, TIME + (at % cases.len()) as i64);
    }
}

#[test]
fn a_writer_holds_records_until_they_are_flushed() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut writer = log.writer(&name).unwrap();
    for _ in 0..3 {
        let (records, count) = held();
        for index in 0..count {
            writer.send_of(&name, &records, index).unwrap();
        }
        assert_eq!(Arc::strong_count(&records), 2);
        writer.flush().unwrap();
        assert_eq!(Arc::strong_count(&records), 1);
    }
    is_all(&broker.read_committed(&name)[0], 3);
}

#[test]
fn a_transaction_holds_records_until_they_are_flushed() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let app = broker.fresh_name("app");
    let outputs = std::slice::from_ref(&name);
    let mut transactions = log.transactions(&app, outputs).unwrap();
    transactions.begin(0).unwrap();
    let ((one, count), (two, _)) = (held(), held());
    // As records of two workers are sent, in turns.
    for index in 0..count {
        for records in [&one, &two] {
            transactions.send_of(0, &name, records, index).unwrap();
        }
    }
    for records in [&one, &two] {
        assert_eq!(Arc::strong_count(records), 2);
    }
    transactions.flush(0).unwrap();
    for records in [&one, &two] {
        assert_eq!(Arc::strong_count(records), 1);
    }
    transactions.commit(0).unwrap();
    transactions.confirm(0).unwrap();
    let written = broker.read_committed(&name).remove(0);
    let (even, odd): (Vec<_>, Vec<_>) = written
        .into_iter()
        .enumerate()
        .partition(|(at, _)| at % 2 == 0);
    for half in [even, odd] {
        is_all(
            &half
                .into_iter()
                .map(|(_, record)| record)
                .collect::<Vec<_>>(),
            1,
        );
    }
}

#[test]
fn a_producer_that_is_thrown_away_holds_its_records_until_its_client_is_gone() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let app = broker.fresh_name("app");
    let outputs = std::slice::from_ref(&name);
    let mut transactions = log.transactions(&app, outputs).unwrap();
    transactions.begin(0).unwrap();
    let (records, count) = held();
    for index in 0..count {
        transactions.send_of(0, &name, &records, index).unwrap();
    }
    assert_eq!(Arc::strong_count(&records), 2);
    transactions.renew().unwrap();
    let begun = Instant::now();
    while Arc::strong_count(&records) > 1 {
        assert!(begun.elapsed() < LIMIT, "its records are held for good");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert!(broker.read_committed(&name)[0].is_empty());
}
