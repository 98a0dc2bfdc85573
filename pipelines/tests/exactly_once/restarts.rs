//! Killed in the middle of something else than plain running: while loading, with other workers before and
//! after, while somebody produces.

use crate::calm::{Calm, SMALL, calm};
use crate::rows::{assert_same, count};
use crate::site::{OUTPUTS, Site};

const EPOCHS: &str = "--commit-interval 5ms --set epoch.records=50";

#[test]
fn other_numbers_of_workers_before_and_after_kills_change_no_byte() {
    let site = Site::embedded();
    for (workers, share) in [(1, 4), (4, 2)] {
        let mut run = site.start(&format!("{SMALL} {EPOCHS} --workers {workers}"));
        let mut progress = site.progress(OUTPUTS[0]);
        progress.wait(calm().results() / share, &mut run);
        assert!(run.kill(), "it was still running");
        assert!(progress.seen() < calm().results());
    }
    let report = site.run(&format!("{SMALL} --workers 2 --format json")).ok();
    assert!(report.contains(r#""resumed":true"#), "{report}");
    assert_same(&site.outputs(), &calm().outputs, "workers 1, 4, 2");
}

#[test]
fn kills_during_the_replay_change_no_byte() {
    let site = Site::embedded();
    let options = format!("{SMALL} {EPOCHS}");
    let mut run = site.start(&options);
    let mut output = site.progress(OUTPUTS[0]);
    output.wait(calm().results() / 2, &mut run);
    assert!(run.kill(), "it was still running");
    let mut epochs = site.progress("rides-per-zone-epochs");
    for _ in 0..3 {
        // A start says so in the epoch log, then replays, then goes on to the first new epoch.
        let begun = epochs.seen() + 1;
        let mut run = site.start(&options);
        epochs.wait(begun, &mut run);
        assert!(run.kill(), "it was still running");
    }
    site.run(SMALL).ok();
    assert_same(&site.outputs(), &calm().outputs, "killed in the replay");
}

#[test]
fn a_killed_load_into_the_embedded_log_goes_on_where_it_ended() {
    // Far more than is loaded at a time before it becomes visible.
    let options = "--scale 1000";
    kill_loads(&Site::embedded(), options, &Calm::run(options));
}

#[test]
fn a_killed_load_into_kafka_goes_on_where_it_ended() {
    let Some(site) = Site::kafka() else { return };
    site.tool("topics create rides --partitions 4 --config retention.ms=-1")
        .ok();
    kill_loads(&site, SMALL, calm());
}

fn kill_loads(site: &Site, options: &str, calm: &Calm) {
    let rides = count(&calm.rides);
    let mut progress = site.progress("rides");
    let mut hits = 0;
    for share in [0.0, 0.3, 0.6] {
        let wanted = ((rides as f64 * share) as u64).max(progress.seen() + 1);
        let mut run = site.start(options);
        progress.wait(wanted, &mut run);
        run.kill();
        hits += u64::from(progress.seen() < rides);
        if progress.seen() == rides {
            break;
        }
    }
    assert!(hits > 0, "no kill came before the load was done");
    site.run(options).ok();
    assert_same(
        &[site.rows("rides")],
        std::slice::from_ref(&calm.rides),
        "loaded",
    );
    assert_same(&site.outputs(), &calm.outputs, "after killed loads");
}

#[test]
fn what_is_produced_while_a_run_follows_is_counted_once_though_the_run_is_killed() {
    let site = Site::embedded();
    site.tool("topics create rides --partitions 4").ok();
    let chunks = calm().chunks(8);
    let options = format!("{EPOCHS} --grace 10s --no-load --set idle.timeout.ms=600000");
    let (first, second) = chunks.split_at(chunks.len() / 2);
    for part in [first, second] {
        let mut run = site.start(&format!("{options} --follow"));
        run.wait_for("following");
        let mut progress = site.progress(OUTPUTS[0]);
        let before = progress.seen();
        for chunk in part {
            site.produce("rides", chunk);
        }
        assert!(progress.wait(before + 1, &mut run) > before);
        assert!(run.kill(), "it was still running");
    }
    site.run(&options).ok();
    assert_same(
        &[site.rows("rides")],
        std::slice::from_ref(&calm().rides),
        "produced",
    );
    assert_same(&site.outputs(), &calm().outputs, "produced while followed");
}
