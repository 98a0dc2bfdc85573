//! `tiderace replay`, from outside: what it prints is what the topics hold, by the counts in the epoch log, and
//! nothing changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses its part")]
mod command;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use command::Place;
use serde_json::Value;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, TopicPartition};
use tiderace_testing::kafka::Kafka;

/// Many epochs, and some rides that come too late.
const RUN: &str = "rides-per-zone --commit-interval 1ms --set epoch.records=20 --grace 10s --disorder 90s --seed 3";

/// A snapshot whenever the one before is done.
const SNAPSHOTS: &str = "--set snapshot.interval.ms=1";

const OUTPUTS: [&str; 2] = ["rides-per-zone", "rides-per-zone-late"];

/// What epochs wrote: by epoch, topic and partition, the records in order.
type Said = BTreeMap<(u64, String, u64), Vec<Value>>;

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

/// The committed epochs, as the epoch log lists them.
fn epochs(place: &Place, application: &str) -> Vec<Value> {
    let listed = place
        .run(&format!("epochs {application} --format json"))
        .ok();
    let mut listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    listed.retain(|entry| entry["kind"] == "epoch");
    listed
}

/// What the topics hold, told apart by the number of records that each epoch says it wrote to each partition.
fn said(place: &Place, application: &str) -> Said {
    let mut held: BTreeMap<(String, u64), Vec<Value>> = BTreeMap::new();
    for topic in OUTPUTS {
        for mut record in lines(&place.run(&format!("consume {topic}")).ok()) {
            let partition = record["partition"].as_u64().unwrap();
            record.as_object_mut().unwrap().remove("offset");
            let of = held.entry((topic.to_owned(), partition)).or_default();
            of.push(record);
        }
    }
    let mut said = Said::new();
    for entry in epochs(place, application) {
        for (topic, digest) in entry["outputs"].as_object().unwrap() {
            for part in digest["partitions"].as_array().unwrap() {
                let partition = part["partition"].as_u64().unwrap();
                let count = part["records"].as_u64().unwrap() as usize;
                let of = held.get_mut(&(topic.clone(), partition)).unwrap();
                let rest = of.split_off(count);
                let records = std::mem::replace(of, rest);
                let epoch = entry["epoch"].as_u64().unwrap();
                said.insert((epoch, topic.clone(), partition), records);
            }
        }
    }
    assert!(held.values().all(Vec::is_empty), "records of no epoch");
    said
}

/// What a replay printed, in the same form.
fn printed(records: Vec<Value>) -> Said {
    let mut said = Said::new();
    for mut record in records {
        let fields = record.as_object_mut().unwrap();
        let epoch = fields.remove("epoch").unwrap().as_u64().unwrap();
        let topic = fields.remove("topic").unwrap().as_str().unwrap().to_owned();
        let partition = record["partition"].as_u64().unwrap();
        said.entry((epoch, topic, partition))
            .or_default()
            .push(record);
    }
    said
}

fn of_epochs(said: &Said, from: u64, to: u64) -> Said {
    let wanted = said
        .iter()
        .filter(|((epoch, ..), _)| (from..=to).contains(epoch));
    wanted
        .map(|(of, records)| (of.clone(), records.clone()))
        .collect()
}

/// Every file below a directory with its bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

fn data(place: &Place) -> PathBuf {
    place.path().join("tiderace-data")
}

/// The epochs of the snapshots that are there, by the names of their manifests.
fn snapshots(place: &Place, application: &str) -> Vec<u64> {
    let directory = data(place)
        .join("state")
        .join(application)
        .join("snapshots");
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let epoch = |name: String| {
        name.strip_suffix(".manifest")?
            .split_once('-')?
            .0
            .parse()
            .ok()
    };
    let mut epochs: Vec<u64> = names.filter_map(epoch).collect();
    epochs.sort_unstable();
    epochs
}

#[test]
fn a_replay_prints_what_the_topics_hold_with_snapshots_and_without() {
    let place = Place::new();
    place.run(&format!("{RUN} {SNAPSHOTS}")).ok();
    let said = said(&place, "rides-per-zone");
    let last = epochs(&place, "rides-per-zone").len() as u64;
    let before = files(&data(&place));
    let nearest = |from: u64| {
        let taken = snapshots(&place, "rides-per-zone");
        taken.into_iter().rfind(|epoch| *epoch < from)
    };
    assert!(last > 8 && nearest(last).is_some(), "{last} epochs");
    let mut shown = 0;
    let windows = [
        (1, last),
        (3, 3),
        (last / 2, last / 2 + 3),
        (last - 1, last),
    ];
    for workers in [1, 2] {
        for (from, to) in windows {
            let ended = place.run(&format!(
                "replay rides-per-zone --from {from} --to {to} --workers {workers}"
            ));
            let begins = match nearest(from) {
                Some(epoch) => format!("behind the snapshot of epoch {epoch}"),
                None => "from the first epoch on".to_owned(),
            };
            assert!(ended.stderr.contains(&begins), "{begins}: {ended:?}");
            assert_eq!(
                ended.stderr.matches(", committed ").count() as u64,
                to - from + 1
            );
            let records = lines(&ended.ok());
            shown += records.len();
            assert_eq!(
                printed(records),
                of_epochs(&said, from, to),
                "{from} to {to}"
            );
        }
    }
    assert!(shown > 0);
    assert_eq!(files(&data(&place)), before, "a replay changes nothing");
    std::fs::remove_dir_all(data(&place).join("state")).unwrap();
    let (from, to) = (last / 2, last);
    let replay = format!("replay rides-per-zone --from {from}");
    let ended = place.run(&replay);
    assert!(
        ended.stderr.contains("from the first epoch on"),
        "{ended:?}"
    );
    assert_eq!(printed(lines(&ended.ok())), of_epochs(&said, from, to));
    assert!(!data(&place).join("state").exists(), "nothing is made");
}

/// The values that a broker holds, by topic and partition, read without any of our code.
fn lies(broker: &Kafka) -> BTreeMap<(String, u64), Vec<Value>> {
    let mut lies = BTreeMap::new();
    for topic in OUTPUTS {
        for (partition, records) in (0..).zip(broker.read_committed(topic)) {
            let value = |value: Option<Vec<u8>>| serde_json::from_slice(&value.unwrap()).unwrap();
            let values = records.into_iter().map(|record| value(record.value));
            lies.insert((topic.to_owned(), partition), values.collect());
        }
    }
    lies
}

#[test]
fn a_replay_on_kafka_prints_what_the_topics_hold_with_snapshots_and_without() {
    let Some(broker) = Kafka::start() else { return };
    let place = Place::on_brokers(broker.bootstrap());
    place
        .run(&format!("{RUN} {SNAPSHOTS} --create-topics"))
        .ok();
    let said = said(&place, "rides-per-zone");
    let mut values = lies(&broker);
    for ((_, topic, partition), records) in &said {
        let of = values.get_mut(&(topic.clone(), *partition)).unwrap();
        let rest = of.split_off(records.len());
        let of = std::mem::replace(of, rest);
        assert!(of.iter().eq(records.iter().map(|record| &record["value"])));
    }
    assert!(
        values.values().all(Vec::is_empty),
        "records that nobody said"
    );

    let everything = || {
        let topics = OUTPUTS
            .iter()
            .chain(&["rides", "zones", "rides-per-zone-epochs"]);
        let all: Vec<_> = topics.map(|topic| broker.read_uncommitted(topic)).collect();
        (all, files(place.path()))
    };
    let before = everything();
    let last = epochs(&place, "rides-per-zone").len() as u64;
    let taken = snapshots(&place, "rides-per-zone");
    let nearest = |from: u64| taken.iter().rfind(|epoch| **epoch < from);
    assert!(last > 8 && nearest(last).is_some(), "{last} epochs");
    let replays_to = |from: u64, to: u64, begins: &str| {
        let ended = place.run(&format!(
            "replay rides-per-zone --from {from} --to {to} --workers 2"
        ));
        assert!(ended.stderr.contains(begins), "{begins}: {ended:?}");
        let records = printed(lines(&ended.ok()));
        assert_eq!(records, of_epochs(&said, from, to), "{from} to {to}");
        assert!(!records.is_empty(), "{from} to {to}");
    };
    // Epochs that wrote something, in the middle and at the end.
    let writing: Vec<u64> = said.keys().map(|(epoch, ..)| *epoch).collect();
    let (middle, end) = (writing[writing.len() / 2], writing[writing.len() - 1]);
    for (from, to) in [(1, last), (middle, middle), (middle, last), (end, end)] {
        let begins = match nearest(from) {
            Some(epoch) => format!("behind the snapshot of epoch {epoch}"),
            None => "from the first epoch on".to_owned(),
        };
        replays_to(from, to, &begins);
    }
    assert!(everything() == before, "a replay changes nothing");
    std::fs::remove_dir_all(data(&place).join("state")).unwrap();
    replays_to(middle, last, "from the first epoch on");
}

#[test]
fn epochs_are_found_by_the_times_of_their_commits() {
    let place = Place::new();
    place.run(RUN).ok();
    let said = said(&place, "rides-per-zone");
    let epochs = epochs(&place, "rides-per-zone");
    let at = |index: usize| epochs[index]["committed_at"].as_str().unwrap();
    let (from, to) = (at(2), at(6));
    // The text is of one form, so it sorts as the times do.
    let within = |entry: &&Value| (from..=to).contains(&entry["committed_at"].as_str().unwrap());
    let wanted = epochs.iter().filter(within);
    let wanted: Vec<_> = wanted
        .map(|entry| entry["epoch"].as_u64().unwrap())
        .collect();
    let ended = place.run(&format!(
        "replay rides-per-zone --from {from} --to {to} --format json"
    ));
    let object: Value = serde_json::from_str(&ended.ok()).unwrap();
    let records = object["records"].as_array().unwrap().clone();
    let expected = of_epochs(&said, wanted[0], *wanted.last().unwrap());
    assert_eq!(printed(records), expected);
    assert_eq!(object["snapshot"], Value::Null);
    let told = object["epochs"].as_array().unwrap();
    assert_eq!(told.len(), wanted.len());
    for (told, epoch) in told.iter().zip(wanted) {
        let entry = &epochs[epoch as usize - 1];
        for field in ["epoch", "committed_at", "rows", "windows_closed"] {
            assert_eq!(told[field], entry[field], "{field} of {epoch}");
        }
        assert_eq!(told["read"], entry["counts"]["read"]);
        for (topic, digest) in entry["outputs"].as_object().unwrap() {
            assert_eq!(told["outputs"][topic], digest["records"]);
        }
    }
    let message = place.run("replay rides-per-zone --from 2020-07-01 --to 2020-07-02");
    let message = message.refused(64);
    assert!(
        message.contains("no epoch of `rides-per-zone` was committed"),
        "{message}"
    );
    assert!(message.contains(at(0)), "{message}");
}

#[test]
fn a_replay_beside_the_application_shows_what_it_has_said_and_disturbs_nothing() {
    let place = Place::new();
    let mut running = place.start(&format!("{RUN} {SNAPSHOTS} --scale 20 --rate 1500"));
    let mut replays = Vec::new();
    while !running.has_ended() {
        let ended = place.run("replay rides-per-zone --from 2");
        match ended.code {
            0 => replays.push(lines(&ended.stdout)),
            // Before the pipeline has committed two epochs there is nothing to replay.
            64 => {}
            _ => assert!(
                ended.stderr.contains("has deleted this snapshot since"),
                "{ended:?}"
            ),
        }
    }
    let report = running.end();
    assert_eq!(report.code, 0, "{report:?}");
    assert!(replays.len() > 3, "{} replays beside it", replays.len());
    let said = said(&place, "rides-per-zone");
    for records in replays {
        let last = records.iter().map(|it| it["epoch"].as_u64().unwrap()).max();
        assert_eq!(printed(records), of_epochs(&said, 2, last.unwrap_or(0)));
    }
    place.run("check rides-per-zone").ok();
}

#[test]
fn the_parameters_are_those_of_the_epoch_log() {
    let place = Place::new();
    place
        .run(&format!("{RUN} --window 1h --application-id nightly"))
        .ok();
    let said = said(&place, "nightly");
    let message = place.run("replay nightly --from 1").refused(64);
    assert!(message.contains("--pipeline rides-per-zone"), "{message}");
    let printed_ = place
        .run("replay nightly --pipeline rides-per-zone --from 1")
        .ok();
    assert_eq!(printed(lines(&printed_)), said);
}

#[test]
fn input_that_is_no_longer_held_is_named_partition_by_partition() {
    let place = Place::new();
    place.run(&format!("{RUN} {SNAPSHOTS}")).ok();
    let epochs = epochs(&place, "rides-per-zone");
    let last = epochs.len() as u64;
    let log = EmbeddedLog::open(data(&place)).unwrap();
    let to = last - 2;
    let end = |partition: u64| {
        let shares = epochs.iter().take(to as usize);
        let shares = shares.flat_map(|entry| entry["read"].as_array().unwrap());
        let of = shares.filter(|it| it["topic"] == "rides" && it["partition"] == partition);
        of.map(|share| share["end"].as_i64().unwrap())
            .max()
            .unwrap()
    };
    for (partition, first) in [(1, 5), (3, 1)] {
        let at = TopicPartition::new("rides", partition);
        log.delete_records(&at, first).unwrap();
    }
    let message = place.run(&format!("replay rides-per-zone --from 1 --to {to}"));
    let message = message.refused(66);
    for (partition, first) in [(1, 5), (3, 1)] {
        let gap = format!(
            "topic `rides`, partition {partition}: offsets 0 to {} are wanted, the first one held is {first}",
            end(partition) - 1
        );
        assert!(message.contains(&gap), "{gap}: {message}");
    }
    assert_eq!(message.matches("are wanted").count(), 2, "{message}");
    // Behind a snapshot that has seen those records they are not needed.
    let newest = *snapshots(&place, "rides-per-zone")
        .iter()
        .rfind(|it| **it < last)
        .unwrap();
    place
        .run(&format!("replay rides-per-zone --from {last}"))
        .ok();
    assert!(newest > 1, "a snapshot of epoch {newest}");

    // The same of the epoch log.
    std::fs::remove_dir_all(data(&place).join("state")).unwrap();
    let entries = TopicPartition::new("rides-per-zone-epochs", 0);
    log.delete_records(&entries, 4).unwrap();
    let message = place
        .run(&format!("replay rides-per-zone --from {last}"))
        .refused(66);
    assert!(
        message.contains(
            "topic `rides-per-zone-epochs`, partition 0: the entries from offset 0 on are wanted"
        ),
        "{message}"
    );
}

#[test]
fn epochs_that_there_are_not_are_refused() {
    let place = Place::new();
    let message = place.run("replay rides-per-zone --from 1").refused(64);
    assert!(message.contains("there is no embedded log"), "{message}");
    place.run(RUN).ok();
    let last = epochs(&place, "rides-per-zone").len();
    for (range, says) in [
        (
            format!("--from {}", last + 1),
            format!("epoch {last} is the last one committed"),
        ),
        (
            format!("--from 1 --to {}", last + 1),
            format!("epoch {last} is the last one committed"),
        ),
        ("--from 0 --to 2".into(), "epochs count from 1".into()),
        (
            "--from 3 --to 2".into(),
            "the last one lies before the first".into(),
        ),
    ] {
        let message = place
            .run(&format!("replay rides-per-zone {range}"))
            .refused(64);
        assert!(message.contains(&says), "{message}");
    }
}
