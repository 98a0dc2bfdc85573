//! Rides of JSON to a count of tumbling windows, beside a loop; and what a second worker on a second core is worth, on
//! that work and on a count that is hardly any.

use std::sync::Arc;
use std::time::Duration;

use tiderace::connect::partition_for;
use tiderace::{BuildError, Config, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};
use tiderace_benches::machine::{OnCores, Waited, wait_for_idle};
use tiderace_benches::zone_counts::{ZoneCount, ZoneCounts};
use tiderace_pipelines::taxi::Ride;
use tiderace_testing::kills::Random;

use super::contest::{self, Costs, side};
use super::keyed::count_topology;
use super::log::Input;
use super::outputs::Same;
use super::pairs;
use super::records::{Pair, Records, partition};
use super::side::{Ran, Sink, by_hand, engine};
use super::texts::Texts;
use crate::Failure;
use crate::suite::topics::write_ride;
use crate::suite::{Context, Effort, Figure, Goal, Report};

const RIDES: Topic<Option<u32>, Ride> =
    Topic::<Option<u32>, Ride>::json("rides").timestamp(|ride| ride.tpep_pickup_datetime.into());
const COUNTS: Topic<Windowed<u32>, u64> = Topic::bytes("rides-per-zone");

const PARTITIONS: u32 = 4;
const ZONES: u64 = 265;
/// Records of a poll: as many as Kafka's client and the embedded log bring.
const POLL: usize = 1_000;
/// Records of an epoch at most, as by default.
const EPOCH: usize = 100_000;

/// When rides begin: 2020-07-01, in milliseconds since 1970.
const BEGIN: i64 = 1_593_561_600_000;
/// Rides a second of event time.
const PACE: i64 = 4_000;
/// How far a ride may come behind later ones, in milliseconds; its text has whole seconds.
const DISORDER: u64 = 2_000;
const GRACE: i64 = 3_000;
const WINDOW: i64 = 10_000;

/// CPU nanoseconds of the loop for a ride, on a machine with the reference's calibration.
const FLOOR: f64 = 427.0;

/// How long it is waited for cores that others leave alone, and how many others may use then at most.
const PATIENCE: Duration = Duration::from_secs(30);
const BUSY: f64 = 1.0;

/// Keys of the count that two workers share.
const KEYS: u64 = 10_000;

fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("rides");
    let millis = |of: i64| tiderace::millis(of.unsigned_abs());
    builder
        .stream(RIDES)
        .filter(|ride| ride.trip_distance > 0.0)
        .group_by(|ride| ride.pu_location_id)
        .windowed_by(TimeWindows::of_size(millis(WINDOW)).grace(millis(GRACE)))
        .count()
        .emit_on_close()
        .to(COUNTS);
    builder.build()
}

/// Makes rides, in partitions by their zones.
fn rides(many: usize) -> Result<Vec<Arc<Texts>>, Failure> {
    let mut partitions: Vec<Texts> = (0..PARTITIONS).map(|_| Texts::default()).collect();
    let mut random = Random::new(5);
    for nth in 0..many {
        let zone = 1 + random.number() % ZONES;
        let behind = (random.number() % DISORDER) as i64;
        let time = (BEGIN + nth as i64 * 1_000 / PACE - behind).max(BEGIN);
        let partition = partition_for(&(zone as u32).to_be_bytes(), PARTITIONS) as usize;
        partitions[partition].push(time, |bytes| {
            write_ride(bytes, &mut random, time, zone.to_string().as_bytes())
        })?;
    }
    Ok(partitions.into_iter().map(Arc::new).collect())
}

/// Takes the rides of a poll from each partition in turn, as a source brings them.
fn count_by_hand(partitions: &[Arc<Texts>], sink: &mut Sink) -> Result<(), Failure> {
    let mut counts = ZoneCounts::new(WINDOW, GRACE, partitions.len());
    let mut closed = Vec::new();
    let longest = partitions.iter().map(|of| of.count()).max().unwrap_or(0);
    let mut taken = 0;
    for from in (0..longest).step_by(POLL) {
        for (slot, rides) in partitions.iter().enumerate() {
            let until = rides.count().min(from + POLL);
            for index in from..until {
                counts.take(slot, rides.value(index).0)?;
            }
            taken += until.saturating_sub(from);
        }
        counts.close_passed(&mut closed);
        send(&mut closed, sink)?;
        if taken >= EPOCH {
            sink.commit()?;
            taken = 0;
        }
    }
    counts.close_all(&mut closed);
    send(&mut closed, sink)
}

fn send(closed: &mut Vec<ZoneCount>, sink: &mut Sink) -> Result<(), Failure> {
    for count in closed.drain(..) {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&count.zone.to_be_bytes());
        key[4..].copy_from_slice(&count.start.to_be_bytes());
        sink.count(&key, count.rides, count.latest)?;
    }
    Ok(())
}

/// Rounds for each pair where two workers take turns with one: two cores are seldom both undisturbed.
const ROUNDS: usize = 3;

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let effort = with.options.effort();
    let many = match effort {
        Effort::Quick => 100_000,
        Effort::Usual | Effort::Full => 2_000_000,
    };
    with.progress.say(&format!("{many} rides are made"));
    let partitions = rides(many)?;
    let bytes: usize = partitions.iter().map(|of| of.total()).sum();
    let inputs = [Input {
        topic: RIDES.name(),
        partitions: partitions.iter().map(partition).collect(),
        poll: POLL,
    }];
    let directory = contest::directory(with)?;
    let of_engine = |workers| -> Result<Ran, Failure> {
        let config = Config {
            workers,
            ..Config::default()
        };
        engine(topology()?, &inputs, config, directory.path())
    };
    let sides = [
        side("engine", || of_engine(1)),
        side("loop", || {
            by_hand(COUNTS.name(), |sink| count_by_hand(&partitions, sink))
        }),
    ];
    let one = contest::run(with, many, Same::All, &sides)?;
    let busy = wait(with)?;
    let workers = contest::run_often(with, (many, ROUNDS), Same::All, &pinned(&of_engine))?;
    let (counted, counts) = count_workers(with)?;
    let speed_up = |name: &str, costs: &[Costs], least| {
        let goal = Some(Goal::AtLeast(least));
        Figure::ratio(name, &costs[0].wall, &costs[1].wall, goal)
    };
    let inflation =
        |name: &str, costs: &[Costs]| Figure::ratio(name, &costs[1].cpu, &costs[0].cpu, None);
    let ratio = "CPU, engine to loop";
    Ok(Report {
        load: format!(
            "{many} rides of {} bytes of JSON in {PARTITIONS} partitions, counted by zone in windows of 10 s",
            bytes / many
        ),
        figures: vec![
            Figure::ratio(ratio, &one[0].cpu, &one[1].cpu, Some(Goal::AtMost(1.15))),
            speed_up("rides, rate of two workers to one's", &workers, 1.8),
            inflation("rides, CPU of two workers to one's", &workers),
            speed_up("u64 keys, rate of two workers to one's", &counts, 1.0),
            inflation("u64 keys, CPU of two workers to one's", &counts),
        ],
        tables: vec![
            contest::table("rides", &one),
            contest::table("rides, workers on so many cores", &workers),
            contest::table(
                format!("{counted} pairs of u64, {KEYS} keys counted, workers on so many cores"),
                &counts,
            ),
        ],
        void: contest::void(with, &one[1], FLOOR).or(busy),
    })
}

/// Waits for idle cores, and says why rates of two workers say nothing if there are none.
fn wait(with: &Context<'_>) -> Result<Option<String>, Failure> {
    if with.options.effort() == Effort::Quick {
        return Ok(None);
    }
    let Waited { waited, busy_cores } = wait_for_idle(PATIENCE)?;
    with.progress.say(&format!(
        "others use {busy_cores:.2} cores, after {:.0} s of waiting",
        waited.as_secs_f64()
    ));
    let busy = format!("others use {busy_cores:.1} cores: rates of two workers say nothing");
    Ok((busy_cores >= BUSY).then_some(busy))
}

/// One worker on one core, and two on two.
fn pinned<'a>(run: &'a dyn Fn(usize) -> Result<Ran, Failure>) -> [contest::Side<'a>; 2] {
    [1, 2].map(|workers| {
        side(format!("engine, workers on cores: {workers}"), move || {
            let _pinned = OnCores::first(workers)?;
            run(workers)
        })
    })
}

/// A count of hardly any work, whose every record changes hands.
fn count_workers(with: &Context<'_>) -> Result<(usize, Vec<Costs>), Failure> {
    let records = pairs::many(with.options.effort(), 8_000_000);
    let pairs = pairs::make(records, KEYS);
    let partitions = PARTITIONS as usize;
    let deal = |number| {
        let pairs = pairs.iter().skip(number).step_by(partitions);
        partition(&Arc::new(pairs.copied().collect::<Vec<Pair>>()))
    };
    let inputs = [Input {
        partitions: (0..partitions).map(deal).collect(),
        ..pairs::input(&pairs)
    }];
    let directory = contest::directory(with)?;
    let run = |workers| -> Result<Ran, Failure> {
        let config = Config {
            workers,
            ..Config::default()
        };
        engine(count_topology()?, &inputs, config, directory.path())
    };
    let costs = contest::run_often(with, (records, ROUNDS), Same::LastOfKey, &pinned(&run))?;
    Ok((records, costs))
}
