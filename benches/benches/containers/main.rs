//! Question: does it pay to keep the marks of event time apart from the records, and how large should a
//! container be? Load: map, exchange, count and tumbling behind a source that makes its records, on 1 and 2
//! workers, with few and many keys; a mark for each worker every 1,000 records, 10,000 records an epoch.
//!
//! `cargo bench -p tiderace-benches --bench containers -- [--quick]`; the README of `benches/` has a recorded run.

mod flow;
mod load;
mod shape;

use std::time::Duration;

use tiderace_benches::measure::{Cost, Spread, cost, nanoseconds_each};
use tiderace_operators::batch::Batch;

use crate::load::{Flow, Load};
use crate::shape::{Apart, Mixed};

/// A side of the comparison: its name and what it does with a load.
type Side = (&'static str, fn(Flow, Load) -> u64);

const SIDES: [Side; 8] = [
    ("by hand", load::by_hand),
    ("mixed 8 KiB", flow::on_timely::<Mixed<{ 8 << 10 }>>),
    ("mixed 32 KiB", flow::on_timely::<Mixed<{ 32 << 10 }>>),
    ("`Batch`", flow::on_timely::<Batch<u32, u64>>),
    ("apart 8 KiB", flow::on_timely::<Apart<{ 8 << 10 }>>),
    ("apart 32 KiB", flow::on_timely::<Apart<{ 32 << 10 }>>),
    ("apart 64 KiB", flow::on_timely::<Apart<{ 64 << 10 }>>),
    ("apart 128 KiB", flow::on_timely::<Apart<{ 128 << 10 }>>),
];

/// The costs of a load, a list of rounds for each side.
type Rounds = [Vec<Cost>; SIDES.len()];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (records, rounds) = if quick { (400_000, 3) } else { (4_000_000, 7) };
    println!(
        "{records} records, {rounds} rounds interleaved after one to warm up; ns per record, median (min-max)"
    );
    let mut measured = Vec::new();
    for flow in [Flow::Map, Flow::Exchange, Flow::Count, Flow::Tumbling] {
        for keys in [265, 10_000] {
            for workers in [1, 2] {
                let load = Load {
                    records,
                    keys,
                    workers,
                };
                measured.push((flow, load, compare(flow, load, rounds)));
            }
        }
    }
    print_table("CPU", &measured, |cost| cost.cpu);
    print_table("wall", &measured, |cost| cost.wall);
}

/// Runs all sides in turn, once to warm up and then as often as `rounds` says.
fn compare(flow: Flow, load: Load, rounds: usize) -> Rounds {
    let mut costs = Rounds::default();
    let expected = load::by_hand(flow, load);
    for round in 0..=rounds {
        // Each round begins with another side, so that none always runs behind the same one.
        for turn in 0..SIDES.len() {
            let at = (turn + round) % SIDES.len();
            let (name, side) = SIDES[at];
            let (sum, cost) = cost(|| side(flow, load));
            assert_eq!(
                sum, expected,
                "{flow:?} on {load:?}, {name}: the output differs from that of the loop by hand"
            );
            if round > 0 {
                costs[at].push(cost);
            }
        }
    }
    costs
}

fn print_table(what: &str, measured: &[(Flow, Load, Rounds)], time: impl Fn(&Cost) -> Duration) {
    let names: Vec<_> = SIDES.iter().map(|(name, _)| *name).collect();
    println!("\n| {what}: flow, keys, workers | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for (flow, load, rounds) in measured {
        let each = |cost: &Cost| nanoseconds_each(time(cost), load.records);
        let spreads: Vec<_> = rounds
            .iter()
            .map(|costs| Spread::of(costs.iter().map(each)).to_string())
            .collect();
        println!(
            "| {flow:?}, {}, {} | {} |",
            load.keys,
            load.workers,
            spreads.join(" | ")
        );
    }
}
