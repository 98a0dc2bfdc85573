//! A table that every worker sees, and the join of a stream with it.
//!
//! The copy is shared by the workers of the process and versioned by epoch: an epoch's records are joined with
//! the table as it is after the epoch's own updates, whatever other epochs are in flight.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hashbrown::HashMap;

use crate::batch::{Batch, Item, Mark};
use crate::dataflow::{Emit, Epoch, Head, Ports, Records, Stage, drive, frontier};
use crate::key::Key;
use crate::record::{Position, Record};
use crate::store::{StoreView, ordered};
use crate::tally::{Tally, Verdict};

type Rows<K, V> = HashMap<K, Vec<Version<V>>>;

/// A row's value from an epoch on; `None` from when it is deleted.
struct Version<V> {
    since: (Epoch, Position),
    value: Option<V>,
}

/// A table shared by the workers of the process. Clones share it.
pub struct GlobalTable<K, V> {
    rows: Arc<RwLock<Rows<K, V>>>,
    /// No epoch up to this one is read any more.
    settled: Arc<AtomicU64>,
}

impl<K, V> Clone for GlobalTable<K, V> {
    fn clone(&self) -> Self {
        GlobalTable {
            rows: Arc::clone(&self.rows),
            settled: Arc::clone(&self.settled),
        }
    }
}

/// The table as of the end of an epoch.
pub struct TableView<'a, K, V> {
    rows: RwLockReadGuard<'a, Rows<K, V>>,
    epoch: Epoch,
}

impl<K: Hash + Eq, V> GlobalTable<K, V> {
    /// An empty table; versions that only epochs up to `settled` could read are given up.
    pub fn new(settled: Arc<AtomicU64>) -> Self {
        GlobalTable {
            rows: Arc::default(),
            settled,
        }
    }

    /// The table as of the end of `epoch`, which every worker's updates must have reached.
    pub fn view(&self, epoch: Epoch) -> TableView<'_, K, V> {
        TableView {
            rows: self.rows.read().unwrap_or_else(PoisonError::into_inner),
            epoch,
        }
    }

    fn apply(&self, epoch: Epoch, updates: impl Iterator<Item = (Position, K, Option<V>)>) {
        let settled = self.settled.load(Ordering::Relaxed);
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (position, key, value) in updates {
            let versions = rows.entry(key).or_default();
            let since = (epoch, position);
            let at = versions.partition_point(|version| version.since < since);
            versions.insert(at, Version { since, value });
            let visible = versions.partition_point(|version| version.since.0 <= settled);
            versions.drain(..visible.saturating_sub(1));
        }
    }
}

impl<K: Hash + Eq, V> TableView<'_, K, V> {
    /// The row of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let versions = self.rows.get(key)?;
        versions
            .iter()
            .rev()
            .find(|version| version.since.0 <= self.epoch)?
            .value
            .as_ref()
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().filter_map(|(key, versions)| {
            let version = versions
                .iter()
                .rev()
                .find(|version| version.since.0 <= self.epoch)?;
            Some((key, version.value.as_ref()?))
        })
    }
}

impl<K: Key, V: Clone> StoreView<K, V> for GlobalTable<K, V> {
    fn rows(&self) -> Vec<(K, V)> {
        let view = self.view(Epoch::MAX);
        ordered(view.iter().map(|(key, value)| (key.clone(), value.clone())))
    }
}

/// Builds the operator that keeps this worker's share of the table's topic; a null value deletes a row, a row
/// without a key is skipped. Its progress, to be asked from `head` before, tells that an epoch's updates are in.
pub fn keep_table<'s, K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static>(
    mut head: Head<'s>,
    stream: Records<'s, K, Option<V>>,
    table: GlobalTable<K, V>,
) {
    let input = head.follow(stream);
    drive(
        head,
        input,
        KeepTable {
            table,
            updates: Vec::new(),
        },
    );
}

struct KeepTable<K, V> {
    table: GlobalTable<K, V>,
    updates: Vec<(Position, K, Option<V>)>,
}

impl<K: Hash + Eq + 'static, V: 'static> Stage<K, Option<V>> for KeepTable<K, V> {
    fn record(&mut self, record: Record<K, Option<V>>) {
        if let Some(key) = record.key {
            self.updates
                .push((record.header.position, key, record.value));
        }
    }

    fn mark(&mut self, _: Mark, _: &mut Ports) {}

    fn close(&mut self, epoch: Epoch, _: &mut Ports) {
        if !self.updates.is_empty() {
            self.updates.sort_by_key(|(position, ..)| *position);
            self.table.apply(epoch, self.updates.drain(..));
        }
    }
}

/// Builds the join of a stream with a table: `join` is given each record and the table as of the record's
/// epoch, and passes on what comes of it. Records wait until the table is complete for their epoch.
pub fn join_table<'s, K: 'static, V: 'static, TK: Hash + Eq + 'static, TV: 'static>(
    mut head: Head<'s>,
    stream: Records<'s, K, V>,
    table_progress: Records<'s, (), ()>,
    table: GlobalTable<TK, TV>,
    mut join: impl FnMut(Record<K, V>, &TableView<'_, TK, TV>) + 'static,
    tally: Tally,
) {
    let mut input = head.follow(stream);
    let mut progress = head.follow(table_progress);
    let mut open: Epoch = 0;
    let mut waiting: BTreeMap<Epoch, Vec<Batch<K, V>>> = BTreeMap::new();
    head.build(move |frontiers, ports| {
        progress(&mut |_, batch| batch.drain(|_| ()));
        input(&mut |epoch, batch| {
            waiting
                .entry(epoch)
                .or_default()
                .push(std::mem::take(batch))
        });
        let table_at = frontier(&frontiers[1]);
        let reached = frontier(&frontiers[0]).min(table_at);
        loop {
            if table_at > open
                && let Some(batches) = waiting.remove(&open)
            {
                let view = table.view(open);
                for mut batch in batches {
                    batch.drain(|item| match item {
                        Item::Record(record) => join(record, &view),
                        Item::Mark(mark) => ports.pass(mark),
                    });
                }
            }
            if reached <= open {
                break;
            }
            tally.close(open);
            open = waiting
                .keys()
                .next()
                .map_or(reached, |first| reached.min(*first));
            ports.advance_to(open);
        }
        ports.flush();
    });
}

/// What [`join_table`] does with a record for the usual join: looks the row up by the key that `key_of` makes,
/// and passes the outcome of `joiner` on under the record's own key; `None` leaves the record out.
pub fn joiner<K, V, TK: Hash + Eq, TV, O>(
    key_of: impl Fn(Option<&K>, &V) -> Option<TK> + 'static,
    joiner: impl Fn(Option<&K>, V, Option<&TV>) -> Option<O> + 'static,
    mut results: Emit<K, O>,
    tally: Tally,
) -> impl FnMut(Record<K, V>, &TableView<'_, TK, TV>) + 'static
where
    K: 'static,
    V: 'static,
    O: 'static,
{
    move |record, view| {
        let Record {
            header,
            extra,
            key,
            value,
        } = record;
        crate::current::at(header.position);
        let looked_up = key_of(key.as_ref(), &value);
        let row = looked_up.as_ref().and_then(|row| view.get(row));
        match joiner(key.as_ref(), value, row) {
            Some(value) => results(Record {
                header,
                extra,
                key,
                value,
            }),
            None => tally.verdict(header.position, Verdict::Filtered),
        }
    }
}
