//! Two instances with one application id: one of them writes.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::Duration;

use crate::calm::{SMALL, calm};
use crate::command::Following;
use crate::rows::assert_same;
use crate::site::{OUTPUTS, Site};

/// How long a test waits for an instance to end before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often instances are looked at.
const GLANCE: Duration = Duration::from_millis(5);

const EPOCHS: &str = "--commit-interval 5ms --set epoch.records=50";

#[test]
fn a_second_instance_on_the_same_state_is_refused_with_the_pid_of_the_first() {
    let site = Site::embedded();
    let mut older = site.start(&format!("{SMALL} {EPOCHS} --follow"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(1, &mut older);
    let message = site.run(SMALL).refused(75);
    assert!(message.contains(&older.pid().to_string()), "{message}");
    older.signal("TERM");
    older.end().ok();
    site.run(SMALL).ok();
    assert_same(&site.outputs(), &calm().outputs, "after a refusal");
}

#[test]
fn of_two_instances_on_one_kafka_the_older_is_fenced_and_writes_nothing_more() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    let mut older = site.start(&format!("{SMALL} {EPOCHS}"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(calm().results() / 4, &mut older);
    site.run(&format!("{SMALL} --data-dir elsewhere")).ok();
    let message = older.end().refused(69);
    assert!(message.contains("newer instance"), "{message}");
    assert_same(&site.outputs(), &calm().outputs, "after a fence");
    // The chain of the epoch log would show an entry of the older one.
    let report = site.run(&format!("{SMALL} --data-dir elsewhere")).ok();
    assert!(report.contains("nothing is new"), "{report}");
}

#[test]
fn an_older_instance_that_had_nothing_to_do_is_fenced_at_its_next_record() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    let mut older = site.start(&format!("{SMALL} --follow"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(calm().results() / 2, &mut older);
    site.run(&format!("{SMALL} --data-dir elsewhere")).ok();
    assert_same(&site.outputs(), &calm().outputs, "before the fence");
    let held = site.tool("consume rides --from 0 --limit 1").ok();
    site.produce("rides", &held);
    let message = older.end().refused(69);
    assert!(message.contains("newer instance"), "{message}");
    assert_same(&site.outputs(), &calm().outputs, "after the fence");
}

#[test]
fn of_two_instances_that_start_at_once_exactly_one_stays() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    site.run(&format!("{SMALL} --application-id loader")).ok();
    for round in 0..3 {
        site.forget_outputs();
        let options = format!("{SMALL} {EPOCHS} --application-id twins-{round}");
        let mut twins = ["one", "two"].map(|directory| {
            let directory = format!("--data-dir {directory}-{round}");
            site.start(&format!("{options} {directory}"))
        });
        let started = std::time::Instant::now();
        let first = loop {
            if let Some(first) = twins.iter_mut().position(Following::has_ended) {
                break first;
            }
            assert!(started.elapsed() < PATIENCE, "both go on");
            std::thread::park_timeout(GLANCE);
        };
        let [one, two] = twins;
        let (loser, winner) = if first == 0 { (one, two) } else { (two, one) };
        let message = loser.end().refused(69);
        assert!(
            message.contains("fenced") || message.contains("newer instance"),
            "{message}"
        );
        winner.end().ok();
        assert_same(&site.outputs(), &calm().outputs, "two at once");
        let report = site.run(&options).ok();
        assert!(report.contains("nothing is new"), "{report}");
    }
}

#[test]
fn a_zombie_that_wakes_beside_its_successor_ends_and_writes_nothing() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    let mut zombie = site.start(&format!("{SMALL} {EPOCHS}"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(calm().results() / 5, &mut zombie);
    zombie.signal("STOP");
    // Its directory stays locked, frozen as it is.
    let message = site.run(SMALL).refused(75);
    assert!(message.contains(&zombie.pid().to_string()), "{message}");
    let mut successor = site.start(&format!("{SMALL} {EPOCHS} --data-dir elsewhere"));
    let seen = progress.seen();
    progress.wait(seen + 10, &mut successor);
    zombie.signal("CONT");
    let message = zombie.end().refused(69);
    assert!(message.contains("newer instance"), "{message}");
    successor.end().ok();
    assert_same(&site.outputs(), &calm().outputs, "after a zombie");
    // The chain of the epoch log would show an entry of the zombie.
    let report = site.run(&format!("{SMALL} --data-dir elsewhere")).ok();
    assert!(report.contains("nothing is new"), "{report}");
}

#[test]
fn a_zombie_that_wakes_when_its_successor_is_done_ends_and_writes_nothing() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    let mut zombie = site.start(&format!("{SMALL} {EPOCHS}"));
    let mut progress = site.progress(OUTPUTS[0]);
    progress.wait(calm().results() / 5, &mut zombie);
    zombie.signal("STOP");
    site.run(&format!("{SMALL} --data-dir elsewhere")).ok();
    let epochs = site.rows("rides-per-zone-epochs");
    zombie.signal("CONT");
    let message = zombie.end().refused(69);
    assert!(message.contains("newer instance"), "{message}");
    assert_same(&site.outputs(), &calm().outputs, "after a zombie");
    assert_same(&[site.rows("rides-per-zone-epochs")], &[epochs], "its log");
}
