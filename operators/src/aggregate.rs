//! Running aggregation: a table that changes at most once per key and epoch, and only when its value changed.
//!
//! Steps that commute are taken as records arrive; all others in the order of an epoch's positions, when it is
//! complete. Either way the changes of an epoch leave when it closes, in the order of the last record behind each.
//!
//! State in a snapshot: each row with its timestamp, by its key; where a row belongs to a window, by the window's
//! start and then the key. What an epoch did to a row, and records that wait for their order, end with the epoch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::batch::Mark;
use crate::changes::{Changes, Haste, Left};
use crate::dataflow::{Epoch, Head, Ports, Records, Routing};
use crate::emit::{Emit, TOGETHER};
use crate::fold::Aggregation;
use crate::handover::Handover;
use crate::key::{self, Data, Key, Windowed};
use crate::keyed_table::Place;
use crate::record::{EventTime, Header, Record};
use crate::rows::{Row, Rows, Table};
use crate::stage::{Stage, drive};
use crate::store::{StoreView, ordered};
use crate::stream_time::Watermark;
use crate::tally::{Tally, Verdict};
use crate::touched::{self, Touched};
use crate::window::TimeWindows;

/// A change of a table's row: the value before and the value now, `None` where there is no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<V> {
    /// The value before.
    pub old: Option<V>,
    /// The value now.
    pub new: Option<V>,
}

/// What a running aggregation needs beside its input.
pub struct RunningStep<K, G, V, A> {
    /// How records become one value.
    pub aggregation: Aggregation<V, A>,
    /// The rows that a record belongs to.
    pub rows: Rows<K, G>,
    /// Whether two values are the same, so that nothing has changed.
    pub same: fn(&A, &A) -> bool,
    /// How many senders the input has.
    pub senders: usize,
    /// Where changes go.
    pub changes: Emit<G, Change<A>>,
    /// Where the headers of records too late for every window go, if anybody asks.
    pub late: Option<Emit<(), ()>>,
    /// Whether a value comes of one record alone, where records were put together, and counted, before they came here.
    pub grouped: Option<fn(&V) -> bool>,
    /// Its counts.
    pub tally: Tally,
}

/// Builds the operator on `head`, reading `stream` with `routing`, and gives it back what was kept of it. Returns a
/// look into its rows.
pub fn aggregate<'s, K: Key, G: Key, V: Data, A: Data>(
    mut head: Head<'s>,
    stream: Records<'s, K, V>,
    routing: Routing,
    handover: Handover,
    step: RunningStep<K, G, V, A>,
) -> Rc<dyn StoreView<G, A>> {
    let index = u32::try_from(head.scope().index()).expect("workers are counted in u32");
    let rows = step.rows;
    let held_back = match rows {
        Rows::ByKey(..) => 0,
        Rows::ByWindow(windows, ..) => windows.held_back(),
    };
    let input = head.keyed_input(stream, routing, handover.shards);
    let mut stage = Running {
        watermark: head.watermark(routing, step.senders, held_back),
        step,
        index,
        rows: Table::default(),
        changed: Vec::new(),
        waiting: Vec::new(),
        keys: Vec::new(),
        places: Vec::new(),
        values: Vec::new(),
        closings: BTreeMap::new(),
        changes: Changes::new(&handover, move |_, row, entries| rows.write(row, entries)),
    };
    stage.restore(&handover);
    let stage = Rc::new(RefCell::new(stage));
    drive(head, input, Rc::clone(&stage));
    stage
}

struct Running<K, G, V, A> {
    step: RunningStep<K, G, V, A>,
    index: u32,
    watermark: Watermark,
    rows: Table<G, A>,
    /// What the open epoch changed.
    changed: Vec<Touched<A>>,
    /// Records of the open epoch that have not been taken in; those that wait for their order stay until its close.
    waiting: Vec<(G, Header, V)>,
    /// Those that are being taken in: their rows' keys and places, and what is behind the keys.
    keys: Vec<G>,
    places: Vec<Place>,
    values: Vec<(Header, V)>,
    /// Rows by the time at which their window is final.
    closings: BTreeMap<EventTime, Vec<Place>>,
    changes: Changes<Place, Row<G, A>>,
}

impl<K: Key, G: Key, V: Data, A: Data> Running<K, G, V, A> {
    /// Takes back what was kept; rows of windows that were final then are dropped.
    fn restore(&mut self, handover: &Handover) {
        let (of, rows, closings) = (self.step.rows, &mut self.rows, &mut self.closings);
        rows.reserve(handover.entries());
        let read = |key: &[u8], value: Option<&[u8]>| {
            Ok((of.read(key)?, value.map(Row::<G, A>::read).transpose()?))
        };
        let of_key = rows.order();
        let order = |(row, _): &(G, Option<(EventTime, A)>)| of_key(row);
        let watermark = handover.restore(read, order, |many| {
            rows.fetch(many.iter().map(|(row, _)| row));
            for (row, is) in many {
                let Some((timestamp, value)) = is else {
                    rows.remove(&row);
                    continue;
                };
                let mut value = Some(value);
                let (place, row, is_new) = rows.find_or_insert_with(row, |key| {
                    let value = value.take().expect("it is taken once");
                    Row::new(key, value, timestamp)
                });
                if let Some(value) = value {
                    (row.value, row.timestamp) = (value, timestamp);
                }
                if is_new && let Some(closing) = of.closing(&row.key) {
                    closings.entry(closing).or_default().push(place);
                }
            }
        });
        self.watermark.restore(watermark.unwrap_or(EventTime::MIN));
        self.drop_final_windows();
    }

    /// Takes in all that waits.
    fn take_in(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut values = std::mem::take(&mut self.values);
        let mut all = waiting.drain(..);
        while all.len() > 0 {
            for (row, header, value) in all.by_ref().take(TOGETHER) {
                self.keys.push(row);
                values.push((header, value));
            }
            let mut keys = std::mem::take(&mut self.keys);
            self.rows.ask(&keys, &mut self.places);
            for (nth, (key, (header, value))) in keys.drain(..).zip(values.drain(..)).enumerate() {
                self.apply(self.places[nth], key, header, value);
            }
            self.keys = keys;
        }
        drop(all);
        (self.waiting, self.values) = (waiting, values);
    }

    fn apply(&mut self, asked: Place, key: G, header: Header, value: V) {
        crate::current::at(header.position);
        let Running {
            step,
            rows,
            changed,
            closings,
            changes,
            ..
        } = self;
        let alone = step.grouped.is_none_or(|alone| alone(&value));
        let places = rows.places();
        rows.replace_with(asked, key, |place, row| match row {
            Ok(mut row) => {
                if !changes.is_noted(row.generation) {
                    changes.touch(place, Some(&mut row), places);
                }
                let old = || Some(row.value.clone());
                touched::note(changed, place, &mut row.change, &header, alone, old);
                Row {
                    timestamp: row.timestamp.max(header.timestamp),
                    value: step.aggregation.step(Some(row.value), value),
                    ..row
                }
            }
            Err(key) => {
                if let Some(closing) = step.rows.closing(&key) {
                    closings.entry(closing).or_default().push(place);
                }
                let value = step.aggregation.step(None, value);
                let mut row = Row::new(key, value, header.timestamp);
                if !changes.is_noted(row.generation) {
                    changes.touch(place, Some(&mut row), places);
                }
                touched::note(changed, place, &mut row.change, &header, alone, || None);
                row
            }
        });
    }

    /// Sends what the epoch changed, by the last record behind each change; several of one record by their keys.
    fn emit_changes(&mut self) {
        // Keys and values are copied and written here: what fails then is no step's, nor the last record's.
        crate::current::leave();
        let mut changed = std::mem::take(&mut self.changed);
        let mut order = touched::in_order(&changed);
        let at = |nth: &u32| changed[*nth as usize].position;
        for of_record in order.chunk_by_mut(|one, other| at(one) == at(other)) {
            if of_record.len() > 1 {
                of_record.sort_by_cached_key(|nth| self.bytes_of(changed[*nth as usize].place));
            }
        }
        for nth in order {
            self.emit(&mut changed[nth as usize]);
        }
        changed.clear();
        self.changed = changed;
    }

    /// Sends a change, if it is one.
    fn emit(&mut self, touched: &mut Touched<A>) {
        let row = self.rows.get_mut(touched.place);
        let row = row.expect("rows are dropped when what the epoch changed is sent");
        row.change = 0;
        let (old, new) = (touched.old.take(), &row.value);
        if old.as_ref().is_some_and(|old| (self.step.same)(old, new)) {
            return;
        }
        let record = Record {
            header: Header {
                timestamp: row.timestamp,
                stream_time: touched.stream_time,
                position: touched.position,
            },
            extra: None,
            key: Some(row.key.clone()),
            value: Change {
                old,
                new: Some(new.clone()),
            },
        };
        if touched.alone {
            self.step.changes.send(record);
        } else {
            self.step.changes.send_of_several(record);
        }
    }

    /// The key of a row as bytes: what orders the changes of one record.
    fn bytes_of(&mut self, place: Place) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(row) = self.rows.get_mut(place) {
            // A key without bytes is reported by the sink; here it only needs a place.
            let _ = key::encode(&row.key, &mut bytes);
        }
        bytes
    }

    /// Drops the rows of windows that are final, and returns how many there were.
    fn drop_final_windows(&mut self) -> u64 {
        let mut dropped = 0;
        let (now, rows) = (self.watermark.now(), self.step.rows);
        while let Some(entry) = self.closings.first_entry()
            && *entry.key() <= now
        {
            for place in entry.remove() {
                // A row that was dropped while state was taken back may have left its place to another.
                let is_final = self
                    .rows
                    .get_mut(place)
                    .and_then(|row| rows.closing(&row.key))
                    .is_some_and(|closing| closing <= now);
                if is_final && let Some(mut row) = self.rows.remove_at(place) {
                    self.changes.leave(&place, &mut row);
                    dropped += 1;
                }
            }
        }
        dropped
    }

    fn in_windows(
        &mut self,
        windows: TimeWindows,
        of: fn(Windowed<K>) -> G,
        header: Header,
        key: K,
        value: V,
    ) -> bool {
        let time = header.stream_time.max(self.watermark.now());
        let mut taken = false;
        for start in windows
            .starts(header.timestamp)
            .filter(|start| !windows.is_late(*start, time))
        {
            taken = true;
            let row = of(Windowed {
                key: key.clone(),
                window: windows.window(start),
            });
            self.waiting.push((row, header, value.clone()));
        }
        taken
    }
}

impl<K: Key, G: Key, V: Data, A: Data> Running<K, G, V, A> {
    fn receive(&mut self, record: Record<K, V>) {
        let Record {
            header, key, value, ..
        } = record;
        let Some(key) = key else {
            return self.step.tally.verdict(header.position, Verdict::Skipped);
        };
        let taken = match self.step.rows {
            Rows::ByKey(of, _) => {
                self.waiting.push((of(key), header, value));
                true
            }
            Rows::ByWindow(windows, of, _) => self.in_windows(windows, of, header, key, value),
        };
        let verdict = if taken {
            Verdict::Processed
        } else {
            Verdict::Late
        };
        if self.step.grouped.is_none() {
            self.step.tally.verdict(header.position, verdict);
        }
        if !taken && let Some(late) = &mut self.step.late {
            late.send(Record {
                header,
                extra: None,
                key: None,
                value: (),
            });
        }
    }
}

impl<K: Key, G: Key, V: Data, A: Data> Stage<K, V> for Running<K, G, V, A> {
    fn record(&mut self, record: Record<K, V>) {
        self.records(std::iter::once(record));
    }

    fn records(&mut self, records: impl Iterator<Item = Record<K, V>>) {
        records.for_each(|record| self.receive(record));
        if self.step.aggregation.commutes() {
            self.take_in();
        }
    }

    fn mark(&mut self, mark: Mark, _: &mut Ports) {
        self.watermark.note(mark);
    }

    fn close(&mut self, epoch: Epoch, ports: &mut Ports) {
        // Stable: results of one record keep the order in which they came.
        self.waiting.sort_by_key(|(_, header, _)| header.position);
        self.take_in();
        self.emit_changes();
        self.watermark.settle();
        let dropped = self.drop_final_windows();
        self.step.tally.windows_closed(dropped);
        if let Some(advance) = self.watermark.outgoing() {
            ports.mark(self.index, advance);
        }
        self.step.tally.close(epoch);
    }

    fn closed(&mut self, closed: Range<Epoch>) {
        let Some(epoch) = self.changes.wanted(closed) else {
            return;
        };
        let now = self.watermark.now();
        let floor = self.step.rows.floor(now);
        self.changes.freeze(epoch, now, floor, &mut self.rows);
    }

    fn hand_over(&mut self, haste: Haste) -> Left {
        self.changes.hand_over(&mut self.rows, haste)
    }
}

impl<K: Key, G: Key, V: Data, A: Data> StoreView<G, A> for RefCell<Running<K, G, V, A>> {
    fn rows(&self) -> Vec<(G, A)> {
        let running = self.borrow();
        let rows = running.rows.iter();
        ordered(rows.map(|row| (row.key.clone(), row.value.clone())))
    }
}
