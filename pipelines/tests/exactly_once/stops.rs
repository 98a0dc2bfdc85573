//! Ctrl-C and SIGTERM: the epoch is finished and committed, the exit code says how it ended, and the next run
//! completes the output to the same bytes.

use crate::calm::{SMALL, calm};
use crate::rows::assert_same;
use crate::site::{OUTPUTS, Site};

/// Small epochs, so that output comes all along the run.
const EPOCHS: &str = "--commit-interval 5ms --set epoch.records=50";

#[test]
fn a_bounded_run_cut_short_exits_130_and_the_next_completes_it() {
    let site = Site::embedded();
    let options = format!("{SMALL} {EPOCHS}");
    let mut progress = site.progress(OUTPUTS[0]);
    for (signal, share) in [("INT", 4), ("TERM", 2)] {
        let wanted = (calm().results() / share).max(progress.seen() + 1);
        let mut run = site.start(&options);
        progress.wait(wanted, &mut run);
        run.signal(signal);
        let message = run.end().refused(130);
        assert!(message.contains("cut short"), "{message}");
        assert!(message.contains("committed up to epoch"), "{message}");
        assert!(
            progress.seen() < calm().results(),
            "stopped only at the end"
        );
    }
    let report = site.run(&format!("{options} --format json")).ok();
    assert!(report.contains(r#""resumed":true"#), "{report}");
    assert_same(&site.outputs(), &calm().outputs, "after two stops");
}

#[test]
fn a_followed_run_ends_with_0_having_committed() {
    let site = Site::embedded();
    let mut followed = 0;
    for signal in ["TERM", "INT"] {
        let mut run = site.start(&format!("{SMALL} {EPOCHS} --follow --format json"));
        let mut progress = site.progress(OUTPUTS[0]);
        progress.wait(followed + calm().results() / 3, &mut run);
        followed = progress.seen();
        run.signal(signal);
        let ended = run.end();
        assert!(ended.stderr.contains("committed up to epoch"), "{ended:?}");
        let report: serde_json::Value = serde_json::from_str(&ended.ok()).unwrap();
        assert!(report["last_epoch"].as_u64() >= report["first_epoch"].as_u64());
        let next = site.rows("rides-per-zone-epochs");
        assert!(next[0].len() as u64 > report["last_epoch"].as_u64().unwrap());
    }
    site.run(SMALL).ok();
    assert_same(&site.outputs(), &calm().outputs, "after two followed runs");
}

#[test]
fn a_run_without_new_input_says_where_it_resumed_and_that_nothing_is_new() {
    let site = Site::embedded();
    let first = site.run(&format!("{SMALL} --format json")).ok();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let next = first["last_epoch"].as_u64().unwrap() + 1;
    for _ in 0..2 {
        let report = site.run(SMALL).ok();
        assert!(
            report.contains(&format!("resumed at epoch {next}\n")),
            "{report}"
        );
        assert!(report.contains("nothing is new"), "{report}");
        assert_same(&site.outputs(), &calm().outputs, "run again");
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once_that_cannot_commit() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    let mut progress = site.progress(OUTPUTS[0]);
    let mut run = site.start(&format!("{SMALL} {EPOCHS}"));
    progress.wait(calm().results() / 4, &mut run);
    site.broker().pause();
    run.signal("TERM");
    run.wait_for("finishing the epoch");
    run.signal("TERM");
    run.end().refused(143);
    site.broker().resume();
    site.run(SMALL).ok();
    assert_same(&site.outputs(), &calm().outputs, "after a second signal");
}
