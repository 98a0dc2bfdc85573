//! Sides that take turns on the same records, and have to write the same.

use tempfile::TempDir;
use tiderace_benches::machine::REFERENCE_CALIBRATION;
use tiderace_benches::measure::{Spread, nanoseconds_each};

use super::outputs::{Same, Summary};
use super::side::Ran;
use crate::Failure;
use crate::suite::{Context, Table};

/// How much dearer than its floor a loop may be.
const TOLERANCE: f64 = 1.15;

/// A side: its name, and what runs it once.
pub(super) type Side<'a> = (String, Box<dyn Fn() -> Result<Ran, Failure> + 'a>);

/// What the runs of a side cost a record, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    pub(super) name: String,
    pub(super) cpu: Vec<f64>,
    pub(super) wall: Vec<f64>,
}

/// A side for [`run`].
pub(super) fn side<'a>(
    name: impl Into<String>,
    run: impl Fn() -> Result<Ran, Failure> + 'a,
) -> Side<'a> {
    (name.into(), Box::new(run))
}

/// Runs each side once a round, beginning with another one each time.
///
/// # Errors
/// A side fails, or writes other than the first one to run did.
pub(super) fn run(
    with: &Context<'_>,
    records: usize,
    same: Same,
    sides: &[Side<'_>],
) -> Result<Vec<Costs>, Failure> {
    let empty = |(name, _): &Side<'_>| Costs {
        name: name.clone(),
        ..Costs::default()
    };
    let mut costs: Vec<Costs> = sides.iter().map(empty).collect();
    let mut expected: Option<Vec<Summary>> = None;
    for round in 0..with.options.pairs() {
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            let (name, run) = &sides[at];
            let Ran { log, cpu, wall } = run()?;
            let written = log.summary(same);
            if written.iter().any(|topic| topic.records == 0) {
                return Err(format!("{name} writes nothing").into());
            }
            let expected = expected.get_or_insert_with(|| written.clone());
            if written != *expected {
                return Err(format!(
                    "{name} writes other results: {written:?}, where the first run wrote {expected:?}"
                )
                .into());
            }
            let (cpu, wall) = (
                nanoseconds_each(cpu, records as u64),
                nanoseconds_each(wall, records as u64),
            );
            with.progress
                .say(&format!("{name}: {cpu:.1} ns CPU, {wall:.1} ns a record"));
            costs[at].cpu.push(cpu);
            costs[at].wall.push(wall);
        }
    }
    Ok(costs)
}

/// A table of what sides cost.
pub(super) fn table(title: impl Into<String>, costs: &[Costs]) -> Table {
    let row = |of: &Costs| (of.name.clone(), vec![of.cpu.clone(), of.wall.clone()]);
    Table {
        title: title.into(),
        columns: vec!["CPU ns a record".into(), "wall ns a record".into()],
        rows: costs.iter().map(row).collect(),
    }
}

/// Why ratios to a loop say nothing, if it is slower than the reference's floor for it, in nanoseconds of CPU.
pub(super) fn void(with: &Context<'_>, by_hand: &Costs, floor: f64) -> Option<String> {
    let floor = floor * with.calibration.median / REFERENCE_CALIBRATION;
    let median = Spread::of(by_hand.cpu.iter().copied()).median;
    (median > floor * TOLERANCE).then(|| {
        format!(
            "{} takes {median:.1} ns CPU a record, its floor here is {floor:.1}: ratios to it say nothing",
            by_hand.name
        )
    })
}

/// A directory for the state of a benchmark's runs, removed behind it.
pub(super) fn directory(with: &Context<'_>) -> Result<TempDir, Failure> {
    let below = &with.options.dir;
    std::fs::create_dir_all(below)?;
    Ok(TempDir::with_prefix_in("memory-", below)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Options;
    use crate::suite::memory::side::by_hand;
    use clap::Parser;
    use tiderace_benches::progress::Progress;

    #[derive(Parser)]
    struct With {
        #[command(flatten)]
        options: Options,
    }

    fn contest(counts: [u64; 2]) -> Result<Vec<Costs>, Failure> {
        let With { options } = With::parse_from(["memory"]);
        let with = Context {
            options: &options,
            progress: &Progress::default(),
            calibration: Spread::of([REFERENCE_CALIBRATION]),
        };
        let writes = |count| {
            let run = move || by_hand("out", |sink| Ok(sink.count(b"key", count, 0)?));
            side(format!("writes {count}"), run)
        };
        run(&with, 1, Same::All, &counts.map(writes))
    }

    #[test]
    fn each_side_runs_once_a_pair() {
        let costs = contest([1, 1]).unwrap();
        assert!(
            costs
                .iter()
                .all(|of| (of.cpu.len(), of.wall.len()) == (5, 5))
        );
    }

    #[test]
    fn a_side_that_writes_something_else_fails_the_benchmark() {
        let failure = contest([1, 2]).unwrap_err().to_string();
        assert!(
            failure.starts_with("writes 2 writes other results"),
            "{failure}"
        );
    }
}
