//! A table's topic that is compacted by a broker's own cleaner.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, NewTopic, SinkRecord};
use tiderace::runtime::check_with_inputs;
use tiderace::{Config, Engine, Report, RunError, StreamsBuilder, Topic, Topology};
use tiderace_testing::kafka::Kafka;

use crate::place::TIME;

/// How long the cleaner may take: it looks twice a second, and after what was written before.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker's log with a compacted topic of names, a topic of zones, and an application that puts them together.
struct Site {
    broker: &'static Kafka,
    log: Arc<KafkaLog>,
    names: &'static str,
    zones: &'static str,
    named: &'static str,
    application: String,
    state: tempfile::TempDir,
}

impl Site {
    /// `None` where there is no broker.
    fn new() -> Option<Site> {
        let broker = Kafka::shared()?;
        let log = KafkaLog::connect(broker.bootstrap(), &BTreeMap::new()).unwrap();
        let leaked = |name: &str| -> &'static str { broker.fresh_name(name).leak() };
        let names = leaked("names");
        // A segment is closed by a record that is a tenth of a second later than its first, and cleaned when it can be.
        let config = [
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("segment.ms", "100"),
            ("delete.retention.ms", "0"),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
        log.create_topic(&NewTopic {
            name: names.to_owned(),
            partitions: 1,
            config: config.into(),
        })
        .unwrap();
        let (zones, named) = (leaked("zones"), leaked("named"));
        broker.create_topic(zones, 1);
        broker.create_topic(named, 1);
        Some(Site {
            broker,
            log: Arc::new(log),
            names,
            zones,
            named,
            application: broker.fresh_name("app"),
            state: tempfile::tempdir().unwrap(),
        })
    }

    /// Zones with their names.
    fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new("app");
        let names: Topic<String, String> = Topic::bytes(self.names);
        let zones: Topic<String, String> = Topic::bytes(self.zones);
        let named: Topic<String, String> = Topic::bytes(self.named);
        let names = builder.global_table(names);
        builder
            .stream(zones)
            .left_join(
                &names,
                |_, zone| zone.clone(),
                |zone, name| format!("{zone} {}", name.map_or("-", String::as_str)),
            )
            .to(named);
        builder.build().unwrap()
    }

    fn send(&self, topic: &str, seconds: i64, records: &[(&str, &str)]) {
        let mut writer = self.log.writer(topic).unwrap();
        for (key, value) in records {
            let record = SinkRecord {
                topic,
                partition: 0,
                timestamp: TIME + seconds * 1000,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            writer.send(&record).unwrap();
        }
        writer.flush().unwrap();
    }

    /// Rows of one second; they lie in a segment of their own.
    fn name(&self, second: i64, rows: &[(&str, &str)]) {
        self.send(self.names, second, rows);
    }

    fn zone(&self, zone: &str) {
        self.send(self.zones, 0, &[(zone, zone)]);
    }

    /// Waits until the cleaner has left no more than the rows at these offsets.
    fn await_left(&self, offsets: &[i64]) {
        let begun = Instant::now();
        loop {
            let rows = self.broker.read_uncommitted(self.names).remove(0);
            let left: Vec<_> = rows.iter().map(|row| row.offset).collect();
            if left == offsets {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the cleaner has left {left:?}, not {offsets:?}"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Runs to the end of the input.
    fn run(&self) -> Result<Report, RunError> {
        let config = Config {
            application_id: Some(self.application.clone()),
            brokers: Some(self.broker.bootstrap().to_owned()),
            data_dir: self.state.path().to_owned(),
            ..Config::default()
        };
        let running = Engine::start(self.topology(), self.log.clone(), &config)?;
        assert!(running.wait(Duration::from_secs(60)), "it does not end");
        running.join()
    }

    fn snapshots(&self) -> PathBuf {
        let state = self.state.path().join("state").join(&self.application);
        state.join("snapshots")
    }

    /// What was written, in order.
    fn written(&self) -> Vec<String> {
        let records = self.broker.read_committed(self.named).remove(0).into_iter();
        records
            .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
            .collect()
    }
}

#[test]
fn rows_that_the_cleaner_removed_before_they_were_read_leave_holes_that_a_replay_knows() {
    let Some(site) = Site::new() else { return };
    site.name(0, &[("1", "old"), ("2", "other")]);
    site.name(1, &[("1", "new")]);
    site.name(2, &[("3", "last")]);
    site.await_left(&[1, 2, 3]);
    site.zone("1");
    site.run().unwrap();
    std::fs::remove_dir_all(site.snapshots()).unwrap();
    site.zone("2");
    site.run().unwrap();
    assert_eq!(site.written(), ["1 new", "2 other"]);
    let verdict = check_with_inputs(&*site.log, site.state.path(), &site.application).unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new());
    assert_eq!(verdict.input_records, Some(5));
}

#[test]
fn rows_that_the_cleaner_removed_are_missed_by_a_replay_and_not_behind_a_snapshot() {
    let Some(site) = Site::new() else { return };
    site.name(0, &[("1", "old"), ("1", "middle")]);
    site.zone("1");
    site.run().unwrap();
    site.name(1, &[("1", "new")]);
    site.name(2, &[("2", "other")]);
    site.await_left(&[2, 3]);
    site.zone("1");

    let kept = site.state.path().join("kept");
    std::fs::rename(site.snapshots(), &kept).unwrap();
    let error = site.run().unwrap_err();
    assert_eq!(error.exit_code(), 66, "{error}");
    assert!(
        matches!(&error, RunError::Vanished { table: true, found: 0, counted, end, .. }
            if *counted > 0 && *end <= 2),
        "{error:?}"
    );
    let text = error.to_string();
    for part in [site.names, "compacted", "no step is to blame"] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    assert_eq!(site.written(), ["1 middle"]);

    // What it says to do: bring back the snapshot.
    std::fs::remove_dir_all(site.snapshots()).unwrap();
    std::fs::rename(kept, site.snapshots()).unwrap();
    site.run().unwrap();
    assert_eq!(site.written(), ["1 middle", "1 new"]);
    let verdict = check_with_inputs(&*site.log, site.state.path(), &site.application).unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new());
    let gap = "2 of the records that were read are compacted away";
    assert!(
        verdict.gaps.iter().any(|it| it.contains(gap)),
        "{verdict:?}"
    );
}
