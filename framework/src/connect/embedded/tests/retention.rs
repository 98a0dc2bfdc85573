//! Deleted records: which files go, what readers are told, and a disk that fails at any step.

use std::time::Duration;

use super::{log_with, read, read_on, segments, valued};
use crate::connect::embedded::EmbeddedLog;
use crate::connect::embedded::faults::{fail_after, heal};
use crate::connect::{Log, PartitionOffsets, SinkRecord, TopicPartition};
use crate::error::LogError;

/// Records of so many bytes take two a batch and ten a segment.
const LENGTH: usize = 60_000;

fn fill(log: &EmbeddedLog, numbers: std::ops::Range<u8>) {
    let mut writer = log.writer("t").unwrap();
    for number in numbers {
        let value = vec![number; LENGTH];
        let record = SinkRecord {
            timestamp: i64::from(number) * 10,
            ..valued("t", 0, &value)
        };
        writer.send(&record).unwrap();
    }
    writer.flush().unwrap();
}

fn held(log: &EmbeddedLog) -> PartitionOffsets {
    log.topic("t").unwrap().unwrap().partitions[0]
}

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

#[test]
fn whole_segments_go_and_every_record_left_is_read() {
    let (directory, log) = log_with(&[("t", 1)]);
    fill(&log, 0..100);
    let before = segments(directory.path()).len();
    assert!(before >= 10);
    for first in [0, 1, 5, 50, 50, 93, 99, 100] {
        log.delete_records(&t0(), first).unwrap();
        assert_eq!(held(&log), PartitionOffsets { first, end: 100 });
        let expected: Vec<u8> = (first as u8..100).collect();
        assert_eq!(read(&log, "t", 0, first).unwrap(), expected);
        if first > 0 {
            let error = read(&log, "t", 0, first - 1).unwrap_err();
            let text = format!(
                "topic `t`, partition 0: offset {} is no longer held, the first one is {first}",
                first - 1
            );
            assert_eq!(error.to_string(), text);
        }
        let found = log.offset_for_time(&t0(), 0).unwrap();
        assert_eq!(found, (first < 100).then_some(first));
        // What is left lies in few files: one may begin below the first record, one is appended to.
        let files = segments(directory.path()).len();
        assert!(files <= (100 - first as usize) / 10 + 2, "{first}: {files}");
    }
    assert_eq!(segments(directory.path()).len(), 1);
    log.delete_records(&t0(), 3).unwrap();
    assert_eq!(held(&log).first, 100, "what is gone does not come back");
    let error = log.delete_records(&t0(), 101).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Beyond {
                wanted: 101,
                end: 100,
                ..
            }
        ),
        "{error}"
    );
    assert!(log.delete_records(&TopicPartition::new("t", 1), 0).is_err());
    fill(&log, 100..120);
    assert_eq!(
        read(&log, "t", 0, 100).unwrap(),
        (100..120).collect::<Vec<_>>()
    );
}

#[test]
fn a_writer_and_a_checkpoint_that_know_the_old_first_offset_do_not_bring_it_back() {
    let (_directory, log) = log_with(&[("t", 1)]);
    let mut writer = log.writer("t").unwrap();
    // Commits enough for more than one checkpoint.
    for number in 0..150_u8 {
        let before = i64::from(number.saturating_sub(1));
        writer.send(&valued("t", 0, &[number])).unwrap();
        writer.flush().unwrap();
        assert_eq!(held(&log).first, before);
        log.delete_records(&t0(), i64::from(number)).unwrap();
        assert_eq!(held(&log).first, i64::from(number));
    }
}

#[test]
fn a_reader_is_told_that_what_it_wants_is_gone() {
    let (directory, log) = log_with(&[("t", 1)]);
    fill(&log, 0..40);
    let mut behind = log.source(&[(t0(), 0)], 0).unwrap();
    let mut ahead = log.source(&[(t0(), 38)], 0).unwrap();
    assert_eq!(read_on(ahead.as_mut()).unwrap(), [38, 39]);
    assert!(
        behind.poll(Duration::ZERO).is_ok(),
        "it has the first segment open"
    );
    log.delete_records(&t0(), 35).unwrap();
    assert!(segments(directory.path()).len() <= 2);
    // It may finish what it has open, and never says that a file is damaged.
    let error = read_on(behind.as_mut()).unwrap_err();
    assert!(matches!(error, LogError::Gone { first: 35, .. }), "{error}");
    fill(&log, 40..42);
    assert_eq!(read_on(ahead.as_mut()).unwrap(), [40, 41]);
}

#[test]
fn wherever_the_disk_becomes_full_the_first_offset_is_the_old_or_the_new() {
    let (mut old, mut new) = (0, 0);
    for changes in 0.. {
        let (directory, log) = log_with(&[("t", 1)]);
        fill(&log, 0..40);
        fail_after(directory.path(), changes);
        let deleted = log.delete_records(&t0(), 35);
        let was_full = heal(directory.path());
        let first = held(&log).first;
        match first {
            0 => old += 1,
            35 => new += 1,
            other => panic!("after {changes} changes the first offset is {other}"),
        }
        assert!(deleted.is_err() || first == 35);
        let expected: Vec<u8> = (first as u8..40).collect();
        assert_eq!(read(&log, "t", 0, first).unwrap(), expected);
        // The next writer removes what is left over below, and nothing else.
        log.writer("t").unwrap();
        let files = segments(directory.path()).len();
        assert!(
            if first == 0 { files >= 4 } else { files <= 2 },
            "{first} {files}"
        );
        assert_eq!(read(&log, "t", 0, first).unwrap(), expected);
        log.delete_records(&t0(), 35).unwrap();
        assert_eq!(read(&log, "t", 0, 35).unwrap(), [35, 36, 37, 38, 39]);
        if !was_full {
            assert!(old >= 2 && new >= 2, "{old} {new}");
            return;
        }
    }
}
