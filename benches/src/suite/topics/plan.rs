//! The runs of a comparison, in the order that they are made in.

use std::fmt;
use std::time::Duration;

use super::streams::Setting;
use super::warm_up::warm_up_time;
use super::workload::Workload;
use crate::suite::{Effort, Options};

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Engine,
    Loop,
    Streams(Setting),
}

/// One run of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) who: Who,
    /// On one core, the engine with one worker; else on all, with two.
    pub(super) pinned: bool,
    /// Of which pair it is, from 0.
    pub(super) pair: usize,
}

impl Turn {
    /// Workers of the engine.
    pub(super) fn workers(self) -> usize {
        if self.pinned { 1 } else { 2 }
    }
}

/// The name that a journal has it by.
impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = if self.pinned { "one core" } else { "all cores" };
        match self.who {
            Who::Engine => write!(f, "engine, {} worker(s), {cores}", self.workers())?,
            Who::Loop => write!(f, "loop, {cores}")?,
            Who::Streams(setting) => write!(f, "{}, {cores}", setting.name())?,
        }
        write!(f, ", pair {}", self.pair + 1)
    }
}

/// Records of the input.
pub(super) fn records(workload: Workload, options: &Options) -> u64 {
    let usual = workload.records(options.effort());
    options.records.unwrap_or(usual)
}

/// All runs of a comparison.
pub(super) fn plan(workload: Workload, options: &Options) -> Vec<Turn> {
    let (effort, pairs) = (options.effort(), options.pairs());
    let mut turns = Vec::new();
    for pinned in [true, false] {
        if !pinned && effort == Effort::Quick {
            continue;
        }
        let (setting, times) = match pinned {
            true => (Setting::MAIN, pairs),
            // Once, unless a goal is judged by it.
            false if workload == Workload::Windows => (Setting::TWO_THREADS, pairs),
            false => (Setting::TWO_THREADS, 1),
        };
        for pair in 0..pairs {
            let mut sides = [Who::Engine, Who::Loop];
            sides.rotate_left(pair % 2);
            let streams = options.with_streams() && pair < times;
            let streams = streams.then_some(Who::Streams(setting));
            let turn = |who| Turn { who, pinned, pair };
            turns.extend(sides.into_iter().chain(streams).map(turn));
        }
    }
    if effort == Effort::Full {
        let others = Setting::others(workload.has_state()).into_iter();
        turns.extend(others.map(|setting| Turn {
            who: Who::Streams(setting),
            pinned: true,
            pair: 0,
        }));
    }
    turns
}

/// About how long runs take, and what is needed for them: topics, reading what they wrote, the input and the broker's
/// warm-up once.
pub(super) fn expected(workload: Workload, options: &Options, turns: &[Turn]) -> Duration {
    /// Topics are made and deleted, processes started, transactions closed.
    const AROUND: f64 = 4.0;
    /// A JVM starts and compiles.
    const JVM: f64 = 5.0;
    /// Writing a record of the input, and reading and comparing what a run made of it.
    const WRITTEN_NS: f64 = 2_000.0;
    const READ_NS: f64 = 500.0;
    if turns.is_empty() {
        return Duration::ZERO;
    }
    let records = records(workload, options);
    let units = (records * workload.units_a_record()) as f64;
    let (ours, streams) = workload.expected_ns();
    let seconds = |turn: &Turn| match turn.who {
        Who::Engine | Who::Loop => AROUND + units * ours / 1e9,
        // Every update goes out, and into the changelog.
        Who::Streams(setting) if !setting.cache => AROUND + JVM + units * streams * 1.5 / 1e9,
        Who::Streams(_) => AROUND + JVM + units * streams / 1e9,
    };
    let read = turns.len() as f64 * records as f64 * READ_NS / 1e9;
    let written = records as f64 * WRITTEN_NS / 1e9;
    let runs = turns.iter().map(seconds).sum::<f64>();
    warm_up_time(options) + Duration::from_secs_f64(runs + read + written)
}

/// Of all benchmarks from topic to topic: how many runs, and about how long they take.
pub(crate) fn full_plan(options: &Options) -> (usize, Duration) {
    let of = |workload: Workload| {
        let turns = plan(workload, options);
        (turns.len(), expected(workload, options, &turns))
    };
    let parts = Workload::ALL.map(of).into_iter();
    parts.fold((0, Duration::ZERO), |(runs, time), part| {
        (runs + part.0, time + part.1)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct With {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        With::parse_from([&["plan"], arguments].concat()).options
    }

    #[test]
    fn a_full_plan_has_five_pairs_every_setting_once_and_an_hour() {
        let options = options(&["--full"]);
        for workload in Workload::ALL {
            let turns = plan(workload, &options);
            let of = |who, pinned| {
                let of = |turn: &&Turn| turn.who == who && turn.pinned == pinned;
                turns.iter().filter(of).count()
            };
            for pinned in [true, false] {
                assert_eq!((of(Who::Engine, pinned), of(Who::Loop, pinned)), (5, 5));
            }
            assert_eq!(of(Who::Streams(Setting::MAIN), true), 5);
            let judged = workload == Workload::Windows;
            let two = of(Who::Streams(Setting::TWO_THREADS), false);
            assert_eq!(two, if judged { 5 } else { 1 });
            let others = Setting::others(workload.has_state());
            assert_eq!(others.len(), if workload.has_state() { 7 } else { 1 });
            for setting in others {
                assert_eq!(of(Who::Streams(setting), true), 1, "{setting:?}");
            }
            let mut names: Vec<String> = turns.iter().map(ToString::to_string).collect();
            names.sort();
            names.dedup();
            assert_eq!(
                names.len(),
                turns.len(),
                "a journal tells runs by their names"
            );
        }
        let (_, time) = full_plan(&options);
        // Leaves 35 minutes of ninety to the other benchmarks.
        assert!(time < Duration::from_secs(55 * 60), "{time:?}");
    }

    #[test]
    fn pairs_begin_with_either_side_in_turns() {
        let turns = plan(Workload::Counts, &options(&[]));
        let begins: Vec<Who> = turns.iter().step_by(2).map(|turn| turn.who).collect();
        let turn = [Who::Engine, Who::Loop];
        let expected: Vec<Who> = (0..2)
            .flat_map(|_| (0..5).map(|pair| turn[pair % 2]))
            .collect();
        assert_eq!(begins, expected);
    }
}
