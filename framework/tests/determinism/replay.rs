//! The epoch log of one run, replayed by other numbers of workers with other batches: the engine compares the digest
//! of every output of every epoch with what the log says, and goes on from any epoch to the same bytes.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::Arc;
use std::time::Instant;

use tiderace::Engine;

use crate::log::{Delivery, Held, ShuffledLog};
use crate::matrix::{BATCHES, CUTS, PARTITIONS, WORKERS, closed, content, forget_state, run};
use crate::sums::{self, EPOCHS, OUTPUTS};

/// The last committed epoch.
fn last_epoch(log: &ShuffledLog) -> u64 {
    let entries = log.contents(EPOCHS).remove(0);
    entries.iter().map(|entry| entry.epoch).max().unwrap()
}

fn outputs(log: &ShuffledLog) -> Vec<Vec<Vec<Held>>> {
    OUTPUTS.map(|topic| log.contents(topic)).into()
}

#[test]
fn a_log_is_replayed_to_the_same_digests_by_any_other_workers_and_batches() {
    let began = Instant::now();
    let state = tempfile::tempdir().unwrap();
    let (mut replays, mut epochs) = (0, 0);
    for partitions in PARTITIONS {
        let empty = sums::log_of(&content(partitions));
        for (round, first) in WORKERS.into_iter().enumerate() {
            let log = empty.copy();
            let cut = CUTS[round];
            let delivery = Delivery { batch: 16, seed: 7 };
            run(&log, delivery, &cut.config(first, &state));
            let written = outputs(&log);
            for workers in WORKERS {
                for batch in BATCHES {
                    let log = log.copy();
                    run(
                        &log,
                        Delivery { batch, seed: 8 },
                        &cut.config(workers, &state),
                    );
                    assert!(outputs(&log) == written, "a replay writes nothing");
                    replays += 1;
                    epochs += last_epoch(&log);
                }
            }
        }
    }
    println!(
        "{replays} replays of {epochs} epochs gave the logged digests, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(epochs > 3 * replays, "hardly an epoch a replay: {epochs}");
}

#[test]
fn a_run_cut_off_after_any_epoch_is_completed_to_the_same_bytes_by_other_workers_and_batches() {
    let began = Instant::now();
    let state = tempfile::tempdir().unwrap();
    let mut completed = 0;
    for partitions in PARTITIONS {
        let whole = sums::log_of(&content(partitions));
        let [records, _, bytes] = CUTS;
        run(
            &whole,
            Delivery { batch: 16, seed: 1 },
            &records.config(2, &state),
        );
        let (expected, last) = (closed(&whole), last_epoch(&whole));
        for epoch in 0..last {
            let log = whole.copy();
            log.forget_after(epoch);
            let kept = outputs(&log);
            let workers = WORKERS[epoch as usize % WORKERS.len()];
            let batch = BATCHES[epoch as usize / 3 % BATCHES.len()];
            let delivery = Delivery { batch, seed: epoch };
            run(&log, delivery, &bytes.config(workers, &state));
            assert!(
                closed(&log) == expected,
                "{partitions} partitions, cut off after {epoch}"
            );
            log.forget_after(epoch);
            assert!(outputs(&log) == kept, "what was committed stays as it is");
            completed += 1;
        }
    }
    println!(
        "{completed} runs that were cut off were completed to the same bytes, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn a_digest_that_differs_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let log = sums::log_of(&content(4));
    let delivery = Delivery { batch: 16, seed: 1 };
    let config = CUTS[0].config(2, &state);
    run(&log, delivery, &config);
    log.tamper(EPOCHS, |entry| {
        let mut json: serde_json::Value =
            serde_json::from_slice(entry.value.as_deref().unwrap()).unwrap();
        json["outputs"]["combined"]["hash"] = "0".repeat(32).into();
        entry.value = Some(serde_json::to_vec(&json).unwrap());
    });
    // With a snapshot of the last epoch its entry would be known, and nothing replayed.
    forget_state(&config);
    let log = Arc::new(log.delivering(delivery));
    let running = Engine::start(sums::topology(), log, &config).unwrap();
    let error = running.join().unwrap_err();
    assert_eq!(error.exit_code(), 65, "{error}");
    assert!(error.to_string().contains("combined"), "{error}");
}
