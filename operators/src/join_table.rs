//! A table that every worker sees, and the join of a stream with it.
//!
//! The copy is shared by the workers of the process and versioned by epoch: an epoch's records are joined with
//! the table as it is after the epoch's own updates, whatever other epochs are in flight.
//!
//! State in a snapshot: the table's rows, by key. Updates are handed over as they are applied, for there are few of
//! them and a version is never changed. The join itself keeps none: records wait for their own epoch's updates only,
//! and what waits behind a snapshot's epoch is read again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap};

use crate::batch::{Batch, Item, Mark};
use crate::dataflow::{Epoch, Head, Ports, Records};
use crate::emit::Emit;
use crate::entries::Entries;
use crate::handover::{Handover, Part};
use crate::key::{Data, Key};
use crate::record::{EventTime, Position, Record};
use crate::stage::{Stage, drive, frontier};
use crate::state_codec;
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

    /// Applies an epoch's updates. `keep` is shown each with the epoch of the next version of its row, which is
    /// there already if another worker's update of a later epoch came first. Returns the lock of the table: while it
    /// is held no other update is applied.
    fn apply(
        &self,
        epoch: Epoch,
        updates: impl Iterator<Item = (Position, K, Option<V>)>,
        mut keep: impl FnMut(&K, Option<&V>, Option<Epoch>),
    ) -> RwLockWriteGuard<'_, Rows<K, V>> {
        let settled = self.settled.load(Ordering::Relaxed);
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (position, key, value) in updates {
            let since = (epoch, position);
            let mut entry = match rows.entry(key) {
                Entry::Occupied(entry) => entry,
                Entry::Vacant(entry) => entry.insert_entry(Vec::new()),
            };
            let at = entry.get().partition_point(|version| version.since < since);
            let next = entry.get().get(at).map(|version| version.since.0);
            keep(entry.key(), value.as_ref(), next);
            let versions = entry.get_mut();
            versions.insert(at, Version { since, value });
            let visible = versions.partition_point(|version| version.since.0 <= settled);
            versions.drain(..visible.saturating_sub(1));
        }
        rows
    }

    /// Makes room for so many rows more; returns what hashes their keys.
    fn reserve(&self, rows: usize) -> DefaultHashBuilder {
        let mut table = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        table.reserve(rows);
        table.hasher().clone()
    }

    /// Puts a row as every epoch sees it; `None` takes it out.
    fn restore(&self, key: K, value: Option<V>) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        match value {
            None => rows.remove(&key),
            Some(_) => {
                let since = (0, Position::FIRST);
                rows.insert(key, vec![Version { since, value }])
            }
        };
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

/// Builds the operator that keeps this worker's share of the table's topic, and gives the table back what was kept of
/// this worker's shards; a null value deletes a row, a row without a key is skipped. Its progress, to be asked from
/// `head` before, tells that an epoch's updates are in; it does not begin before every worker has built its own, so
/// no join sees a table that is not given back whole.
pub fn keep_table<'s, K: Key, V: Data>(
    mut head: Head<'s>,
    stream: Records<'s, K, Option<V>>,
    table: GlobalTable<K, V>,
    handover: Handover,
) {
    let input = head.follow(stream);
    let read = |key: &[u8], value: Option<&[u8]>| {
        let value = value.map(state_codec::read).transpose()?;
        Ok((state_codec::read(key)?, value))
    };
    let hasher = table.reserve(handover.entries());
    let hash = |(key, _): &(K, Option<V>)| hasher.hash_one(key);
    let put = |(key, value)| table.restore(key, value);
    let _: Option<EventTime> = handover.restore(read, hash, |many| many.into_iter().for_each(put));
    drive(
        head,
        input,
        KeepTable {
            table,
            updates: Vec::new(),
            entries: Entries::new(&handover),
        },
    );
}

struct KeepTable<K, V> {
    table: GlobalTable<K, V>,
    updates: Vec<(Position, K, Option<V>)>,
    entries: Option<Entries>,
}

impl<K: Key, V: Data> Stage<K, Option<V>> for KeepTable<K, V> {
    fn record(&mut self, record: Record<K, Option<V>>) {
        if let Some(key) = record.key {
            self.updates
                .push((record.header.position, key, record.value));
        }
    }

    fn mark(&mut self, _: Mark, _: &mut Ports) {}

    fn close(&mut self, epoch: Epoch, _: &mut Ports) {
        if self.updates.is_empty() {
            return;
        }
        self.updates.sort_by_key(|(position, ..)| *position);
        let updates = self.updates.drain(..);
        let Some(entries) = &mut self.entries else {
            drop(self.table.apply(epoch, updates, |_, _, _| ()));
            return;
        };
        let mut failure = None;
        let rows = self.table.apply(epoch, updates, |key, value, next| {
            // A later version that belongs to the same snapshot was handed over before this one, and counts.
            let superseded = next.is_some_and(|next| {
                let wanted = entries.keeper().wanted();
                wanted == 0 || epoch > wanted || next <= wanted
            });
            if superseded || failure.is_some() {
                return;
            }
            let kept = match value {
                Some(value) => entries.put(&[], key, |to| state_codec::write(value, to)),
                None => entries.delete(key),
            };
            failure = kept.err();
        });
        // Under the lock, so that of a row in two partitions the version that counts is handed over last.
        entries.flush();
        drop(rows);
        if let Some(error) = failure {
            entries
                .keeper()
                .fail(entries.node(), entries.worker(), error);
            self.entries = None;
        }
    }

    fn closed(&mut self, closed: Range<Epoch>) {
        let Some(entries) = &mut self.entries else {
            return;
        };
        let wanted = entries.keeper().wanted();
        if wanted != 0 && closed.contains(&wanted) {
            entries.keeper().done(Part {
                node: entries.node(),
                worker: entries.worker(),
                epoch: wanted,
                watermark: EventTime::MIN,
                floor: Vec::new(),
            });
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
                crate::current::during(open);
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
            Some(value) => results.send(Record {
                header,
                extra,
                key,
                value,
            }),
            None => tally.verdict(header.position, Verdict::Filtered),
        }
    }
}
