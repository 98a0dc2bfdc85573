//! Memory of whole processes, the engine's and the loop's, for a running count of few keys and of many.
//!
//! With few keys most of it is the client's, on both sides: what it has fetched, and what it sends. How fast the machine is
//! makes no difference to memory, so that the loop is held against no floor.

use super::compare::{COMMIT_MS, Sample, Sides};
use super::figures::{Costs, table};
use super::place::PARTITIONS;
use super::plan::{Turn, Who};
use super::site::Site;
use super::workload::Workload;
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Report};

/// Most memory of the engine, in times of the loop's.
const MEMORY: f64 = 1.3;

/// Numbers of keys, and how often each side counts them.
fn sizes(effort: Effort) -> (&'static [u32], usize) {
    match effort {
        Effort::Quick => (&[10_000], 1),
        // It differs by up to a seventh from run to run, of which a median of three is enough.
        Effort::Usual | Effort::Full => (&[10_000, 100_000, 1_000_000, 10_000_000], 3),
    }
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let (sizes, rounds) = sizes(with.options.effort());
    let on = match with.options.embedded() {
        true => "the embedded log",
        false => "Kafka",
    };
    let mut report = Report {
        load: format!(
            "running counts of rides in {PARTITIONS} partitions of {on}, every key once and then as many rides as a tenth of them, at least a \
             million; exactly once, a commit every {COMMIT_MS} ms, snapshots on; one thread on one core"
        ),
        ..Report::default()
    };
    let mut rows = Vec::new();
    for keys in sizes {
        let samples = counted(Workload::Keyed(*keys), rounds, with)?;
        let costs = |who| Costs::of(&samples, who, true);
        let (engine, by_hand) = (costs(Who::Engine), costs(Who::Loop));
        rows.push(engine.row(format!("engine, {keys} keys")));
        rows.push(by_hand.row(format!("loop, {keys} keys")));
        report.figures.push(Figure::ratio(
            format!("{keys} keys: memory, engine to loop"),
            &engine.memory,
            &by_hand.memory,
            Some(Goal::AtMost(MEMORY)),
        ));
    }
    let title = "by number of keys, one core";
    report.tables = vec![table(Workload::Keyed(0), title, rows)];
    Ok(report)
}

/// What the runs of both sides took, in turns.
fn counted(
    workload: Workload,
    rounds: usize,
    with: &Context<'_>,
) -> Result<Vec<(Turn, Sample)>, Failure> {
    let mut site = Site::open(workload, with.options, None)?;
    let mut samples: Vec<(Turn, Sample)> = Vec::new();
    for pair in 0..rounds {
        let mut sides = [Who::Engine, Who::Loop];
        sides.rotate_left(pair % 2);
        for who in sides {
            let turn = Turn {
                who,
                pinned: true,
                pair,
            };
            let sample = site.run(turn)?;
            with.progress.say(&format!(
                "{workload:?}, {turn}: {:.0} MiB, {:.0} ns CPU",
                sample.memory, sample.cpu_ns
            ));
            if let Some((first, expected)) = samples.first()
                && expected.written != sample.written
            {
                return Err(
                    format!("{workload:?}, {turn}: wrote other results than {first}").into(),
                );
            }
            samples.push((turn, sample));
        }
    }
    site.close()?;
    Ok(samples)
}
