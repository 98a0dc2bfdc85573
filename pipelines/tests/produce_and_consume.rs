//! `tiderace produce` and `tiderace consume`, from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::io::Write;

use command::Place;

fn place_with(topics: &[&str]) -> Place {
    let place = Place::new();
    for topic in topics {
        place
            .run(&format!("topics create {topic} --partitions 3"))
            .ok();
    }
    place
}

#[test]
fn consume_into_produce_makes_the_same_bytes() {
    let place = place_with(&["a", "b"]);
    let lines = concat!(
        r#"{"partition":0,"offset":0,"timestamp":-7,"key":"k","value":"plain","headers":[]}"#,
        "\n",
        r#"{"partition":0,"offset":1,"timestamp":5,"key":"","value":null,"headers":[["h",null],["h","x"]]}"#,
        "\n",
        r#"{"partition":2,"offset":0,"timestamp":9,"key":{"base64":"/w=="},"value":"{\"a\": 1.50}","headers":[]}"#,
        "\n",
        r#"{"partition":2,"offset":1,"timestamp":3,"key":null,"value":"","headers":[["b",{"base64":"/w=="}]]}"#,
        "\n",
    );
    place.run_with("produce a", lines).ok();
    let consumed = place.run("consume a").ok();
    assert_eq!(consumed, lines);
    for format in ["string", "json", "base64", "i32", "i64", "windowed-i32"] {
        let topic = format!("copy-{format}");
        place
            .run(&format!("topics create {topic} --partitions 3"))
            .ok();
        let formats = format!("--key-format {format} --value-format {format}");
        let shown = place.run(&format!("consume a {formats}")).ok();
        place
            .run_with(&format!("produce {topic} {formats}"), &shown)
            .ok();
        assert_eq!(
            place.run(&format!("consume {topic}")).ok(),
            lines,
            "{format}"
        );
    }
}

#[test]
fn records_come_by_partition_then_offset() {
    let place = place_with(&["a"]);
    let lines: String = (0..30)
        .map(|n| format!(r#"{{"partition":{},"value":"{n}","timestamp":1}}"#, n % 3) + "\n")
        .collect();
    place.run_with("produce a", &lines).ok();
    let places: Vec<(u64, u64)> = place
        .run("consume a")
        .ok()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| {
            (
                record["partition"].as_u64().unwrap(),
                record["offset"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected: Vec<_> = (0..3)
        .flat_map(|partition| (0..10).map(move |offset| (partition, offset)))
        .collect();
    assert_eq!(places, expected);
    assert_eq!(place.run("consume a --limit 12").ok().lines().count(), 12);
    assert_eq!(place.run("consume a --limit 0").ok(), "");
}

#[test]
fn a_key_lands_where_java_puts_it_and_records_without_one_take_turns() {
    let place = Place::new();
    place.run("topics create a --partitions 10").ok();
    let lines = "{\"key\":\"21\",\"value\":\"x\"}\n{\"value\":\"y\"}\n{\"value\":\"z\"}\n";
    place.run_with("produce a", lines).ok();
    let places: Vec<_> = place
        .run("consume a")
        .ok()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| {
            (
                record["partition"].as_u64().unwrap(),
                record["value"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    // murmur2("21") is -973932308, and (-973932308 & 0x7fffffff) % 10 is 0.
    assert_eq!(places, [(0, "x".into()), (1, "y".into()), (2, "z".into())]);
}

#[test]
fn consuming_begins_at_an_offset_or_a_time() {
    let place = Place::new();
    place.run("topics create a --partitions 1").ok();
    let times = [
        "2020-07-01T00:00:00Z",
        "2020-07-01T00:10:00Z",
        "2020-07-01T00:20:00Z",
    ];
    let lines: String = times
        .map(|at| format!("{{\"value\":\"{at}\",\"timestamp\":\"{at}\"}}\n"))
        .concat();
    place.run_with("produce a", &lines).ok();
    let from = |start: &str| {
        place
            .run(&format!("consume a --from {start}"))
            .ok()
            .lines()
            .count()
    };
    assert_eq!([from("0"), from("2"), from("3"), from("99")], [3, 1, 0, 0]);
    assert_eq!(from("2020-07-01T00:10:00Z"), 2);
    assert_eq!(from("2020-07-01T00:10:01Z"), 1);
    assert_eq!(from("2020-07-01"), 3);
    assert_eq!(from("2021-01-01"), 0);
    place.run("consume a --from soon").refused(2);
}

#[test]
fn a_bad_line_stops_with_its_number_and_earlier_lines_are_kept() {
    let place = place_with(&["a"]);
    let message = place
        .run_with(
            "produce a",
            "{\"value\":1}\n\n{\"value\":2}\n{\"vlaue\":3}\n{\"value\":4}\n",
        )
        .refused(65);
    assert!(
        message.contains("line 4: unknown field `vlaue`"),
        "{message}"
    );
    assert!(
        message.contains("the 2 records before it were sent"),
        "{message}"
    );
    assert_eq!(place.run("consume a").ok().lines().count(), 2);
    let message = place
        .run_with("produce a", "{\"value\":1,\"partition\":3}")
        .refused(65);
    assert!(
        message.contains("line 1: there is no partition 3"),
        "{message}"
    );
}

#[test]
fn a_follower_sees_lines_while_stdin_pauses() {
    let place = place_with(&["a"]);
    let follower = place.start("consume a --follow");
    let mut producer = place.start("produce a");
    let mut stdin = producer.take_stdin();
    for value in ["one", "two"] {
        writeln!(stdin, "{{\"value\":\"{value}\"}}").unwrap();
        assert!(follower.line().contains(&format!("\"value\":\"{value}\"")));
    }
    drop(stdin);
    assert_eq!(producer.end().code, 0);
    follower.signal("INT");
    assert_eq!(follower.end().code, 0);
}

#[test]
fn an_interrupted_producer_keeps_what_it_read() {
    let place = place_with(&["a"]);
    let follower = place.start("consume a --follow --limit 1");
    let mut producer = place.start("produce a");
    let mut stdin = producer.take_stdin();
    writeln!(stdin, "{{\"value\":\"kept\"}}").unwrap();
    assert!(follower.line().contains("kept"));
    producer.signal("TERM");
    assert_eq!(producer.end().code, 130);
    assert_eq!(follower.end().code, 0);
    assert_eq!(place.run("consume a").ok().lines().count(), 1);
}

#[test]
fn a_producer_whose_input_never_pauses_can_be_interrupted() {
    let place = place_with(&["a"]);
    let mut producer = place.start("produce a");
    let mut stdin = producer.take_stdin();
    let lines = "{\"value\":\"x\"}\n".repeat(1_000);
    // More than pipe and queue hold, so the producer is at work and watches for signals.
    for _ in 0..300 {
        stdin.write_all(lines.as_bytes()).unwrap();
    }
    producer.signal("INT");
    while stdin.write_all(lines.as_bytes()).is_ok() {}
    assert_eq!(producer.end().code, 130);
    assert!(place.run("consume a --limit 5").ok().lines().count() == 5);
}

#[test]
fn a_second_producer_of_a_topic_is_refused_with_the_first_ones_pid() {
    let place = place_with(&["a"]);
    let follower = place.start("consume a --follow --limit 1");
    let mut first = place.start("produce a");
    let mut stdin = first.take_stdin();
    writeln!(stdin, "{{\"value\":\"one\"}}").unwrap();
    follower.line();
    let message = place
        .run_with("produce a", "{\"value\":\"two\"}\n")
        .refused(75);
    assert!(message.contains("in use by process"), "{message}");
    drop(stdin);
    assert_eq!(first.end().code, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = place_with(&["a"]);
    let lines: String = (0..20_000)
        .map(|n| format!("{{\"value\":\"{n}\"}}\n"))
        .collect();
    place.run_with("produce a", &lines).ok();
    let shell = format!(
        "{} consume a | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_tiderace")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &shell])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.stdout.ends_with(b"\n0\n"), "{output:?}");
}
