//! The epoch log in itself: hashes chain, epochs are consecutive, offsets grow, counts add up.

use std::collections::BTreeMap;

use super::Verdict;
use super::inputs::Read;
use crate::config::Guarantee;
use crate::connect::TopicPartition;
use crate::runtime::entry::{
    self, Decision, Entry, EpochEntry, Input, Origin, Reset, Share, Start,
};
use crate::runtime::epoch_view::EpochLogView;

/// What the readable entries of a log say.
#[derive(Default)]
pub(super) struct History {
    /// Entry 0, where it is held.
    pub(super) origin: Option<Origin>,
    pub(super) epochs: Vec<EpochEntry>,
    /// Of each start the last epoch before it, and what it promised.
    pub(super) starts: Vec<(u64, Guarantee)>,
    /// What epochs read of each partition, in order of offsets: those of which it is known where they began.
    pub(super) reads: BTreeMap<TopicPartition, Vec<Read>>,
    /// The ids that topics had when they were read first, where the log gives such.
    pub(super) input_ids: BTreeMap<String, String>,
}

impl History {
    /// Notes the ids of topics; the first one that a topic had counts.
    pub(super) fn know(&mut self, inputs: &[Input]) {
        for input in inputs {
            if let Some(id) = &input.id {
                let known = self.input_ids.entry(input.topic.clone());
                known.or_insert_with(|| id.clone());
            }
        }
    }
}

/// What is known on the way through a log.
struct Walk<'a> {
    verdict: &'a mut Verdict,
    history: History,
    /// Hash of the entry before; `None` where it is no longer held.
    last_hash: Option<String>,
    /// The last epoch; `None` until an entry tells.
    last_epoch: Option<u64>,
    incarnation: Option<String>,
    /// Where the next epoch begins, as far as it is known.
    ends: BTreeMap<TopicPartition, i64>,
}

/// Checks the entries, and returns what they say.
pub(super) fn check(view: &EpochLogView, verdict: &mut Verdict) -> History {
    verdict.entries = view.entries().len() as u64;
    let first = view.entries().first();
    let mut walk = Walk {
        verdict,
        history: History::default(),
        last_hash: first.is_some_and(|it| it.offset == 0).then(String::new),
        last_epoch: None,
        incarnation: None,
        ends: BTreeMap::new(),
    };
    if view.entries().is_empty() {
        let found = "the epoch log holds no entry".to_owned();
        walk.verdict.gaps.push(found);
    } else if !view.is_whole() {
        let offset = view.entries()[0].offset;
        let gap = format!("the epoch log begins at offset {offset}: older entries are deleted");
        walk.verdict.gaps.push(gap);
    }
    for logged in view.entries() {
        let place = match logged.epoch {
            Some(epoch) => format!("epoch log, offset {} (epoch {epoch})", logged.offset),
            None => format!("epoch log, offset {}", logged.offset),
        };
        match logged.entry() {
            Ok(entry) => walk.entry(&place, logged.epoch, entry),
            Err(reason) => {
                walk.fault(&place, format!("the entry cannot be read: {reason}"));
                walk.ends.clear();
            }
        }
        walk.last_hash = Some(entry::hash(&logged.json));
    }
    walk.verdict.first_epoch = walk.history.epochs.first().map_or(0, |of| of.epoch);
    walk.verdict.last_epoch = walk.last_epoch.unwrap_or(0);
    walk.history
}

impl Walk<'_> {
    fn fault(&mut self, place: &str, what: impl std::fmt::Display) {
        self.verdict.faults.push(format!("{place}: {what}"));
    }

    fn entry(&mut self, place: &str, key: Option<u64>, entry: Entry) {
        let follows = self.last_hash.as_deref();
        if follows.is_some_and(|hash| hash != entry.previous()) {
            self.fault(
                place,
                "the entry does not name the hash of the one before it: one of them is changed, or one is missing",
            );
        }
        let epoch = match &entry {
            Entry::Origin(_) | Entry::Reset(_) => 0,
            Entry::Start(start) => start.after,
            Entry::Epoch(of) => of.epoch,
        };
        if key != Some(epoch) {
            self.fault(
                place,
                format!("the entry is of epoch {epoch}, its key is not"),
            );
        }
        match entry {
            Entry::Origin(origin) => self.origin(place, origin),
            Entry::Start(start) => self.start(place, start),
            Entry::Epoch(of) => self.epoch(place, of),
            Entry::Reset(reset) => self.reset(place, reset),
        }
    }

    fn origin(&mut self, place: &str, origin: Origin) {
        if self.history.origin.is_some() || self.last_epoch.is_some() {
            self.fault(place, "entry 0 stands behind other entries");
            return;
        }
        self.begin(&origin.inputs);
        self.last_epoch = Some(0);
        self.history.origin = Some(origin);
    }

    /// Partitions that are read from here on.
    fn begin(&mut self, inputs: &[Input]) {
        for input in inputs {
            for (partition, start) in (input.first..).zip(&input.start) {
                let at = TopicPartition::new(input.topic.as_str(), partition);
                self.ends.insert(at, *start);
            }
        }
        self.history.know(inputs);
    }

    /// What stands before is forgotten.
    fn reset(&mut self, place: &str, reset: Reset) {
        if let Some(last) = self.last_epoch {
            let forgets = reset.forgets;
            if forgets != last {
                let what =
                    format!("a reset behind epoch {forgets}, where epoch {last} is the last");
                self.fault(place, what);
            }
            let gap = format!(
                "{place}: the application was reset here; the outputs of epochs up to {last}, which it has forgotten, are \
                 left out"
            );
            self.verdict.gaps.push(gap);
        }
        self.history = History::default();
        self.last_epoch = None;
        self.incarnation = None;
        self.ends.clear();
    }

    fn start(&mut self, place: &str, start: Start) {
        if let Some(last) = self.last_epoch
            && start.after != last
        {
            let after = start.after;
            self.fault(
                place,
                format!("a start behind epoch {after}, where epoch {last} is the last"),
            );
            self.ends.clear();
        }
        self.begin(&start.added);
        for loss in start.lost {
            let at = TopicPartition::new(loss.topic, loss.partition);
            self.ends.insert(at, loss.to);
        }
        self.last_epoch = Some(start.after);
        self.history.starts.push((start.after, start.guarantee));
        self.incarnation = Some(start.incarnation);
    }

    fn epoch(&mut self, place: &str, of: EpochEntry) {
        if let Some(last) = self.last_epoch
            && of.epoch != last + 1
        {
            self.fault(place, format!("it follows epoch {last}"));
            // Those between, which are missing, read on from there.
            self.ends.clear();
        }
        if self
            .incarnation
            .as_ref()
            .is_some_and(|started| *started != of.incarnation)
        {
            let incarnation = &of.incarnation;
            self.fault(
                place,
                format!("incarnation {incarnation} wrote it, which is not the one started last"),
            );
        }
        for decision in &of.decisions {
            if let Decision::Added {
                topic,
                partition,
                start,
            } = decision
            {
                let at = TopicPartition::new(topic.as_str(), *partition);
                self.ends.insert(at, *start);
            }
        }
        for share in &of.read {
            self.share(place, of.epoch, share);
        }
        let records: u64 = of.read.iter().map(|share| share.records).sum();
        let counts = &of.counts;
        if !counts.conserved() {
            self.fault(place, format!("the counts do not add up: {counts:?}"));
        }
        if records != counts.read + of.rows {
            self.fault(
                place,
                format!(
                    "{records} records were read of its partitions, but {} are counted, and {} rows of tables",
                    counts.read, of.rows
                ),
            );
        }
        for (topic, digest) in &of.outputs {
            let sum: u64 = digest.partitions.iter().map(|part| part.records).sum();
            if sum != digest.records {
                self.fault(
                    place,
                    format!(
                        "topic `{topic}`: {} records were written, {sum} to its partitions",
                        digest.records
                    ),
                );
            }
        }
        self.last_epoch = Some(of.epoch);
        self.history.epochs.push(of);
    }

    /// What the epoch read of a partition.
    fn share(&mut self, place: &str, epoch: u64, share: &Share) {
        let (records, end) = (share.records, share.end);
        let at = TopicPartition::new(share.topic.as_str(), share.partition);
        let Some(from) = self.ends.insert(at.clone(), end) else {
            return;
        };
        if end < from || records > (end - from) as u64 {
            self.fault(
                place,
                format!(
                    "{at}: {records} records up to offset {end} do not fit behind offset {from}"
                ),
            );
            return;
        }
        let reads = self.history.reads.entry(at).or_default();
        // Behind an entry that is wrong others may overlap.
        if reads.last().is_none_or(|last| last.end <= from) {
            reads.push(Read {
                epoch,
                from,
                end,
                records,
            });
        }
    }
}
