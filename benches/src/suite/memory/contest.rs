//! Sides that take turns on the same records, and have to write the same.

use tempfile::TempDir;
use tiderace_benches::measure::{Spread, nanoseconds_each};

use super::outputs::{Same, Summary};
use super::side::Ran;
use crate::Failure;
use crate::suite::{Context, Effort, Table};

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
    run_often(with, (records, 1), same, sides)
}

/// As [`run`], so many rounds a pair: of short runs more are needed, until a median does not depend on who else used the
/// machine when.
///
/// # Errors
/// As [`run`].
pub(super) fn run_often(
    with: &Context<'_>,
    (records, rounds): (usize, usize),
    same: Same,
    sides: &[Side<'_>],
) -> Result<Vec<Costs>, Failure> {
    let mut contest = Contest::new(records, same, sides);
    for round in 0..with.options.pairs() * rounds {
        contest.round(with, round)?;
    }
    Ok(contest.costs)
}

/// Runs two groups of sides, so many rounds a pair: of sides of the same group each writes the same. What one takes beyond one
/// of the other group is told from runs that are a moment apart.
///
/// # Errors
/// As [`run`].
pub(super) fn run_beside(
    with: &Context<'_>,
    (records, rounds): (usize, usize),
    same: Same,
    [one, other]: [&[Side<'_>]; 2],
) -> Result<[Vec<Costs>; 2], Failure> {
    let mut contests = [one, other].map(|sides| Contest::new(records, same, sides));
    for round in 0..with.options.pairs() * rounds {
        for contest in &mut contests {
            contest.round(with, round)?;
        }
    }
    Ok(contests.map(|contest| contest.costs))
}

/// Sides that write the same, and what they took so far.
struct Contest<'a> {
    records: usize,
    same: Same,
    sides: &'a [Side<'a>],
    costs: Vec<Costs>,
    expected: Option<Vec<Summary>>,
}

impl<'a> Contest<'a> {
    fn new(records: usize, same: Same, sides: &'a [Side<'a>]) -> Self {
        let empty = |(name, _): &Side<'_>| Costs {
            name: name.clone(),
            ..Costs::default()
        };
        Contest {
            records,
            same,
            sides,
            costs: sides.iter().map(empty).collect(),
            expected: None,
        }
    }

    /// Runs each side once.
    fn round(&mut self, with: &Context<'_>, round: usize) -> Result<(), Failure> {
        for turn in 0..self.sides.len() {
            let at = (turn + round) % self.sides.len();
            let (name, run) = &self.sides[at];
            let Ran { log, cpu, wall } = run()?;
            let written = log.summary(self.same);
            if written.iter().any(|topic| topic.records == 0) {
                return Err(format!("{name} writes nothing").into());
            }
            let expected = self.expected.get_or_insert_with(|| written.clone());
            if written != *expected {
                return Err(format!(
                    "{name} writes other results: {written:?}, where the first run wrote {expected:?}"
                )
                .into());
            }
            let each = |time| nanoseconds_each(time, self.records as u64);
            let (cpu, wall) = (each(cpu), each(wall));
            with.progress
                .say(&format!("{name}: {cpu:.1} ns CPU, {wall:.1} ns a record"));
            self.costs[at].cpu.push(cpu);
            self.costs[at].wall.push(wall);
        }
        Ok(())
    }
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

/// Why ratios to a loop say nothing, if it is slower than the reference's floor for it, in nanoseconds of CPU. A quick run is
/// not judged. To be asked when everything is measured.
pub(super) fn void(with: &Context<'_>, by_hand: &Costs, floor: f64) -> Option<String> {
    if with.options.effort() == Effort::Quick {
        return None;
    }
    let floor = floor * with.calibration.scale();
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
    use tiderace_benches::machine::{Calibration, REFERENCE_CALIBRATION};
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
            calibration: Calibration::known(REFERENCE_CALIBRATION),
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
    fn ratios_to_a_loop_far_above_its_floor_are_void() {
        let is_void = |arguments: &[&str], cpu: f64| {
            let With { options } = With::parse_from(arguments);
            let with = Context {
                options: &options,
                progress: &Progress::default(),
                calibration: Calibration::known(2.0 * REFERENCE_CALIBRATION),
            };
            let by_hand = Costs {
                cpu: vec![cpu],
                ..Costs::default()
            };
            void(&with, &by_hand, 10.0).is_some()
        };
        assert!(!is_void(&["memory"], 22.9));
        assert!(is_void(&["memory"], 23.1));
        assert!(!is_void(&["memory", "--quick"], 23.1));
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
