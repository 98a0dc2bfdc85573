//! A check that reads the inputs again: records that an epoch skipped are named, whatever else became of the input.

use std::sync::Arc;

use serde_json::Value;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, NewTopic, TopicPartition};
use tiderace::runtime::{Verdict, check, check_with_inputs};
use tiderace::{Config, Engine, OnError};

use crate::lacking::without;
use crate::place::{Place, ride, zones};

/// An epoch for every three records.
fn config(place: &Place) -> Config {
    Config {
        epoch_records: 3,
        ..place.config()
    }
}

fn rides(partition: u32) -> TopicPartition {
    TopicPartition::new("rides", partition)
}

fn send(place: &Place, partition: u32, count: usize) {
    let all = vec![ride(partition, r#"{"zone":1}"#); count];
    place.send(&all);
}

/// Runs to the end of the input with a client that skips records of partition 0.
fn run(place: &Place, skipped: &[i64]) {
    let log = EmbeddedLog::open(place.path()).unwrap();
    let log: Arc<dyn Log> = Arc::new(without(log, &rides(0), skipped));
    let running = Engine::start(zones(OnError::Fail), log, &config(place)).unwrap();
    running.join().unwrap();
}

fn verdict(log: &dyn Log, place: &Place) -> Verdict {
    let verdict = check_with_inputs(log, place.path(), "app").unwrap();
    // What is found in the inputs alone is found by nobody else.
    let without = check(log, place.path(), "app").unwrap();
    assert_eq!(without.faults, Vec::<String>::new());
    assert_eq!(without.input_records, None);
    verdict
}

/// What the epochs say that they read of partition 0: the epoch, from where, to behind where, and how many.
fn reads(place: &Place) -> Vec<(u64, i64, i64, u64)> {
    let mut from = 0;
    let mut reads = Vec::new();
    for text in place.texts("app-epochs") {
        let entry: Value = serde_json::from_str(&text).unwrap();
        for share in entry["read"].as_array().into_iter().flatten() {
            if share["partition"] == 0 {
                let end = share["end"].as_i64().unwrap();
                let (epoch, records) = (entry["epoch"].as_u64(), share["records"].as_u64());
                reads.push((epoch.unwrap(), from, end, records.unwrap()));
                from = end;
            }
        }
    }
    reads
}

/// What must be said of the epoch that came past this offset and skipped `count`.
fn skipped(place: &Place, offset: i64, count: &str) -> String {
    let past = |of: &&(u64, i64, i64, u64)| of.1 <= offset && offset < of.2;
    let (epoch, from, end, records) = *reads(place).iter().find(past).unwrap();
    format!(
        "epoch {epoch}: topic `rides`, partition 0: {} records are held from offset {from} to {}, and it read {records}: \
         {count} skipped",
        end - from,
        end - 1
    )
}

fn say(found: &[String], sentences: &[&str]) {
    assert_eq!(found.len(), sentences.len(), "{found:#?}");
    for (found, sentence) in found.iter().zip(sentences) {
        assert!(found.contains(sentence), "`{sentence}`: {found}");
    }
}

/// A client skipped a record, and nothing but a count of what is held can tell.
#[test]
fn a_record_that_an_epoch_skipped_is_named() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0, 20);
    send(&place, 1, 5);
    run(&place, &[7, 13, 14]);
    let found = verdict(&*place.log, &place);
    let (one, two) = (skipped(&place, 7, "1 was"), skipped(&place, 13, "2 were"));
    say(&found.faults, &[&one, &two]);
    assert_eq!(found.input_records, Some(25));
    assert_eq!(found.gaps, Vec::<String>::new());
}

#[test]
fn a_replay_of_an_epoch_that_skipped_a_record_says_so_and_a_start_with_its_snapshot_goes_on() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0, 9);
    run(&place, &[4]);
    run(&place, &[]);
    place.forget_snapshots();
    let error = place.run(zones(OnError::Fail)).unwrap_err();
    assert_eq!(error.exit_code(), 66, "{error}");
    let text = error.to_string();
    for part in [
        "it skipped some",
        "no step is to blame",
        "tiderace check --inputs",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
}

#[test]
fn a_record_that_was_skipped_at_an_end_is_missed_by_the_next_epoch() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0, 5);
    run(&place, &[4]);
    // No epoch has come past it.
    let found = verdict(&*place.log, &place);
    assert_eq!((found.faults.len(), found.input_records), (0, Some(4)));
    send(&place, 0, 2);
    run(&place, &[]);
    let found = verdict(&*place.log, &place);
    say(&found.faults, &[&skipped(&place, 4, "1 was")]);
}

#[test]
fn a_record_that_was_read_and_is_not_there_is_a_fault_unless_the_topic_is_compacted() {
    for compacted in [false, true] {
        let place = Place::new(&[("zones", 1)]);
        let policy = if compacted {
            "compact,delete"
        } else {
            "delete"
        };
        let topic = NewTopic {
            name: "rides".to_owned(),
            partitions: 1,
            config: [("cleanup.policy".to_owned(), policy.to_owned())].into(),
        };
        place.log.create_topic(&topic).unwrap();
        send(&place, 0, 12);
        run(&place, &[4]);
        let log = EmbeddedLog::open(place.path()).unwrap();
        let found = verdict(&without(log, &rides(0), &[10]), &place);
        let skipped = skipped(&place, 4, "1 was");
        if compacted {
            say(&found.faults, &[&skipped]);
            let gap =
                "topic `rides`, partition 0: 1 of the records that were read are compacted away";
            say(&found.gaps, &[gap]);
        } else {
            say(
                &found.faults,
                &[&skipped, "some were read twice, or the topic has lost them"],
            );
            assert_eq!(found.gaps, Vec::<String>::new());
        }
        assert_eq!(found.input_records, Some(11));
    }
}

#[test]
fn what_is_deleted_is_said_once_and_the_rest_is_counted() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    for partition in [0, 1] {
        send(&place, partition, 20);
    }
    run(&place, &[3, 17]);
    place.log.delete_records(&rides(0), 10).unwrap();
    let found = verdict(&*place.log, &place);
    say(&found.faults, &[&skipped(&place, 17, "1 was")]);
    let gone = reads(&place).into_iter().rfind(|of| of.1 < 10).unwrap();
    // Where the first one held is the first of an epoch, the one before it is the last that lacks records.
    let gap = format!(
        "topic `rides`, partition 0: records that were read up to epoch {} are no longer held; the first one is at offset \
         10",
        gone.0
    );
    say(&found.gaps, &[&gap]);
    assert_eq!(found.input_records, Some(10 + 20));
    place.log.delete_records(&rides(0), 20).unwrap();
    let found = verdict(&*place.log, &place);
    assert_eq!(found.faults, Vec::<String>::new());
    assert_eq!((found.gaps.len(), found.input_records), (1, Some(20)));
}

#[test]
fn where_older_entries_are_deleted_counting_begins_behind_the_first_that_is_held() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    send(&place, 0, 20);
    run(&place, &[3, 15]);
    let all = verdict(&*place.log, &place);
    say(
        &all.faults,
        &[&skipped(&place, 3, "1 was"), &skipped(&place, 15, "1 was")],
    );
    // Entry 0, the start, the epochs: the third epoch's is the first held.
    let later = skipped(&place, 15, "1 was");
    let third = *reads(&place).iter().find(|of| of.0 == 3).unwrap();
    let epochs = TopicPartition::new("app-epochs", 0);
    place.log.delete_records(&epochs, 4).unwrap();
    let found = verdict(&*place.log, &place);
    say(&found.faults, &[&later]);
    say(&found.gaps, &["older entries are deleted"]);
    assert_eq!(found.input_records, Some(20 - third.2 as u64));
}

#[test]
fn an_input_that_is_gone_or_another_one_is_not_counted() {
    for (cut, again) in [(false, false), (false, true), (true, true)] {
        let place = Place::new(&[("rides", 2), ("zones", 1)]);
        send(&place, 0, 12);
        run(&place, &[]);
        if cut {
            // Which topic was read then only the snapshot tells.
            let epochs = TopicPartition::new("app-epochs", 0);
            place.log.delete_records(&epochs, 3).unwrap();
        }
        place.log.delete_topic("rides").unwrap();
        let mut gap = "topic `rides`, which was read, is not there any more";
        if again {
            let topic = crate::support::new_topic("rides", 2);
            place.log.create_topic(&topic).unwrap();
            send(&place, 0, 20);
            gap = "topic `rides`, which was read, was deleted and created again: its id was";
        }
        let found = verdict(&*place.log, &place);
        assert_eq!(found.faults, Vec::<String>::new());
        say(&found.gaps[usize::from(cut)..], &[gap]);
        assert_eq!(found.input_records, Some(0));
    }
}
