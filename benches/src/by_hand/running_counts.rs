//! Running counts by key, of which a commit takes those that changed.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use tiderace::connect::TransactionError;

use super::output::Output;

/// Counts by key, and which of them changed since they were sent.
#[derive(Default)]
pub(super) struct RunningCounts {
    places: HashTable<u32>,
    counts: Vec<Count>,
    changed: Vec<u32>,
}

struct Count {
    key: Box<[u8]>,
    count: u64,
    latest: i64,
    has_changed: bool,
}

impl RunningCounts {
    /// One more of a key.
    #[inline]
    pub(super) fn count(&mut self, key: &[u8], timestamp: i64) {
        let hash = |key: &[u8]| FixedState::default().hash_one(key);
        let counts = &mut self.counts;
        let found = self
            .places
            .find(hash(key), |place| *counts[*place as usize].key == *key);
        let place = match found {
            Some(place) => *place,
            None => {
                let place = counts.len() as u32;
                counts.push(Count {
                    key: key.into(),
                    count: 0,
                    latest: timestamp,
                    has_changed: false,
                });
                let of_place = |place: &u32| hash(&counts[*place as usize].key);
                self.places.insert_unique(hash(key), place, of_place);
                place
            }
        };
        let count = &mut counts[place as usize];
        count.count += 1;
        count.latest = count.latest.max(timestamp);
        if !count.has_changed {
            count.has_changed = true;
            self.changed.push(place);
        }
    }

    /// Sends those that changed since the last time.
    pub(super) fn send(&mut self, output: &mut Output<'_>) -> Result<(), TransactionError> {
        for place in self.changed.drain(..) {
            let count = &mut self.counts[place as usize];
            count.has_changed = false;
            let value = count.count.to_be_bytes();
            output.send(&count.key, (Some(&count.key), &value), count.latest)?;
        }
        Ok(())
    }
}
