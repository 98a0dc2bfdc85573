//! Workers, partitions, batches, ways to end an epoch and interleavings, all against all: one content, one output.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tiderace::{Config, Engine};

use crate::log::{Delivery, Held, Partitions, ShuffledLog};
use crate::sums::{self, CLOSED, EPOCHS, Number};

pub(crate) const WORKERS: [usize; 3] = [1, 2, 4];
pub(crate) const PARTITIONS: [usize; 3] = [1, 4, 8];
pub(crate) const BATCHES: [usize; 3] = [1, 16, 1024];
pub(crate) const CUTS: [Cut; 3] = [Cut::Records, Cut::Time, Cut::Bytes];
const INTERLEAVINGS: u64 = 50;

/// What ends an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Records,
    Time,
    Bytes,
}

impl Cut {
    /// A configuration in which nothing else does.
    pub(crate) fn config(self, workers: usize, state: &TempDir) -> Config {
        let config = Config {
            workers,
            epoch_records: u64::MAX,
            commit_interval: Duration::from_secs(3600),
            data_dir: state.path().into(),
            ..Config::default()
        };
        match self {
            Cut::Records => Config {
                epoch_records: 23,
                ..config
            },
            Cut::Time => Config {
                commit_interval: Duration::from_millis(1),
                ..config
            },
            // A quarter of it is an epoch's.
            Cut::Bytes => Config {
                memory_budget: 4 * 1_500,
                ..config
            },
        }
    }
}

/// Runs the program to the end of its input, from the log alone: state that a run before has left is forgotten, so
/// that every logged epoch is replayed.
pub(crate) fn run(log: &ShuffledLog, delivery: Delivery, config: &Config) {
    forget_state(config);
    let log = Arc::new(log.delivering(delivery));
    let running = Engine::start(sums::topology(), log, config).unwrap();
    let report = running.join().unwrap();
    assert!(report.counts.conserved());
}

/// Removes what runs have left beside the log: a snapshot is of one log, and here every run has its own copy.
pub(crate) fn forget_state(config: &Config) {
    match std::fs::remove_dir_all(config.data_dir.join("state")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.unwrap(),
    }
}

/// What must not depend on anything but the partitions' content: results in their order, and late records, of which
/// those of several partitions have no order among each other.
pub(crate) fn closed(log: &ShuffledLog) -> Vec<Partitions> {
    let without_epochs = |topic: &str| {
        let mut partitions = log.contents(topic);
        for held in partitions.iter_mut().flatten() {
            held.epoch = 0;
        }
        partitions
    };
    let mut late = without_epochs("late");
    for partition in &mut late {
        partition.sort_by(|one, other| {
            let of = |held: &Held| (held.timestamp, held.key.clone(), held.value.clone());
            of(one).cmp(&of(other))
        });
    }
    let results = CLOSED.map(without_epochs);
    results.into_iter().chain([late]).collect()
}

/// The numbers of the matrix: a few windows of each group, some of them late.
pub(crate) fn content(partitions: usize) -> Vec<Vec<Number>> {
    sums::numbers(partitions, 40, 5.0, partitions as u64)
}

/// Runs the matrix for so many partitions; how many runs there were, and how many different cuts of the input.
fn all_against_all(partitions: usize) -> (usize, usize) {
    let numbers = content(partitions);
    let empty = sums::log_of(&numbers);
    let state = tempfile::tempdir().unwrap();
    let mut first: Option<Vec<Partitions>> = None;
    let (mut runs, mut cuts) = (0, BTreeSet::new());
    for workers in WORKERS {
        for batch in BATCHES {
            for cut in CUTS {
                for seed in 0..INTERLEAVINGS {
                    let log = empty.copy();
                    run(&log, Delivery { batch, seed }, &cut.config(workers, &state));
                    let written = closed(&log);
                    let what = format!(
                        "{partitions} partitions, {workers} workers, batches of {batch}, epochs by {cut:?}, seed {seed}"
                    );
                    let first = first.get_or_insert_with(|| {
                        judge(&log, &numbers);
                        written.clone()
                    });
                    assert!(written == *first, "{what}");
                    cuts.insert(shape(&log));
                    runs += 1;
                }
            }
        }
    }
    (runs, cuts.len())
}

/// The first run's outputs are those of loops and maps.
fn judge(log: &ShuffledLog, numbers: &[Vec<Number>]) {
    let (combined, folded) = sums::expected_sums(numbers);
    assert!(combined.len() > 10 && log.contents("late").iter().any(|of| !of.is_empty()));
    assert_eq!(sums::sums(log, "combined"), combined);
    assert_eq!(sums::sums(log, "folded"), folded);
}

/// What each epoch read of each partition: which records fell between which two cuts.
fn shape(log: &ShuffledLog) -> Vec<String> {
    let entries = log.contents(EPOCHS).remove(0);
    let read = |value: Vec<u8>| {
        let entry: serde_json::Value = serde_json::from_slice(&value).unwrap();
        entry["read"].to_string()
    };
    entries
        .into_iter()
        .map(|held| read(held.value.unwrap()))
        .collect()
}

fn tell(partitions: usize) {
    let began = Instant::now();
    let (runs, cuts) = all_against_all(partitions);
    println!(
        "{partitions} partitions: {runs} runs of the engine with {cuts} different cuts wrote the same bytes, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    // One partition has no interleavings, and epochs by records or bytes always cut it alike.
    let least = if partitions == 1 { 3 } else { runs / 20 };
    assert!(
        cuts > least,
        "the runs hardly differ: {cuts} cuts in {runs} runs"
    );
}

#[test]
fn one_partition_is_the_same_bytes_for_any_workers_batches_and_epochs() {
    tell(PARTITIONS[0]);
}

#[test]
fn four_partitions_are_the_same_bytes_for_any_workers_batches_epochs_and_interleavings() {
    tell(PARTITIONS[1]);
}

#[test]
fn eight_partitions_are_the_same_bytes_for_any_workers_batches_epochs_and_interleavings() {
    tell(PARTITIONS[2]);
}
