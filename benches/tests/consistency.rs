//! Promise 2: every committed epoch is a correct answer for a prefix of each input partition. Balances of accounts
//! and the total over them, committed in the same epoch, agree in every epoch, through crashes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tiderace_benches::transfers::{Plan, run};

/// As many as the promise is made for.
const TRANSFERS: u64 = 1_000_000;

/// The seeds' plans have crashes in a recovery among them.
fn never_lose_a_cent(workers: usize, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        records: TRANSFERS,
        workers,
        crashes: 8,
        seed,
    };
    let outcome = run(plan, directory.path(), &mut |_| ()).unwrap();
    println!("{outcome:?}");
    assert_eq!(outcome.audited.transfers, TRANSFERS);
    assert_eq!((outcome.crashed, outcome.audited.starts), (8, 9));
    assert!(outcome.crashed_in_recovery > 0, "no crash in a recovery");
    assert!(
        outcome.crashed_behind_snapshot > 0,
        "no crash behind a snapshot"
    );
    assert!(outcome.audited.epochs >= 200 && outcome.audited.totals >= 200);
}

#[test]
fn one_worker_never_loses_a_cent() {
    never_lose_a_cent(1, 3);
}

#[test]
fn two_workers_never_lose_a_cent() {
    never_lose_a_cent(2, 6);
}

#[test]
fn four_workers_never_lose_a_cent() {
    never_lose_a_cent(4, 7);
}
