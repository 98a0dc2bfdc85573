//! Bad input, bad places and full disks, from outside: what the command says and how it ends.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use command::Place;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, TopicPartition};

const RUN: &str = "rides-per-zone --no-load";
const GOOD: &str = r#"{"key":"7","value":{"tpep_pickup_datetime":"2020-07-01T00:01:00","trip_distance":1.5,"PULocationID":7}}"#;

/// A place with a topic of rides of one partition: a good ride, then this line.
fn place_with_ride(line: &str) -> Place {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    place.run_with("produce rides", &format!("{GOOD}\n")).ok();
    place
        .run_with("produce rides --value-format string", &format!("{line}\n"))
        .ok();
    place
}

/// A ride that cannot be read ends the run, by name and twice the same, and nothing is committed.
fn assert_bad_ride(line: &str, reason: &str) {
    let place = place_with_ride(line);
    let expected = "tiderace: step `rides-source`: topic `rides`, partition 0, offset 1: ";
    for _ in 0..2 {
        let message = place.run(RUN).refused(65);
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(reason), "{message}");
        assert!(
            message.contains("nothing of its epoch was committed"),
            "{message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }
    assert_eq!(place.run("consume rides-per-zone").ok(), "");
}

#[test]
fn a_ride_that_is_not_json_ends_the_run_with_its_offset() {
    assert_bad_ride(r#"{"key":"7","value":"seven"}"#, "the value is not JSON");
}

#[test]
fn a_ride_without_a_field_ends_the_run_with_the_fields_name() {
    let line = r#"{"key":"7","value":"{\"trip_distance\":1.5,\"PULocationID\":7}"}"#;
    assert_bad_ride(line, "missing field `tpep_pickup_datetime`");
}

#[test]
fn a_ride_with_a_field_of_another_type_ends_the_run() {
    let value = r#"{\"tpep_pickup_datetime\":\"soon\",\"trip_distance\":1.5,\"PULocationID\":7}"#;
    let line = format!("{{\"key\":\"7\",\"value\":\"{value}\"}}");
    assert_bad_ride(&line, "the JSON value has another shape");
}

#[test]
fn a_ride_with_something_behind_it_ends_the_run() {
    let line = r#"{"key":"7","value":"{\"tpep_pickup_datetime\":\"2020-07-01T00:01:00\",\"trip_distance\":1,\"PULocationID\":7}}"}"#;
    assert_bad_ride(line, "trailing characters");
}

#[test]
fn an_empty_ride_and_a_tombstone_end_the_run() {
    assert_bad_ride(r#"{"key":"7","value":""}"#, "the value is empty");
    assert_bad_ride(
        r#"{"key":"7","value":null}"#,
        "the value is null (a tombstone)",
    );
}

#[test]
fn a_ride_picked_up_in_the_far_future_ends_the_run_and_closes_no_window() {
    let value = r#"{\"tpep_pickup_datetime\":\"9000-01-01T00:00:00\",\"trip_distance\":1,\"PULocationID\":7}"#;
    let line = format!("{{\"key\":\"7\",\"value\":\"{value}\"}}");
    assert_bad_ride(&line, "lies more than max_skew ahead");
}

#[test]
fn a_record_larger_than_its_topic_takes_is_refused_by_its_line_and_earlier_ones_are_kept() {
    let place = Place::new();
    place
        .run("topics create small --partitions 1 --config max.message.bytes=100")
        .ok();
    let lines = format!(
        "{{\"value\":\"a\"}}\n{{\"value\":\"{}\"}}\n",
        "x".repeat(100)
    );
    let message = place.run_with("produce small", &lines).refused(65);
    for part in [
        "line 2: ",
        "topic `small`, partition 0",
        "larger than the 100",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(place.run("consume small").ok().lines().count(), 1);
}

#[test]
fn a_result_larger_than_its_topic_takes_ends_the_run_and_none_is_visible() {
    let place = Place::new();
    place
        .run("topics create rides-per-zone --partitions 4 --config max.message.bytes=100")
        .ok();
    let message = place.run("rides-per-zone").refused(65);
    assert!(
        message.contains("topic `rides-per-zone`, partition "),
        "{message}"
    );
    assert!(message.contains("larger than the 100"), "{message}");
    assert_eq!(place.run("consume rides-per-zone").ok(), "");
}

#[test]
fn a_topic_that_is_missing_is_named_with_the_log_that_was_asked() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    for line in [
        "produce nowhere",
        "consume nowhere",
        "topics describe nowhere",
        "topics delete nowhere",
    ] {
        let message = place.run(line).refused(64);
        assert!(
            message.contains("topic `nowhere` does not exist in"),
            "{line}: {message}"
        );
        assert!(message.contains("tiderace-data"), "{line}: {message}");
    }
}

/// A loopback port that nobody listens at.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_broker_that_is_not_there_is_named_within_ten_seconds() {
    let place = Place::new();
    let address = format!("127.0.0.1:{}", closed_port());
    for command in [
        "rides-per-zone",
        "topics list",
        "produce rides",
        "consume rides",
    ] {
        let started = Instant::now();
        let message = place
            .run(&format!("{command} --brokers {address}"))
            .refused(69);
        assert!(started.elapsed() < Duration::from_secs(10), "{command}");
        assert!(
            message.contains(&format!("cannot reach Kafka at {address}")),
            "{message}"
        );
    }
    assert!(!place.path().join("tiderace-data/log").exists());
}

/// Where the snapshots of `rides-per-zone` are. A test that is about what a replay of the whole log finds removes
/// them: behind a clean end a start replays nothing.
fn snapshots(place: &Place) -> PathBuf {
    place
        .path()
        .join("tiderace-data/state/rides-per-zone/snapshots")
}

/// The snapshot files whose name ends so.
fn snapshot_files(place: &Place, end: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(snapshots(place)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|file| file.to_string_lossy().ends_with(end))
        .collect()
}

#[test]
fn partitions_added_between_starts_are_read_from_their_first_record() {
    for replay in [false, true] {
        let place = Place::new();
        place.run("topics create rides --partitions 1").ok();
        let rides: Vec<String> = (0..16)
            .map(|key| GOOD.replace(r#""key":"7""#, &format!(r#""key":"{key}""#)) + "\n")
            .collect();
        let (before, after) = rides.split_at(4);
        place.run_with("produce rides", &before.concat()).ok();
        let report = place.run(RUN).ok();
        assert!(report.contains("read 4 = processed 4 "), "{report}");
        place.run("topics alter rides --partitions 3").ok();
        place.run_with("produce rides", &after.concat()).ok();
        let topic = place.run("topics describe rides --format json").ok();
        let topic: serde_json::Value = serde_json::from_str(&topic).unwrap();
        let partitions = topic["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 3);
        assert!(partitions.iter().all(|of| of["next"].as_i64() > Some(0)));
        // A replay comes to the same, now and later, though the partitions are there from its beginning.
        if replay {
            std::fs::remove_dir_all(snapshots(&place)).unwrap();
        }
        let report = place.run(RUN).ok();
        assert!(report.contains("read 12 = "), "{report}");
        for workers in [1, 4] {
            std::fs::remove_dir_all(snapshots(&place)).unwrap();
            let report = place.run(&format!("{RUN} --workers {workers}")).ok();
            assert!(report.contains("nothing is new"), "{report}");
        }
    }
}

#[test]
fn a_topic_that_was_deleted_and_created_again_is_refused_and_the_output_stays() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let before = place.run("consume rides-per-zone").ok();
    for partitions in [4, 8] {
        place.run("topics delete rides").ok();
        place
            .run(&format!("topics create rides --partitions {partitions}"))
            .ok();
        let message = place.run(RUN).refused(66);
        for part in [
            "topic `rides` was deleted and created again",
            "--data-dir",
            "--application-id",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(place.run("consume rides-per-zone").ok(), before);
    }
}

#[test]
fn input_that_is_no_longer_there_is_missed_only_by_a_replay_and_the_output_stays() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let before = place.run("consume rides-per-zone").ok();
    let log = EmbeddedLog::open(place.path().join("tiderace-data")).unwrap();
    let partition = TopicPartition::new("rides", 0);
    log.delete_records(&partition, 1).unwrap();
    // The state of these records is in the snapshot.
    let report = place.run(RUN).ok();
    assert!(report.contains("nothing is new"), "{report}");
    std::fs::remove_dir_all(snapshots(&place)).unwrap();
    let message = place.run(RUN).refused(66);
    for part in [
        "topic `rides`, partition 0: 1 offsets, from 0 to 0; the first one held is 1",
        "their loss cannot be accepted",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(place.run("consume rides-per-zone").ok(), before);
}

#[test]
fn records_that_are_gone_unread_are_left_out_only_where_the_topic_is_named() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    let two = format!("{GOOD}\n{GOOD}\n");
    place.run_with("produce rides", &two).ok();
    place.run(RUN).ok();
    place.run_with("produce rides", &two).ok();
    let log = EmbeddedLog::open(place.path().join("tiderace-data")).unwrap();
    let partition = TopicPartition::new("rides", 0);
    log.delete_records(&partition, 3).unwrap();
    for accepted in ["", " --accept-loss zones"] {
        let message = place.run(&format!("{RUN}{accepted}")).refused(66);
        for part in [
            "topic `rides`, partition 0: 1 offsets, from 2 to 2; the first one held is 3",
            "--accept-loss rides",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
    let ended = place.run(&format!("{RUN} --accept-loss rides"));
    let warning = ended.stderr.clone();
    ended.ok();
    assert!(warning.contains("1 offsets are lost"), "{warning}");
}

#[test]
fn other_parameters_or_another_load_on_the_same_state_are_refused_and_both_are_named() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let before = place.run("consume rides-per-zone").ok();
    // The windows in the snapshot are none that the other program could go on with.
    let message = place.run("rides-per-zone --window 5m").refused(64);
    for part in [
        "step `rides-by-zone-and-window`",
        "windows of 600000 ms",
        "windows of 300000 ms",
        "window = 600s",
        "window = 300s",
        "--drop-state",
        "--data-dir",
        "--application-id",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = place.run("rides-per-zone --scale 2").refused(64);
    for part in ["scale 1", "scale 2", "--data-dir", "--application-id"] {
        assert!(message.contains(part), "{message}");
    }
    // Without a snapshot all would be to be replayed, which the program does that began it.
    let kept = snapshots(&place);
    let aside = kept.with_extension("aside");
    std::fs::rename(&kept, &aside).unwrap();
    let message = place.run("rides-per-zone --window 5m").refused(64);
    for part in [
        "window = 600s",
        "window = 300s",
        "--data-dir",
        "--application-id",
    ] {
        assert!(message.contains(part), "{message}");
    }
    std::fs::remove_dir_all(&kept).unwrap();
    std::fs::rename(&aside, &kept).unwrap();
    assert_eq!(place.run("consume rides-per-zone").ok(), before);
    place.run("rides-per-zone").ok();
}

#[test]
fn a_second_instance_is_refused_with_the_pid_of_the_first() {
    let place = Place::new();
    let first = place.start("rides-per-zone --follow");
    first.wait_for("following");
    let lock = place.path().join("tiderace-data/state/rides-per-zone/lock");
    let pid = std::fs::read_to_string(lock).unwrap();
    let message = place.run("rides-per-zone").refused(75);
    let expected = format!("is in use by process {}", pid.trim());
    assert!(message.contains(&expected), "{message}");
    assert!(
        message.contains("application `rides-per-zone`"),
        "{message}"
    );
    first.signal("INT");
    assert_eq!(first.end().code, 0);
    place.run("rides-per-zone").ok();
}

fn set_mode(path: &Path, writable: bool) {
    use std::os::unix::fs::PermissionsExt;
    let directory = path.is_dir();
    let mode = match (directory, writable) {
        (true, false) => 0o555,
        (true, true) => 0o755,
        (false, _) => 0o444,
    };
    if directory {
        for entry in std::fs::read_dir(path).unwrap() {
            set_mode(&entry.unwrap().path(), writable);
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a shell line with `$TIDERACE` set to the command, in the place.
fn shell(place: &Place, line: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).current_dir(place.path());
    shell.env("TIDERACE", env!("CARGO_BIN_EXE_tiderace"));
    shell.output().unwrap()
}

#[test]
fn a_read_only_directory_is_named_and_can_still_be_read() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    // Permissions do not bind root: the command is run as nobody then, from where nobody can reach it.
    std::fs::copy(
        env!("CARGO_BIN_EXE_tiderace"),
        place.path().join("tiderace"),
    )
    .unwrap();
    let data = place.path().join("tiderace-data");
    set_mode(&data, false);
    set_mode_of_place(&place);
    let as_nobody = r#"if [ "$(id -u)" = 0 ]; then set -- setpriv --reuid=65534 --regid=65534 --clear-groups; fi; "$@" ./tiderace "#;
    let run = |line: &str| shell(&place, &format!("{as_nobody}{line}"));
    for line in [
        "rides-per-zone",
        "topics create t --partitions 1",
        "produce rides < /dev/null",
    ] {
        let output = run(line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(73), "{line}: {message}");
        assert!(message.contains("cannot write"), "{line}: {message}");
        assert!(message.contains("tiderace-data"), "{line}: {message}");
    }
    let output = run("consume rides-per-zone");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.stdout.is_empty());
    set_mode(&data, true);
}

/// The temporary directory is its owner's alone.
fn set_mode_of_place(place: &Place) {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).unwrap();
}

fn flip_in_the_middle(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(file, bytes).unwrap();
}

/// The first segment with records of a topic.
fn segment(place: &Place, topic: &str) -> PathBuf {
    let log = place.path().join("tiderace-data/log").join(topic);
    let segments =
        (0..4).map(|partition| log.join(format!("{partition}/00000000000000000000.segment")));
    let mut held = segments.filter(|file| std::fs::metadata(file).is_ok_and(|of| of.len() > 100));
    held.next().unwrap()
}

#[test]
fn a_flipped_bit_in_any_file_of_the_log_that_is_read_ends_the_run_and_names_file_and_byte() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let before = place.run("consume rides-per-zone").ok();
    let mut files: Vec<_> = ["rides", "zones", "rides-per-zone", "rides-per-zone-epochs"]
        .map(|topic| segment(&place, topic))
        .into();
    files.push(place.path().join("tiderace-data/log/commits"));
    for file in files {
        // A replay reads all of them; behind a snapshot neither input nor epochs are read again.
        std::fs::remove_dir_all(snapshots(&place)).unwrap();
        let intact = std::fs::read(&file).unwrap();
        flip_in_the_middle(&file);
        let ended = place.run("rides-per-zone");
        let message = ended.refused(65);
        let relative = file
            .strip_prefix(place.path())
            .unwrap()
            .display()
            .to_string();
        assert!(
            message.contains(&format!("{relative}: damaged at byte ")),
            "{message}"
        );
        assert!(!message.contains("panicked"), "{message}");
        std::fs::write(&file, intact).unwrap();
    }
    place.run("rides-per-zone").ok();
    assert_eq!(place.run("consume rides-per-zone").ok(), before);
}

#[test]
fn a_flipped_bit_in_a_snapshot_is_named_and_the_log_is_replayed_instead() {
    let place = Place::new();
    place.run("rides-per-zone").ok();
    let before = place.run("consume rides-per-zone").ok();
    for end in [".data", ".manifest"] {
        let damaged = snapshot_files(&place, end);
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        flip_in_the_middle(&damaged[0]);
        let ended = place.run("rides-per-zone");
        let name = damaged[0].file_name().unwrap().to_string_lossy();
        let expected = format!("{name}: damaged at byte ");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
        assert!(ended.ok().contains("nothing is new"));
        assert_eq!(place.run("consume rides-per-zone").ok(), before);
        // It has made way for a whole one.
        assert!(!damaged[0].exists());
        let next = place.run("rides-per-zone");
        assert!(!next.stderr.contains("damaged"), "{}", next.stderr);
        next.ok();
    }
}

/// Leaves the rides loaded, the zones read, and no output.
fn load_by_a_run_that_fails(place: &Place) {
    let create = "topics create rides-per-zone --partitions 4";
    place.run("topics delete rides-per-zone").ok();
    place
        .run(&format!("{create} --config max.message.bytes=10"))
        .ok();
    place.run("rides-per-zone --scale 40").refused(65);
    place.run("topics delete rides-per-zone").ok();
    place.run(create).ok();
}

#[test]
fn a_full_disk_ends_the_run_by_name_and_a_later_one_completes_the_same_output() {
    let undisturbed = Place::new();
    undisturbed.run("rides-per-zone --scale 40").ok();
    let expected = undisturbed.run("consume rides-per-zone").ok();

    let place = Place::new();
    // Loading meets the limit first. Loaded by a run that fails later, the output of the next meets it.
    for (topic, kibibytes) in [("rides", 100), ("rides-per-zone", 16)] {
        if topic == "rides-per-zone" {
            load_by_a_run_that_fails(&place);
        }
        let line = format!(
            "ulimit -f {kibibytes}; exec \"$TIDERACE\" rides-per-zone --scale 40 --commit-interval 5ms"
        );
        let output = shell(&place, &line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(73), "{topic}: {message}");
        let file = format!("cannot write tiderace-data/log/{topic}/");
        assert!(message.contains(&file), "{message}");
        assert!(
            message.contains("what was committed before is safe"),
            "{message}"
        );
        let committed = place.run("consume rides-per-zone").ok();
        assert!(committed.lines().all(|line| expected.contains(line)));
    }
    place.run("rides-per-zone --scale 40").ok();
    assert_eq!(place.run("consume rides-per-zone").ok(), expected);
}

#[test]
fn secrets_are_in_no_message_and_no_log() {
    const CANARY: &str = "canary-7301";
    let place = Place::new();
    let address = format!("127.0.0.1:{}", closed_port());
    std::fs::write(
        place.path().join("client.properties"),
        format!("kafka.sasl.password={CANARY}\nkafka.ssl.key.pem={CANARY}\n"),
    )
    .unwrap();
    std::fs::write(
        place.path().join("bad.properties"),
        format!("sasl.jaas.config={CANARY}\n"),
    )
    .unwrap();
    let login = "--set kafka.security.protocol=SASL_PLAINTEXT --set kafka.sasl.mechanism=PLAIN --set kafka.sasl.username=me";
    let lines = [
        format!("topics list --brokers {address} {login} --set kafka.sasl.password={CANARY}"),
        format!("topics list --brokers {address} --set kafka.sasl.pasword={CANARY}"),
        format!("topics list --brokers {address} --set sasl.password={CANARY}"),
        format!("topics list --brokers {address} --set {CANARY}"),
        format!("topics list --brokers {address} --properties client.properties {login}"),
        format!("topics list --brokers {address} --properties bad.properties"),
    ];
    std::thread::scope(|scope| {
        for line in &lines {
            let place = &place;
            scope.spawn(move || {
                let mut words = line.split(' ');
                let mut command = Command::new(env!("CARGO_BIN_EXE_tiderace"));
                command.args(words.by_ref()).current_dir(place.path());
                let output = command.env("RUST_LOG", "trace").output().unwrap();
                assert!(!output.status.success(), "{line}");
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                assert!(!said.contains(CANARY), "{line}: {said}");
                assert!(said.contains("tiderace: "), "{line}: {said}");
            });
        }
    });
}

#[test]
fn topics_that_a_cluster_lacks_are_named_with_the_option_that_creates_them() {
    let Some(broker) = tiderace_testing::kafka::Kafka::shared() else {
        return;
    };
    let place = Place::new();
    let address = broker.bootstrap();
    let run = format!("rides-per-zone --brokers {address}");
    let message = place.run(&run).refused(64);
    let named =
        "has no topic rides, zones, rides-per-zone, rides-per-zone-late; --create-topics creates";
    assert!(message.contains(named), "{message}");
    // The same application elsewhere takes over; the older instance ends and has written nothing since.
    let older = place.start(&format!("{run} --create-topics --follow"));
    older.wait_for("following");
    let elsewhere = Place::new();
    let newer = elsewhere.start(&format!("{run} --follow"));
    newer.wait_for("following");
    let line = r#"{"key":"7","value":{"tpep_pickup_datetime":"2020-07-02T00:01:00","trip_distance":1.5,"PULocationID":7}}"#;
    elsewhere
        .run_with(
            &format!("produce rides --brokers {address}"),
            &format!("{line}\n"),
        )
        .ok();
    let ended = older.end();
    assert_eq!(ended.code, 69, "{ended:?}");
    assert!(
        ended.stderr.contains("newer instance of `rides-per-zone`"),
        "{ended:?}"
    );
    newer.signal("INT");
    assert_eq!(newer.end().code, 0);
}
