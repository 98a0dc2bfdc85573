//! How a count's cost depends on how many records a poll brings and an epoch holds; and what an engine costs that has
//! nothing to do. What is judged compares the engine with itself, so that no floor of the loop is asked for.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark waits and gives up by the clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::{BuildError, Config, Engine, StreamsBuilder, Topic, Topology};
use tiderace_benches::measure::cost;

use super::contest::{self, Costs, side};
use super::keyed::{KEPT_OUT, count_topology, running_count};
use super::log::{Input, MemoryLog};
use super::outputs::Same;
use super::pairs::{self, PAIRS};
use super::side::{by_hand, engine};
use crate::Failure;
use crate::suite::{Context, Figure, Goal, Report};

const RECORDS: usize = 4_000_000;
const KEYS: u64 = 10_000;

/// Records of a poll, or of an epoch.
const SIZES: [usize; 4] = [100_000, 10_000, 1_000, 100];

/// Rounds for each pair of polls' sizes, whose runs are short and which are to be told apart to a few percent.
const ROUNDS: usize = 5;

/// Stateful steps of the engine that idles, each with a sink behind it.
const STEPS: usize = 10;
const SINKS: [&str; STEPS] = [
    "idle-0", "idle-1", "idle-2", "idle-3", "idle-4", "idle-5", "idle-6", "idle-7", "idle-8",
    "idle-9",
];

/// How long it is looked at, a sample each.
const LOOKS: [Duration; 3] = [Duration::from_secs(1); 3];

/// How long it may take until it idles.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let records = pairs::many(with.options.effort(), RECORDS);
    let pairs = pairs::make(records, KEYS);
    let input = pairs::input(&pairs);
    let directory = contest::directory(with)?;
    let of_engine = |poll: usize, epoch: u64| {
        let config = Config {
            epoch_records: epoch,
            ..Config::default()
        };
        let inputs = [Input {
            poll,
            ..input.clone()
        }];
        engine(count_topology()?, &inputs, config, directory.path())
    };
    let full = Config::default().epoch_records;
    let poll = |size: usize| side(format!("{size} a poll"), move || of_engine(size, full));
    let epoch = |size: usize| {
        side(format!("{size} an epoch"), move || {
            of_engine(10_000, size as u64)
        })
    };
    let looped = || {
        side("loop", || {
            by_hand(KEPT_OUT.name(), |sink| {
                running_count(&pairs, full as usize, sink)
            })
        })
    };
    let mut sides: Vec<_> = SIZES.into_iter().map(poll).collect();
    sides.push(looped());
    let polls = contest::run_often(with, (records, ROUNDS), Same::LastOfKey, &sides)?;
    let mut sides: Vec<_> = SIZES.into_iter().map(epoch).collect();
    sides.push(looped());
    let epochs = contest::run(with, records, Same::LastOfKey, &sides)?;
    let ratio = |name: &str, of: &[Costs], goal| {
        let (least, most) = (&of[SIZES.len() - 1], &of[0]);
        Figure::ratio(name, &least.cpu, &most.cpu, goal)
    };
    with.progress.say("the engine idles");
    Ok(Report {
        load: format!(
            "{records} pairs of u64, a count of {KEYS} keys, one worker; and {STEPS} such steps with a sink each that idle"
        ),
        figures: vec![
            ratio(
                "CPU, 100 records a poll to 100,000",
                &polls,
                Some(Goal::AtMost(1.1)),
            ),
            ratio("CPU, 100 records an epoch to 100,000", &epochs, None),
            Figure {
                name: "CPU of an idle engine, % of a core".to_owned(),
                samples: idle(with)?,
                goal: Some(Goal::AtMost(2.0)),
            },
        ],
        tables: vec![
            contest::table(format!("records a poll, epochs of up to {full}"), &polls),
            contest::table("records an epoch, 10,000 a poll", &epochs),
        ],
        void: None,
    })
}

fn idle_topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("idle");
    let pairs = builder.stream(PAIRS);
    for (step, sink) in (0..).zip(SINKS) {
        pairs
            .group_by(move |time| time.rotate_left(step))
            .count()
            .to(Topic::<u64, u64>::bytes(sink));
    }
    builder.build()
}

/// Percent of a core that a run takes which follows its input and has read all of it.
fn idle(with: &Context<'_>) -> Result<Vec<f64>, Failure> {
    let pairs = pairs::make(1_000, KEYS);
    let log = MemoryLog::new(&[pairs::input(&pairs)], &SINKS);
    let directory = contest::directory(with)?;
    let config = Config {
        follow: true,
        data_dir: directory.path().to_owned(),
        ..Config::default()
    };
    let running = Engine::start(idle_topology()?, Arc::new(log), &config)?;
    let progress = running.progress();
    let begun = Instant::now();
    while progress.committed().read < pairs.len() as u64 {
        if running.wait(Duration::from_millis(10)) || begun.elapsed() > PATIENCE {
            running.stop_handle().stop();
            let ended = running.join()?;
            return Err(format!("the engine does not come to idle: {ended:?}").into());
        }
    }
    let samples = LOOKS.map(|look| {
        let ((), used) = cost(|| std::thread::sleep(look));
        100.0 * used.cpu.as_secs_f64() / used.wall.as_secs_f64()
    });
    running.stop_handle().stop();
    running.join()?;
    Ok(samples.into())
}
