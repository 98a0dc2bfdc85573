//! The rows of a running aggregation: which ones a record belongs to, and their form in a snapshot.

use crate::changes::{self, Generation};
use crate::entries::Entries;
use crate::handover::StateError;
use crate::key::{Data, Key, Windowed};
use crate::keyed_table::{Keyed, KeyedTable, Place};
use crate::record::EventTime;
use crate::state_codec::{self, take_time, time_bytes};
use crate::window::TimeWindows;

/// The rows of a table that a record belongs to, each with the way there and back.
pub enum Rows<K, G> {
    /// The row of its key.
    ByKey(fn(K) -> G, fn(&G) -> &K),
    /// A row for each window of its timestamp, dropped when the window is final.
    ByWindow(TimeWindows, fn(Windowed<K>) -> G, fn(&G) -> &Windowed<K>),
}

impl<K, G> Clone for Rows<K, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, G> Copy for Rows<K, G> {}

impl<K> Rows<K, K> {
    /// A row per key.
    pub fn by_key() -> Self {
        Rows::ByKey(|key| key, |row| row)
    }
}

impl<K> Rows<K, Windowed<K>> {
    /// A row per key and window.
    pub fn by_window(windows: TimeWindows) -> Self {
        Rows::ByWindow(windows, |key| key, |row| row)
    }
}

impl<K: Key, G> Rows<K, G> {
    /// Writes the entry of a row.
    pub(crate) fn write<A: Data>(
        self,
        row: &Row<G, A>,
        entries: &mut Entries,
    ) -> Result<(), StateError> {
        match self {
            Rows::ByKey(_, of) => entries.put(&[], of(&row.key), |to| row.write(to)),
            Rows::ByWindow(_, _, of) => {
                let Windowed { key, window } = of(&row.key);
                entries.put(&time_bytes(window.start), key, |to| row.write(to))
            }
        }
    }

    /// Reads the key of an entry.
    pub(crate) fn read(self, mut bytes: &[u8]) -> Result<G, StateError> {
        Ok(match self {
            Rows::ByKey(row, _) => row(state_codec::read(bytes)?),
            Rows::ByWindow(windows, row, _) => {
                let start = take_time(&mut bytes)?;
                let key = state_codec::read(bytes)?;
                let window = windows.window(start);
                row(Windowed { key, window })
            }
        })
    }

    /// When the window of a row is final, if it is one of a window.
    pub(crate) fn closing(self, row: &G) -> Option<EventTime> {
        match self {
            Rows::ByKey(..) => None,
            Rows::ByWindow(windows, _, of) => Some(windows.closing(of(row).window.start)),
        }
    }

    /// The bytes below which lie the entries of rows that are dropped when the watermark is `now`.
    pub(crate) fn floor(self, now: EventTime) -> Vec<u8> {
        match self {
            Rows::ByKey(..) => Vec::new(),
            Rows::ByWindow(windows, ..) => time_bytes(windows.first_open(now)).to_vec(),
        }
    }
}

/// A row. There is one for every key: its size is most of what state takes.
pub(crate) struct Row<G, A> {
    pub(crate) key: G,
    pub(crate) value: A,
    pub(crate) timestamp: EventTime,
    pub(crate) generation: Generation,
    /// Which of the open epoch's changes it is, counted from 1; 0 if it has not changed.
    pub(crate) change: u32,
}

impl<G, A> changes::Slot for Row<G, A> {
    fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }
}

impl<G, A> Keyed for Row<G, A> {
    type Key = G;
    fn key(&self) -> &G {
        &self.key
    }
}

impl<G, A> Row<G, A> {
    /// A row that has not changed since the last snapshot, nor in the open epoch.
    pub(crate) fn new(key: G, value: A, timestamp: EventTime) -> Self {
        Row {
            key,
            value,
            timestamp,
            generation: Generation::CLEAN,
            change: 0,
        }
    }
}

impl<G, A: Data> Row<G, A> {
    fn write(&self, to: &mut Vec<u8>) -> Result<(), StateError> {
        to.extend_from_slice(&time_bytes(self.timestamp));
        state_codec::write(&self.value, to)
    }

    /// Reads timestamp and value of an entry.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<(EventTime, A), StateError> {
        Ok((take_time(&mut bytes)?, state_codec::read(bytes)?))
    }
}

/// Rows by key.
pub(crate) type Table<G, A> = KeyedTable<Row<G, A>>;

impl<G: Key, A> changes::Table<Place, Row<G, A>> for Table<G, A> {
    fn find(&mut self, place: &Place) -> Option<&mut Row<G, A>> {
        self.get_mut(*place)
    }

    fn places(&self) -> usize {
        KeyedTable::places(self)
    }

    fn at(&self, place: usize) -> Option<Place> {
        Place::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_no_more_than_key_value_timestamp_and_a_word() {
        assert_eq!(size_of::<Option<Row<u64, u64>>>(), 32);
        assert_eq!(size_of::<Option<Row<String, u64>>>(), 48);
    }
}
