//! The outputs against the log: which records of a partition belong to which epoch follows from the counts in the
//! entries, and each epoch's hash is computed again.
//!
//! Where the application's first record is still held, counting begins there. Otherwise it begins at the end, which
//! is that of the last entry or, while the application runs, of one behind it.

use std::collections::BTreeMap;

use super::Verdict;
use super::entries::History;
use super::weaker::{Uncommitted, is_weaker};
use crate::config::Guarantee;
use crate::connect::{Log, PartitionOffsets, TopicDescription, TopicPartition};
use crate::error::LogError;
use crate::runtime::digest::hash_of;
use crate::runtime::entry::{Entry, EpochEntry, Output};
use crate::runtime::epoch_view::EpochLogView;
use crate::runtime::scan::scan;
use crate::topology::{RecordHash, RecordHasher};

/// What an epoch wrote to a partition.
pub(super) struct Part {
    pub(super) epoch: u64,
    pub(super) guarantee: Guarantee,
    pub(super) records: usize,
    pub(super) hash: String,
}

/// A partition that was written, with what is held of it.
pub(super) struct Written<'a> {
    pub(super) at: TopicPartition,
    pub(super) parts: &'a [Part],
    /// What epochs wrote that were committed since the check began.
    pub(super) later: &'a [Part],
    /// Hashes of its records, from the application's first one where that is known.
    pub(super) held: Vec<RecordHash>,
}

/// By topic and partition.
type Parts = BTreeMap<(String, u32), Vec<Part>>;

/// Checks every topic that the epochs have written.
pub(super) fn check(
    log: &dyn Log,
    view: &EpochLogView,
    history: &History,
    verdict: &mut Verdict,
) -> Result<(), LogError> {
    let parts = parts(history.epochs.iter());
    let mut topics: BTreeMap<&str, Option<TopicDescription>> = BTreeMap::new();
    let mut scanned = Vec::new();
    for (topic, partition) in parts.keys() {
        if !topics.contains_key(topic.as_str()) {
            let found = log.topic(topic);
            let found = verdict.note(found)?.flatten();
            is_the_same(topic, found.as_ref(), history, verdict);
            topics.insert(topic, found);
        }
        let Some(Some(found)) = topics.get(topic.as_str()) else {
            continue;
        };
        let at = TopicPartition::new(topic.as_str(), *partition);
        let Some(held) = found.partitions.get(*partition as usize) else {
            verdict
                .faults
                .push(format!("{at}: there is no such partition any more"));
            continue;
        };
        let start = start(history, topic, *partition);
        let hashes = hashes(log, &at, *held, start.unwrap_or(0));
        if let Some(hashes) = verdict.note(hashes)? {
            let whole = start.is_some_and(|start| held.first <= start);
            scanned.push(((topic.clone(), *partition), at, whole, hashes));
        }
    }
    // Read again, so that it is known what a running application has written since.
    let now = EpochLogView::read(log, view.application_id())?;
    let last = view.entries().last().map_or(-1, |entry| entry.offset);
    let behind = now.entries().iter().filter(|entry| entry.offset > last);
    let later: Vec<_> = behind
        .filter_map(|logged| match logged.entry() {
            Ok(Entry::Epoch(of)) => Some(of),
            _ => None,
        })
        .collect();
    let later = self::parts(later.iter());
    let (weaker, uncommitted) = (is_weaker(history), Uncommitted::of(history));
    for (of, at, whole, held) in scanned {
        let written = Written {
            at,
            parts: &parts[&of],
            later: later.get(&of).map_or(&[], Vec::as_slice),
            held,
        };
        if weaker {
            written.check_weaker(&uncommitted, whole, verdict);
        } else if whole {
            written.check_from_start(verdict);
        } else {
            written.check_from_end(verdict);
        }
    }
    Ok(())
}

fn parts<'a>(epochs: impl Iterator<Item = &'a EpochEntry>) -> Parts {
    let mut parts = Parts::new();
    for of in epochs {
        for (topic, digest) in &of.outputs {
            for part in &digest.partitions {
                parts
                    .entry((topic.clone(), part.partition))
                    .or_default()
                    .push(Part {
                        epoch: of.epoch,
                        guarantee: of.guarantee,
                        records: part.records as usize,
                        hash: part.hash.clone(),
                    });
            }
        }
    }
    parts
}

fn output<'a>(history: &'a History, topic: &str) -> Option<&'a Output> {
    let outputs = &history.origin.as_ref()?.outputs;
    outputs.iter().find(|output| output.topic == topic)
}

/// Where the application's records begin in a partition; `None` if that is no longer, or was never, logged.
fn start(history: &History, topic: &str, partition: u32) -> Option<i64> {
    let ends = &output(history, topic)?.end;
    // A partition that was added since was empty then.
    Some(ends.get(partition as usize).copied().unwrap_or(0))
}

fn is_the_same(
    topic: &str,
    found: Option<&TopicDescription>,
    history: &History,
    verdict: &mut Verdict,
) {
    let then = output(history, topic).and_then(|output| output.id.as_ref());
    match (then, found) {
        (_, None) => verdict
            .faults
            .push(format!("topic `{topic}` is not there any more")),
        (Some(then), Some(TopicDescription { id: Some(now), .. })) if then != now => {
            verdict.faults.push(format!(
                "topic `{topic}` was deleted and created again: its id was {then} and is {now}"
            ));
        }
        _ => {}
    }
}

fn hashes(
    log: &dyn Log,
    at: &TopicPartition,
    held: PartitionOffsets,
    from: i64,
) -> Result<Vec<RecordHash>, LogError> {
    let mut hasher = RecordHasher::default();
    let mut hashes = Vec::new();
    let held = PartitionOffsets {
        first: held.first.max(from.min(held.end)),
        ..held
    };
    scan(log, at, held, |batch, index| {
        let record = batch.get(index);
        let headers = batch.headers(index);
        hashes.push(hasher.hash(record.key, record.value, record.timestamp, &headers));
    })?;
    Ok(hashes)
}

/// What is said of a partition whose first records are deleted, up to those of an epoch.
pub(super) fn no_longer_held(at: &TopicPartition, epoch: u64) -> String {
    format!("{at}: records of epoch {epoch} and before are no longer held")
}

impl Written<'_> {
    /// Counts from the application's first record.
    fn check_from_start(&self, verdict: &mut Verdict) {
        let mut next = 0;
        for part in self.parts {
            let Some(records) = self.held.get(next..next + part.records) else {
                let held = self.held.len() - next;
                verdict.faults.push(format!(
                    "{}: of the {} records of epoch {} only {held} are there, and none of later ones",
                    self.at, part.records, part.epoch
                ));
                return;
            };
            self.compare(part, records, verdict);
            next += part.records;
        }
        let left = self.held.len() - next;
        if !self.later().any(|records| records == left) {
            verdict.faults.push(format!(
                "{}: {left} records behind those of the last epoch are not of this application",
                self.at
            ));
        }
    }

    /// Counts from the end, as far back as records are held.
    fn check_from_end(&self, verdict: &mut Verdict) {
        let Some(last) = self.parts.last() else {
            return;
        };
        let fits = |later: &usize| {
            let end = self.held.len().checked_sub(*later);
            let records = end.and_then(|end| self.held.get(end.checked_sub(last.records)?..end));
            records.is_some_and(|records| hash_of(records) == last.hash)
        };
        let later = self.later().find(fits).unwrap_or(0);
        let mut end = self.held.len() - later;
        for part in self.parts.iter().rev() {
            let Some(begin) = end.checked_sub(part.records) else {
                verdict.gaps.push(no_longer_held(&self.at, part.epoch));
                return;
            };
            self.compare(part, &self.held[begin..end], verdict);
            end = begin;
        }
    }

    /// How many records may lie behind those of the last epoch checked: those of any number of later epochs.
    pub(super) fn later(&self) -> impl Iterator<Item = usize> {
        let sums = self.later.iter().scan(0, |sum, part| {
            *sum += part.records;
            Some(*sum)
        });
        std::iter::once(0).chain(sums)
    }

    fn compare(&self, part: &Part, records: &[RecordHash], verdict: &mut Verdict) {
        verdict.records += part.records as u64;
        if hash_of(records) != part.hash {
            verdict.faults.push(format!(
                "{}: the {} records of epoch {} are not those that were committed: their digest differs",
                self.at, part.records, part.epoch
            ));
        }
    }
}
