//! A table's topic that is compacted: rows that are replaced vanish from it, and leave holes in its offsets.

use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, SinkRecord, TopicPartition};
use tiderace::{Config, Engine, Report, RunError, StreamsBuilder, Topic, Topology};

use crate::lacking::without;
use crate::place::{Place, RIDES, TIME, ride};

const NAMES: Topic<String, String> = Topic::bytes("names");
const NAMED: Topic<String, String> = Topic::bytes("named");

/// Rides with the names of their zones.
fn program() -> Topology {
    let builder = StreamsBuilder::new("app");
    let names = builder.global_table(NAMES);
    builder
        .stream(RIDES)
        .left_join(
            &names,
            |_, ride| ride.zone.to_string(),
            |ride, name| format!("{} {}", ride.zone, name.map_or("-", String::as_str)),
        )
        .to(NAMED);
    builder.build().unwrap()
}

struct Compacted {
    place: Place,
    /// Offsets of `names` that are not there any more.
    gone: Vec<i64>,
}

impl Compacted {
    fn new() -> Self {
        Compacted {
            place: Place::new(&[("rides", 1), ("names", 1), ("named", 1)]),
            gone: Vec::new(),
        }
    }

    fn name(&self, zone: &str, name: &str) {
        self.place.send(&[SinkRecord {
            topic: "names",
            partition: 0,
            timestamp: TIME,
            key: Some(zone.as_bytes()),
            value: Some(name.as_bytes()),
            headers: &[],
        }]);
    }

    fn ride(&self) {
        self.place.send(&[ride(0, r#"{"zone":1}"#)]);
    }

    fn compact(&mut self, offsets: &[i64]) {
        self.gone.extend(offsets);
    }

    /// Runs to the end of the input.
    fn run(&self) -> Result<Report, RunError> {
        let log = EmbeddedLog::open(self.place.path()).unwrap();
        let names = TopicPartition::new("names", 0);
        let log = without(log, &names, &self.gone);
        let config = Config {
            data_dir: self.place.path().to_owned(),
            ..Config::default()
        };
        let log: Arc<dyn Log> = Arc::new(log);
        let running = Engine::start(program(), log, &config)?;
        assert!(running.wait(Duration::from_secs(60)), "it does not end");
        running.join()
    }
}

/// A run over three rows of a zone, with a ride behind the second: it saw a name that is replaced since.
fn replaced() -> Compacted {
    let site = Compacted::new();
    site.name("1", "old");
    site.name("1", "middle");
    site.ride();
    site.run().unwrap();
    assert_eq!(site.place.texts("named"), ["1 middle"]);
    site.name("1", "new");
    site.ride();
    site
}

#[test]
fn rows_that_vanished_before_they_were_read_leave_holes_that_a_replay_knows() {
    let mut site = Compacted::new();
    site.name("1", "old");
    site.name("2", "other");
    site.name("1", "new");
    site.compact(&[0]);
    site.ride();
    site.run().unwrap();
    site.place.forget_snapshots();
    site.ride();
    site.run().unwrap();
    assert_eq!(site.place.texts("named"), ["1 new", "1 new"]);
}

#[test]
fn rows_that_vanished_behind_a_snapshot_are_not_missed() {
    let mut site = replaced();
    site.compact(&[0, 1]);
    site.run().unwrap();
    assert_eq!(site.place.texts("named"), ["1 middle", "1 new"]);
}

#[test]
fn rows_that_vanished_and_that_a_replay_needs_are_named_and_no_step_is_blamed() {
    for (gone, held) in [(&[1][..], 1), (&[0, 1], 0)] {
        let mut site = replaced();
        site.place.forget_snapshots();
        site.compact(gone);
        let before = (
            site.place.read("named"),
            site.place.texts("app-epochs").len(),
        );
        let error = site.run().unwrap_err();
        assert_eq!(error.exit_code(), 66, "{error}");
        assert!(
            matches!(&error, RunError::Vanished { epoch: 1, table: true, counted: 2, found, end: 2, .. }
                if *found == held),
            "{error:?}"
        );
        let text = error.to_string();
        for part in [
            "epoch 1: replayed, topic `names`, partition 0 holds",
            &format!("{held} of the 2 records"),
            "rows of a table",
            "compacted",
            "no step is to blame",
            "snapshot of epoch 1 or later",
            "min.compaction.lag.ms",
        ] {
            assert!(text.contains(part), "`{part}` is missing: {text}");
        }
        assert!(!text.contains("deterministic"), "{text}");
        // But for the entry of the start itself nothing was written.
        assert_eq!(site.place.read("named"), before.0);
        assert_eq!(site.place.texts("app-epochs").len(), before.1 + 1);
    }
}
