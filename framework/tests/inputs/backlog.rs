//! A table on Kafka whose partitions end with the marker of a transaction, beside a stream with more behind it than fits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, SinkRecord};
use tiderace::{Config, Engine, StreamsBuilder, Topic};
use tiderace_testing::kafka::Kafka;

use crate::place::TIME;

/// Rows of the table's two partitions: one has been read long before the other.
const ROWS: [u32; 2] = [3, 30_000];
/// Records of each of the stream's partitions. Together they are several times what may wait to be read.
const RECORDS: u32 = 30_000;

#[test]
fn a_table_is_read_to_its_end_beside_a_stream_that_fills_all_there_is() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let log = Arc::new(KafkaLog::connect(broker.bootstrap(), &BTreeMap::new()).unwrap());
    let topic = |name: &str, partitions| -> &'static str {
        let name = broker.fresh_name(name).leak();
        broker.create_topic(name, partitions);
        name
    };
    let (names, zones, named) = (topic("names", 2), topic("zones", 2), topic("named", 1));
    let mut rows = log
        .transactions(&broker.fresh_name("rows"), &[names.to_owned()])
        .unwrap();
    rows.begin(0).unwrap();
    for (partition, count) in (0..).zip(ROWS) {
        for row in 0..count {
            let key = format!("{partition}-{row}");
            let row = record(names, partition, key.as_bytes(), b"a name");
            rows.send(0, &row).unwrap();
        }
    }
    rows.flush(0).unwrap();
    rows.commit(0).unwrap();
    rows.confirm(0).unwrap();
    let mut writer = log.writer(zones).unwrap();
    for nth in 0..RECORDS {
        for partition in 0..2 {
            let last = format!("1-{}", nth % ROWS[1]);
            let zone = record(zones, partition, last.as_bytes(), last.as_bytes());
            writer.send(&zone).unwrap();
        }
    }
    writer.flush().unwrap();

    let builder = StreamsBuilder::new("app");
    let table = builder.global_table(Topic::<String, String>::bytes(names));
    builder
        .stream(Topic::<String, String>::bytes(zones))
        .join(&table, |_, zone| zone.clone(), |_, name| name.clone())
        .to(Topic::<String, String>::bytes(named));
    let state = tempfile::tempdir().unwrap();
    let config = Config {
        application_id: Some(broker.fresh_name("app")),
        brokers: Some(broker.bootstrap().to_owned()),
        data_dir: state.path().to_owned(),
        memory_budget: 4 << 20,
        ..Config::default()
    };
    let running = Engine::start(builder.build().unwrap(), log, &config).unwrap();
    let ends = running.wait(Duration::from_secs(60));
    assert!(ends, "it does not end: {:?}", running.progress());
    let counts = running.join().unwrap().counts;
    assert_eq!(counts.read, u64::from(2 * RECORDS));
    assert_eq!(counts.processed, u64::from(2 * RECORDS));
    println!("{} records beside {} rows", counts.read, ROWS[0] + ROWS[1]);
}

fn record<'a>(topic: &'a str, partition: u32, key: &'a [u8], value: &'a [u8]) -> SinkRecord<'a> {
    SinkRecord {
        topic,
        partition,
        timestamp: TIME,
        key: Some(key),
        value: Some(value),
        headers: &[],
    }
}
