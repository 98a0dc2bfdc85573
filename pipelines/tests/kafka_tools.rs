//! The tools around topics, against a real Kafka broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::collections::BTreeMap;

use command::Place;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, TopicPartition};
use tiderace_testing::kafka::Kafka;

#[test]
fn a_topic_is_created_filled_read_and_deleted() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let (place, topic) = (Place::new(), broker.fresh_name("tools"));
    let brokers = broker.bootstrap();
    let run =
        |line: &str, stdin: &str| place.run_with(&format!("{line} --brokers {brokers}"), stdin);
    run(
        &format!("topics create {topic} --partitions 2 --config retention.ms=-1"),
        "",
    )
    .ok();
    let lines = concat!(
        r#"{"partition":0,"offset":0,"timestamp":1593561600000,"key":"k","value":"{\"a\": 1}","headers":[["h",null]]}"#,
        "\n",
        r#"{"partition":1,"offset":0,"timestamp":1593561600001,"key":null,"value":null,"headers":[]}"#,
        "\n",
    );
    run(&format!("produce {topic}"), lines).ok();
    assert_eq!(run(&format!("consume {topic}"), "").ok(), lines);
    assert_eq!(
        run(&format!("consume {topic} --from 2021-01-01"), "").ok(),
        ""
    );
    assert!(run("topics list", "").ok().contains(&topic));
    assert!(
        run(&format!("topics describe {topic}"), "")
            .ok()
            .contains("retention.ms=-1")
    );
    let message = run(
        &format!("produce {topic}"),
        "{\"value\":1,\"timestamp\":0}\n",
    )
    .refused(65);
    assert!(message.contains("takes no timestamp of 0"), "{message}");
    run(&format!("topics delete {topic}"), "").ok();
    run(&format!("consume {topic}"), "").refused(64);
}

#[test]
fn a_follower_sees_what_is_produced() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let (place, topic) = (Place::new(), broker.fresh_name("follow"));
    let brokers = broker.bootstrap();
    place
        .run(&format!(
            "topics create {topic} --partitions 2 --brokers {brokers}"
        ))
        .ok();
    let follower = place.start(&format!(
        "consume {topic} --follow --limit 1 --brokers {brokers}"
    ));
    place
        .run_with(
            &format!("produce {topic} --brokers {brokers}"),
            "{\"value\":\"hello\"}\n",
        )
        .ok();
    assert!(follower.line().contains("hello"));
    assert_eq!(follower.end().code, 0);
}

#[test]
fn topics_that_are_missing_are_named_and_created_on_request() {
    let Some(broker) = Kafka::start() else { return };
    let place = Place::new();
    let brokers = broker.bootstrap();
    let message = place
        .run(&format!("rides-per-zone --brokers {brokers}"))
        .refused(64);
    assert!(
        message.contains("no topic rides, zones, rides-per-zone, rides-per-zone-late"),
        "{message}"
    );
    assert!(message.contains("--create-topics"), "{message}");
    for _ in 0..2 {
        place.run(&format!(
            "rides-per-zone --brokers {brokers} --create-topics"
        ));
        let rides = place
            .run(&format!("consume rides --brokers {brokers}"))
            .ok();
        assert_eq!(rides.lines().count(), 266);
    }
    let described = place
        .run(&format!(
            "topics describe rides-per-zone --brokers {brokers}"
        ))
        .ok();
    assert!(
        described.contains("4 partitions") && described.contains("retention.ms=-1"),
        "{described}"
    );
    let message = place
        .run(&format!("rides-per-zone --scale 2 --brokers {brokers}"))
        .refused(64);
    assert!(
        message.contains("scale 1") && message.contains("scale 2"),
        "{message}"
    );

    let check = || {
        place
            .run(&format!(
                "check rides-per-zone --inputs --brokers {brokers}"
            ))
            .ok()
    };
    let written: usize = ["rides-per-zone", "rides-per-zone-late"]
        .map(|topic| {
            let consumed = place.run(&format!("consume {topic} --brokers {brokers}"));
            consumed.ok().lines().count()
        })
        .iter()
        .sum();
    let zones = place
        .run(&format!("consume zones --brokers {brokers}"))
        .ok();
    let read = 266 + zones.lines().count();
    let verdict = check();
    assert!(
        verdict.contains(&format!("{written} output records, {read} input records, "))
            && verdict.ends_with("\nnothing is wrong\n"),
        "{written}: {verdict}"
    );
    let log = KafkaLog::connect(brokers, &BTreeMap::new()).unwrap();
    log.delete_records(&TopicPartition::new("rides-per-zone", 0), 1)
        .unwrap();
    let verdict = check();
    let gap = "not checked: topic `rides-per-zone`, partition 0: records of epoch";
    assert!(
        verdict.contains(gap) && verdict.ends_with("nothing is wrong\n"),
        "{verdict}"
    );
    place
        .run(&format!("topics delete rides --brokers {brokers}"))
        .ok();
    let verdict = check();
    let gap = "not checked: topic `rides`, which was read, is not there any more\n";
    assert!(verdict.contains(gap), "{verdict}");
    let message = place
        .run(&format!(
            "rides-per-zone --brokers {brokers} --create-topics"
        ))
        .refused(66);
    assert!(
        message.contains("topic `rides` was deleted and created again"),
        "{message}"
    );
}
