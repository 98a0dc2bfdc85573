//! `tiderace topics`, from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use command::Place;
use serde_json::{Value, json};

#[test]
fn a_topic_is_created_listed_described_and_deleted() {
    let place = Place::new();
    let created = place.run("topics create rides --partitions 2 --config retention.ms=-1");
    assert_eq!(created.ok(), "created topic rides with 2 partitions\n");
    let line = r#"{"value":"a","partition":1,"timestamp":5}"#;
    place
        .run_with("produce rides", &format!("{line}\n{line}\n"))
        .ok();

    let listed = place.run("topics list").ok();
    assert!(
        listed
            .lines()
            .any(|line| line.split_whitespace().eq(["rides", "2", "2"])),
        "{listed}"
    );
    let described: Value =
        serde_json::from_str(&place.run("topics describe rides --format json").ok()).unwrap();
    let id = described["id"].as_str().unwrap();
    assert_eq!(id.len(), 32, "{id}");
    let expected = json!({
        "name": "rides",
        "id": id,
        "partitions": [
            {"partition": 0, "first": 0, "last": null, "next": 0},
            {"partition": 1, "first": 0, "last": 1, "next": 2},
        ],
        "config": {"retention.ms": "-1"},
    });
    assert_eq!(described, expected);
    let listed: Value = serde_json::from_str(&place.run("topics list --format json").ok()).unwrap();
    assert_eq!(listed, json!([expected]));
    assert!(
        place
            .run("topics describe rides")
            .ok()
            .contains("retention.ms=-1")
    );

    assert_eq!(
        place.run("topics delete rides").ok(),
        "deleted topic rides\n"
    );
    assert_eq!(place.run("topics list --format json").ok(), "[]\n");
}

#[test]
fn a_topic_grows_and_keeps_what_it_holds() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    let line = |partition: u32| format!("{{\"value\":\"a\",\"partition\":{partition}}}\n");
    place.run_with("produce rides", &line(0)).ok();
    place.run_with("produce rides", &line(2)).refused(65);
    assert_eq!(
        place.run("topics alter rides --partitions 3").ok(),
        "topic rides has 3 partitions now; keys go to other partitions than before\n"
    );
    place.run_with("produce rides", &line(2)).ok();
    let rides = place.run("consume rides").ok();
    assert_eq!(rides.lines().count(), 2, "{rides}");
    for fewer in [3, 2] {
        let message = place
            .run(&format!("topics alter rides --partitions {fewer}"))
            .refused(64);
        assert!(
            message.contains("topic `rides` has 3 partitions"),
            "{message}"
        );
    }
}

#[test]
fn a_missing_topic_is_named() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    for line in [
        "topics describe fares",
        "topics delete fares",
        "topics alter fares --partitions 2",
        "consume fares",
        "produce fares",
    ] {
        let message = place.run(line).refused(64);
        assert!(
            message.contains("topic `fares` does not exist"),
            "{line}: {message}"
        );
    }
}

#[test]
fn what_would_only_read_creates_nothing() {
    let place = Place::new();
    for line in [
        "topics list",
        "topics describe a",
        "topics delete a",
        "consume a",
        "produce a",
    ] {
        place
            .run(&format!("{line} --data-dir elsewhere"))
            .refused(64);
        assert!(!place.path().join("elsewhere").exists(), "{line}");
    }
}

#[test]
fn a_topic_that_exists_is_not_created_again() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    assert!(
        place
            .run("topics create rides --partitions 1")
            .refused(64)
            .contains("rides")
    );
}

#[test]
fn a_configuration_that_no_topic_has_is_refused_with_the_nearest() {
    let place = Place::new();
    let message = place
        .run("topics create rides --partitions 1 --config retention=5")
        .refused(64);
    assert!(
        message.contains("no configuration `retention`; did you mean `retention.ms`?"),
        "{message}"
    );
    assert_eq!(place.run("topics list --format json").ok(), "[]\n");
}

#[test]
fn wrong_usage_ends_with_2_and_refused_configuration_with_64() {
    let place = Place::new();
    place.run("topics create rides").refused(2);
    place.run("topics create rides --partitions 0").refused(2);
    place.run("no-such-pipeline").refused(2);
    place
        .run("topics create rides --partitions 1 --config a")
        .refused(64);
    let message = place
        .run("topics list --set comit.interval.ms=5")
        .refused(64);
    assert!(
        message.contains("did you mean `commit.interval.ms`?"),
        "{message}"
    );
    let message =
        place.run("topics list --set kafka.security.protocol=SASL_SSL --brokers a.example.com:1");
    if !cfg!(feature = "tls") {
        assert!(message.refused(64).contains("--features tls"));
    }
}
