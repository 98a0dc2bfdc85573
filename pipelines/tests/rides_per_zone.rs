//! `tiderace rides-per-zone`, from outside: what it says, how it resumes, how it ends.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::io::{Read, Write};
use std::net::TcpStream;

use command::Place;
use serde_json::Value;

const KEYS: [&str; 17] = [
    "pipeline",
    "application_id",
    "first_epoch",
    "last_epoch",
    "resumed",
    "read",
    "processed",
    "filtered",
    "late",
    "skipped",
    "dead_lettered",
    "windows_closed",
    "output_topic",
    "commit_ms",
    "latency_ms",
    "seconds",
    "records_per_second",
];

#[test]
fn scripts_get_exactly_one_object_with_the_contracts_keys() {
    let place = Place::new();
    let stdout = place.run("rides-per-zone --format json").ok();
    assert_eq!(stdout.lines().count(), 1);
    let report: serde_json::Map<String, Value> = serde_json::from_str(&stdout).unwrap();
    let mut keys: Vec<&str> = report.keys().map(String::as_str).collect();
    keys.sort_by_key(|key| stdout.find(&format!("\"{key}\"")));
    assert_eq!(keys, KEYS);
    assert_eq!(
        (&report["read"], &report["resumed"]),
        (&266.into(), &false.into())
    );
    assert_eq!(report["first_epoch"], 1);
}

#[test]
fn a_start_says_which_snapshot_it_goes_on_from_and_what_another_program_would_change() {
    let place = Place::new();
    let report = place.run("rides-per-zone --format json").ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    let last = &report["last_epoch"];
    let again = place.run("rides-per-zone");
    assert!(
        again.stderr.contains(&format!(
            "resumed: snapshot of epoch {last}, 0 epochs with 0 records replayed"
        )),
        "{}",
        again.stderr
    );
    let same = place.run("rides-per-zone --describe-change").ok();
    assert_eq!(
        same,
        "kept     rides-by-zone-and-window\nkept     zones-table\n"
    );
    let other = place
        .run("rides-per-zone --describe-change --window 20m")
        .ok();
    assert!(
        other.contains("changed  rides-by-zone-and-window: was `count, windows of 600000 ms"),
        "{other}"
    );
    place.run("rides-per-zone --window 20m").refused(64);
    place
        .run("rides-per-zone --window 20m --drop-state rides-by-zone-and-window")
        .ok();
}

#[test]
fn people_get_the_busiest_zones_and_the_conservation_line() {
    let place = Place::new();
    let stdout = place.run("rides-per-zone").ok();
    for part in [
        "Kips Bay ",
        "LaGuardia Airport ",
        "\nread 266 = processed ",
        "p99",
        "tiderace consume rides-per-zone",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

#[test]
fn a_second_run_says_that_it_resumed_and_that_nothing_is_new() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let output = place.run("consume rides-per-zone").ok();
    let again = place.run("rides-per-zone").ok();
    assert!(
        again.contains("resumed at epoch") && again.contains("nothing is new"),
        "{again}"
    );
    assert_eq!(place.run("consume rides-per-zone").ok(), output);
}

#[test]
fn the_topology_is_described_to_people_to_scripts_and_as_a_flowchart() {
    let place = Place::new();
    let text = place.run("describe rides-per-zone").ok();
    for part in [
        "window = 600s",
        "stream         rides-source  topic `rides`",
        "windows of 600000 ms every 600000 ms, grace 60000 ms",
        "<- rides-by-zone-and-window.closed  with zones-table",
        "topic `rides-per-zone-late`  <- rides-by-zone-and-window.late",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let chart = place.run("describe rides-per-zone --format mermaid").ok();
    assert!(chart.starts_with("flowchart TD\n"), "{chart}");
    assert!(chart.contains("n5 -->|closed| n7"), "{chart}");
    let json = place.run("describe rides-per-zone --format json").ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["application_id"], "rides-per-zone");
    assert_eq!(json["nodes"].as_array().unwrap().len(), 9);
    // Nothing was opened to say all this.
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn rides_from_a_zone_that_the_table_does_not_have_are_counted_without_a_name() {
    let place = Place::new();
    place.run("topics create rides --partitions 4").ok();
    let ride =
        r#"{"PULocationID":999,"trip_distance":1,"tpep_pickup_datetime":"2020-07-01T00:25:32"}"#;
    let line = format!(r#"{{"key":"999","value":{ride},"timestamp":"2020-07-01T00:25:32Z"}}"#);
    place.run_with("produce rides", &line).ok();
    let report = place.run("rides-per-zone --no-load").ok();
    let row = "zone 999  -            1  1 from 2020-07-01T00:20:00Z";
    assert!(report.contains(row), "{report}");
    let written = place.run("consume rides-per-zone").ok();
    let value = concat!(
        r#""value":{"zone_id":999,"zone":null,"borough":null,"window_start":"2020-07-01T00:20:00Z","#,
        r#""window_end":"2020-07-01T00:30:00Z","rides":1}"#
    );
    assert!(written.contains(value), "{written}");
}

#[test]
fn rides_that_come_too_late_are_listed() {
    let place = Place::new();
    let stdout = place.run("rides-per-zone --order file --late").ok();
    let listed = stdout
        .lines()
        .filter(|line| line.contains("\"tpep_pickup_datetime\""))
        .count();
    assert!(listed > 100, "{stdout}");
    assert!(
        stdout.contains(&format!("{listed} rides came too late")),
        "{stdout}"
    );
    assert!(stdout.contains(&format!("late {listed} ")), "{stdout}");
}

#[test]
fn a_follower_takes_what_is_produced_and_ends_with_0_at_a_signal() {
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let running = place.start("rides-per-zone --follow --format json --metrics :0");
        let address = running.wait_for("metrics at http://");
        let address = address
            .split("http://")
            .nth(1)
            .unwrap()
            .strip_suffix("/metrics")
            .unwrap();
        let committed = |records: u64| {
            let wanted = format!("verdict=\"read\"}} {records}\n");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while !get(address, "/metrics").contains(&wanted) {
                assert!(std::time::Instant::now() < deadline, "{wanted}");
            }
        };
        committed(266);
        assert!(get(address, "/health").starts_with("HTTP/1.1 200"));
        let ride = r#"{"key":"1","value":{"PULocationID":1,"trip_distance":2,"tpep_pickup_datetime":"2020-07-02T00:00:00"},"timestamp":"2020-07-02T00:00:00Z"}"#;
        place.run_with("produce rides", &format!("{ride}\n")).ok();
        committed(267);
        running.signal(signal);
        let ended = running.end();
        assert!(
            ended.stderr.contains("committed up to epoch"),
            "{}",
            ended.stderr
        );
        let report: Value = serde_json::from_str(&ended.ok()).unwrap();
        assert_eq!(report["read"], 267);
    }
}

#[test]
fn a_bounded_run_cut_short_ends_with_130_and_the_next_goes_on() {
    let options =
        "rides-per-zone --scale 2000 --disorder 30s --set epoch.records=2000 --format json";
    let undisturbed = Place::new();
    undisturbed.run(options).ok();
    let place = Place::new();
    let running = place.start(&format!("{options} --metrics :0"));
    running.wait_for("metrics at http://");
    running.signal("INT");
    let cut = running.end();
    assert_eq!(cut.code, 130, "{cut:?}");
    let cut: Value = serde_json::from_str(&cut.stdout).unwrap();
    assert!(cut["read"].as_u64().unwrap() < 2_000 * 266, "{cut}");
    place.run(options).ok();
    assert!(
        records(&place) == records(&undisturbed),
        "the outputs differ"
    );
}

/// Partition, key, value and timestamp of the output; offsets may differ.
fn records(place: &Place) -> Vec<String> {
    let lines = place
        .run("consume rides-per-zone --value-format string")
        .ok();
    lines
        .lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["offset"].take();
            record.to_string()
        })
        .collect()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_rate_holds_a_run_back_and_changes_no_byte() {
    let place = Place::new();
    let report = place.run("rides-per-zone --scale 4 --format json").ok();
    let free: Value = serde_json::from_str(&report).unwrap();
    let output = place.run("consume rides-per-zone").ok();
    let paced = "rides-per-zone --scale 4 --data-dir paced --rate 1000 --format json";
    let report: Value = serde_json::from_str(&place.run(paced).ok()).unwrap();
    assert_eq!(
        (&report["read"], &free["read"]),
        (&1064.into(), &1064.into())
    );
    // 1,064 rides and the rows of the table of zones, but for what is saved up before the first.
    let seconds = report["seconds"].as_f64().unwrap();
    assert!(
        seconds > 1.2,
        "1,329 records at 1,000 a second took {seconds} s"
    );
    let same = place.run("consume rides-per-zone --data-dir paced").ok();
    assert_eq!(same, output);
    let replayed: Value = serde_json::from_str(&place.run(paced).ok()).unwrap();
    assert_eq!(replayed["read"], 0);
    assert!(
        replayed["seconds"].as_f64().unwrap() < seconds / 2.0,
        "{replayed}"
    );
}

#[test]
fn a_weaker_guarantee_is_said_and_gives_the_same_output_where_nothing_fails() {
    let topics = ["rides-per-zone", "rides-per-zone-late"];
    let consumed = |place: &Place| topics.map(|topic| place.run(&format!("consume {topic}")).ok());
    let line = "rides-per-zone --order file --commit-interval 5ms --workers 2";
    let exact = Place::new();
    let ended = exact.run(line);
    assert!(!ended.stderr.contains("exactly_once_v2"), "{ended:?}");
    ended.ok();
    for (guarantee, said) in [
        (
            "at_least_once",
            "at_least_once: after a failure outputs that were not committed are written again\n",
        ),
        (
            "at_most_once",
            "at_most_once: after a failure outputs that were not written are lost, though committed\n",
        ),
    ] {
        let place = Place::new();
        let ended = place.run(&format!("{line} --set processing.guarantee={guarantee}"));
        assert!(ended.stderr.contains(said), "{ended:?}");
        let report = ended.ok();
        assert!(report.contains("read 266 = processed"), "{report}");
        assert_eq!(consumed(&place), consumed(&exact), "{guarantee}");
        let epochs = place.run("epochs rides-per-zone").ok();
        let weak = format!(", {guarantee}\n");
        assert!(epochs.matches(&weak).count() > 1, "{epochs}");
        // The next start may have another.
        let again = place.run(line).ok();
        assert!(again.contains("nothing is new"), "{again}");
        assert_eq!(consumed(&place), consumed(&exact), "{guarantee}");
        let checked = place.run("check rides-per-zone --inputs").ok();
        assert!(checked.ends_with("\nnothing is wrong\n"), "{checked}");
        let checked: Value =
            serde_json::from_str(&place.run("check rides-per-zone --format json").ok()).unwrap();
        assert_eq!(checked["allowed"], serde_json::json!([]));
    }
}
