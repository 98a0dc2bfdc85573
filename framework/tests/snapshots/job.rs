//! Rides counted by zone: in windows on close, without a window as a table, and joined with a table of names.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tiderace::connect::SinkRecord;
use tiderace::runtime::Recovery;
use tiderace::{
    Config, Engine, Report, RunError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed,
};

use crate::place::{Place, TIME};

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Trip {
    zone: u32,
    miles: f64,
}

const TRIPS: Topic<String, Trip> = Topic::json("trips");
const NAMES: Topic<String, String> = Topic::json("names");
const CLOSED: Topic<Windowed<u32>, (f64, Option<String>)> = Topic::json("closed");
const TOTALS: Topic<u32, u64> = Topic::json("totals");

/// Topics and their partitions.
const TOPICS: [(&str, u32); 4] = [("trips", 4), ("names", 1), ("closed", 3), ("totals", 2)];

/// Trips of all partitions together.
pub(crate) const TRIPS_IN_ALL: u64 = 4_000;

/// When user code is to panic: after so many trips, never if negative.
#[derive(Clone, Default)]
pub(crate) struct Trap(Arc<AtomicI64>);

impl Trap {
    pub(crate) fn after(trips: i64) -> Self {
        Trap(Arc::new(AtomicI64::new(trips)))
    }

    fn step(&self) {
        assert!(self.0.fetch_sub(1, Ordering::SeqCst) != 1, "the trap");
    }
}

/// What can be changed in the program.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) window: Duration,
    /// The name of the step with the totals; without one there are none.
    pub(crate) totals: Option<&'static str>,
    /// Trips that are shorter are left out.
    pub(crate) least: f64,
    pub(crate) trap: Trap,
}

impl Default for Program {
    fn default() -> Self {
        Program {
            window: Duration::from_secs(10),
            totals: Some("totals"),
            least: 0.0,
            trap: Trap::default(),
        }
    }
}

impl Program {
    pub(crate) fn build(self) -> Topology {
        let Program {
            window,
            totals,
            least,
            trap,
        } = self;
        let builder = StreamsBuilder::new("app");
        let names = builder.global_table(NAMES);
        let trips = builder
            .stream(TRIPS)
            .filter(move |trip| trip.miles >= least)
            .peek(move |_| trap.step())
            .group_by(|trip| trip.zone);
        trips
            .windowed_by(TimeWindows::of_size(window).grace(Duration::from_secs(5)))
            .aggregate(0.0, |sum, trip: Trip| sum + trip.miles)
            .named("miles")
            .emit_on_close()
            .left_join_with_key(
                &names,
                |of, _| of.key.to_string(),
                |_, miles, name| (miles, name.cloned()),
            )
            .to(CLOSED);
        if let Some(name) = totals {
            trips.count().named(name).to_stream().to(TOTALS);
        }
        builder.build().unwrap()
    }
}

/// A place with the names of the zones, and no trips yet.
pub(crate) fn place() -> Place {
    let place = Place::new(&TOPICS);
    for zone in 0..5 {
        let name = format!("\"zone {zone}\"");
        place.send(&[SinkRecord {
            topic: "names",
            partition: 0,
            timestamp: TIME,
            key: Some(zone.to_string().as_bytes()),
            value: Some(name.as_bytes()),
            headers: &[],
        }]);
    }
    place
}

/// Sends the trips of this range: round robin over the partitions, in nearly ascending order of time, some of them
/// too late.
pub(crate) fn send(place: &Place, trips: std::ops::Range<u64>) {
    use tiderace::connect::Log;
    let mut writer = place.log.writer("trips").unwrap();
    for number in trips {
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let late = if random.is_multiple_of(97) {
            60_000
        } else {
            (random % 3_000) as i64
        };
        let value = format!(
            r#"{{"zone":{},"miles":{}}}"#,
            random % 7,
            (random % 1_000) as f64 / 7.0
        );
        writer
            .send(&SinkRecord {
                topic: "trips",
                partition: (number % 4) as u32,
                timestamp: TIME + number as i64 * 50 - late,
                key: Some(b"key"),
                value: Some(value.as_bytes()),
                headers: &[],
            })
            .unwrap();
    }
    writer.flush().unwrap();
}

/// Runs to the end of the input and says how the run got back to where it had been.
pub(crate) fn run(
    place: &Place,
    program: Program,
    config: &Config,
) -> (Result<Report, RunError>, Option<Recovery>) {
    let running = match Engine::start(program.build(), place.log.clone(), config) {
        Ok(running) => running,
        Err(error) => return (Err(error), None),
    };
    let progress = running.progress();
    assert!(
        running.wait(Duration::from_secs(60)),
        "the run does not end"
    );
    (running.join(), progress.recovery())
}

/// Follows the input until so many trips more have been read, then stops in order.
pub(crate) fn follow(place: &Place, config: &Config, trips: u64) -> (Report, Recovery) {
    let config = Config {
        follow: true,
        ..config.clone()
    };
    let running = Engine::start(Program::default().build(), place.log.clone(), &config).unwrap();
    let progress = running.progress();
    while progress.committed().read < trips {
        let ended = running.wait(Duration::from_millis(5));
        assert!(!ended, "the run ended by itself");
    }
    running.stop_handle().stop();
    assert!(
        running.wait(Duration::from_secs(60)),
        "the run does not end"
    );
    (running.join().unwrap(), progress.recovery().unwrap())
}

/// Key, value and timestamp of every closed window, by partition, and the last total of each zone.
pub(crate) fn results(
    place: &Place,
) -> (Vec<Vec<String>>, std::collections::BTreeMap<String, String>) {
    let text = |bytes: Option<Vec<u8>>| bytes.unwrap().escape_ascii().to_string();
    let closed = place.read("closed").into_iter().map(|partition| {
        let line = |record: crate::support::Owned| {
            format!(
                "{} {} {}",
                record.timestamp,
                text(record.key),
                text(record.value)
            )
        };
        partition.into_iter().map(line).collect()
    });
    let totals = place.read("totals").into_iter().flatten();
    (
        closed.collect(),
        totals
            .map(|record| (text(record.key), text(record.value)))
            .collect(),
    )
}
