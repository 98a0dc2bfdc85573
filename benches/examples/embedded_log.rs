//! How fast is the embedded log on one core? Writes records of 400 bytes to four partitions through the
//! plain writer, reads them all from the page cache, then commits small transactions, as an application
//! does every 100 ms.
//!
//! `cargo run --release -p tiderace-benches --example embedded_log [RECORDS [DIRECTORY]]`

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Fetched, Log, NewTopic, SinkRecord, TopicPartition};

const PARTITIONS: u32 = 4;

fn record<'a>(topic: &'a str, number: u64, key: &'a [u8], value: &'a [u8]) -> SinkRecord<'a> {
    let partition = (number % u64::from(PARTITIONS)) as u32;
    SinkRecord {
        topic,
        partition,
        timestamp: number as i64,
        key: Some(key),
        value: Some(value),
        headers: &[],
    }
}

fn write(log: &dyn Log, records: u64) {
    let value = [7; 396];
    let started = Instant::now();
    let mut writer = log.writer("records").expect("the topic is new");
    for number in 0..records {
        let key = (number as u32).to_be_bytes();
        writer
            .send(&record("records", number, &key, &value))
            .expect("there is space");
    }
    let sent = started.elapsed();
    writer.flush().expect("there is space");
    report("sent", records, sent);
    report("sent and synced", records, started.elapsed());
}

fn read(log: &dyn Log, records: u64) {
    let started = Instant::now();
    let assignment: Vec<_> = (0..PARTITIONS)
        .map(|number| (TopicPartition::new("records", number), 0))
        .collect();
    let mut source = log
        .source(&assignment, 1 << 20)
        .expect("it has been written");
    let (mut read, mut sum) = (0, 0);
    while read < records {
        if let Fetched::Batch(batch) = source
            .poll(Duration::from_secs(1))
            .expect("it is not damaged")
        {
            for index in 0..batch.len() {
                let record = batch.get(index);
                sum += record.timestamp as u64 + record.key.map_or(0, <[u8]>::len) as u64;
                sum += record
                    .value
                    .map_or(0, |value| u64::from(value[value.len() - 1]));
            }
            read += batch.len() as u64;
        }
    }
    assert_eq!(sum, (0..records).sum::<u64>() + 11 * records);
    report("read", records, started.elapsed());
    let started = Instant::now();
    let near_the_end = (records / u64::from(PARTITIONS)) as i64 - 10;
    log.source(
        &[(TopicPartition::new("records", 0), near_the_end)],
        1 << 20,
    )
    .expect("it is there");
    println!("opening near the end: {:?}", started.elapsed());
}

fn commit(log: &dyn Log, commits: usize) {
    let mut transactions = log
        .transactions("bench", &["results".to_owned()])
        .expect("nobody else runs");
    let mut times: Vec<Duration> = (0..commits)
        .map(|_| {
            let started = Instant::now();
            transactions.begin(0).expect("it is not open");
            for number in 0..100 {
                transactions
                    .send(0, &record("results", number, b"key", &[7; 100]))
                    .expect("there is space");
            }
            transactions
                .send(0, &record("bench-epochs", 0, &[0; 8], &[7; 300]))
                .expect("there is space");
            transactions.flush(0).expect("there is space");
            transactions.commit(0).expect("there is space");
            transactions.confirm(0).expect("there is space");
            started.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "commits over 5 files: p50 {:?}, p99 {:?}",
        times[commits / 2],
        times[commits * 99 / 100]
    );
    let started = Instant::now();
    log.topics().expect("it can be read");
    println!("reading the commits file: {:?}", started.elapsed());
}

fn report(what: &str, records: u64, time: Duration) {
    let seconds = time.as_secs_f64();
    println!(
        "{what}: {records} records in {seconds:.2} s, {:.2} million a second",
        records as f64 / seconds / 1e6
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let records = arguments.next().map_or(2_000_000, |records| {
        records.parse().expect("a number of records")
    });
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("the directory can be written");
    let log = EmbeddedLog::open(directory.path()).expect("the directory is new");
    for name in ["records", "results"] {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: PARTITIONS,
            config: Default::default(),
        };
        log.create_topic(&topic).expect("the log is new");
    }
    write(&log, records);
    for _ in 0..3 {
        read(&log, records);
    }
    commit(&log, 1000);
}
