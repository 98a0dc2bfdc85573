//! A chain of eight stateless steps, which the engine fuses, beside the same in a loop.
//!
//! Behind them a ninth lets few records through. What eight steps cost is what a run with all nine costs beyond one with
//! the last alone: reading, epochs and commits are in both. The goal is in nanoseconds, no ratio to the loop, for which the
//! reference has no floor.

use tiderace::{BuildError, StreamsBuilder, Topic, Topology};

use super::contest::{self, Costs, side};
use super::pairs::{self, EPOCH, PAIRS};
use super::records::Pair;
use super::side::{Sink, by_hand, engine};
use crate::Failure;
use crate::suite::memory::outputs::Same;
use crate::suite::{Context, Figure, Goal, Report};

const RECORDS: usize = 8_000_000;
const OUT: Topic<u64, u64> = Topic::bytes("chained");

/// Rounds for each pair: a difference is told from runs that take four times as much, and may be off by as much as it is.
const ROUNDS: usize = 9;

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a number is among the few that the last step lets through, so that the steps are what costs.
fn is_rare(number: u64) -> bool {
    number % 1_024 == 7
}

fn chain() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("chain");
    builder
        .stream(PAIRS)
        .map_values(|number| number.wrapping_mul(ODD))
        .filter(|number| number >> 56 != 0)
        .map_values(|number| number ^ (number >> 29))
        .map_values(|number| number.rotate_left(17))
        .filter_not(|number| number & 0xff == 0)
        .map_values(|number| number.wrapping_add(ODD))
        .map_values(|number| number ^ (number >> 32))
        .map_values(|number| number.wrapping_mul(ODD))
        .filter(|number| is_rare(*number))
        .to(OUT);
    builder.build()
}

/// Reading and writing with the last step alone.
fn last_step() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("chain");
    builder
        .stream(PAIRS)
        .filter(|number| is_rare(*number))
        .to(OUT);
    builder.build()
}

fn chain_by_hand(pairs: &[Pair], sink: &mut Sink) -> Result<(), Failure> {
    for epoch in pairs.chunks(EPOCH) {
        for pair in epoch {
            let number = (pair.time() as u64).wrapping_mul(ODD);
            if number >> 56 == 0 {
                continue;
            }
            let number = (number ^ (number >> 29)).rotate_left(17);
            if number & 0xff == 0 {
                continue;
            }
            let number = number.wrapping_add(ODD);
            let number = (number ^ (number >> 32)).wrapping_mul(ODD);
            if is_rare(number) {
                sink.count(&pair.key().to_be_bytes(), number, pair.time())?;
            }
        }
        sink.commit()?;
    }
    Ok(())
}

fn last_step_by_hand(pairs: &[Pair], sink: &mut Sink) -> Result<(), Failure> {
    for epoch in pairs.chunks(EPOCH) {
        for pair in epoch {
            if is_rare(pair.time() as u64) {
                sink.count(&pair.key().to_be_bytes(), pair.time() as u64, pair.time())?;
            }
        }
        sink.commit()?;
    }
    Ok(())
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let records = pairs::many(with.options.effort(), RECORDS);
    let pairs = pairs::make(records, 1_000_000);
    let inputs = [pairs::input(&pairs)];
    let directory = contest::directory(with)?;
    let of_engine = |topology: fn() -> Result<Topology, BuildError>| {
        engine(topology()?, &inputs, pairs::config(), directory.path())
    };
    let of_loop = |work: fn(&[Pair], &mut Sink) -> Result<(), Failure>| {
        by_hand(OUT.name(), |sink| work(&pairs, sink))
    };
    let [eight, one] = contest::run_beside(
        with,
        (records, ROUNDS),
        Same::All,
        [
            &[
                side("engine, 8 steps and the last", || of_engine(chain)),
                side("loop, 8 steps and the last", || of_loop(chain_by_hand)),
            ],
            &[
                side("engine, the last step alone", || of_engine(last_step)),
                side("loop, the last step alone", || of_loop(last_step_by_hand)),
            ],
        ],
    )?;
    let further = |eight: &Costs, one: &Costs| -> Vec<f64> {
        let pairs = eight.cpu.iter().zip(&one.cpu);
        pairs.map(|(eight, one)| eight - one).collect()
    };
    let figure = |name: &str, samples, goal| Figure {
        name: name.to_owned(),
        samples,
        goal,
    };
    Ok(Report {
        load: format!(
            "{records} pairs of u64 through 8 stateless steps, one worker, {EPOCH} a poll and an epoch"
        ),
        figures: vec![
            figure(
                "CPU ns a record, 8 steps, engine",
                further(&eight[0], &one[0]),
                Some(Goal::AtMost(6.0)),
            ),
            figure(
                "CPU ns a record, 8 steps, loop",
                further(&eight[1], &one[1]),
                None,
            ),
            figure(
                "CPU ns a record, with reading, epochs and commits, engine",
                eight[0].cpu.clone(),
                None,
            ),
            Figure::ratio("CPU, engine to loop", &eight[0].cpu, &eight[1].cpu, None),
        ],
        tables: vec![contest::table("stateless steps", &[eight, one].concat())],
        void: None,
    })
}
