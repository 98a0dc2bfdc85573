//! Taking state back: a thread reads entries ahead, and the worker puts them into its table a part of it at a time.
//!
//! A table of a million rows is larger than the cache, and a snapshot has its entries in another order than the table
//! has its rows, so that putting one row misses the cache about three times. Entries are therefore put many at a time, those
//! together that lie near each other in the table, whose memory is then waited for once. `tiderace-benches recovery` measures
//! it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::handover::{Handover, StateError};
use crate::record::EventTime;

/// Into how many parts a table is divided.
const PARTS: usize = 64;

/// So many entries are read before they are put, at least.
const LEAST_AHEAD: usize = 1_024;

/// This part of all entries is read before it is put, while as many are put and as many wait: little beside the table.
const AHEAD: usize = 24;

/// Entries by the part of the table that they belong to.
type Parts<T> = Vec<Vec<T>>;

impl Handover {
    /// Takes the entries of the snapshot to begin with back, if there is one, and returns the step's watermark.
    ///
    /// `read` makes of an entry's key and value (`None`: it is gone) what `put` puts into the state, many at a time.
    /// `order` is the number by which it finds its place in a table with room for [`entries`](Self::entries), a hash in most;
    /// entries of the same number are put in their order, others in any. A state that is no such table gives a constant. `read` and
    /// `order` are called on a thread of their own.
    ///
    /// # Panics
    /// `read` panics, or no thread can be had.
    pub fn restore<T: Send>(
        &self,
        read: impl Fn(&[u8], Option<&[u8]>) -> Result<T, StateError> + Send,
        order: impl Fn(&T) -> u64 + Send,
        mut put: impl FnMut(Vec<T>),
    ) -> Option<EventTime> {
        let keeper = self.keeper.as_ref()?;
        thread::scope(|scope| {
            let (to, from) = sync_channel(1);
            let reading = thread::Builder::new()
                .name(format!("restoring-{}", self.worker))
                .spawn_scoped(scope, move || self.read(read, order, &to))
                .expect("a thread can be had");
            for parts in from {
                parts.into_iter().for_each(&mut put);
            }
            let read = reading.join();
            let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            keeper.restored(self.node, self.worker);
            read
        })
    }

    fn read<T>(
        &self,
        read: impl Fn(&[u8], Option<&[u8]>) -> Result<T, StateError>,
        order: impl Fn(&T) -> u64,
        to: &SyncSender<Parts<T>>,
    ) -> Option<EventTime> {
        let keeper = self.keeper.as_ref()?;
        let entries = self.entries();
        let limit = LEAST_AHEAD.max(entries / AHEAD);
        let place = part(entries);
        let empty = || -> Parts<T> {
            (0..PARTS)
                .map(|_| Vec::with_capacity(limit / PARTS))
                .collect()
        };
        let (mut parts, mut ahead) = (empty(), 0);
        let watermark = keeper.restore(self.node, self.worker, &mut |key, value| {
            let entry = read(key, value)?;
            parts[place(order(&entry))].push(entry);
            ahead += 1;
            if ahead == limit {
                ahead = 0;
                // Nobody listens any more only when the worker has panicked, which speaks for itself.
                _ = to.send(std::mem::replace(&mut parts, empty()));
            }
            Ok(())
        });
        // As above.
        _ = to.send(parts);
        watermark
    }
}

/// The part of a table with room for so many entries that a hash leads to. Tables look for a hash from the place on that its
/// low bits name, and of their places, a power of two, at most seven eighths are taken.
fn part(entries: usize) -> impl Fn(u64) -> usize {
    let buckets = (entries.saturating_mul(8) / 7)
        .next_power_of_two()
        .max(PARTS);
    let shift = buckets.trailing_zeros() - PARTS.trailing_zeros();
    move |hash| hash as usize >> shift & (PARTS - 1)
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;
    use std::sync::Arc;

    use foldhash::fast::FixedState;
    use hashbrown::HashTable;

    use super::*;
    use crate::dataflow::Epoch;
    use crate::handover::{Chunk, Keeper, Part, TakeEntry};
    use crate::shard::Shards;

    /// Has so many entries, their keys below a number; says that it has others.
    struct Has {
        entries: u64,
        keys: u64,
        says: usize,
    }

    impl Keeper for Has {
        fn wanted(&self) -> Epoch {
            0
        }
        fn is_full(&self) -> bool {
            false
        }
        fn chunk(&self, _: usize, _: Chunk) {}
        fn done(&self, _: Part) {}
        fn fail(&self, _: u32, _: usize, _: StateError) {}
        fn entries(&self, _: u32, _: usize) -> usize {
            self.says
        }
        fn restore(&self, _: u32, _: usize, take: &mut TakeEntry<'_>) -> Option<EventTime> {
            for entry in 0..self.entries {
                let key = entry.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.keys;
                let value = entry.to_le_bytes();
                take(&key.to_le_bytes(), Some(&value)).ok()?;
            }
            Some(EventTime::from_millis(7))
        }
    }

    fn number(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn every_entry_is_put_and_those_of_a_key_in_their_order() {
        for (entries, keys, says) in [
            (0, 1, 0),
            (1, 1, 0),
            (1_023, 7, 0),
            (1_024, 9, 5_000),
            (1_025, 1_000, 1),
            (30_000, 4_000, 4_000),
            (30_000, 1, 9),
            (30_000, 20_000, 20_000),
        ] {
            let handover = Handover {
                keeper: Some(Arc::new(Has {
                    entries,
                    keys,
                    says,
                })),
                ..Handover::none(Shards::new(1, 1))
            };
            let mut last = std::collections::HashMap::new();
            let mut put = 0;
            let watermark = handover.restore(
                |key, value| Ok((number(key), number(value.unwrap()))),
                |(key, _)| FixedState::default().hash_one(key),
                |many| {
                    for (key, entry) in many {
                        put += 1;
                        let before = last.insert(key, entry);
                        assert!(before < Some(entry), "{before:?} before {entry}");
                    }
                },
            );
            assert_eq!(put, entries);
            assert_eq!(watermark, Some(EventTime::from_millis(7)));
        }
    }

    fn has(entries: u64) -> Handover {
        let keeper = Has {
            entries,
            keys: entries,
            says: entries as usize,
        };
        Handover {
            keeper: Some(Arc::new(keeper)),
            ..Handover::none(Shards::new(1, 1))
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_ends_it() {
        let mut put = 0;
        let watermark = has(100_000).restore(
            |_, value| match number(value.unwrap()) {
                50_000 => Err(StateError("refused".into())),
                entry => Ok(entry),
            },
            |entry| *entry,
            |many| put += many.len(),
        );
        assert_eq!(watermark, None);
        assert!(put <= 50_000, "{put}");
    }

    #[test]
    fn a_panic_on_either_side_goes_on_to_the_caller() {
        let with = |read_panics: bool| {
            let at = |here: bool, entry| assert!(!here || entry != 50_000, "not this one");
            std::panic::catch_unwind(|| {
                has(100_000).restore(
                    |_, value| {
                        let entry = number(value.unwrap());
                        at(read_panics, entry);
                        Ok(entry)
                    },
                    |entry| *entry,
                    |many| many.into_iter().for_each(|entry| at(!read_panics, entry)),
                )
            })
        };
        for read_panics in [true, false] {
            let payload = with(read_panics).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"not this one"));
        }
    }

    #[test]
    fn parts_follow_each_other_in_the_table() {
        for entries in [1_000usize, 28_672, 28_673, 100_000] {
            let hash = |key: &usize| FixedState::default().hash_one(key);
            let mut table = HashTable::with_capacity(entries);
            for key in 0..entries {
                table.insert_unique(hash(&key), key, hash);
            }
            let part = part(entries);
            let parts: Vec<usize> = table.iter().map(|key| part(hash(key))).collect();
            // A row whose bucket is taken goes on to the next ones, so a few are out of order.
            let steps_back = parts.windows(2).filter(|two| two[0] > two[1]).count();
            assert!(steps_back <= parts.len() / 20 + 2, "{entries}: {parts:?}");
        }
    }
}
