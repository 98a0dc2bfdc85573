//! Outputs of epochs whose guarantee was weaker than exactly once, against the log.
//!
//! They lie outside the transactions of their epochs. At least once: what was written and not committed lies before
//! the committed copy, in whole or in part. At most once: of what was committed the end may be missing. Either way the
//! epochs that are there lie in their order, each in one run. So they are looked for from the end, the last one first,
//! and what lies between or is missing has to be what a guarantee allows.

use std::collections::BTreeSet;

use super::entries::History;
use super::outputs::{Part, Written};
use super::{Verdict, outputs};
use crate::config::Guarantee;
use crate::runtime::digest::hash_of;

/// Before which epochs records may lie that were written and not committed.
#[derive(Default)]
pub(super) struct Uncommitted(BTreeSet<u64>);

impl Uncommitted {
    /// As the entries of a log say.
    pub(super) fn of(history: &History) -> Self {
        let starts = history.starts.iter().copied();
        let epochs = history.epochs.iter().map(|of| (of.epoch, of.guarantee));
        Uncommitted::by(starts, epochs)
    }

    /// By the last epochs before starts, and the epochs themselves: whoever wrote at least once may have written the
    /// next epoch too, and not committed it.
    fn by(
        starts: impl Iterator<Item = (u64, Guarantee)>,
        epochs: impl Iterator<Item = (u64, Guarantee)>,
    ) -> Self {
        let is = |(_, of): &(u64, Guarantee)| *of == Guarantee::AtLeastOnce;
        let starts = starts.filter(is).map(|(after, _)| after + 1);
        let epochs = epochs.filter(is).flat_map(|(epoch, _)| [epoch, epoch + 1]);
        Uncommitted(starts.chain(epochs).collect())
    }

    /// Whether such records may lie between those of two epochs.
    fn between(&self, one: u64, other: u64) -> bool {
        self.0.range(one + 1..=other).next().is_some()
    }
}

/// Whether an application has had a guarantee other than exactly once, as far back as its entries are held.
pub(super) fn is_weaker(history: &History) -> bool {
    let starts = history.starts.iter().map(|(_, guarantee)| *guarantee);
    let epochs = history.epochs.iter().map(|of| of.guarantee);
    starts.chain(epochs).any(|of| of != Guarantee::ExactlyOnce)
}

/// What is known on the way back through a partition.
struct Back<'a> {
    of: &'a Written<'a>,
    uncommitted: &'a Uncommitted,
    /// Records before this one are still to be told apart.
    end: usize,
    /// How many records may lie before `end` that are of no epoch's run.
    slack: usize,
    /// Epochs that were looked for and not found since one was, with the number of their records.
    lost: Vec<(u64, usize)>,
}

impl Written<'_> {
    /// Looks for the epochs from the end back. `whole` says that the application's first record is still held.
    pub(super) fn check_weaker(
        &self,
        uncommitted: &Uncommitted,
        whole: bool,
        verdict: &mut Verdict,
    ) {
        let later: usize = self.later.iter().map(|part| part.records).sum();
        let mut back = Back {
            of: self,
            uncommitted,
            end: self.held.len(),
            slack: later,
            lost: Vec::new(),
        };
        let mut behind = u64::MAX;
        for part in self.parts.iter().rev() {
            if !back.step(part, behind, whole, verdict) {
                return;
            }
            behind = part.epoch;
        }
        if whole {
            back.allow(0, behind);
            back.skip(back.end, behind, verdict);
        } else {
            back.skip(0, behind, verdict);
        }
    }
}

impl Back<'_> {
    /// Looks for an epoch before `behind`; false if there is no more to be found.
    fn step(&mut self, part: &Part, behind: u64, whole: bool, verdict: &mut Verdict) -> bool {
        self.allow(part.epoch, behind);
        if let Some(end) = self.find(part) {
            self.skip(self.end - end, behind, verdict);
            self.end = end - part.records;
            self.slack = 0;
            verdict.records += part.records as u64;
            return true;
        }
        let (at, records, epoch) = (&self.of.at, part.records, part.epoch);
        if !whole && records > self.end.saturating_sub(self.slack) {
            verdict.gaps.push(outputs::no_longer_held(at, epoch));
            return false;
        }
        if part.guarantee == Guarantee::AtMostOnce {
            self.slack = self.slack.saturating_add(records);
            self.lost.push((epoch, records));
            return true;
        }
        verdict.faults.push(format!(
            "{at}: the {records} records of epoch {epoch} are not there as they were committed, and those before \
             were not looked for"
        ));
        false
    }

    /// Lets records that were not committed lie between two epochs, if they may.
    fn allow(&mut self, epoch: u64, behind: u64) {
        if self.uncommitted.between(epoch, behind) {
            self.slack = usize::MAX;
        }
    }

    /// Where the last run ends that is this epoch's.
    fn find(&self, part: &Part) -> Option<usize> {
        let first = self.end.saturating_sub(self.slack).max(part.records);
        let is = |end: &usize| hash_of(&self.of.held[end - part.records..*end]) == part.hash;
        (first..=self.end).rev().find(is)
    }

    /// Says what the records are that were passed over before the epoch `behind`, and what was lost there.
    fn skip(&mut self, records: usize, behind: u64, verdict: &mut Verdict) {
        let at = &self.of.at;
        let lost = std::mem::take(&mut self.lost);
        for (epoch, of) in &lost {
            verdict.allowed.push(format!(
                "{at}: at most once: the {of} records of epoch {epoch} are not all there"
            ));
        }
        let by_later = behind == u64::MAX && self.of.later().any(|of| of == records);
        if records == 0 || by_later {
            return;
        }
        let place = match behind {
            u64::MAX => "behind those of the last epoch".to_owned(),
            epoch => format!("before those of epoch {epoch}"),
        };
        if records > self.slack {
            verdict.faults.push(format!(
                "{at}: {records} records {place} are not of this application"
            ));
        } else if lost.is_empty() {
            verdict.allowed.push(format!(
                "{at}: at least once: {records} records {place} were written and not committed"
            ));
        } else {
            verdict.allowed.push(format!(
                "{at}: {records} records {place} are of epochs that are not all there"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::TopicPartition;
    use Guarantee::{AtLeastOnce, AtMostOnce, ExactlyOnce};

    /// A partition, a record a letter, checked against epochs from 1 on: the records of each and its guarantee. `starts`
    /// are those that were at least once, by the epoch before.
    fn check(epochs: &[(Guarantee, &str)], starts: &[u64], held: &str, whole: bool) -> Verdict {
        let hashes = |of: &str| of.bytes().map(|letter| [letter; 16]).collect::<Vec<_>>();
        let part = |(epoch, (guarantee, of)): (u64, &(Guarantee, &str))| Part {
            epoch,
            guarantee: *guarantee,
            records: of.len(),
            hash: hash_of(&hashes(of)),
        };
        let parts: Vec<_> = (1..).zip(epochs).map(part).collect();
        let starts = starts.iter().map(|after| (*after, AtLeastOnce));
        let of_parts = parts.iter().map(|of| (of.epoch, of.guarantee));
        let uncommitted = Uncommitted::by(starts, of_parts);
        let written = Written {
            at: TopicPartition::new("out", 0),
            parts: &parts,
            later: &[],
            held: hashes(held),
        };
        let mut verdict = Verdict::default();
        written.check_weaker(&uncommitted, whole, &mut verdict);
        verdict
    }

    /// Sound, and so many sentences on what the guarantee has allowed.
    fn is_sound(verdict: &Verdict, allowed: usize) {
        assert_eq!(verdict.faults, Vec::<String>::new());
        assert_eq!(verdict.allowed.len(), allowed, "{verdict:?}");
    }

    #[test]
    fn what_was_written_before_it_was_committed_may_be_there_twice_in_whole_or_in_part() {
        let epochs = [
            (AtLeastOnce, "abc"),
            (AtLeastOnce, "def"),
            (AtLeastOnce, "gh"),
        ];
        is_sound(&check(&epochs, &[], "abcdefgh", true), 0);
        for (held, allowed) in [
            ("abcabcdefgh", 1),
            ("abcdedefgh", 1),
            ("abcdefghgh", 1),
            // Two epochs that were to be committed together.
            ("abcdefghdefgh", 1),
            ("ababcdefdefgh", 2),
        ] {
            let verdict = check(&epochs, &[], held, true);
            is_sound(&verdict, allowed);
            assert_eq!(verdict.records, 8, "{held}");
        }
        // Not committed by the time of the check.
        let verdict = check(&epochs, &[], "abcdefghij", true);
        is_sound(&verdict, 1);
        assert!(verdict.allowed[0].contains("2 records behind those of the last epoch"));
    }

    #[test]
    fn what_a_start_wrote_may_be_cut_otherwise_than_what_was_committed_behind_it() {
        let epochs = [
            (ExactlyOnce, "ab"),
            (ExactlyOnce, "cd"),
            (ExactlyOnce, "efg"),
        ];
        let verdict = check(&epochs, &[1], "abcdecdefg", true);
        is_sound(&verdict, 1);
        assert!(verdict.allowed[0].contains("3 records before those of epoch 2"));
        let verdict = check(&epochs, &[2], "abcdecdefg", true);
        assert_eq!(verdict.faults.len(), 1, "{verdict:?}");
    }

    #[test]
    fn what_was_written_before_the_guarantee_changed_lies_before_the_first_epoch_of_the_next() {
        let epochs = [
            (AtLeastOnce, "ab"),
            (AtMostOnce, "cde"),
            (ExactlyOnce, "fg"),
        ];
        is_sound(&check(&epochs, &[], "abcdcdefg", true), 1);
        is_sound(&check(&epochs, &[], "abcdfg", true), 2);
        let verdict = check(&epochs, &[], "abcdefgx", true);
        assert_eq!(verdict.faults.len(), 1, "{verdict:?}");
    }

    #[test]
    fn what_at_least_once_has_lost_or_changed_is_a_fault() {
        let epochs = [
            (AtLeastOnce, "abc"),
            (AtLeastOnce, "def"),
            (AtLeastOnce, "gh"),
        ];
        for held in ["abcgh", "abcdegh", "abcdefg", "defgh", "abxdefgh"] {
            let verdict = check(&epochs, &[], held, true);
            assert_eq!(verdict.faults.len(), 1, "{held}: {verdict:?}");
        }
    }

    #[test]
    fn what_at_most_once_has_lost_is_named() {
        let epochs = [
            (AtMostOnce, "abc"),
            (AtMostOnce, "def"),
            (ExactlyOnce, "gh"),
        ];
        is_sound(&check(&epochs, &[], "abcdefgh", true), 0);
        let verdict = check(&epochs, &[], "abcgh", true);
        is_sound(&verdict, 1);
        assert!(verdict.allowed[0].contains("the 3 records of epoch 2 are not all there"));
        for held in ["abcdegh", "defgh", "abdefgh", "gh"] {
            let verdict = check(&epochs, &[], held, true);
            is_sound(&verdict, if held == "defgh" { 1 } else { 2 });
        }
    }

    #[test]
    fn what_at_most_once_has_doubled_is_a_fault() {
        let epochs = [
            (AtMostOnce, "abc"),
            (AtMostOnce, "def"),
            (ExactlyOnce, "gh"),
        ];
        for held in ["abcdefdefgh", "abcabcdefgh", "abcdefghgh", "abcdef"] {
            let verdict = check(&epochs, &[], held, true);
            assert_eq!(verdict.faults.len(), 1, "{held}: {verdict:?}");
        }
    }

    #[test]
    fn what_is_no_longer_held_is_no_fault() {
        for guarantee in [AtLeastOnce, AtMostOnce] {
            let epochs = [(guarantee, "abc"), (guarantee, "def"), (guarantee, "gh")];
            let verdict = check(&epochs, &[], "cdefgh", false);
            is_sound(&verdict, 0);
            assert_eq!((verdict.records, verdict.gaps.len()), (5, 1), "{verdict:?}");
        }
    }
}
