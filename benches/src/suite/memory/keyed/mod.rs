//! Keyed state over pairs of `u64`: a running count behind an exchange, tumbling and hopping windows, by the whole engine.
//! `operators` has, and judges, what the operators take of it.

mod by_hand;
mod topologies;

pub(super) use self::by_hand::{running_count, tumbling};
pub(super) use self::topologies::{KEPT_OUT, SAMPLE, count_topology};

use std::time::Duration;

use self::by_hand::hopping;
use self::topologies::{HOPS, TUMBLED, hopping_topology, tumbling_topology};
use super::contest::{self, Costs, side};
use super::outputs::Same;
use super::pairs::{self, EPOCH};
use super::side::{by_hand, engine};
use crate::Failure;
use crate::suite::{Context, Figure, Goal, Report, Table};

const RECORDS: usize = 8_000_000;
/// Of hopping windows, a record of which the engine may have to count in sixty.
const FEWER: usize = 2_000_000;
const WIDE_KEYS: u64 = 1_000_000;
const KEYS: u64 = 10_000;

/// CPU nanoseconds that counting a million keys takes a loop, on a machine with the reference's calibration.
const COUNT_FLOOR: f64 = 26.0;

const SECOND: i64 = 1_000;

/// A tumbling window: 100,000 records.
const WINDOW: i64 = 100 * SECOND;

/// Hopping windows of one advance, so that as many results go out: each record lies in 5 or in 60 of them.
const ADVANCE: i64 = 10 * SECOND;

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let counted = run_count(with)?;
    let tumbled = run_tumbling(with)?;
    let hopped = run_hopping(with)?;
    let ratio = |name: &str, costs: &[Costs], most: Option<f64>| {
        Figure::ratio(name, &costs[0].cpu, &costs[1].cpu, most.map(Goal::AtMost))
    };
    let figures = vec![
        ratio("CPU of a count of 1 M keys, engine to loop", &counted, None),
        ratio(
            "CPU of tumbling windows, 10 K keys, engine to loop",
            &tumbled,
            None,
        ),
        Figure::ratio(
            "CPU of hopping windows, 60 of them over each record to 5",
            &hopped[2].cpu,
            &hopped[0].cpu,
            Some(Goal::AtMost(1.5)),
        ),
        ratio(
            "CPU of hopping windows, 5 over each record, engine to loop",
            &hopped[..2],
            None,
        ),
        ratio(
            "CPU of hopping windows, 60 over each record, engine to loop",
            &hopped[2..],
            None,
        ),
    ];
    Ok(Report {
        load: format!(
            "pairs of a u64 key and a moment, one worker, {EPOCH} a poll and an epoch; of counts and hopping windows the results of one key in {SAMPLE} go out"
        ),
        tables: tables(with, &counted, &tumbled, &hopped),
        figures,
        void: contest::void(with, &counted[1], COUNT_FLOOR),
    })
}

fn tables(
    with: &Context<'_>,
    counted: &[Costs],
    tumbled: &[Costs],
    hopped: &[Costs],
) -> Vec<Table> {
    let of = |usual| pairs::many(with.options.effort(), usual);
    vec![
        contest::table(
            format!("exchange and count, 1 M keys, {} records", of(RECORDS)),
            counted,
        ),
        contest::table(
            format!(
                "tumbling windows of 100 s, 10 K keys, {} records",
                of(RECORDS)
            ),
            tumbled,
        ),
        contest::table(
            format!(
                "hopping windows every 10 s, 10 K keys, {} records",
                of(FEWER)
            ),
            hopped,
        ),
    ]
}

fn run_count(with: &Context<'_>) -> Result<Vec<Costs>, Failure> {
    let records = pairs::many(with.options.effort(), RECORDS);
    let pairs = pairs::make(records, WIDE_KEYS);
    let inputs = [pairs::input(&pairs)];
    let directory = contest::directory(with)?;
    let sides = [
        side("engine", || {
            engine(
                count_topology()?,
                &inputs,
                pairs::config(),
                directory.path(),
            )
        }),
        side("loop", || {
            by_hand(KEPT_OUT.name(), |sink| running_count(&pairs, EPOCH, sink))
        }),
    ];
    contest::run(with, records, Same::LastOfKey, &sides)
}

fn run_tumbling(with: &Context<'_>) -> Result<Vec<Costs>, Failure> {
    let records = pairs::many(with.options.effort(), RECORDS);
    let pairs = pairs::make(records, KEYS);
    let inputs = [pairs::input(&pairs)];
    let directory = contest::directory(with)?;
    let sides = [
        side("engine", || {
            let topology = tumbling_topology(millis(WINDOW))?;
            engine(topology, &inputs, pairs::config(), directory.path())
        }),
        side("loop", || {
            by_hand(TUMBLED.name(), |sink| {
                let times = pairs.iter().map(|pair| (pair.key(), pair.time()));
                tumbling(times, WINDOW, EPOCH, sink)
            })
        }),
    ];
    contest::run(with, records, Same::All, &sides)
}

fn run_hopping(with: &Context<'_>) -> Result<Vec<Costs>, Failure> {
    let records = pairs::many(with.options.effort(), FEWER);
    let pairs = pairs::make(records, KEYS);
    let inputs = [pairs::input(&pairs)];
    let directory = contest::directory(with)?;
    let mut costs = Vec::new();
    for overlap in [5, 60] {
        let size = overlap * ADVANCE;
        let sides = [
            side(format!("engine, {overlap} over each record"), || {
                let topology = hopping_topology(millis(size), millis(ADVANCE))?;
                engine(topology, &inputs, pairs::config(), directory.path())
            }),
            side(format!("loop, {overlap} over each record"), || {
                by_hand(HOPS.name(), |sink| hopping(&pairs, size, ADVANCE, sink))
            }),
        ];
        costs.extend(contest::run(with, records, Same::All, &sides)?);
    }
    Ok(costs)
}

fn millis(of: i64) -> Duration {
    Duration::from_millis(of.unsigned_abs())
}
