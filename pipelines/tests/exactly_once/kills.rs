//! SIGKILL at moments chosen by how much output is committed, many times in one run, some of them while the start
//! behind the kill before recovers; and what comes of it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::{Duration, Instant};

use tiderace_testing::kills::{Kill, plan};
use tiderace_testing::snapshots::newest;

use crate::rows::{Rows, assert_same, count};
use crate::site::{DISORDERED, OUTPUTS, Site, say};

/// Behind this share of the kills the next one comes before the start has brought new output.
const AGAIN: f64 = 0.2;

/// What share of the kills has to fall between the first output and the last.
const HITS: f64 = 0.8;

/// What lives write snapshots often: every other one, so that restarts go on from one that was taken in the middle of
/// the life before, from an older one, and from none.
const SNAPSHOTS: &str = "--set snapshot.interval.ms=50";

/// What share of the kills has to come behind a new snapshot.
const KEPT: f64 = 0.1;

/// How long the run takes at least that nobody disturbs, in seconds for each kill: in this time a life of it has
/// taken snapshots.
const A_LIFE: f64 = 0.15;

/// How long it takes in all at least, in seconds.
const A_RUN: f64 = 3.0;

/// The rides that are read as often as the scale says.
const RIDES: u64 = 266;

/// How often a clock is looked at.
const GLANCE: Duration = Duration::from_millis(1);

/// A run that is to be killed.
pub(crate) struct Campaign {
    /// What is killed, for the report.
    pub(crate) build: &'static str,
    pub(crate) kills: usize,
    /// How many times the rides are read.
    pub(crate) scale: u64,
    pub(crate) seed: u64,
    pub(crate) ends: Ends,
}

/// What ends the epochs of a run that is to be killed.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    /// They hold few records.
    Records,
    /// The clock does: intervals are so long that most of each goes ahead in an epoch of its own, whose commit waits for
    /// the one behind it.
    Clock,
}

/// A run that nobody disturbed.
struct Undisturbed {
    outputs: Vec<Rows>,
    seconds: f64,
    /// Options that make another application do the same.
    options: String,
}

#[test]
fn fifty_kills_on_the_embedded_log_change_no_byte() {
    survive_kills(
        &Site::embedded(),
        &Campaign {
            build: "the test build",
            kills: 50,
            scale: 1000,
            seed: 1,
            ends: Ends::Records,
        },
    );
}

#[test]
fn thirty_kills_on_kafka_change_no_byte() {
    if let Some(site) = Site::kafka() {
        survive_kills(
            &site,
            &Campaign {
                build: "the test build",
                kills: 30,
                scale: 400,
                seed: 2,
                ends: Ends::Records,
            },
        );
    }
}

#[test]
fn twenty_kills_on_kafka_of_epochs_that_close_ahead_change_no_byte() {
    if let Some(site) = Site::kafka() {
        survive_kills(
            &site,
            &Campaign {
                build: "the test build, a commit every 20 ms,",
                kills: 20,
                scale: 400,
                seed: 4,
                ends: Ends::Clock,
            },
        );
    }
}

/// Kills a run again and again, and compares what it wrote with a calm run's.
pub(crate) fn survive_kills(site: &Site, campaign: &Campaign) {
    let began = Instant::now();
    let calm = undisturbed(site, campaign);
    assert!(count(&calm.outputs[1]) > 0, "no ride came late");
    site.forget_outputs();
    let options = format!("--application-id killed {}", calm.options);
    let kills = kill_by_progress(site, campaign, &options, count(&calm.outputs[0]));
    let last = site.run(&format!("{options} --format json")).ok();
    assert!(last.contains(r#""resumed":true"#), "{last}");
    assert_same(&site.outputs(), &calm.outputs, site.name());
    let Campaign {
        build,
        kills: planned,
        ..
    } = campaign;
    let Kills {
        hits,
        in_recovery,
        planned_in_recovery,
        kept,
        recovery,
    } = kills;
    say(&format!(
        "{planned} kills of {build} on {}, {hits} between first and last output, {in_recovery} of \
         {planned_in_recovery} planned in a recovery, {kept} behind a new snapshot, of a run of {:.1} s; a start brought new output after {:.0} ms; in {:.0} s",
        site.name(),
        calm.seconds,
        recovery.as_secs_f64() * 1e3,
        began.elapsed().as_secs_f64()
    ));
    let at_least = |share: f64| (*planned as f64 * share) as u64;
    assert!(
        hits >= at_least(HITS),
        "only {hits} of {planned} kills hit the output"
    );
    assert!(
        kept >= at_least(KEPT),
        "only {kept} of {planned} kills came behind a new snapshot"
    );
}

/// What kills have hit.
#[derive(Default)]
struct Kills {
    /// Those when some but not all output was committed.
    hits: u64,
    /// Those of a start that had brought no new output.
    in_recovery: u64,
    /// Those that were to be so.
    planned_in_recovery: usize,
    /// Those of a life that had published a snapshot, from which the next one goes on.
    kept: u64,
    /// The median of what starts took to their first new output.
    recovery: Duration,
}

/// Runs until a run takes its time, on however fast a machine.
fn undisturbed(site: &Site, campaign: &Campaign) -> Undisturbed {
    let at_least = A_RUN.max(A_LIFE * campaign.kills as f64);
    let scale = campaign.scale;
    match campaign.ends {
        Ends::Records => with_small_epochs(site, scale, at_least),
        Ends::Clock => {
            let rate = (scale * RIDES) as f64 / at_least;
            let ends = format!("--commit-interval 20ms --rate {rate:.0}");
            run_undisturbed(site, "calm", scale, &ends)
        }
    }
}

/// Runs with ever smaller epochs until a run takes so many seconds.
fn with_small_epochs(site: &Site, scale: u64, at_least: f64) -> Undisturbed {
    let mut records = 1000;
    loop {
        let ends = format!("--commit-interval 5ms --set epoch.records={records}");
        let calm = run_undisturbed(site, &format!("calm-{records}"), scale, &ends);
        let seconds = calm.seconds;
        if seconds >= at_least {
            return calm;
        }
        assert!(records > 1, "even an epoch a record takes only {seconds} s");
        // Time goes with the number of epochs; a third more than needed, and at least half as many again.
        let wanted = (at_least * 1.33 / seconds).max(1.5);
        records = (records as f64 / wanted).floor().max(1.0) as u64;
        site.forget_outputs();
    }
}

/// Runs an application whose epochs end by these options.
fn run_undisturbed(site: &Site, application: &str, scale: u64, ends: &str) -> Undisturbed {
    let options = format!("--scale {scale} {DISORDERED} {ends}");
    let report = site
        .run(&format!(
            "--application-id {application} {options} --format json"
        ))
        .ok();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    Undisturbed {
        outputs: site.outputs(),
        seconds: report["seconds"].as_f64().unwrap(),
        options,
    }
}

/// Starts and kills the run.
fn kill_by_progress(site: &Site, campaign: &Campaign, options: &str, total: u64) -> Kills {
    let mut progress = site.progress(OUTPUTS[0]);
    let mut kills = Kills::default();
    let mut recoveries = Vec::new();
    let planned = plan(campaign.seed, campaign.kills, AGAIN);
    let again = |kill: &&Kill| matches!(kill, Kill::InRecovery(_));
    kills.planned_in_recovery = planned.iter().filter(again).count();
    for (life, kill) in planned.into_iter().enumerate() {
        let often = if life % 2 == 1 { SNAPSHOTS } else { "" };
        let kept = newest(&site.data_dir(), "killed");
        let before = progress.seen();
        let begun = Instant::now();
        let mut process = site.start(&format!("{options} {often}"));
        match kill {
            Kill::AtOutput(share) => {
                progress.wait(before + 1, &mut process);
                recoveries.push(begun.elapsed());
                recoveries.sort_unstable();
                kills.recovery = recoveries[recoveries.len() / 2];
                let moment = (total as f64 * share) as u64;
                progress.wait(moment.max(before + 1), &mut process);
            }
            Kill::InRecovery(share) => {
                while begun.elapsed() < kills.recovery.mul_f64(share) {
                    std::thread::park_timeout(GLANCE);
                }
            }
        }
        if !process.kill() {
            continue;
        }
        let seen = progress.seen();
        kills.hits += u64::from(seen > 0 && seen < total);
        kills.in_recovery += u64::from(seen == before);
        kills.kept += u64::from(newest(&site.data_dir(), "killed") > kept);
    }
    kills
}
