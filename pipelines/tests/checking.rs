//! `tiderace epochs` and `tiderace check`, from outside: what is sound passes, and every kind of damage is found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use command::Place;
use serde_json::Value;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, TopicPartition};

const RUN: &str = "rides-per-zone --commit-interval 1ms";

/// A place where the pipeline has run twice, over other rides each time.
fn after_two_runs() -> Place {
    let place = Place::new();
    place.run(RUN).ok();
    let rides = place.run("consume rides").ok();
    let later = rides.replace("2020-07-01T", "2020-07-02T");
    let later: String = later
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["timestamp"] = Value::Null;
            line.as_object_mut().unwrap().remove("timestamp");
            format!("{line}\n")
        })
        .collect();
    place.run_with("produce rides", &later).ok();
    place.run(&format!("{RUN} --no-load")).ok();
    place
}

fn entries(place: &Place, options: &str) -> Vec<Value> {
    let listed = place.run(&format!("epochs rides-per-zone --format json {options}"));
    serde_json::from_str(&listed.ok()).unwrap()
}

/// Puts a topic with other records in the place of one, as `edit` makes them of the lines.
fn replace(place: &Place, topic: &str, partitions: u32, edit: impl Fn(&mut Vec<String>)) {
    let formats = "--key-format base64 --value-format string";
    let lines = place.run(&format!("consume {topic} {formats}")).ok();
    let mut lines: Vec<_> = lines.lines().map(str::to_owned).collect();
    edit(&mut lines);
    place.run(&format!("topics delete {topic}")).ok();
    let create = format!("topics create {topic} --partitions {partitions}");
    place.run(&create).ok();
    let lines = lines.join("\n") + "\n";
    place
        .run_with(&format!("produce {topic} {formats}"), &lines)
        .ok();
}

/// The faults that a check finds, which must be some.
fn faults(place: &Place) -> Vec<String> {
    faults_with(place, "")
}

fn faults_with(place: &Place, options: &str) -> Vec<String> {
    let ended = place.run(&format!("check rides-per-zone --format json {options}"));
    assert_eq!(ended.code, 65, "{ended:?}");
    assert!(
        ended.stderr.contains("`rides-per-zone` is not sound"),
        "{ended:?}"
    );
    let verdict: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(verdict["sound"], false);
    let faults = verdict["faults"].as_array().unwrap();
    faults
        .iter()
        .map(|fault| fault.as_str().unwrap().to_owned())
        .collect()
}

fn has(faults: &[String], parts: &[&str]) -> bool {
    faults
        .iter()
        .any(|fault| parts.iter().all(|part| fault.contains(part)))
}

#[test]
fn what_two_runs_have_left_is_listed_and_sound() {
    let place = after_two_runs();
    let all = entries(&place, "");
    let kinds: Vec<_> = all
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..3], ["origin", "start", "epoch"]);
    assert_eq!(kinds.iter().filter(|kind| **kind == "start").count(), 2);
    let last = all.last().unwrap()["epoch"].as_u64().unwrap();
    let read: u64 = all
        .iter()
        .filter_map(|entry| entry["counts"]["read"].as_u64())
        .sum();
    assert_eq!(read, 2 * 266);
    assert_eq!(entries(&place, "--limit 2").len(), 2);
    assert_eq!(
        entries(&place, &format!("--from {last}")),
        all[all.len() - 1..]
    );
    let text = place.run("epochs rides-per-zone").ok();
    for part in [
        "begun, 256 shards",
        "reads rides from [0",
        "start, incarnation",
        "= processed",
        "wrote ",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }

    let verdict: Value =
        serde_json::from_str(&place.run("check rides-per-zone --format json").ok()).unwrap();
    let written = ["rides-per-zone", "rides-per-zone-late"]
        .map(|topic| place.run(&format!("consume {topic}")).ok().lines().count());
    assert_eq!(verdict["output_records"], written.iter().sum::<usize>());
    assert_eq!(verdict["last_epoch"], last);
    assert_eq!(verdict["gaps"], serde_json::json!([]));
    assert_eq!(verdict["input_records"], Value::Null);
    let text = place.run("check rides-per-zone").ok();
    assert!(!text.contains("input records"), "{text}");
    assert!(
        text.ends_with("\nnothing is wrong; inputs were not read (--inputs)\n"),
        "{text}"
    );

    let read = 2 * 266 + place.run("consume zones").ok().lines().count();
    let checked = place
        .run("check rides-per-zone --inputs --format json")
        .ok();
    let verdict: Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(verdict["input_records"], read);
    assert_eq!(verdict["gaps"], serde_json::json!([]));
    let text = place.run("check rides-per-zone --inputs").ok();
    assert!(
        text.contains(&format!(", {read} input records, ")),
        "{text}"
    );
    assert!(text.ends_with("\nnothing is wrong\n"), "{text}");
}

#[test]
fn an_application_that_runs_is_checked_up_to_now() {
    let place = Place::new();
    let following = place.start(&format!("{RUN} --follow"));
    // Its windows stay open: what is there is the log.
    loop {
        let ended = place.run("check rides-per-zone --inputs --format json");
        if ended.code == 0 && !ended.stdout.contains("\"last_epoch\":0") {
            break;
        }
        // Before the pipeline has begun there is nothing to check.
        assert!(ended.code == 64 || ended.code == 0, "{ended:?}");
    }
    following.signal("TERM");
    assert_eq!(following.end().code, 0);
    place.run("check rides-per-zone --inputs").ok();
}

#[test]
fn a_flipped_byte_of_an_output_is_found() {
    let place = after_two_runs();
    let topic = place.path().join("tiderace-data/log/rides-per-zone");
    let segment = (0..4)
        .map(|partition| topic.join(format!("{partition}/00000000000000000000.segment")))
        .find(|segment| segment.exists())
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let found = faults(&place);
    assert!(
        has(&found, &["rides-per-zone", ".segment: damaged at byte"]),
        "{found:?}"
    );
    assert_eq!(found.len(), 1, "the other partitions are sound: {found:?}");
}

#[test]
fn a_removed_a_changed_and_an_added_record_are_found_by_epoch() {
    let place = after_two_runs();
    replace(&place, "rides-per-zone", 4, |lines| {
        lines.remove(0);
    });
    let found = faults(&place);
    assert!(
        has(
            &found,
            &["topic `rides-per-zone` was deleted and created again"]
        ),
        "{found:?}"
    );
    assert!(has(&found, &["partition 0", "of epoch"]), "{found:?}");

    let place = after_two_runs();
    replace(&place, "rides-per-zone", 4, |lines| {
        lines[0] = lines[0].replace("rides\\\":", "rides\\\":1");
    });
    let found = faults(&place);
    assert!(
        has(&found, &["partition 0", "their digest differs"]),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "one record, and the topic's id: {found:?}");

    let place = after_two_runs();
    place
        .run_with("produce rides-per-zone", "{\"value\":1,\"partition\":2}\n")
        .ok();
    let found = faults(&place);
    assert!(
        has(&found, &["partition 2", "1 records behind"]),
        "{found:?}"
    );
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_doctored_and_a_missing_entry_are_found() {
    let doctored = |edit: &dyn Fn(&mut Vec<String>)| {
        let place = after_two_runs();
        replace(&place, "rides-per-zone-epochs", 1, edit);
        faults(&place)
    };
    let found = doctored(&|lines| {
        let line = lines
            .iter_mut()
            .find(|line| line.contains("filtered"))
            .unwrap();
        *line = line.replacen("filtered\\\":", "filtered\\\":1", 1);
    });
    assert!(has(&found, &["does not name the hash"]), "{found:?}");
    assert!(has(&found, &["the counts do not add up"]), "{found:?}");
    let found = doctored(&|lines| {
        lines.remove(2);
    });
    assert!(
        has(&found, &["offset 2", "does not name the hash"]),
        "{found:?}"
    );
    assert!(has(&found, &["it follows epoch 0"]), "{found:?}");
}

/// An entry that says that an epoch read a record less than it came past.
#[test]
fn a_record_too_few_is_found_where_the_inputs_are_read() {
    let place = after_two_runs();
    let said = std::cell::RefCell::new(Vec::new());
    let parsed = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        let entry: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
        (line, entry)
    };
    let reads_rides = |line: &String| parsed(line).1["read"][0]["topic"] == "rides";
    replace(&place, "rides-per-zone-epochs", 1, |lines| {
        let line = lines.iter_mut().rfind(|line| reads_rides(line)).unwrap();
        let (mut of, mut entry) = parsed(line);
        let epoch = entry["epoch"].clone();
        let share = &mut entry["read"][0];
        let records = share["records"].as_u64().unwrap();
        said.borrow_mut().extend([
            format!(
                "epoch {epoch}: topic `rides`, partition {}: ",
                share["partition"]
            ),
            format!(" {records} records are held from offset "),
            format!(", and it read {}: 1 was skipped", records - 1),
        ]);
        share["records"] = (records - 1).into();
        of["value"] = entry.to_string().into();
        *line = of.to_string();
    });
    let (without, with) = (faults(&place), faults_with(&place, "--inputs"));
    // Counts and hashes give this one away, too; not so if the engine itself has miscounted.
    assert!(!has(&without, &["skipped"]), "{without:?}");
    assert_eq!(with.len(), without.len() + 1, "{with:?}");
    let said = said.borrow();
    let said: Vec<_> = said.iter().map(String::as_str).collect();
    assert!(has(&with, &said), "{with:?}");

    // What epochs read whose entries are missing was not skipped.
    let place = after_two_runs();
    replace(&place, "rides-per-zone-epochs", 1, |lines| {
        let first = lines.iter().position(reads_rides).unwrap();
        lines.remove(first);
    });
    let (without, with) = (faults(&place), faults_with(&place, "--inputs"));
    assert_eq!(with, without);
}

#[test]
fn output_that_is_no_longer_held_is_a_gap_and_the_rest_is_checked() {
    let place = after_two_runs();
    let log = EmbeddedLog::open(place.path().join("tiderace-data")).unwrap();
    let held = log.topic("rides-per-zone").unwrap().unwrap().partitions;
    let (partition, held) = (0..).zip(&held).max_by_key(|(_, held)| held.end).unwrap();
    let partition = TopicPartition::new("rides-per-zone", partition);
    log.delete_records(&partition, held.end - 1).unwrap();
    let gap = format!("{partition}: records of epoch");
    let text = place.run("check rides-per-zone").ok();
    assert!(
        text.contains(&gap) && text.contains("no longer held"),
        "{text}"
    );
    // Of the epoch log, too: what is left of it says what is left of the outputs.
    let entry = entries(&place, "").pop().unwrap()["offset"]
        .as_i64()
        .unwrap();
    let epochs = TopicPartition::new("rides-per-zone-epochs", 0);
    log.delete_records(&epochs, entry).unwrap();
    let text = place.run("check rides-per-zone").ok();
    assert!(text.contains("older entries are deleted"), "{text}");
    assert_eq!(entries(&place, "").len(), 1);
}

#[test]
fn an_application_that_never_ran_is_named() {
    let place = Place::new();
    place.run("topics create rides --partitions 1").ok();
    for command in ["check", "epochs"] {
        let message = place.run(&format!("{command} fares")).refused(64);
        assert!(
            message.contains("no application `fares` has run"),
            "{message}"
        );
    }
}

/// The files of the application's snapshots that end with this.
fn snapshot_files(place: &Place, suffix: &str) -> Vec<std::path::PathBuf> {
    let directory = place
        .path()
        .join("tiderace-data/state/rides-per-zone/snapshots");
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.to_str().unwrap().ends_with(suffix));
    files.sort();
    files
}

fn verdict(place: &Place) -> Value {
    let checked = place.run("check rides-per-zone --format json").ok();
    serde_json::from_str(&checked).unwrap()
}

#[test]
fn a_flipped_byte_of_a_snapshot_is_found_by_its_file() {
    let place = after_two_runs();
    let before = verdict(&place);
    assert_eq!(before["snapshots"], 2);
    assert_eq!(before["newest_snapshot"], before["last_epoch"]);
    for suffix in [".data", ".manifest"] {
        let files = snapshot_files(&place, suffix);
        let file = files.last().unwrap();
        let whole = std::fs::read(file).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 0x10;
        std::fs::write(file, bytes).unwrap();
        let found = faults(&place);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(has(&found, &[name, "damaged at byte"]), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
        std::fs::write(file, whole).unwrap();
    }
    // A file that a manifest names and that is not there.
    let file = snapshot_files(&place, ".data").pop().unwrap();
    std::fs::remove_file(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let found = faults(&place);
    assert!(has(&found, &[name, "it is missing"]), "{found:?}");
}

#[test]
fn that_there_are_no_snapshots_is_said_and_no_fault() {
    let place = after_two_runs();
    let state = place.path().join("tiderace-data/state");
    std::fs::remove_dir_all(state).unwrap();
    assert_eq!(verdict(&place)["snapshots"], 0);
    assert_eq!(verdict(&place)["newest_snapshot"], Value::Null);
    let text = place.run("check rides-per-zone").ok();
    assert!(text.contains("no snapshots here"), "{text}");
}

#[test]
fn a_snapshot_that_the_epoch_log_does_not_know_is_found() {
    let place = after_two_runs();
    replace(&place, "rides-per-zone-epochs", 1, |lines| {
        lines.pop();
    });
    let found = faults(&place);
    let newest = snapshot_files(&place, ".manifest").pop().unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(
        has(&found, &[name, "the epoch log ends with epoch"]),
        "{found:?}"
    );

    let place = after_two_runs();
    replace(&place, "rides-per-zone-epochs", 1, |lines| {
        let last = lines.last_mut().unwrap();
        *last = last.replacen("\\\"workers\\\"", "\\\"Workers\\\"", 1);
        *last = last.replacen("windows_closed\\\":", "windows_closed\\\":1", 1);
    });
    let found = faults(&place);
    assert!(
        has(&found, &[".manifest", "another one than the epoch log has"]),
        "{found:?}"
    );
}

/// The application publishes snapshots and deletes older ones all the time: what is gone by the time it is read was
/// superseded, and no fault.
#[test]
fn snapshots_that_come_and_go_during_a_check_are_no_faults() {
    let place = Place::new();
    let mut running = place.start(
        "rides-per-zone --scale 20 --rate 1500 --commit-interval 1ms --set snapshot.interval.ms=1",
    );
    let mut newest = std::collections::BTreeSet::new();
    while !running.has_ended() {
        let ended = place.run("check rides-per-zone --format json");
        // Before the pipeline has begun there is nothing to check.
        assert!(ended.code == 64 || ended.code == 0, "{ended:?}");
        if ended.code == 0 {
            let verdict: Value = serde_json::from_str(&ended.stdout).unwrap();
            newest.extend(verdict["newest_snapshot"].as_u64());
        }
    }
    running.end().ok();
    assert!(newest.len() > 5, "hardly a snapshot was seen: {newest:?}");
    assert_eq!(
        verdict(&place)["newest_snapshot"],
        verdict(&place)["last_epoch"]
    );
}
