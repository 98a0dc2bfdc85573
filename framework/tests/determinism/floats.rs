//! A hundred thousand numbers whose sum depends on their order, summed to the same bits in any interleaving.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::Instant;

use crate::log::Delivery;
use crate::matrix::{CUTS, WORKERS, closed, run};
use crate::sums::{self, Number};

const PARTITIONS: usize = 4;
const EACH: usize = 30_000;

/// The numbers so that every window has thousands.
fn content() -> Vec<Vec<Number>> {
    sums::numbers(PARTITIONS, EACH, 0.01, 5)
}

#[test]
fn sums_of_a_hundred_thousand_numbers_are_the_same_bits_for_any_workers_and_interleaving() {
    let began = Instant::now();
    let numbers = content();
    let (combined, folded) = sums::expected_sums(&numbers);
    assert!(combined != folded, "the order of these sums would not show");
    let empty = sums::log_of(&numbers);
    let state = tempfile::tempdir().unwrap();
    let mut first = None;
    let mut runs = 0;
    for workers in WORKERS {
        for (seed, cut) in (0..).zip(CUTS) {
            let log = empty.copy();
            let config = cut.config(workers, &state);
            // Epochs of the matrix are too small for so many records.
            let config = tiderace::Config {
                epoch_records: config.epoch_records.saturating_mul(100),
                memory_budget: config.memory_budget.max(4 * 100_000),
                ..config
            };
            run(&log, Delivery { batch: 512, seed }, &config);
            assert_eq!(
                sums::sums(&log, "combined"),
                combined,
                "{workers} workers, {cut:?}"
            );
            assert_eq!(
                sums::sums(&log, "folded"),
                folded,
                "{workers} workers, {cut:?}"
            );
            let written = closed(&log);
            assert!(first.get_or_insert_with(|| written.clone()) == &written);
            runs += 1;
        }
    }
    println!(
        "{runs} runs summed {} numbers in {} windows to the same bits, in {:.1} s",
        PARTITIONS * EACH,
        combined.len(),
        began.elapsed().as_secs_f64()
    );
}
