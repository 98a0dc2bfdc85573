//! Conservation: every record that a source reads ends under exactly one verdict, in every epoch.
//!
//! Operators count as they go and hand an epoch's counts over when it closes. No term is computed from the
//! others, so a record that gets lost shows as a sum that does not add up. Where a record can take several
//! ways (fan-out, a step with several results), verdicts are kept by position and the first that holds wins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::board::Board;
use crate::record::{EventTime, Position};
use crate::state_codec::{self, time_bytes};

/// What became of a source record; the first of several that holds counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Bad data, sent to a dead-letter topic.
    DeadLettered,
    /// Bad data under `Skip`, or a null key into a keyed step.
    Skipped,
    /// Reached a sink or a state.
    Processed,
    /// Too late for every window it belongs to.
    Late,
    /// Left out by a step that may leave records out.
    Filtered,
}

impl Verdict {
    /// All of them, in their order.
    pub(crate) const ALL: [Verdict; 5] = [
        Verdict::DeadLettered,
        Verdict::Skipped,
        Verdict::Processed,
        Verdict::Late,
        Verdict::Filtered,
    ];
}

/// An epoch's counts, as the operators of all workers have handed them over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochTally {
    /// Records read from the topics of streams.
    pub read: u64,
    /// Rows read from the topics of tables; not part of the sum.
    pub rows: u64,
    /// Counts by verdict, in the order of [`Verdict`].
    pub verdicts: [u64; 5],
    /// Windows closed; not part of the sum.
    pub windows_closed: u64,
    /// What each node did; for metrics and replays, not part of the sum.
    pub nodes: BTreeMap<u32, NodeTally>,
    board: Board,
}

/// What a node did in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTally {
    /// Verdicts that it gave, each time it did, in the order of [`Verdict`].
    pub verdicts: [u64; 5],
    /// Results of several records that it let go of.
    pub results: u64,
    /// Sum of their hashes (XXH3-128 of key, timestamp and value, modulo 2^128), so that neither the order nor the
    /// worker shows.
    pub digest: u128,
}

impl NodeTally {
    fn add(&mut self, other: NodeTally) {
        for (total, count) in self.verdicts.iter_mut().zip(other.verdicts) {
            *total += count;
        }
        self.results += other.results;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

impl EpochTally {
    fn merge(&mut self, other: EpochTally) {
        self.read += other.read;
        self.rows += other.rows;
        self.windows_closed += other.windows_closed;
        for (total, count) in self.verdicts.iter_mut().zip(other.verdicts) {
            *total += count;
        }
        for (node, tally) in other.nodes {
            self.nodes.entry(node).or_default().add(tally);
        }
        self.board.merge(other.board);
    }

    /// Turns the verdicts kept by position into counts.
    fn settle(mut self) -> Self {
        let board = std::mem::take(&mut self.board).counts();
        for (total, count) in self.verdicts.iter_mut().zip(board) {
            *total += count;
        }
        self
    }

    /// Records under a verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }
}

/// Where the operators of all workers hand their counts over.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<u64, EpochTally>>>);

impl Ledger {
    fn epochs(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, EpochTally>> {
        // Counts are added in one step each, so a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the counts of an epoch out, once every operator has passed it.
    pub fn take(&self, epoch: u64) -> EpochTally {
        self.epochs().remove(&epoch).unwrap_or_default().settle()
    }
}

/// How records are counted at one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each source record gets its one verdict at one place: count.
    Once,
    /// A source record may get several verdicts: keep them by position.
    ByPosition,
    /// The records here do not come straight from a source: ignore them.
    Not,
}

/// The counts of an operator and of the fused steps behind it, on one worker; clones share them.
#[derive(Clone, Debug)]
pub struct Tally {
    counting: Counting,
    ledger: Ledger,
    open: Rc<RefCell<Open>>,
    /// Which of the open nodes this handle counts for.
    node: usize,
}

/// Gives verdicts; see [`Tally::giving`].
#[derive(Debug)]
pub struct Giving<'a> {
    counting: Counting,
    sums: &'a mut EpochTally,
    node: &'a mut NodeTally,
}

impl Giving<'_> {
    /// Gives a record its verdict.
    #[inline]
    pub fn verdict(&mut self, position: Position, verdict: Verdict) {
        self.node.verdicts[verdict as usize] += 1;
        match self.counting {
            Counting::Once => self.sums.verdicts[verdict as usize] += 1,
            Counting::ByPosition => self.sums.board.note(position, verdict),
            Counting::Not => {}
        }
    }
}

/// What was counted since the last epoch.
#[derive(Debug, Default)]
struct Open {
    sums: EpochTally,
    nodes: Vec<(u32, NodeTally)>,
    /// A result as its digest takes it.
    result: Vec<u8>,
}

impl Tally {
    /// The counts of the operator of a node, handed over to `ledger`.
    pub fn new(ledger: &Ledger, counting: Counting, node: u32) -> Self {
        let nodes = vec![(node, NodeTally::default())];
        Tally {
            ledger: ledger.clone(),
            counting,
            open: Rc::new(RefCell::new(Open {
                nodes,
                ..Open::default()
            })),
            node: 0,
        }
    }

    /// The same counts, as the step `node` that is fused into the operator adds to them.
    pub fn at(&self, node: u32) -> Self {
        let mut open = self.open.borrow_mut();
        open.nodes.push((node, NodeTally::default()));
        Tally {
            node: open.nodes.len() - 1,
            ..self.clone()
        }
    }

    /// How records are counted here.
    pub fn counting(&self) -> Counting {
        self.counting
    }

    /// Gives a record its verdict.
    #[inline]
    pub fn verdict(&self, position: Position, verdict: Verdict) {
        self.giving(|given| given.verdict(position, verdict));
    }

    /// Has `work` give verdicts to many records. It may not come back to these counts otherwise.
    #[inline]
    pub fn giving<R>(&self, work: impl FnOnce(&mut Giving<'_>) -> R) -> R {
        let Open { sums, nodes, .. } = &mut *self.open.borrow_mut();
        work(&mut Giving {
            counting: self.counting,
            sums,
            node: &mut nodes[self.node].1,
        })
    }

    /// Gives so many records a verdict, where they need not be named.
    #[inline]
    pub fn verdicts(&self, records: u64, verdict: Verdict) {
        debug_assert_ne!(self.counting, Counting::ByPosition, "each is to be named");
        let open = &mut *self.open.borrow_mut();
        open.nodes[self.node].1.verdicts[verdict as usize] += records;
        if self.counting == Counting::Once {
            open.sums.verdicts[verdict as usize] += records;
        }
    }

    /// Counts records read from a stream's topic.
    pub fn read(&self, records: u64) {
        self.open.borrow_mut().sums.read += records;
    }

    /// Counts rows read from a table's topic.
    pub fn rows(&self, rows: u64) {
        self.open.borrow_mut().sums.rows += rows;
    }

    /// Counts a result of several records: its key's bytes, its times and its value tell it from others.
    pub fn result(&self, key: &[u8], times: [EventTime; 2], value: &impl Serialize) {
        let Open { nodes, result, .. } = &mut *self.open.borrow_mut();
        result.clear();
        result.extend(times.into_iter().flat_map(time_bytes));
        result.extend_from_slice(key);
        // A value without bytes is reported by whatever keeps or writes it.
        let _ = state_codec::write(value, result);
        let node = &mut nodes[self.node].1;
        node.results += 1;
        node.digest = node.digest.wrapping_add(xxh3_128(result));
    }

    /// Counts windows closed.
    pub fn windows_closed(&self, windows: u64) {
        self.open.borrow_mut().sums.windows_closed += windows;
    }

    /// Hands over what was counted since the last call as counts of `epoch`.
    pub fn close(&self, epoch: u64) {
        let open = &mut *self.open.borrow_mut();
        let mut sums = std::mem::take(&mut open.sums);
        for (node, tally) in &mut open.nodes {
            let tally = std::mem::take(tally);
            if tally != NodeTally::default() {
                sums.nodes.insert(*node, tally);
            }
        }
        if sums != EpochTally::default() {
            self.ledger.epochs().entry(epoch).or_default().merge(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_verdicts_the_first_that_holds_counts() {
        let ledger = Ledger::default();
        let place = |offset| Position::read(0, 0, offset).unwrap();
        let one = Tally::new(&ledger, Counting::ByPosition, 1);
        let other = Tally::new(&ledger, Counting::ByPosition, 2);
        one.read(2);
        one.verdict(place(0), Verdict::Filtered);
        other.verdict(place(0), Verdict::Processed);
        other.verdict(place(0), Verdict::Late);
        let at = EventTime::from_millis;
        other.result(b"a", [at(0), at(7)], &5);
        other.result(b"b", [at(0), at(8)], &6);
        // The other way round on another worker.
        let third = Tally::new(&Ledger::default(), Counting::Not, 2);
        third.result(b"b", [at(0), at(8)], &6);
        third.result(b"a", [at(0), at(7)], &5);
        let there = third.open.borrow().nodes[0].1;
        one.verdict(place(1), Verdict::Late);
        one.close(7);
        other.close(7);
        let tally = ledger.take(7);
        assert_eq!((tally.read, tally.verdicts), (2, [0, 0, 1, 1, 0]));
        assert_eq!(tally.nodes[&2].verdicts, [0, 0, 1, 1, 0]);
        let here = tally.nodes[&2];
        assert_eq!((here.results, here.digest), (2, there.digest));
        assert_eq!(ledger.take(7), EpochTally::default());
    }
}
