//! What is in the open windows, or panes: a table for each, found by the windows that its records belong to.

use std::collections::BTreeMap;

use crate::changes::{self, Generation};
use crate::fold::Fold;
use crate::handover::StateError;
use crate::key::Key;
use crate::keyed_table::{Keyed, KeyedTable, Place};
use crate::record::{EventTime, Header};
use crate::state_codec::{take_time, time_bytes};
use crate::window::Span;

/// What came of some records: the partial result, the largest timestamp and the smallest stream time.
#[derive(Clone)]
pub(super) struct Total<P> {
    pub(super) partial: P,
    pub(super) timestamp: EventTime,
    pub(super) stream_time: EventTime,
}

impl<P> Total<P> {
    /// Of no record.
    #[inline]
    pub(super) fn of_none(begin: P) -> Self {
        Total {
            partial: begin,
            timestamp: EventTime::MIN,
            stream_time: EventTime::MAX,
        }
    }

    /// Notes the times of a record.
    #[inline]
    pub(super) fn note(&mut self, header: Header) {
        self.timestamp = self.timestamp.max(header.timestamp);
        self.stream_time = self.stream_time.min(header.stream_time);
    }

    /// Takes in what came of other records.
    #[inline]
    pub(super) fn combine<F: Fold<Partial = P>>(&mut self, fold: &F, other: &Total<P>) {
        fold.combine(&mut self.partial, &other.partial);
        self.timestamp = self.timestamp.max(other.timestamp);
        self.stream_time = self.stream_time.min(other.stream_time);
    }

    /// The result with its times, `None` if it is of no record.
    #[inline]
    pub(super) fn finish<F: Fold<Partial = P>>(self, fold: &F) -> Option<Total<F::Value>> {
        Some(Total {
            partial: fold.finish(self.partial)?,
            timestamp: self.timestamp,
            stream_time: self.stream_time,
        })
    }

    /// Appends it as state.
    pub(super) fn write<F: Fold<Partial = P>>(&self, to: &mut Vec<u8>) -> Result<(), StateError> {
        to.extend_from_slice(&time_bytes(self.timestamp));
        to.extend_from_slice(&time_bytes(self.stream_time));
        F::write(&self.partial, to)
    }

    /// Reads what [`write`](Self::write) appended.
    pub(super) fn read<F: Fold<Partial = P>>(mut bytes: &[u8]) -> Result<Self, StateError> {
        Ok(Total {
            timestamp: take_time(&mut bytes)?,
            stream_time: take_time(&mut bytes)?,
            partial: F::read(bytes)?,
        })
    }
}

/// A key's part of a table.
pub(super) struct Slot<K, P> {
    pub(super) key: K,
    pub(super) total: Total<P>,
    pub(super) generation: Generation,
}

impl<K, P> Slot<K, P> {
    /// Of a key without records.
    #[inline]
    pub(super) fn of(key: K, begin: P) -> Self {
        Slot {
            key,
            total: Total::of_none(begin),
            generation: Generation::CLEAN,
        }
    }
}

impl<K, P> Keyed for Slot<K, P> {
    type Key = K;
    fn key(&self) -> &K {
        &self.key
    }
}

impl<K, P> changes::Slot for Slot<K, P> {
    fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }
}

/// What is known of the records that belong to a span of windows.
pub(super) struct Table<K, P> {
    pub(super) span: Span,
    pub(super) slots: KeyedTable<Slot<K, P>>,
}

/// The tables by the spans of their windows. Those of windows that are gone are kept for their memory.
pub(super) struct Tables<K, P> {
    /// Where in `tables` each open one is.
    places: BTreeMap<Span, usize>,
    tables: Vec<Table<K, P>>,
    /// Places in `tables` that are not open.
    spare: Vec<usize>,
    /// The one that was asked for last.
    last: Option<(Span, usize)>,
}

impl<K: Key, P> Tables<K, P> {
    pub(super) fn new() -> Self {
        Tables {
            places: BTreeMap::new(),
            tables: Vec::new(),
            spare: Vec::new(),
            last: None,
        }
    }

    /// Where the table of a span is, made if it is not there; and whether it was made.
    pub(super) fn find_or_open(&mut self, span: Span) -> (usize, bool) {
        if let Some(table) = self.place_of(span) {
            return (table, false);
        }
        let Tables { tables, spare, .. } = self;
        let table = spare.pop().unwrap_or_else(|| {
            tables.push(Table {
                span,
                slots: KeyedTable::default(),
            });
            tables.len() - 1
        });
        tables[table].span = span;
        self.places.insert(span, table);
        self.last = Some((span, table));
        (table, true)
    }

    fn place_of(&mut self, span: Span) -> Option<usize> {
        if let Some((last, table)) = self.last
            && last == span
        {
            return Some(table);
        }
        let table = *self.places.get(&span)?;
        self.last = Some((span, table));
        Some(table)
    }

    /// An open table, by where it is.
    #[inline]
    pub(super) fn at(&self, table: usize) -> &Table<K, P> {
        &self.tables[table]
    }

    /// An open table, by where it is.
    #[inline]
    pub(super) fn at_mut(&mut self, table: usize) -> &mut Table<K, P> {
        &mut self.tables[table]
    }

    /// The span whose windows are the first to be all final.
    pub(super) fn first(&self) -> Option<Span> {
        self.places.keys().next().copied()
    }

    /// All that are open, with where they are, by span.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Table<K, P>)> {
        self.places.values().map(|at| (*at, &self.tables[*at]))
    }

    /// Closes the table of a span: its slots go to their places in `slots`, which is empty.
    pub(super) fn close(&mut self, span: Span, slots: &mut Vec<Option<Slot<K, P>>>) {
        if self.last.is_some_and(|(last, _)| last == span) {
            self.last = None;
        }
        if let Some(table) = self.places.remove(&span) {
            self.tables[table].slots.take_all(slots);
            self.spare.push(table);
        }
    }
}

/// A slot while its table is open: a span has one table at a time, and a table's slots stay at their places.
pub(super) type At = (Span, Place);

impl<K: Key, P> changes::Table<At, Slot<K, P>> for Tables<K, P> {
    fn find(&mut self, (span, place): &At) -> Option<&mut Slot<K, P>> {
        let table = self.place_of(*span)?;
        self.tables[table].slots.get_mut(*place)
    }

    fn at(&self, _: usize) -> Option<At> {
        None
    }
}
