//! `tiderace reset`, from outside: what is forgotten is read again, from where it was asked for, whatever is left of
//! what was there before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::collections::BTreeMap;
use std::path::PathBuf;

use command::Place;
use serde_json::Value;
use tiderace_testing::folders::copy;

/// Many epochs, and some rides that come too late.
const RUN: &str = "rides-per-zone --commit-interval 1ms --set epoch.records=20 --grace 10s --disorder 90s --seed 3";

/// Rides as they came about, so that none is late.
const ORDERED: &str = "rides-per-zone --commit-interval 1ms --set epoch.records=20";

const OUTPUTS: [&str; 2] = ["rides-per-zone", "rides-per-zone-late"];

/// By topic and partition, the records without their offsets.
type Held = BTreeMap<(String, u64), Vec<Value>>;

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

fn outputs(place: &Place) -> Held {
    let mut held = Held::new();
    for topic in OUTPUTS {
        for mut record in lines(&place.run(&format!("consume {topic}")).ok()) {
            record.as_object_mut().unwrap().remove("offset");
            let partition = record["partition"].as_u64().unwrap();
            let of = held.entry((topic.to_owned(), partition)).or_default();
            of.push(record);
        }
    }
    held
}

/// What was written behind what there was.
fn written_since(place: &Place, before: &Held) -> Held {
    let mut now = outputs(place);
    for (of, records) in before {
        let rest = now.get_mut(of).unwrap().split_off(records.len());
        let same = now.insert(of.clone(), rest).unwrap();
        assert_eq!(same, *records, "what was written stays");
    }
    now.retain(|_, records| !records.is_empty());
    now
}

fn data(place: &Place) -> PathBuf {
    place.path().join("tiderace-data")
}

fn snapshots(place: &Place) -> usize {
    let directory = data(place).join("state/rides-per-zone/snapshots");
    let files = std::fs::read_dir(directory).map(Iterator::count);
    files.unwrap_or(0)
}

fn verdict(place: &Place) -> Value {
    let checked = place.run("check rides-per-zone --format json").ok();
    serde_json::from_str(&checked).unwrap()
}

#[test]
fn from_the_beginning_all_comes_once_more() {
    let place = Place::new();
    place.run(RUN).ok();
    let before = outputs(&place);
    let last = verdict(&place)["last_epoch"].as_u64().unwrap();
    assert!(snapshots(&place) > 0);
    let ended = place.run("reset rides-per-zone --yes");
    for part in [
        format!("forgets epochs up to {last} and 1 snapshot"),
        "topic `zones`, partition 0, a table: read up to offset 265, begins at 0".to_owned(),
        "begins at 0\n".to_owned(),
    ] {
        assert!(ended.stderr.contains(&part), "`{part}`: {ended:?}");
    }
    let said = ended.ok();
    assert!(
        said.contains(&format!("epochs up to {last} are forgotten")),
        "{said}"
    );
    assert_eq!(snapshots(&place), 0);
    assert_eq!(verdict(&place)["last_epoch"], 0);
    let listed = place.run("epochs rides-per-zone").ok();
    assert!(listed.contains("reset, epochs up to"), "{listed}");
    assert_eq!(outputs(&place), before, "outputs stay as they are");
    let again = place.run(RUN);
    assert!(!again.stderr.contains("resumed:"), "{again:?}");
    again.ok();
    assert_eq!(written_since(&place, &before), before);
    let verdict = verdict(&place);
    let records: usize = before.values().map(Vec::len).sum();
    assert_eq!(verdict["output_records"], records, "{verdict}");
    assert_eq!(verdict["gaps"], serde_json::json!([]));
    // What was begun anew goes on as ever, and can be looked at.
    let report = place.run(RUN).ok();
    assert!(report.contains("nothing is new"), "{report}");
    let replayed = lines(&place.run("replay rides-per-zone --from 1").ok());
    assert_eq!(replayed.len(), records);
}

/// Rides of zones by window, counted one by one.
fn counted(rides: &[Value]) -> BTreeMap<(u64, String), u64> {
    let mut counts = BTreeMap::new();
    for ride in rides {
        let value = &ride["value"];
        if value["trip_distance"].as_f64().unwrap() > 0.0 {
            let pickup = value["tpep_pickup_datetime"].as_str().unwrap();
            // Windows of ten minutes: all but the last digit of the minutes.
            let window = format!("{}0:00Z", &pickup[..15]);
            let zone = value["PULocationID"].as_u64().unwrap();
            *counts.entry((zone, window)).or_insert(0) += 1;
        }
    }
    counts
}

fn results(written: &Held) -> BTreeMap<(u64, String), u64> {
    let records = written.iter().filter(|((topic, _), _)| topic == OUTPUTS[0]);
    let records = records.flat_map(|(_, records)| records);
    let result = |record: &Value| {
        let value = &record["value"];
        let window = value["window_start"].as_str().unwrap().to_owned();
        let count = value["rides"].as_u64().unwrap();
        ((value["zone_id"].as_u64().unwrap(), window), count)
    };
    records.map(result).collect()
}

#[test]
fn from_a_time_or_from_offsets_what_is_behind_comes_once_more() {
    let place = Place::new();
    place.run(ORDERED).ok();
    let rides = lines(&place.run("consume rides").ok());
    let whole = outputs(&place);
    assert_eq!(results(&whole), counted(&rides));
    let time = "2020-07-01T00:31:07Z";
    place
        .run(&format!("reset rides-per-zone --to-time {time} --yes"))
        .ok();
    place.run(ORDERED).ok();
    // Within a partition rides are ordered by time: what is later lies behind.
    let millis = 1_593_561_600_000 + 31 * 60_000 + 7_000;
    let later = rides
        .iter()
        .filter(|it| it["timestamp"].as_i64().unwrap() >= millis);
    let later: Vec<_> = later.cloned().collect();
    assert!(
        later.len() > 20 && later.len() < rides.len() - 20,
        "{}",
        later.len()
    );
    let since = written_since(&place, &whole);
    assert_eq!(results(&since), counted(&later));
    verdict(&place);

    let before = outputs(&place);
    let ended =
        place.run("reset rides-per-zone --to-offset rides:1=20 --to-offset rides:2=0 --yes");
    let end = rides.iter().filter(|it| it["partition"] == 3).count();
    let stays = format!("partition 3: read up to offset {end}, begins at {end}");
    assert!(ended.stderr.contains(&stays), "{stays}: {ended:?}");
    ended.ok();
    place.run(ORDERED).ok();
    let chosen = |ride: &&Value| match ride["partition"].as_u64().unwrap() {
        1 => ride["offset"].as_u64().unwrap() >= 20,
        2 => true,
        // Not named: they go on where they are.
        _ => false,
    };
    let chosen: Vec<_> = rides.iter().filter(chosen).cloned().collect();
    assert_eq!(results(&written_since(&place, &before)), counted(&chosen));

    // Behind the last ride there is none.
    let before = outputs(&place);
    place
        .run("reset rides-per-zone --to-time 2031-01-01 --yes")
        .ok();
    place.run(ORDERED).ok();
    assert_eq!(written_since(&place, &before), Held::new());
}

#[test]
fn another_program_may_begin_behind_a_reset() {
    let place = Place::new();
    place.run(ORDERED).ok();
    let hourly = format!("{ORDERED} --window 1h");
    place.run(&hourly).refused(64);
    place.run("reset rides-per-zone --to beginning --yes").ok();
    place.run(&hourly).ok();
    place.run(ORDERED).refused(64);
    verdict(&place);
}

/// A reset that ends right behind its entry leaves the old entries and the old snapshots; one that comes a step further
/// leaves the snapshots alone, as an instance elsewhere does that knows nothing of it.
#[test]
fn a_reset_cut_short_is_completed_by_the_next_start() {
    let place = Place::new();
    place.run(RUN).ok();
    let before = outputs(&place);
    let kept = place.path().join("kept");
    copy(&data(&place), &kept);
    place.run("reset rides-per-zone --yes").ok();
    let formats = "--key-format base64 --value-format string";
    let epochs = format!("consume rides-per-zone-epochs {formats}");
    let entry = place.run(&epochs).ok();
    assert_eq!(
        entry.lines().count(),
        1,
        "the entry is all that is held: {entry}"
    );
    for all in [true, false] {
        let whole = data(&place).join("log");
        if all {
            std::fs::remove_dir_all(&whole).unwrap();
            copy(&kept.join("log"), &whole);
            let produce = format!("produce rides-per-zone-epochs {formats}");
            place.run_with(&produce, &entry).ok();
        } else {
            // As it is behind a reset, with the snapshots of what it has forgotten.
            std::fs::remove_dir_all(data(&place)).unwrap();
            copy(&kept, &data(&place));
            place.run("reset rides-per-zone --yes").ok();
        }
        let state = data(&place).join("state");
        std::fs::remove_dir_all(&state).unwrap();
        copy(&kept.join("state"), &state);
        let half = verdict(&place);
        assert_eq!(half["last_epoch"], 0, "{half}");
        assert!(
            half["gaps"]
                .to_string()
                .contains("which a reset has forgotten"),
            "{half}"
        );
        place.run("replay rides-per-zone --from 1").refused(64);
        let ended = place.run(RUN);
        assert!(!ended.stderr.contains("resumed:"), "{ended:?}");
        ended.ok();
        assert_eq!(written_since(&place, &before), before, "all: {all}");
        let done = verdict(&place);
        assert_eq!(done["newest_snapshot"], done["last_epoch"], "{done}");
        assert_eq!(done["snapshots"], 1, "the old ones are deleted: {done}");
        let report = place.run(RUN).ok();
        assert!(report.contains("nothing is new"), "{report}");
        let replayed = lines(&place.run("replay rides-per-zone --from 1").ok());
        assert_eq!(replayed.len(), before.values().map(Vec::len).sum::<usize>());
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let place = Place::new();
    place.run("topics create rides --partitions 4").ok();
    let message = place.run("reset rides-per-zone --yes").refused(64);
    assert!(
        message.contains("no application `rides-per-zone` has run"),
        "{message}"
    );
    place.run(ORDERED).ok();
    let entries = place.run("epochs rides-per-zone --format json").ok();
    let held = place.run("topics describe rides --format json").ok();
    let held: Value = serde_json::from_str(&held).unwrap();
    let end = held["partitions"][0]["next"].as_i64().unwrap();
    for (options, code, says) in [
        ("", 64, "stdin is no terminal: say --yes".to_owned()),
        (
            "--yes --to-offset rides:0=100000",
            64,
            format!(
                "topic `rides`, partition 0: offset 100000 is not held, offsets 0 to {end} are"
            ),
        ),
        (
            "--yes --to-offset rides:9=1",
            64,
            "there is no such partition".into(),
        ),
        (
            "--yes --to-offset zones:0=1",
            64,
            "it is read into a table".into(),
        ),
        (
            "--yes --to-offset fares:0=1",
            64,
            "`rides-per-zone` reads `rides`".into(),
        ),
        (
            "--yes --to beginning --to-time 2020-07-01",
            2,
            "cannot be used with".into(),
        ),
        ("--yes --to-time 12", 2, "it is a time".into()),
    ] {
        let message = place
            .run(&format!("reset rides-per-zone {options}"))
            .refused(code);
        assert!(message.contains(&says), "{says}: {message}");
    }
    let running = place.start(&format!("{ORDERED} --follow"));
    running.wait_for("following");
    let message = place.run("reset rides-per-zone --yes").refused(75);
    assert!(message.contains(&running.pid().to_string()), "{message}");
    running.signal("TERM");
    running.end().ok();
    let after = place.run("epochs rides-per-zone --format json").ok();
    let kept = entries.trim_end().trim_end_matches(']');
    assert!(after.starts_with(kept), "entries were lost");
}
