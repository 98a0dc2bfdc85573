//! A reset on a broker: all input comes once more, and an instance elsewhere that goes on knows that it must not.

use crate::calm::{SMALL, calm};
use crate::rows::{Rows, assert_same};
use crate::site::Site;

/// The last ride of a partition once more, without distance: it is read, filtered, and moves no time.
fn idle_ride(site: &Site) -> String {
    let rides = site.tool("consume rides").ok();
    let last = rides.lines().last().unwrap();
    let mut ride: serde_json::Value = serde_json::from_str(last).unwrap();
    ride["value"]["trip_distance"] = 0.into();
    format!("{ride}\n")
}

fn twice(outputs: &[Rows]) -> Vec<Rows> {
    let twice = |partition: &Vec<_>| [partition.clone(), partition.clone()].concat();
    let topic = |rows: &Rows| rows.iter().map(twice).collect();
    outputs.iter().map(topic).collect()
}

#[test]
fn a_reset_on_kafka_begins_anew_and_ends_an_instance_elsewhere() {
    let Some(site) = Site::kafka() else { return };
    site.create_outputs();
    site.run(SMALL).ok();
    let mut elsewhere = site.start(&format!(
        "{SMALL} --data-dir elsewhere --follow --set idle.timeout.ms=3600000"
    ));
    elsewhere.wait_for("resumed:");
    let said = site.tool("reset rides-per-zone --yes");
    assert!(
        said.stderr
            .contains("an instance that runs elsewhere is fenced"),
        "{said:?}"
    );
    said.ok();
    assert!(!elsewhere.has_ended(), "it has nothing to commit yet");
    site.produce("rides", &idle_ride(&site));
    let message = elsewhere.end().refused(69);
    assert!(
        message.contains("`rides-per-zone` has been reset"),
        "{message}"
    );
    assert_same(&site.outputs(), &calm().outputs, "behind the reset");
    let report = site.run("--no-load --grace 10s");
    assert!(!report.stderr.contains("resumed:"), "{report:?}");
    report.ok();
    assert_same(&site.outputs(), &twice(&calm().outputs), "all once more");
    let verdict = site.tool("check rides-per-zone --inputs").ok();
    assert!(verdict.ends_with("nothing is wrong\n"), "{verdict}");
    // The directory elsewhere has snapshots of what was forgotten, or none; there it goes on with what is new.
    let report = site.run("--no-load --grace 10s --data-dir elsewhere").ok();
    assert!(report.contains("nothing is new"), "{report}");
    let replayed = site.tool("replay rides-per-zone --from 1 --to 1");
    assert_eq!(replayed.code, 0, "{replayed:?}");
}
