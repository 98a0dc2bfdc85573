//! `soak`: a count that runs for long at a steady rate, topic to topic; whether its memory grows, and whether commits come
//! later in the end than in the beginning.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tempfile::TempDir;
use tiderace_benches::machine::Resident;
use tiderace_testing::kafka::Kafka;

use super::feed::{Feed, Steady};
use super::job::{self, EVENTS};
use super::place::Place;
use super::process::Process;
use super::verify::verify;
use super::watch::Watch;
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// Keys that are counted.
const KEYS: u64 = 10_000;

/// Most growth of memory, in MB a minute.
const SLOPE: f64 = 1.0;

/// Most of the latency of the last third, in times of the first's.
const DRIFT: f64 = 1.2;

/// Part of the events that must have been sent, or the machine is too slow for the rate.
const HELD: f64 = 0.995;

/// How long the engine may take for what is left when no more comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Size {
    rate: u64,
    time: Duration,
    /// What is taken for the start, and not looked at.
    warm_up: Duration,
}

impl Size {
    fn of(effort: Effort) -> Self {
        let seconds = |rate, time, warm_up| Size {
            rate,
            time: Duration::from_secs(time),
            warm_up: Duration::from_secs(warm_up),
        };
        match effort {
            Effort::Quick => seconds(10_000, 3, 1),
            Effort::Usual | Effort::Full => seconds(200_000, 110, 20),
        }
    }
}

/// What was seen: seconds since the feed began, and what was then.
#[derive(Default)]
struct Seen {
    /// Bytes of resident memory.
    memory: Vec<(f64, f64)>,
    /// Seconds that the last event of an epoch waited until its commit was seen.
    latency: Vec<(f64, f64)>,
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    let size = Size::of(options.effort());
    std::fs::create_dir_all(&options.dir)?;
    let directory = TempDir::with_prefix_in("soak-", &options.dir)?;
    // A broker of its own, as in `recovery`: the topics have the names that its programs give them.
    let broker = match options.embedded() {
        true => None,
        false => Some(Kafka::start_measured().ok_or("a broker needs Java 17 and Maven")?),
    };
    let place = Place {
        directory: directory.path().to_owned(),
        brokers: broker.as_ref().map(|it| it.bootstrap().to_owned()),
    };
    place.create_topics()?;
    let feed = Feed::every_key(&place, EVENTS, KEYS)?;
    let job = job::Options::new(&place, 1)
        .every(Duration::from_secs(10), Duration::from_millis(100))
        .following();
    let mut process = Process::start(&job)?;
    let mut watch = Watch::open(&place)?;
    let before = feed.sent();
    let steady = feed.steady(size.rate);
    let seen = look(with, &size, &steady, &mut watch, &mut process)?;
    let feed = steady.stop()?;
    let sent = feed.sent() - before;
    let begun = Instant::now();
    while watch.read < feed.sent() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} of {} events counted", watch.read, feed.sent()).into());
        }
        watch.take(Duration::from_millis(5))?;
        process.hear()?;
    }
    process.stop()?;
    verify(&place, feed.counts())?;
    let on = broker.map_or("the embedded log", |_| "Kafka");
    Ok(report(&seen, &size, sent, on))
}

/// Looks on while the feed runs.
fn look(
    with: &Context<'_>,
    size: &Size,
    steady: &Steady,
    watch: &mut Watch,
    process: &mut Process,
) -> Result<Seen, Failure> {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    while begun.elapsed() < size.time {
        for epoch in watch.take(Duration::from_millis(1))? {
            let waiting = steady.sent().saturating_sub(epoch.read);
            let at = begun.elapsed().as_secs_f64();
            seen.latency.push((at, waiting as f64 / size.rate as f64));
        }
        process.hear()?;
        let second = begun.elapsed().as_secs() as usize;
        if seen.memory.len() <= second {
            let resident = Resident::of(process.id())?.now;
            let at = begun.elapsed().as_secs_f64();
            seen.memory.push((at, resident as f64));
            if second.is_multiple_of(10) {
                let waiting = steady.sent().saturating_sub(watch.read);
                with.progress.say(&format!(
                    "{second} s: {:.1} MB resident, {waiting} events waiting",
                    resident as f64 / 1e6
                ));
            }
        }
    }
    Ok(seen)
}

fn report(seen: &Seen, size: &Size, sent: u64, on: &str) -> Report {
    let behind = |of: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let warm = size.warm_up.as_secs_f64();
        of.iter().copied().filter(|(at, _)| *at >= warm).collect()
    };
    let (memory, latency) = (behind(&seen.memory), behind(&seen.latency));
    let thirds = thirds(&latency);
    let p99: Vec<f64> = thirds.iter().map(|of| quantile(of, 0.99)).collect();
    let p50: Vec<f64> = thirds.iter().map(|of| quantile(of, 0.5)).collect();
    let held = sent as f64 / (size.rate as f64 * size.time.as_secs_f64());
    let names = ["first third", "second third", "last third"];
    let rows = names.iter().zip(p50.iter().zip(&p99));
    Report {
        load: format!(
            "a running count over {KEYS} keys on {on}, {} events a second for {} s, a commit every 100 ms; the first {} s are \
             not looked at",
            size.rate,
            size.time.as_secs(),
            size.warm_up.as_secs()
        ),
        tables: vec![
            Table {
                title: "latency of commits".to_owned(),
                columns: vec!["p50 ms".to_owned(), "p99 ms".to_owned()],
                rows: rows
                    .map(|(name, (p50, p99))| ((*name).to_owned(), vec![vec![*p50], vec![*p99]]))
                    .collect(),
            },
            Table {
                title: "resident memory".to_owned(),
                columns: vec!["MB, every second".to_owned()],
                rows: vec![(
                    "engine".to_owned(),
                    vec![seen.memory.iter().map(|(_, bytes)| bytes / 1e6).collect()],
                )],
            },
        ],
        figures: vec![
            Figure {
                name: "growth of memory, MB a minute".to_owned(),
                samples: vec![slope(&memory) * 60.0 / 1e6],
                goal: Some(Goal::AtMost(SLOPE)),
            },
            Figure::ratio(
                "p99 of the latency of commits, last third to first",
                &p99[2..],
                &p99[..1],
                Some(Goal::AtMost(DRIFT)),
            ),
        ],
        void: (held < HELD)
            .then(|| format!("{:.1} % of the events were sent in time", held * 100.0)),
    }
}

/// The values of the first, second and last third of the time.
fn thirds(of: &[(f64, f64)]) -> [Vec<f64>; 3] {
    let (Some((begin, _)), Some((end, _))) = (of.first(), of.last()) else {
        return Default::default();
    };
    let mut thirds: [Vec<f64>; 3] = Default::default();
    for (at, value) in of {
        let third = (at - begin) / (end - begin).max(f64::MIN_POSITIVE) * 3.0;
        thirds[(third as usize).min(2)].push(*value);
    }
    thirds
}

/// A quantile of seconds, in milliseconds; 0 of none.
fn quantile(seconds: &[f64], quantile: f64) -> f64 {
    let mut micros = Histogram::<u64>::new(3).expect("three digits are few enough");
    for each in seconds {
        micros += (each * 1e6) as u64;
    }
    micros.value_at_quantile(quantile) as f64 / 1e3
}

/// By how much the second value grows with the first: least squares.
fn slope(of: &[(f64, f64)]) -> f64 {
    let count = of.len() as f64;
    let mean = |each: fn(&(f64, f64)) -> f64| of.iter().map(each).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let (mut rise, mut run) = (0.0, 0.0);
    for (at, value) in of {
        rise += (at - x) * (value - y);
        run += (at - x) * (at - x);
    }
    if run > 0.0 { rise / run } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line_through_the_points() {
        let points: Vec<_> = (0..10)
            .map(|at| (f64::from(at), 5.0 + 3.0 * f64::from(at)))
            .collect();
        assert!((slope(&points) - 3.0).abs() < 1e-9);
        assert_eq!(slope(&points[..1]), 0.0);
        assert_eq!(slope(&[]), 0.0);
    }

    #[test]
    fn thirds_are_of_the_time_and_not_of_the_points() {
        let points = [
            (20.0, 1.0),
            (21.0, 2.0),
            (22.0, 3.0),
            (65.0, 4.0),
            (110.0, 5.0),
        ];
        let [first, second, last] = thirds(&points);
        assert_eq!(
            (first, second, last),
            (vec![1.0, 2.0, 3.0], vec![4.0], vec![5.0])
        );
    }
}
