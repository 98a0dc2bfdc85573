//! The operator: takes records into tables, closes windows, keeps and restores what is open.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use hashbrown::HashMap;

use super::arriving::Arriving;
use super::closing::Closing;
use super::ordering::Keys;
use super::panes::Panes;
use super::recent::Recent;
use super::results::Results;
use super::tables::{At, Slot, Tables, Total};
use super::{WindowStep, in_panes};
use crate::batch::Mark;
use crate::changes::{Changes, Haste, Left};
use crate::dataflow::{Epoch, Ports};
use crate::entries::Entries;
use crate::fold::Fold;
use crate::handover::Handover;
use crate::key::{Key, Windowed};
use crate::record::{EventTime, Header, Record};
use crate::stage::Stage;
use crate::state_codec::{self, take_time, time_bytes};
use crate::store::{StoreView, ordered};
use crate::stream_time::Watermark;
use crate::tally::{Counting, Verdict};
use crate::window::Span;

pub(super) struct OnClose<K, F: Fold, A> {
    step: WindowStep<K, F>,
    arriving: PhantomData<A>,
    index: u32,
    watermark: Watermark,
    /// A table for each open window; where there are panes, for each pane.
    tables: Tables<K, F::Partial>,
    panes: Option<Panes<K, F>>,
    /// By pane, its table.
    recent: Recent<usize>,
    closing: Closing<K, F::Partial>,
    /// Records of the open epoch that were taken in and are not counted yet.
    taken: u64,
    changes: Changes<At, Slot<K, F::Partial>>,
}

/// The bytes by which entries of a span begin: those of a pane whose windows are all final lie below those of others.
fn prefix(span: Span, in_panes: bool) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time_bytes(span.last));
    bytes[8..].copy_from_slice(&time_bytes(span.first));
    (bytes, if in_panes { 16 } else { 8 })
}

impl<K: Key, F: Fold, A: Arriving<F>> OnClose<K, F, A> {
    pub(super) fn new(
        step: WindowStep<K, F>,
        index: u32,
        watermark: Watermark,
        handover: &Handover,
    ) -> Self {
        let in_panes = in_panes(step.windows, &step.aggregation);
        let panes = || Panes::new(step.windows, step.aggregation.clone());
        let write = move |(span, _): &At, slot: &Slot<K, F::Partial>, entries: &mut Entries| {
            let (prefix, length) = prefix(*span, in_panes);
            let write = |to: &mut Vec<u8>| slot.total.write::<F>(to);
            entries.put(&prefix[..length], &slot.key, write)
        };
        let mut stage = OnClose {
            panes: in_panes.then(panes),
            step,
            arriving: PhantomData,
            index,
            watermark,
            tables: Tables::new(),
            recent: Recent::default(),
            closing: Closing::default(),
            taken: 0,
            changes: Changes::new(handover, write),
        };
        stage.restore(handover);
        stage
    }

    /// Takes back what was kept. Windows that are final went out in the epoch at whose close they were kept.
    fn restore(&mut self, handover: &Handover) {
        let (tables, fold) = (&mut self.tables, &self.step.aggregation);
        let in_panes = self.panes.is_some();
        let read = |mut key: &[u8], value: Option<&[u8]>| {
            let last = take_time(&mut key)?;
            let first = if in_panes { take_time(&mut key)? } else { last };
            let total = value.map(Total::<F::Partial>::read::<F>).transpose()?;
            Ok((Span { last, first }, state_codec::read::<K>(key)?, total))
        };
        // Windows are tables of their own, each with few of the keys.
        let hash = |_: &(Span, K, Option<Total<F::Partial>>)| 0;
        let mut put = |(span, key, total)| {
            let (table, _) = tables.find_or_open(span);
            let slots = &mut tables.at_mut(table).slots;
            match total {
                Some(total) => {
                    let make = |key| Slot::of(key, fold.begin());
                    slots.find_or_insert_with(key, make).1.total = total;
                }
                None => _ = slots.remove(&key),
            }
        };
        let watermark = handover.restore(read, hash, |many: Vec<_>| {
            many.into_iter().for_each(&mut put);
        });
        self.watermark.restore(watermark.unwrap_or(EventTime::MIN));
        let (now, windows) = (self.watermark.now(), self.step.windows);
        let mut gone = Vec::new();
        for (table, pane) in self.tables.iter() {
            match windows.open_at(pane.span, now) {
                None => gone.push(pane.span),
                Some(left) => {
                    if let Some(panes) = &mut self.panes {
                        panes.open(pane.span, table);
                        if left != pane.span {
                            panes.goes_on_from(left.first);
                        }
                    }
                }
            }
        }
        for span in gone {
            self.tables.close(span, &mut self.closing.slots);
            self.closing.slots.clear();
        }
    }

    #[inline]
    fn add(&mut self, table: usize, header: Header, key: K, value: A::Value) {
        let fold = &self.step.aggregation;
        let table = self.tables.at_mut(table);
        let make = |key| Slot::of(key, fold.begin());
        let (place, slot, _) = table.slots.find_or_insert_with(key, make);
        if !self.changes.is_noted(slot.generation) {
            self.changes.touch((table.span, place), Some(slot), 0);
        }
        slot.total.note(header);
        A::take(fold, &mut slot.total.partial, &header, value);
    }

    /// Takes a record into the windows of a span, or into their pane.
    fn add_to(&mut self, span: Span, header: Header, key: K, value: A::Value) {
        let windows = self.step.windows;
        if self.panes.is_none() && span.first != span.last {
            let mut starts = windows.starts_of(span).peekable();
            while let Some(start) = starts.next() {
                let (table, _) = self.tables.find_or_open(Span::of(start));
                if starts.peek().is_none() {
                    return self.add(table, header, key, value);
                }
                self.add(table, header, key.clone(), value.clone());
            }
            return;
        }
        let (table, is_new) = self.tables.find_or_open(span);
        if is_new && let Some(panes) = &mut self.panes {
            panes.open(span, table);
        }
        // Other records of its timestamp belong there, too, unless it is of those late for some windows.
        if windows.in_time(header.timestamp, EventTime::MIN) == Some(span)
            && let Some(timestamps) = windows.pane(header.timestamp)
        {
            let closing = windows.closing(span.first);
            self.recent.remember(timestamps, closing, table);
        }
        self.add(table, header, key, value);
    }

    /// The next window to close, if it is final.
    fn first_final(&self) -> Option<EventTime> {
        let next = match &self.panes {
            Some(panes) => panes.next(),
            None => self.tables.first().map(|span| span.first),
        };
        let now = self.watermark.now();
        next.filter(|start| self.step.windows.closing(*start) <= now)
    }

    /// Closes a window of panes.
    fn close_panes(&mut self, start: EventTime) {
        let OnClose {
            step,
            panes: Some(panes),
            tables,
            closing,
            changes,
            ..
        } = self
        else {
            return;
        };
        let results = Results::of(start, step.windows);
        let closed = panes.close(start, tables, |key, bytes, total| {
            results.send(step, bytes, key.clone(), total);
        });
        step.tally.windows_closed(closed);
        panes.leave(|span| {
            tables.close(span, &mut closing.slots);
            hand_over_waiting(changes, span, &mut closing.slots);
            closing.slots.clear();
        });
    }

    /// Closes a window that has a table of its own.
    fn close_table(&mut self, start: EventTime) {
        let OnClose {
            step,
            tables,
            closing,
            changes,
            ..
        } = self;
        let span = Span::of(start);
        tables.close(span, &mut closing.slots);
        hand_over_waiting(changes, span, &mut closing.slots);
        closing.put_in_order();
        step.tally.windows_closed(closing.order.len() as u64);
        let results = Results::of(start, step.windows);
        for at in 0..closing.order.len() {
            let place = closing.order[at].place;
            let Some(slot) = closing.slots[place as usize].take() else {
                continue;
            };
            if let Some(total) = slot.total.finish(&step.aggregation) {
                results.send(step, closing.bytes(place), slot.key, total);
            }
        }
        closing.slots.clear();
    }

    /// Counts what is taken in.
    #[inline]
    fn count(&mut self, header: &Header, value: &A::Value) {
        match self.step.tally.counting() {
            Counting::ByPosition => {
                let verdict = |of: &Header| {
                    let tally = &self.step.tally;
                    tally.verdict(of.position, Verdict::Processed);
                };
                A::headers(header, value).iter().for_each(verdict);
            }
            Counting::Once | Counting::Not => self.taken += A::records(value),
        }
    }

    #[cold]
    fn late(&mut self, header: Header, value: &A::Value) {
        let WindowStep { tally, late, .. } = &mut self.step;
        if tally.counting() != Counting::ByPosition {
            tally.verdicts(A::records(value), Verdict::Late);
        }
        for header in A::headers(&header, value) {
            if tally.counting() == Counting::ByPosition {
                tally.verdict(header.position, Verdict::Late);
            }
            if let Some(late) = late {
                late.send(Record {
                    header: *header,
                    extra: None,
                    key: None,
                    value: (),
                });
            }
        }
    }
}

/// Slots that leave their table before their turn are handed over now.
fn hand_over_waiting<K: Key, P>(
    changes: &mut Changes<At, Slot<K, P>>,
    span: Span,
    slots: &mut [Option<Slot<K, P>>],
) {
    for (place, slot) in (0..).zip(slots) {
        if let Some(slot) = slot
            && changes.waits(slot.generation)
        {
            changes.leave(&(span, place), slot);
        }
    }
}

impl<K: Key, F: Fold, A: Arriving<F>> Stage<K, A::Value> for OnClose<K, F, A> {
    #[inline]
    fn record(&mut self, record: Record<K, A::Value>) {
        let Record {
            header, key, value, ..
        } = record;
        crate::current::at(header.position);
        let Some(key) = key else {
            return self.step.tally.verdict(header.position, Verdict::Skipped);
        };
        let time = header.stream_time.max(self.watermark.now());
        if let Some(table) = self.recent.find(header.timestamp, time) {
            self.count(&header, &value);
            return self.add(table, header, key, value);
        }
        match self.step.windows.in_time(header.timestamp, time) {
            Some(span) => {
                self.count(&header, &value);
                self.add_to(span, header, key, value);
            }
            None => self.late(header, &value),
        }
    }

    fn mark(&mut self, mark: Mark, _: &mut Ports) {
        self.watermark.note(mark);
    }

    fn close(&mut self, epoch: Epoch, ports: &mut Ports) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.step.tally.verdicts(taken, Verdict::Processed);
        }
        self.watermark.settle();
        while let Some(start) = self.first_final() {
            match self.panes {
                Some(_) => self.close_panes(start),
                None => self.close_table(start),
            }
            self.changes.forget_gone(&mut self.tables);
        }
        if let Some(advance) = self.watermark.outgoing() {
            ports.mark(self.index, advance);
        }
        self.step.tally.close(epoch);
    }

    fn closed(&mut self, closed: Range<Epoch>) {
        if let Some(epoch) = self.changes.wanted(closed) {
            let now = self.watermark.now();
            let floor = time_bytes(self.step.windows.first_open(now)).to_vec();
            self.changes.freeze(epoch, now, floor, &mut self.tables);
        }
    }

    fn hand_over(&mut self, haste: Haste) -> Left {
        self.changes.hand_over(&mut self.tables, haste)
    }
}

impl<K: Key, F: Fold, A: Arriving<F>> StoreView<Windowed<K>, F::Value>
    for RefCell<OnClose<K, F, A>>
{
    fn rows(&self) -> Vec<(Windowed<K>, F::Value)> {
        let on_close = self.borrow();
        let (fold, windows) = (&on_close.step.aggregation, on_close.step.windows);
        let mut totals: HashMap<(EventTime, &K), Total<F::Partial>> = HashMap::new();
        for (_, table) in on_close.tables.iter() {
            let span = match &on_close.panes {
                Some(panes) => panes.left_of(table.span),
                None => table.span,
            };
            for start in windows.starts_of(span) {
                for slot in table.slots.iter() {
                    let (at, other) = ((start, &slot.key), &slot.total);
                    let total = totals.entry(at);
                    total
                        .and_modify(|total| total.combine(fold, other))
                        .or_insert_with(|| other.clone());
                }
            }
        }
        let row = |((start, key), total): ((EventTime, &K), Total<F::Partial>)| {
            let (key, window) = (key.clone(), windows.window(start));
            Some((Windowed { key, window }, fold.finish(total.partial)?))
        };
        ordered(totals.into_iter().filter_map(row))
    }
}
