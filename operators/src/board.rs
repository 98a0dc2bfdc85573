//! Verdicts by position, where a source record may be given several.
//!
//! Records are gone through in runs, and so are their positions: what is kept is a run of positions under one
//! verdict. Noting the next position, or one of the last run again, takes no more than looking at that run.

use crate::record::Position;
use crate::tally::Verdict;

/// Verdicts that were given, several to a position perhaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Board {
    runs: Vec<Run>,
    /// Runs that were left when they were last put together.
    together: usize,
}

/// Consecutive positions under a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    verdict: Verdict,
    first: u64,
    /// Behind the last of them.
    end: u64,
}

/// Runs that are kept apart at least.
const FEW: usize = 4_096;

impl Board {
    /// Notes that a position was given a verdict.
    #[inline]
    pub(crate) fn note(&mut self, position: Position, verdict: Verdict) {
        let bits = position.bits();
        if let Some(last) = self.runs.last_mut()
            && last.verdict == verdict
            && (last.first..=last.end).contains(&bits)
        {
            last.end = last.end.max(bits.saturating_add(1));
            return;
        }
        self.append(Run {
            verdict,
            first: bits,
            end: bits.saturating_add(1),
        });
    }

    /// Notes all that `other` has.
    pub(crate) fn merge(&mut self, other: Board) {
        if self.runs.is_empty() {
            *self = other;
        } else {
            other.runs.into_iter().for_each(|run| self.append(run));
        }
    }

    fn append(&mut self, run: Run) {
        if self.runs.len() >= FEW.max(2 * self.together) {
            self.put_together();
        }
        self.runs.push(run);
    }

    /// Puts runs of a verdict that touch together, so that they are never many more than positions.
    fn put_together(&mut self) {
        self.runs.sort_unstable();
        self.runs.dedup_by(|run, before| {
            let touch = run.verdict == before.verdict && run.first <= before.end;
            if touch {
                before.end = before.end.max(run.end);
            }
            touch
        });
        self.together = self.runs.len();
    }

    /// How many positions each verdict counts for: the least that one was given, in the order of [`Verdict`].
    pub(crate) fn counts(mut self) -> [u64; 5] {
        self.runs.sort_unstable_by_key(|run| run.first);
        let mut counted = 0;
        Verdict::ALL.map(|verdict| {
            let (mut covered, mut reached) = (0, 0);
            for run in self.runs.iter().filter(|run| run.verdict <= verdict) {
                covered += run.end.saturating_sub(run.first.max(reached));
                reached = reached.max(run.end);
            }
            let more = covered - counted;
            counted = covered;
            more
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn verdicts() -> impl Strategy<Value = Vec<(u32, u64, u64, Verdict)>> {
        let verdict = (0..5_usize).prop_map(|index| Verdict::ALL[index]);
        // Stretches of a partition, ten at the most, as steps go through them, near each other so that they overlap.
        prop::collection::vec((0..3_u32, 0..60_u64, 1..10_u64, verdict), 0..60)
    }

    proptest! {
        #[test]
        fn each_position_counts_for_the_least_of_its_verdicts(
            given in verdicts(),
            other in verdicts(),
            together in any::<prop::sample::Index>(),
        ) {
            let mut expected = BTreeMap::new();
            let [mut board, mut second] = [Board::default(), Board::default()];
            for (board, given) in [(&mut board, &given), (&mut second, &other)] {
                for (at, (partition, first, records, verdict)) in given.iter().enumerate() {
                    for offset in *first..first + records {
                        let position = Position::read(0, *partition, offset).unwrap();
                        board.note(position, *verdict);
                        let least = expected.entry(position).or_insert(*verdict);
                        *least = (*least).min(*verdict);
                    }
                    if at == together.index(given.len()) {
                        board.put_together();
                    }
                }
            }
            board.merge(second);
            let count = |verdict| expected.values().filter(|of| **of == verdict).count() as u64;
            prop_assert_eq!(board.counts(), Verdict::ALL.map(count));
        }
    }

    #[test]
    fn what_comes_again_and_again_takes_no_more_room() {
        let mut board = Board::default();
        for round in 0..10 {
            for offset in 0..5_000 {
                // No position is next to the one before it.
                let position = Position::read(0, 0, offset * 2).unwrap();
                board.note(position, Verdict::Processed);
                board.note(position, Verdict::Processed);
            }
            assert!(
                board.runs.len() <= 10_000,
                "{} in round {round}",
                board.runs.len()
            );
        }
        assert_eq!(board.counts(), [0, 0, 5_000, 0, 0]);
    }
}
