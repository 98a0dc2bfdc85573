//! Topics that are given partitions while an application follows them.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tiderace::connect::{Log, SinkRecord};
use tiderace::runtime::Running;
use tiderace::{
    Config, Engine, OnError, RunError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed,
};

use crate::place::{Place, RIDES, TIME, ZONES, zones};

const COUNTS: Topic<Windowed<u32>, u64> = Topic::json("counts");
const NAMES: Topic<String, String> = Topic::json("names");

const WINDOW: i64 = 10_000;

/// The program panics at the record that brings this to zero.
pub(crate) type Trap = Arc<AtomicI64>;

/// Rides one by one, and counted by zone and window.
pub(crate) fn program(trap: &Trap) -> Topology {
    let builder = StreamsBuilder::new("app");
    let trap = Arc::clone(trap);
    let rides = builder
        .stream(RIDES)
        .peek(move |_| assert!(trap.fetch_sub(1, Ordering::SeqCst) != 1, "the trap"));
    rides.map_values(|ride| ride.zone).to(ZONES);
    rides
        .group_by(|ride| ride.zone)
        .windowed_by(TimeWindows::of_size(Duration::from_millis(WINDOW as u64)))
        .count()
        .emit_on_close()
        .to(COUNTS);
    builder.build().unwrap()
}

pub(crate) fn place() -> Place {
    Place::new(&[("rides", 2), ("zones", 1), ("counts", 2)])
}

pub(crate) fn config(place: &Place, workers: usize) -> Config {
    Config {
        workers,
        metadata_max_age: Duration::from_millis(10),
        commit_interval: Duration::from_millis(10),
        // The watermark waits for every partition, so nothing is late.
        idle_timeout: Duration::from_secs(3600),
        ..place.config()
    }
}

pub(crate) fn follow(place: &Place, trap: &Trap, config: &Config) -> Running {
    let config = Config {
        follow: true,
        ..config.clone()
    };
    Engine::start(program(trap), place.log.clone(), &config).unwrap()
}

/// Waits for something while a run goes on.
pub(crate) fn until(running: &Running, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(!running.wait(Duration::from_millis(5)), "the run ended");
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
    }
}

pub(crate) fn reads(running: &Running, records: u64) {
    let progress = running.progress();
    until(running, "records are not read", || {
        progress.committed().read >= records
    });
}

/// What was sent: zone and time.
#[derive(Default)]
pub(crate) struct Sent(Vec<(u32, i64)>);

impl Sent {
    /// Sends a ride a second of this range to each of the partitions.
    pub(crate) fn send(
        &mut self,
        place: &Place,
        partitions: &[u32],
        seconds: std::ops::Range<i64>,
    ) {
        let mut writer = place.log.writer("rides").unwrap();
        for second in seconds {
            for partition in partitions {
                let zone = (second as u32 * 7 + partition) % 5;
                let time = TIME + second * 1_000;
                let value = format!(r#"{{"zone":{zone}}}"#);
                let record = SinkRecord {
                    topic: "rides",
                    partition: *partition,
                    timestamp: time,
                    key: Some(b"key"),
                    value: Some(value.as_bytes()),
                    headers: &[],
                };
                writer.send(&record).unwrap();
                self.0.push((zone, time));
            }
        }
        writer.flush().unwrap();
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// What the topics must hold once all windows are closed.
    pub(crate) fn verify(&self, place: &Place) {
        let mut expected: Vec<_> = self.0.iter().map(|(zone, _)| zone.to_string()).collect();
        let mut written = place.texts("zones");
        expected.sort();
        written.sort();
        assert_eq!(written, expected);
        let mut counts = BTreeMap::<Vec<u8>, u64>::new();
        for (zone, time) in &self.0 {
            let start = time - time % WINDOW;
            let key = [&zone.to_be_bytes()[..], &start.to_be_bytes()].concat();
            *counts.entry(key).or_default() += 1;
        }
        let written = place.read("counts").into_iter().flatten();
        let written: Vec<_> = written
            .map(|of| {
                let count = String::from_utf8(of.value.unwrap()).unwrap();
                (of.key.unwrap(), count.parse().unwrap())
            })
            .collect();
        assert_eq!(written.len(), counts.len());
        assert_eq!(written.into_iter().collect::<BTreeMap<_, _>>(), counts);
        let verdict =
            tiderace::runtime::check_with_inputs(&*place.log, place.path(), "app").unwrap();
        assert_eq!(verdict.faults, Vec::<String>::new());
        // Where added partitions begin is known, too.
        assert_eq!(verdict.input_records, Some(self.count()));
    }
}

pub(crate) fn entries(place: &Place) -> Vec<Value> {
    let texts = place.texts("app-epochs").into_iter();
    texts
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

/// The additions that the log tells of: epoch, partition and start.
fn added(place: &Place) -> Vec<(u64, u64, i64)> {
    let mut added = Vec::new();
    for entry in entries(place) {
        for decision in entry["decisions"].as_array().into_iter().flatten() {
            let of = &decision["added"];
            if of["topic"] == "rides" {
                let (partition, start) = (&of["partition"], &of["start"]);
                added.push((
                    entry["epoch"].as_u64().unwrap(),
                    partition.as_u64().unwrap(),
                    start.as_i64().unwrap(),
                ));
            }
        }
    }
    added
}

/// Follows rides while their topic grows from two partitions to four, and stops.
fn grown(workers: usize) -> (Place, Sent) {
    let (place, mut sent) = (place(), Sent::default());
    sent.send(&place, &[0, 1], 0..60);
    let running = follow(&place, &Trap::default(), &config(&place, workers));
    reads(&running, sent.count());
    place.log.add_partitions("rides", 4).unwrap();
    until(&running, "the growth is not noticed", || {
        added(&place).len() == 2
    });
    sent.send(&place, &[0, 1, 2, 3], 60..120);
    reads(&running, sent.count());
    running.stop_handle().stop();
    running.join().unwrap();
    (place, sent)
}

#[test]
fn added_partitions_are_read_without_a_restart_and_a_replay_does_the_same() {
    for (workers, then) in [(1, 2), (2, 1)] {
        let (place, sent) = grown(workers);
        let partitions: Vec<_> = added(&place).into_iter().map(|of| (of.1, of.2)).collect();
        assert_eq!(partitions, [(2, 0), (3, 0)]);
        let closed = place.texts("counts").len();
        assert!(closed > 0, "no window was closed while it was followed");
        place.forget_snapshots();
        // Every epoch comes to the digests that are in the log, or the run fails.
        let report = place
            .run_with(program(&Trap::default()), &config(&place, then))
            .unwrap();
        assert_eq!((report.counts.read, report.counts.late), (0, 0));
        sent.verify(&place);
        let starts = entries(&place);
        let starts: Vec<_> = starts.iter().filter(|it| it["kind"] == "start").collect();
        assert_eq!(starts.len(), 2);
        assert!(starts.iter().all(|start| start["added"].is_null()));
    }
}

#[test]
fn a_start_with_a_snapshot_of_after_the_growth_knows_the_partitions() {
    let (place, mut sent) = grown(1);
    sent.send(&place, &[3, 0, 2, 1], 120..130);
    let report = place
        .run_with(program(&Trap::default()), &config(&place, 2))
        .unwrap();
    assert_eq!((report.counts.read, report.counts.late), (40, 0));
    sent.verify(&place);
    let mut starts = entries(&place).into_iter();
    let last = starts.rfind(|entry| entry["kind"] == "start").unwrap();
    assert!(last["added"].is_null(), "they were added again: {last}");
}

/// The newest epoch that there is a snapshot of.
fn newest_snapshot(place: &Place) -> u64 {
    let files = std::fs::read_dir(place.path().join("state/app/snapshots")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let manifests = names.filter(|name| name.ends_with(".manifest"));
    let epochs = manifests.map(|name| name[..20].parse().unwrap_or(0));
    epochs.max().unwrap_or(0)
}

#[test]
fn a_crash_behind_the_growth_loses_nothing_with_a_snapshot_and_without_one() {
    for snapshots in [true, false] {
        let (place, mut sent, trap) = (place(), Sent::default(), Trap::default());
        let interval = Duration::from_millis(if snapshots { 20 } else { 3_600_000 });
        let config = Config {
            snapshot_interval: interval,
            ..config(&place, 2)
        };
        let running = follow(&place, &trap, &config);
        sent.send(&place, &[0, 1], 0..20);
        reads(&running, sent.count());
        // Records are there before the growth is noticed.
        place.log.add_partitions("rides", 3).unwrap();
        let mut second = 20;
        until(&running, "there is no snapshot of it", || {
            sent.send(&place, &[0, 1, 2], second..second + 5);
            second += 5;
            let grown = added(&place).first().map(|of| of.0);
            grown.is_some_and(|epoch| !snapshots || newest_snapshot(&place) >= epoch)
        });
        reads(&running, sent.count());
        trap.store(20, Ordering::SeqCst);
        sent.send(&place, &[0, 1, 2], second..second + 20);
        assert!(running.wait(Duration::from_secs(60)), "the trap is open");
        let error = running.join().unwrap_err();
        assert!(matches!(error, RunError::Panicked { .. }), "{error}");
        let running = Engine::start(program(&trap), place.log.clone(), &config).unwrap();
        let progress = running.progress();
        assert!(running.wait(Duration::from_secs(60)), "it does not end");
        assert_eq!(running.join().unwrap().counts.late, 0);
        let snapshot = progress.recovery().unwrap().snapshot;
        let behind = snapshot.is_some_and(|epoch| epoch >= added(&place)[0].0);
        assert_eq!(behind, snapshots, "{snapshot:?}");
        sent.verify(&place);
    }
}

#[test]
fn a_table_must_not_be_split_over_more_partitions() {
    let program = || {
        let builder = StreamsBuilder::new("app");
        let names = builder.global_table(NAMES);
        builder
            .stream(RIDES)
            .left_join(
                &names,
                |_, ride| ride.zone.to_string(),
                |ride, name| name.map_or(0, |_| ride.zone),
            )
            .to(ZONES);
        builder.build().unwrap()
    };
    let place = Place::new(&[("rides", 1), ("names", 1), ("zones", 1)]);
    let following = Config {
        follow: true,
        ..config(&place, 1)
    };
    let running = Engine::start(program(), place.log.clone(), &following).unwrap();
    let mut sent = Sent::default();
    sent.send(&place, &[0], 0..3);
    reads(&running, 3);
    place.log.add_partitions("names", 2).unwrap();
    assert!(running.wait(Duration::from_secs(60)), "it goes on");
    let live = running.join().unwrap_err();
    let restarted = place.run(program()).unwrap_err();
    for error in [live, restarted] {
        assert_eq!(error.exit_code(), 64, "{error}");
        let text = error.to_string();
        for part in [
            "topic `names` has 2 partitions now and had 1",
            "which of them is the latest",
            "--application-id",
        ] {
            assert!(text.contains(part), "`{part}` is missing: {text}");
        }
    }
    assert_eq!(place.texts("zones").len(), 3);
}

#[test]
fn an_output_that_grows_gets_records_in_its_new_partitions_from_the_next_start_on() {
    let place = Place::new(&[("rides", 1), ("zones", 1)]);
    let config = Config {
        follow: true,
        ..config(&place, 1)
    };
    let keyed = |keys: std::ops::Range<u32>| {
        let mut writer = place.log.writer("rides").unwrap();
        for key in keys {
            let record = SinkRecord {
                key: Some(&key.to_be_bytes()),
                ..crate::place::ride(0, r#"{"zone":1}"#)
            };
            writer.send(&record).unwrap();
        }
        writer.flush().unwrap();
    };
    let start = || Engine::start(zones(OnError::Fail), place.log.clone(), &config).unwrap();
    let running = start();
    keyed(0..50);
    reads(&running, 50);
    place.log.add_partitions("zones", 3).unwrap();
    keyed(50..100);
    reads(&running, 100);
    let counts = || place.read("zones").iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(counts(), [100, 0, 0]);
    running.stop_handle().stop();
    running.join().unwrap();
    let running = start();
    keyed(0..50);
    reads(&running, 50);
    running.stop_handle().stop();
    running.join().unwrap();
    assert!(counts().iter().all(|count| *count > 0), "{:?}", counts());
    let verdict = tiderace::runtime::check_with_inputs(&*place.log, place.path(), "app").unwrap();
    assert_eq!((verdict.records, &verdict.faults[..]), (150, &[][..]));
}
