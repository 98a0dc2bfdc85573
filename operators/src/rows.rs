//! The rows of a running aggregation: which ones a record belongs to, and their form in a snapshot.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::changes::{self, Generation};
use crate::entries::Entries;
use crate::handover::StateError;
use crate::key::{Data, Key, Windowed};
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
        row: &G,
        is: &Row<A>,
        entries: &mut Entries,
    ) -> Result<(), StateError> {
        match self {
            Rows::ByKey(_, of) => entries.put(&[], of(row), |to| is.write(to)),
            Rows::ByWindow(_, _, of) => {
                let Windowed { key, window } = of(row);
                entries.put(&time_bytes(window.start), key, |to| is.write(to))
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

    /// The bytes below which lie the entries of rows that are dropped when the watermark is `now`.
    pub(crate) fn floor(self, now: EventTime) -> Vec<u8> {
        match self {
            Rows::ByKey(..) => Vec::new(),
            Rows::ByWindow(windows, ..) => time_bytes(windows.first_open(now)).to_vec(),
        }
    }
}

/// A row.
pub(crate) struct Row<A> {
    pub(crate) value: A,
    pub(crate) timestamp: EventTime,
    pub(crate) generation: Generation,
}

impl<A> changes::Slot for Row<A> {
    fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }
}

impl<A: Data> Row<A> {
    fn write(&self, to: &mut Vec<u8>) -> Result<(), StateError> {
        to.extend_from_slice(&time_bytes(self.timestamp));
        state_codec::write(&self.value, to)
    }

    /// Reads the value of an entry.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, StateError> {
        Ok(Row {
            timestamp: take_time(&mut bytes)?,
            value: state_codec::read(bytes)?,
            generation: Generation::CLEAN,
        })
    }
}

/// Rows by key.
pub(crate) type Table<G, A> = HashMap<G, Row<A>, FixedState>;

impl<G: Key, A> changes::Table<G, Row<A>> for Table<G, A> {
    fn find(&mut self, row: &G) -> Option<&mut Row<A>> {
        self.get_mut(row)
    }
}
