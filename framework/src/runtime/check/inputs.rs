//! The inputs against the log: how many committed records lie between where an epoch began to read a partition and
//! where it ended, and how many its entry says that it read.
//!
//! Where an epoch began, the entries before it say. Offsets are no count of records: the ends of transactions take
//! some, and so does what was aborted or compacted away; so each partition is read, once and in order, by a reader
//! of committed records such as the epochs had. What is behind the last epoch is not looked at.
//!
//! Records that are held and were not read were skipped, whatever else has happened to the topic. Records that were
//! read and are not held may have been deleted or compacted away, which is no fault.

use std::collections::BTreeMap;

use super::Verdict;
use super::entries::History;
use crate::connect::{Log, PartitionOffsets, TopicDescription, TopicPartition};
use crate::error::LogError;
use crate::runtime::compaction::is_compacted;
use crate::runtime::scan::scan;

/// What an epoch read of a partition, as far as its beginning is known.
pub(super) struct Read {
    pub(super) epoch: u64,
    /// Where it began: behind what was read, or given up, before.
    pub(super) from: i64,
    /// Behind the last record that it took.
    pub(super) end: i64,
    pub(super) records: u64,
}

/// A partition that was read, with what is held of it.
struct Counted<'a> {
    at: TopicPartition,
    reads: &'a [Read],
    /// How many records are held of what each of these read.
    counts: Vec<u64>,
    held: PartitionOffsets,
    compacted: bool,
}

/// Reads every partition that the epochs have read, as far as they did, and compares the numbers.
pub(super) fn check(
    log: &dyn Log,
    history: &History,
    verdict: &mut Verdict,
) -> Result<(), LogError> {
    verdict.input_records = Some(0);
    let mut topics: BTreeMap<&str, Option<TopicDescription>> = BTreeMap::new();
    for (at, reads) in &history.reads {
        let topic = &*at.topic;
        if !topics.contains_key(topic) {
            let found = log.topic(topic);
            let found = match verdict.note(found)? {
                Some(found) => same(topic, found, history, verdict),
                None => None,
            };
            topics.insert(topic, found);
        }
        let Some(Some(found)) = topics.get(topic) else {
            continue;
        };
        let Some(held) = found.partitions.get(at.partition as usize) else {
            let gap = format!("{at}: there is no such partition any more");
            verdict.gaps.push(gap);
            continue;
        };
        let counted = count(log, at, reads, *held);
        if let Some((held, counts)) = verdict.note(counted)? {
            let counted = Counted {
                at: at.clone(),
                reads,
                counts,
                held,
                compacted: is_compacted(&found.config),
            };
            counted.compare(verdict);
        }
    }
    Ok(())
}

/// The topic, if it is the one that was read: offsets mean nothing in another one of its name.
fn same(
    topic: &str,
    found: Option<TopicDescription>,
    history: &History,
    verdict: &mut Verdict,
) -> Option<TopicDescription> {
    let Some(found) = found else {
        let gap = format!("topic `{topic}`, which was read, is not there any more");
        verdict.gaps.push(gap);
        return None;
    };
    match (history.input_ids.get(topic), &found.id) {
        (Some(then), Some(now)) if then != now => {
            verdict.gaps.push(format!(
                "topic `{topic}`, which was read, was deleted and created again: its id was {then} and is {now}, and a \
                 start is refused"
            ));
            None
        }
        _ => Some(found),
    }
}

/// How many records are held of what each epoch has read, and what is held of the partition at that time.
fn count(
    log: &dyn Log,
    at: &TopicPartition,
    reads: &[Read],
    mut held: PartitionOffsets,
) -> Result<(PartitionOffsets, Vec<u64>), LogError> {
    let Some(first) = reads.first() else {
        return Ok((held, Vec::new()));
    };
    // What was read behind the end of the partition need not be looked for.
    let ends = reads.iter().map(|read| read.end);
    let end = ends
        .rev()
        .find(|end| *end <= held.end)
        .unwrap_or(first.from);
    loop {
        let wanted = PartitionOffsets {
            first: held.first.max(first.from),
            end,
        };
        let (mut counts, mut current) = (vec![0; reads.len()], 0);
        let scanned = scan(log, at, wanted, |batch, index| {
            let offset = batch.get(index).offset;
            while reads.get(current).is_some_and(|read| read.end <= offset) {
                current += 1;
            }
            if reads.get(current).is_some_and(|read| read.from <= offset) {
                counts[current] += 1;
            }
        });
        match scanned {
            // More was deleted since it was asked what is held.
            Err(LogError::Gone { first, .. }) if first > held.first => held.first = first,
            scanned => return scanned.map(|()| (held, counts)),
        }
    }
}

impl Counted<'_> {
    fn compare(&self, verdict: &mut Verdict) {
        let at = &self.at;
        let (mut all, mut compacted_away) = (0, 0);
        let mut deleted = None;
        for (read, held) in self.reads.iter().zip(&self.counts) {
            let (epoch, held, first) = (read.epoch, *held, self.held.first);
            if read.end > self.held.end {
                verdict.faults.push(format!(
                    "epoch {epoch}: {at}: it read up to offset {}, and the partition ends before offset {}: the topic has \
                     lost records, or it is another one. A start that has to replay the epoch is refused",
                    read.end - 1,
                    self.held.end
                ));
                break;
            }
            all += held;
            if held > read.records {
                verdict.faults.push(self.skipped(read, held));
            } else if held < read.records && first > read.from {
                deleted = Some(epoch);
            } else if held < read.records && self.compacted {
                compacted_away += read.records - held;
            } else if held < read.records {
                verdict.faults.push(self.vanished(read, held));
            }
        }
        *verdict.input_records.get_or_insert(0) += all;
        if let Some(epoch) = deleted {
            verdict.gaps.push(format!(
                "{at}: records that were read up to epoch {epoch} are no longer held; the first one is at offset {}",
                self.held.first
            ));
        }
        if compacted_away > 0 {
            verdict.gaps.push(format!(
                "{at}: {compacted_away} of the records that were read are compacted away, so others that were skipped may \
                 be, too"
            ));
        }
    }

    fn skipped(&self, read: &Read, held: u64) -> String {
        let (at, Read { epoch, from, .. }) = (&self.at, read);
        let (to, records) = (read.end - 1, read.records);
        let (were, them) = match held - records {
            1 => ("1 was skipped".to_owned(), "it"),
            count => (format!("{count} were skipped"), "them"),
        };
        format!(
            "epoch {epoch}: {at}: {held} records are held from offset {from} to {to}, and it read {records}: {were}, so \
             that state and outputs lack {them}. A start or a `tiderace replay` that has to replay the epoch stops there; \
             `tiderace reset` begins anew, and what it reads again has {them}"
        )
    }

    fn vanished(&self, read: &Read, held: u64) -> String {
        let (at, Read { epoch, from, .. }) = (&self.at, read);
        let (to, records) = (read.end - 1, read.records);
        format!(
            "epoch {epoch}: {at}: it read {records} records from offset {from} to {to}, and {held} are held: some were \
             read twice, or the topic has lost them since, which is not cut short there and not compacted now. A start or a \
             `tiderace replay` that has to replay the epoch stops there"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition of 100 offsets, held from `first` on, of which epoch 7 read ten records from offset 20 to 39.
    fn compare(held: u64, first: i64, end: i64, compacted: bool) -> Verdict {
        let read = Read {
            epoch: 7,
            from: 20,
            end: 40,
            records: 10,
        };
        let mut verdict = Verdict::default();
        let counted = Counted {
            at: TopicPartition::new("in", 3),
            reads: &[read],
            counts: vec![held],
            held: PartitionOffsets { first, end },
            compacted,
        };
        counted.compare(&mut verdict);
        verdict
    }

    #[test]
    fn records_that_are_held_and_were_not_read_are_a_fault_always() {
        for (first, compacted) in [(0, false), (0, true), (25, false), (25, true)] {
            let verdict = compare(12, first, 100, compacted);
            let fault = "epoch 7: topic `in`, partition 3: 12 records are held from offset 20 to 39, and it read 10: 2 were \
                         skipped, so that state and outputs lack them. ";
            assert!(verdict.faults[0].starts_with(fault), "{verdict:?}");
            assert_eq!((verdict.faults.len(), verdict.gaps.len()), (1, 0));
        }
    }

    #[test]
    fn records_that_were_read_and_are_not_held_are_a_fault_where_nothing_explains_it() {
        for (first, compacted, part) in [
            (0, false, None),
            (20, false, None),
            (21, false, Some("read up to epoch 7 are no longer held")),
            (
                0,
                true,
                Some("2 of the records that were read are compacted away"),
            ),
        ] {
            let verdict = compare(8, first, 100, compacted);
            match part {
                Some(part) => {
                    assert_eq!(verdict.faults, Vec::<String>::new());
                    assert!(verdict.gaps[0].contains(part), "{verdict:?}");
                }
                None => {
                    let fault = "it read 10 records from offset 20 to 39, and 8 are held";
                    assert!(verdict.faults[0].contains(fault), "{verdict:?}");
                    assert_eq!(verdict.gaps, Vec::<String>::new());
                }
            }
        }
    }

    #[test]
    fn what_was_deleted_without_a_record_in_it_is_not_missed() {
        for (first, compacted) in [(0, false), (0, true), (25, false)] {
            let verdict = compare(10, first, 100, compacted);
            assert!(verdict.is_sound() && verdict.gaps.is_empty(), "{verdict:?}");
            assert_eq!(verdict.input_records, Some(10));
        }
    }

    #[test]
    fn a_partition_that_has_become_shorter_is_said_once() {
        let verdict = compare(5, 0, 30, true);
        let fault = "epoch 7: topic `in`, partition 3: it read up to offset 39, and the partition ends before offset 30";
        assert!(verdict.faults[0].starts_with(fault), "{verdict:?}");
        assert_eq!((verdict.faults.len(), verdict.gaps.len()), (1, 0));
    }
}
