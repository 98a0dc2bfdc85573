//! The broker goes away under a run and comes back: the run waits for it, and goes on to the same bytes.

use crate::calm::{SMALL, calm};
use crate::command::Following;
use crate::rows::assert_same;
use crate::site::{OUTPUTS, Site};

/// Small epochs, so that the fault falls among them.
const EPOCHS: &str = "--commit-interval 5ms --set epoch.records=50";

/// What a run may need beyond what it had before the broker went: its budget, and what the clients log.
const GROWTH: u64 = 96 << 20;

/// A run of which some output is committed.
fn under_way(site: &Site, options: &str) -> Following {
    site.create_outputs();
    let mut run = site.start(&format!("{SMALL} {EPOCHS} {options}"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(calm().results() / 4, &mut run);
    assert!(!run.has_ended(), "it ends before the fault");
    run
}

/// Memory that a process holds, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

fn assert_ends_as_if_nothing_had_been(site: &Site, run: Following) {
    run.end().ok();
    assert_same(
        &site.outputs(),
        &calm().outputs,
        "after the broker was away",
    );
    let report = site.run(SMALL).ok();
    assert!(report.contains("nothing is new"), "{report}");
}

#[test]
fn a_broker_that_freezes_for_longer_than_a_transaction_lasts_is_waited_for() {
    let Some(site) = Site::kafka_to_pause() else {
        return;
    };
    let run = under_way(&site, "");
    site.broker().pause();
    // Said when the commit has had no answer for nearly as long as a transaction may last, 10 s.
    run.wait_for("commit in doubt");
    site.broker().resume();
    assert_ends_as_if_nothing_had_been(&site, run);
}

#[test]
fn a_broker_that_freezes_for_longer_than_a_request_lasts_is_waited_for() {
    let Some(site) = Site::kafka_to_pause() else {
        return;
    };
    let run = under_way(&site, "--set kafka.socket.timeout.ms=2000");
    site.broker().pause();
    run.wait_for("commit in doubt");
    run.wait_for("timed out");
    site.broker().resume();
    assert_ends_as_if_nothing_had_been(&site, run);
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_waited_for() {
    let Some(site) = Site::kafka() else { return };
    let run = under_way(&site, "");
    site.broker().kill();
    run.wait_for("commit in doubt");
    site.broker().restart();
    assert_ends_as_if_nothing_had_been(&site, run);
}

#[test]
fn a_broker_that_stays_away_is_waited_for_though_no_restart_is_allowed() {
    let Some(site) = Site::kafka() else { return };
    let run = under_way(&site, "--set max.restarts=0");
    let before = resident(run.pid());
    site.broker().kill();
    run.wait_for("restarts from the last commit");
    run.wait_for("restarts from the last commit");
    let after = resident(run.pid());
    assert!(after < before + GROWTH, "{before} bytes, then {after}");
    site.broker().restart();
    assert_ends_as_if_nothing_had_been(&site, run);
}
