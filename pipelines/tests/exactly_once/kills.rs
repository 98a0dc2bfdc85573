//! SIGKILL at moments chosen by how much output is committed, ten times in one run, and what comes of it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::Instant;

use tiderace_testing::kills::{Kill, plan};
use tiderace_testing::snapshots::newest;

use crate::rows::{Rows, assert_same, count};
use crate::site::{DISORDERED, OUTPUTS, Site, say};

/// How often a run is killed.
const KILLS: usize = 10;

/// How many of the kills have to fall between the first output and the last.
const HITS: u64 = 8;

/// What lives write snapshots often: every other one, so that restarts go on from one that was taken in the middle of
/// the life before, from an older one, and from none.
const SNAPSHOTS: &str = "--set snapshot.interval.ms=50";

/// How many of the kills have to come behind a new snapshot.
const KEPT: u64 = 2;

/// How long the run takes at least that nobody disturbs, in seconds.
const AT_LEAST: f64 = 3.0;

/// A run that nobody disturbed.
struct Undisturbed {
    outputs: Vec<Rows>,
    seconds: f64,
    /// Options that make another application do the same.
    options: String,
}

#[test]
fn ten_kills_on_the_embedded_log_change_no_byte() {
    survive_kills(&Site::embedded(), "the test build", 1000, 1);
}

#[test]
fn ten_kills_on_kafka_change_no_byte() {
    if let Some(site) = Site::kafka() {
        survive_kills(&site, "the test build", 400, 2);
    }
}

/// Kills a run of `scale` times the rides ten times, and compares what it wrote with a calm run's.
pub(crate) fn survive_kills(site: &Site, build: &str, scale: u64, seed: u64) {
    let began = Instant::now();
    let calm = undisturbed(site, scale);
    assert!(count(&calm.outputs[1]) > 0, "no ride came late");
    site.forget_outputs();
    let options = format!("--application-id killed {}", calm.options);
    let Kills { hits, kept } = kill_by_progress(site, &options, count(&calm.outputs[0]), seed);
    let last = site.run(&format!("{options} --format json")).ok();
    assert!(last.contains(r#""resumed":true"#), "{last}");
    assert_same(&site.outputs(), &calm.outputs, site.name());
    say(&format!(
        "{KILLS} kills of {build} on {}, {hits} between first and last output, {kept} behind a new snapshot, of a run of {:.1} s; in {:.0} s",
        site.name(),
        calm.seconds,
        began.elapsed().as_secs_f64()
    ));
    assert!(hits >= HITS, "only {hits} of {KILLS} kills hit the output");
    assert!(
        kept >= KEPT,
        "only {kept} of {KILLS} kills came behind a new snapshot"
    );
}

/// What kills have hit.
#[derive(Default)]
struct Kills {
    /// Those when some but not all output was committed.
    hits: u64,
    /// Those of a life that had published a snapshot, from which the next one goes on.
    kept: u64,
}

/// Runs with ever smaller epochs until a run takes its time, on however fast a machine.
fn undisturbed(site: &Site, scale: u64) -> Undisturbed {
    let mut records = 1000;
    loop {
        let options = format!(
            "--scale {scale} {DISORDERED} --commit-interval 5ms --set epoch.records={records}"
        );
        let report = site
            .run(&format!(
                "--application-id calm-{records} {options} --format json"
            ))
            .ok();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let seconds = report["seconds"].as_f64().unwrap();
        if seconds >= AT_LEAST {
            return Undisturbed {
                outputs: site.outputs(),
                seconds,
                options,
            };
        }
        assert!(records > 1, "even an epoch a record takes only {seconds} s");
        // Time goes with the number of epochs; a third more than needed, and at least half as many again.
        let wanted = (AT_LEAST * 1.33 / seconds).max(1.5);
        records = (records as f64 / wanted).floor().max(1.0) as u64;
        site.forget_outputs();
    }
}

/// Starts and kills the run.
fn kill_by_progress(site: &Site, options: &str, total: u64, seed: u64) -> Kills {
    let mut progress = site.progress(OUTPUTS[0]);
    let mut kills = Kills::default();
    for (life, kill) in plan(seed, KILLS, 0.0).into_iter().enumerate() {
        let Kill::AtOutput(share) = kill else {
            continue;
        };
        let moment = (total as f64 * share) as u64;
        let wanted = moment.max(progress.seen() + 1);
        let often = if life % 2 == 1 { SNAPSHOTS } else { "" };
        let before = newest(&site.data_dir(), "killed");
        let mut process = site.start(&format!("{options} {often}"));
        progress.wait(wanted, &mut process);
        let killed = process.kill();
        let seen = progress.seen();
        kills.hits += u64::from(killed && seen > 0 && seen < total);
        kills.kept += u64::from(killed && newest(&site.data_dir(), "killed") > before);
    }
    kills
}
