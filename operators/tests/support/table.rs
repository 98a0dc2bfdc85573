//! A table that changes by the epoch, by maps.

use std::collections::BTreeMap;

use tiderace_operators::aggregate::Change;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::{EventTime, Header, Record};

pub(crate) fn change(old: Option<i64>, new: i64) -> Change<i64> {
    let new = Some(new);
    Change { old, new }
}

/// A change with its epoch.
pub(crate) type Changed<G> = (Epoch, Record<G, Change<i64>>);

/// What a play makes of a table by maps: rows that change, with the value before and the last record behind.
pub(crate) struct Maps<G> {
    /// Value and largest timestamp.
    pub(crate) rows: BTreeMap<G, (i64, EventTime)>,
    pub(crate) changes: Vec<Changed<G>>,
}

impl<G: Ord + Clone> Maps<G> {
    pub(crate) fn new() -> Self {
        Maps {
            rows: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Takes an epoch in: records with the rows they belong to, in any order.
    pub(crate) fn epoch(
        &mut self,
        epoch: Epoch,
        mut records: Vec<(G, Header, i64)>,
        step: fn(Option<i64>, i64) -> i64,
    ) {
        records.sort_by_key(|(_, header, _)| header.position);
        let before = self.rows.clone();
        let mut behind = BTreeMap::<G, Header>::new();
        for (row, header, value) in records {
            let so_far = self.rows.get(&row).copied();
            let timestamp = so_far.map_or(header.timestamp, |(_, largest)| {
                largest.max(header.timestamp)
            });
            let value = step(so_far.map(|(value, _)| value), value);
            self.rows.insert(row.clone(), (value, timestamp));
            let least = behind
                .get(&row)
                .map_or(header.stream_time, |header| header.stream_time);
            let stream_time = header.stream_time.min(least);
            let header = Header {
                timestamp,
                stream_time,
                ..header
            };
            behind.insert(row, header);
        }
        let mut changes: Vec<_> = behind.into_iter().collect();
        changes.sort_by(|(one, first), (other, second)| {
            (first.position, one).cmp(&(second.position, other))
        });
        for (row, header) in changes {
            let old = before.get(&row).map(|(value, _)| *value);
            let new = self.rows[&row].0;
            if old != Some(new) {
                let value = change(old, new);
                let (extra, key) = (None, Some(row));
                self.changes.push((
                    epoch,
                    Record {
                        header,
                        extra,
                        key,
                        value,
                    },
                ));
            }
        }
    }
}
