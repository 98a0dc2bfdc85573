//! The same on Kafka.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic, SinkRecord, TopicPartition};
use tiderace::error::Gap;
use tiderace::runtime::{Running, Verdict, check_with_inputs};
use tiderace::{Config, Engine, Report, RunError, StreamsBuilder, Topic, Topology};
use tiderace_testing::kafka::Kafka;

use crate::lacking::without;
use crate::place::TIME;

/// A broker's log with a topic to read and one to write, and an application.
struct Site {
    broker: &'static Kafka,
    log: Arc<KafkaLog>,
    input: &'static str,
    output: &'static str,
    application: String,
    state: tempfile::TempDir,
}

impl Site {
    /// `None` where there is no broker.
    fn new(partitions: u32) -> Option<Site> {
        let broker = Kafka::shared()?;
        let log = KafkaLog::connect(broker.bootstrap(), &BTreeMap::new()).unwrap();
        let topic = |name: &str, partitions| {
            let name: &'static str = broker.fresh_name(name).leak();
            log.create_topic(&NewTopic {
                name: name.to_owned(),
                partitions,
                config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
            })
            .unwrap();
            name
        };
        let (input, output) = (topic("lines", partitions), topic("copies", 1));
        Some(Site {
            broker,
            log: Arc::new(log),
            input,
            output,
            application: broker.fresh_name("app"),
            state: tempfile::tempdir().unwrap(),
        })
    }

    /// Where another application reads what this one writes.
    fn behind(&self) -> Site {
        let output: &'static str = self.broker.fresh_name("copies").leak();
        self.broker.create_topic(output, 1);
        Site {
            broker: self.broker,
            log: Arc::clone(&self.log),
            input: self.output,
            output,
            application: self.broker.fresh_name("behind"),
            state: tempfile::tempdir().unwrap(),
        }
    }

    fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new("app");
        let lines: Topic<String, String> = Topic::bytes(self.input);
        let copies: Topic<String, String> = Topic::bytes(self.output);
        builder.stream(lines).to(copies);
        builder.build().unwrap()
    }

    fn config(&self) -> Config {
        Config {
            application_id: Some(self.application.clone()),
            brokers: Some(self.broker.bootstrap().to_owned()),
            data_dir: self.state.path().to_owned(),
            metadata_max_age: Duration::from_millis(50),
            ..Config::default()
        }
    }

    fn start(&self, config: &Config) -> Running {
        Engine::start(self.topology(), self.log.clone(), config).unwrap()
    }

    /// Runs to the end of the input.
    fn end(&self, config: &Config) -> Result<Report, RunError> {
        let running = Engine::start(self.topology(), self.log.clone(), config)?;
        assert!(running.wait(Duration::from_secs(60)), "it does not end");
        running.join()
    }

    fn send(&self, partition: u32, lines: std::ops::Range<u32>) {
        let mut writer = self.log.writer(self.input).unwrap();
        for line in lines {
            let value = format!("{partition}:{line}");
            writer
                .send(&SinkRecord {
                    topic: self.input,
                    partition,
                    timestamp: TIME,
                    key: None,
                    value: Some(value.as_bytes()),
                    headers: &[],
                })
                .unwrap();
        }
        writer.flush().unwrap();
    }

    /// A check that reads the inputs finds nothing wrong, and has counted so many records.
    fn is_sound(&self, records: u64) {
        let verdict = self.verdict();
        assert_eq!(verdict.faults, Vec::<String>::new());
        assert_eq!(verdict.input_records, Some(records));
    }

    fn verdict(&self) -> Verdict {
        check_with_inputs(&*self.log, self.state.path(), &self.application).unwrap()
    }

    /// What was written, in no order.
    fn written(&self) -> Vec<String> {
        let records = self
            .broker
            .read_committed(self.output)
            .into_iter()
            .flatten();
        let mut lines: Vec<_> = records
            .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
            .collect();
        lines.sort();
        lines
    }
}

fn lines(of: &[(u32, std::ops::Range<u32>)]) -> Vec<String> {
    let lines = of.iter().flat_map(|(partition, lines)| {
        lines.clone().map(move |line| format!("{partition}:{line}"))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

fn reads(running: &Running, records: u64) {
    let progress = running.progress();
    let begun = Instant::now();
    while progress.committed().read < records {
        assert!(!running.wait(Duration::from_millis(5)), "the run ended");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} of {records} records were read",
            progress.committed().read
        );
    }
}

#[test]
fn partitions_that_a_topic_is_given_are_read_without_a_restart() {
    let Some(site) = Site::new(1) else { return };
    let config = Config {
        follow: true,
        workers: 2,
        ..site.config()
    };
    let running = site.start(&config);
    site.send(0, 0..10);
    reads(&running, 10);
    site.log.add_partitions(site.input, 3).unwrap();
    for partition in 0..3 {
        site.send(partition, 10..20);
    }
    reads(&running, 40);
    running.stop_handle().stop();
    running.join().unwrap();
    let expected = [(0, 0..20), (1, 10..20), (2, 10..20)];
    assert_eq!(site.written(), lines(&expected));
    // A replay of the whole log comes to the same digests, or the run fails.
    let snapshots = format!("state/{}/snapshots", site.application);
    std::fs::remove_dir_all(site.state.path().join(snapshots)).unwrap();
    site.send(2, 20..25);
    let running = site.start(&site.config());
    assert!(running.wait(Duration::from_secs(60)), "it does not end");
    assert_eq!(running.join().unwrap().counts.read, 5);
    let expected = [(0, 0..20), (1, 10..20), (2, 10..25)];
    assert_eq!(site.written(), lines(&expected));
    site.is_sound(45);
}

#[test]
fn deleted_records_are_left_out_only_where_their_loss_is_accepted() {
    let Some(site) = Site::new(2) else { return };
    for partition in [0, 1] {
        site.send(partition, 0..10);
    }
    site.end(&site.config()).unwrap();
    for partition in [0, 1] {
        site.send(partition, 10..20);
    }
    let deleted = TopicPartition::new(site.input, 1);
    site.log.delete_records(&deleted, 15).unwrap();
    let error = site.end(&site.config()).unwrap_err();
    assert_eq!(error.exit_code(), 66, "{error}");
    let gap = Gap {
        partition: deleted,
        wanted: 10,
        first: 15,
    };
    assert!(
        matches!(&error, RunError::Lost { gaps } if *gaps == [gap]),
        "{error}"
    );
    let config = Config {
        accepted_losses: vec![site.input.to_owned()],
        ..site.config()
    };
    assert_eq!(site.end(&config).unwrap().counts.read, 15);
    let expected = lines(&[(0, 0..20), (1, 0..10), (1, 15..20)]);
    assert_eq!(site.written(), expected);
    assert_eq!(site.end(&site.config()).unwrap().counts.read, 0);
    site.is_sound(25);
}

/// Sends lines to partition 0 in a transaction that is committed or not.
fn transact(site: &Site, lines: std::ops::Range<u32>, commits: bool) {
    let application = site.broker.fresh_name("sender");
    let inputs = [site.input.to_owned()];
    let mut transactions = site.log.transactions(&application, &inputs).unwrap();
    transactions.begin(0).unwrap();
    for line in lines {
        let value = format!("0:{line}");
        let record = SinkRecord {
            topic: site.input,
            partition: 0,
            timestamp: TIME,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        transactions.send(0, &record).unwrap();
    }
    transactions.flush(0).unwrap();
    if commits {
        transactions.commit(0).unwrap();
        transactions.confirm(0).unwrap();
    } else {
        transactions.renew().unwrap();
    }
}

#[test]
fn markers_and_aborted_records_are_not_counted_and_a_skipped_record_among_them_is_named() {
    let Some(site) = Site::new(1) else { return };
    // Ten records and a marker, ten that are aborted and a marker, and so on; the last is a marker.
    for n in 0..4 {
        transact(&site, 10 * n..10 * n + 10, true);
        transact(&site, 900..910, false);
        site.send(0, 100 + 10 * n..110 + 10 * n);
    }
    transact(&site, 40..50, true);
    let config = Config {
        epoch_records: 7,
        ..site.config()
    };
    assert_eq!(site.end(&config).unwrap().counts.read, 90);
    site.is_sound(90);

    // The second application's client skips the record behind those that were aborted.
    let second = Site {
        application: site.broker.fresh_name("second"),
        state: tempfile::tempdir().unwrap(),
        log: Arc::clone(&site.log),
        ..site
    };
    let log = KafkaLog::connect(second.broker.bootstrap(), &BTreeMap::new()).unwrap();
    let partition = TopicPartition::new(second.input, 0);
    let log = without(log, &partition, &[22]);
    let config = Config {
        application_id: Some(second.application.clone()),
        data_dir: second.state.path().to_owned(),
        ..config
    };
    let running = Engine::start(second.topology(), Arc::new(log), &config).unwrap();
    assert_eq!(running.join().unwrap().counts.read, 89);
    let verdict = second.verdict();
    assert_eq!(verdict.input_records, Some(90));
    let [fault] = &verdict.faults[..] else {
        panic!("{:#?}", verdict.faults);
    };
    let (_, range) = fault.split_once(" records are held from offset ").unwrap();
    let (range, rest) = range.split_once(", and it read ").unwrap();
    let (from, to) = range.split_once(" to ").unwrap();
    let (from, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
    assert!((from..=to).contains(&22), "{fault}");
    assert!(rest.contains(": 1 was skipped"), "{fault}");
}

/// What a transaction ends with is no record, so nobody takes it for read. An application that had read every record
/// before it took its loss for that of a record, and did not start.
#[test]
fn the_marker_of_a_transaction_may_be_deleted_behind_the_last_record_that_was_read() {
    let Some(first) = Site::new(1) else { return };
    first.send(0, 0..10);
    first.end(&first.config()).unwrap();
    let second = first.behind();
    assert_eq!(second.end(&second.config()).unwrap().counts.read, 10);

    let partition = TopicPartition::new(second.input, 0);
    let held = || second.log.topic(second.input).unwrap().unwrap().partitions[0];
    let end = held().end;
    let records = second.broker.read_committed(second.input).remove(0);
    assert!(
        records.last().unwrap().offset + 1 < end,
        "nothing lies behind the last record"
    );
    second.log.delete_records(&partition, end).unwrap();
    assert_eq!((held().first, held().end), (end, end));

    assert_eq!(second.end(&second.config()).unwrap().counts.read, 0);
    first.send(0, 10..15);
    first.end(&first.config()).unwrap();
    assert_eq!(second.end(&second.config()).unwrap().counts.read, 5);
    assert_eq!(second.written(), lines(&[(0, 0..15)]));
    // The marker alone was deleted of what an epoch came past.
    second.is_sound(5);
    first.is_sound(15);
}
