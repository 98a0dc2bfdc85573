//! Two instances with one application id: one of them writes.

use crate::calm::{SMALL, calm};
use crate::rows::assert_same;
use crate::site::{OUTPUTS, Site};

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
