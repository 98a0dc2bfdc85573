//! Windows that overlap, put together from panes.
//!
//! A pane is what is known of the records that belong to the same windows. It enters when the first of them closes and
//! leaves behind the last, so that at any time those of one window are in: the window's result, key by key, is what all of
//! them come to. To add them up anew for each window would cost as much as folding each record into each window. So
//! panes are two stacks, as where a queue is made of them. Behind a turn every pane that is in knows what came of those
//! that leave behind it, and that is what there is when it has left (`rest`). What enters is only added (`back`). When
//! the first of those leaves there is another turn. A slot of a pane is thus touched three times, however many the
//! windows.
//!
//! Nothing is added to a pane that is in: its first window is closed, and a record that is late for that one belongs to
//! another pane. Such a pane, of records late for some of their windows, may have to leave soon. If it is in for less
//! than half of the windows that lie over a moment it would bring about a turn too many, and is added to each window by
//! itself.

use std::collections::{BTreeMap, VecDeque};

use super::ordering::{Keys, Ordered};
use super::tables::{Table, Tables, Total};
use crate::fold::Fold;
use crate::key::{self, Key};
use crate::keyed_table::{Keyed, KeyedTable, Place};
use crate::record::EventTime;
use crate::window::{Span, TimeWindows};

/// The panes of windows that have not closed, on one worker.
pub(super) struct Panes<K, F: Fold> {
    windows: TimeWindows,
    fold: F,
    /// Those that are not in, by the first of their windows; each with where its table is.
    ahead: BTreeMap<(EventTime, EventTime), usize>,
    /// Those that are in, by their spans.
    within: VecDeque<Within<F::Partial>>,
    /// The keys of those that are in.
    rows: KeyedTable<Row<K, F::Partial>>,
    /// The rows in the canonical order.
    order: Vec<Ordered>,
    /// Rows that are not in that order yet.
    unordered: Vec<Ordered>,
    /// Of the window that is being closed: what came of the panes that are added by themselves.
    apart: Vec<Total<F::Partial>>,
    /// Whether the next window needs a turn first.
    turn_due: bool,
    /// The window that closed last.
    closed: Option<EventTime>,
    /// Memory for links.
    spare: Vec<Vec<Link<F::Partial>>>,
}

/// A pane that is in.
struct Within<P> {
    span: Span,
    table: usize,
    stands: Stands,
    /// One for each of its slots, in their order; none if it is added by itself.
    links: Vec<Link<P>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Behind a turn: its slots know what is there without them.
    InFront,
    /// Before the first turn since it entered.
    AtTheBack,
    /// In no row: it is added to each window by itself.
    Apart,
}

/// From a slot to its row.
struct Link<P> {
    row: Place,
    /// Behind a turn: what came of the panes that leave behind this one.
    rest: Total<P>,
}

/// A key of the panes that are in.
struct Row<K, P> {
    key: K,
    bytes: Box<[u8]>,
    /// What came of the panes in front.
    front: Total<P>,
    /// What came of those at the back.
    back: Total<P>,
    /// Which of `apart` is its own, counted from 1; 0 if none is.
    apart: u32,
}

impl<K, P> Keyed for Row<K, P> {
    type Key = K;
    fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Key, P> Keys for KeyedTable<Row<K, P>> {
    type Key = K;
    fn key(&self, place: Place) -> Option<&K> {
        Some(&self.get(place)?.key)
    }
    fn bytes(&self, place: Place) -> &[u8] {
        self.get(place).map_or(&[], |row| &row.bytes)
    }
}

impl<K: Key, F: Fold> Panes<K, F> {
    /// No panes.
    pub(super) fn new(windows: TimeWindows, fold: F) -> Self {
        Panes {
            windows,
            fold,
            ahead: BTreeMap::new(),
            within: VecDeque::new(),
            rows: KeyedTable::default(),
            order: Vec::new(),
            unordered: Vec::new(),
            apart: Vec::new(),
            turn_due: false,
            closed: None,
            spare: Vec::new(),
        }
    }

    /// Notes that a pane has a table.
    pub(super) fn open(&mut self, span: Span, table: usize) {
        self.ahead.insert((span.first, span.last), table);
    }

    /// Notes that the windows before `start` are closed.
    pub(super) fn goes_on_from(&mut self, start: EventTime) {
        let before = start.saturating_sub(self.windows.advance_millis());
        self.closed = self.closed.max(Some(before));
    }

    /// What of a pane's windows has not closed.
    pub(super) fn left_of(&self, span: Span) -> Span {
        let next = self.closed.map(|closed| self.behind(closed));
        Span {
            first: next.map_or(span.first, |next| next.max(span.first)),
            ..span
        }
    }

    fn behind(&self, start: EventTime) -> EventTime {
        start.saturating_add(self.windows.advance_millis())
    }

    /// The window that closes next.
    pub(super) fn next(&self) -> Option<EventTime> {
        if let (Some(closed), false) = (self.closed, self.within.is_empty()) {
            return Some(self.behind(closed));
        }
        let (first, last) = *self.ahead.keys().next()?;
        Some(self.left_of(Span { last, first }).first)
    }

    /// Closes the next window, `start`: hands each of its keys, in the canonical order, with the key's bytes and what came
    /// of its records, to `each`. Returns how many there were.
    pub(super) fn close(
        &mut self,
        start: EventTime,
        tables: &Tables<K, F::Partial>,
        mut each: impl FnMut(&K, &[u8], Total<F::Value>),
    ) -> u64 {
        self.enter(start, tables);
        if std::mem::take(&mut self.turn_due) {
            self.turn(tables);
        }
        self.add_those_apart(tables);
        self.put_in_order();
        let Panes {
            fold,
            rows,
            order,
            apart,
            ..
        } = self;
        order.retain(|at| {
            let Some(row) = rows.get_mut(at.place) else {
                return false;
            };
            let mut total = row.front.clone();
            total.combine(fold, &row.back);
            if let Some(nth) = row.apart.checked_sub(1) {
                total.combine(fold, &apart[nth as usize]);
                row.apart = 0;
            }
            let Some(total) = total.finish(fold) else {
                rows.remove_at(at.place);
                return false;
            };
            each(&row.key, &row.bytes, total);
            true
        });
        apart.clear();
        self.closed = Some(start);
        order.len() as u64
    }

    /// Takes in the panes whose first open window is `start`.
    fn enter(&mut self, start: EventTime, tables: &Tables<K, F::Partial>) {
        self.turn_due |= self.within.is_empty();
        while let Some(first) = self.ahead.first_entry()
            && first.key().0 <= start
        {
            let ((first, last), table) = first.remove_entry();
            let span = Span { last, first };
            let left = self.windows.windows_in(Span { last, first: start });
            let stands = if self.turn_due || 2 * left >= self.windows.most_over_one() {
                Stands::AtTheBack
            } else {
                Stands::Apart
            };
            let mut links = self.spare.pop().unwrap_or_default();
            if stands == Stands::AtTheBack {
                self.link(tables.at(table), &mut links);
            }
            let behind = self.within.partition_point(|pane| pane.span < span);
            let pane = Within {
                span,
                table,
                stands,
                links,
            };
            self.within.insert(behind, pane);
        }
    }

    fn link(&mut self, pane: &Table<K, F::Partial>, links: &mut Vec<Link<F::Partial>>) {
        for slot in pane.slots.iter() {
            let place = self.row_of(&slot.key);
            if let Some(row) = self.rows.get_mut(place) {
                row.back.combine(&self.fold, &slot.total);
            }
            links.push(Link {
                row: place,
                rest: Total::of_none(self.fold.begin()),
            });
        }
    }

    fn row_of(&mut self, key: &K) -> Place {
        let fold = &self.fold;
        let none = || Total::of_none(fold.begin());
        let (place, row, is_new) = self.rows.find_or_insert(key, || {
            let mut bytes = Vec::new();
            // A key without bytes was reported where it was made; here it only needs a fixed place.
            let _ = key::encode(key, &mut bytes);
            Row {
                key: key.clone(),
                bytes: bytes.into(),
                front: none(),
                back: none(),
                apart: 0,
            }
        });
        if is_new {
            self.unordered.push(Ordered::new(&row.bytes, place));
        }
        place
    }

    /// Puts every pane in front.
    fn turn(&mut self, tables: &Tables<K, F::Partial>) {
        let fold = &self.fold;
        for (_, row) in self.rows.iter_mut() {
            row.front = Total::of_none(fold.begin());
            row.back = Total::of_none(fold.begin());
        }
        let panes = self.within.iter_mut().rev();
        for pane in panes.filter(|pane| pane.stands != Stands::Apart) {
            pane.stands = Stands::InFront;
            for (slot, link) in tables.at(pane.table).slots.iter().zip(&mut pane.links) {
                if let Some(row) = self.rows.get_mut(link.row) {
                    link.rest = row.front.clone();
                    row.front.combine(fold, &slot.total);
                }
            }
        }
    }

    fn add_those_apart(&mut self, tables: &Tables<K, F::Partial>) {
        let is_apart = |pane: &Within<_>| (pane.stands == Stands::Apart).then_some(pane.table);
        let panes: Vec<usize> = self.within.iter().filter_map(is_apart).collect();
        for slot in panes.into_iter().flat_map(|at| tables.at(at).slots.iter()) {
            let place = self.row_of(&slot.key);
            let Some(row) = self.rows.get_mut(place) else {
                continue;
            };
            if row.apart == 0 {
                self.apart.push(Total::of_none(self.fold.begin()));
                let count = u32::try_from(self.apart.len());
                row.apart = count.expect("there are fewer than 2^32 rows");
            }
            self.apart[row.apart as usize - 1].combine(&self.fold, &slot.total);
        }
    }

    fn put_in_order(&mut self) {
        if self.unordered.is_empty() {
            return;
        }
        let rows = &self.rows;
        self.unordered
            .sort_unstable_by(|one, other| one.compare(other, rows));
        self.order.append(&mut self.unordered);
        // Merges what is in order already.
        self.order.sort_by(|one, other| one.compare(other, rows));
    }

    /// Takes out the panes without an open window, and says which those are.
    pub(super) fn leave(&mut self, mut gone: impl FnMut(Span)) {
        while let Some(first) = self.within.front()
            && Some(first.span.last) <= self.closed
            && let Some(mut pane) = self.within.pop_front()
        {
            match pane.stands {
                Stands::AtTheBack => self.turn_due = true,
                Stands::InFront => {
                    for Link { row, rest } in pane.links.drain(..) {
                        if let Some(row) = self.rows.get_mut(row) {
                            row.front = rest;
                        }
                    }
                }
                Stands::Apart => {}
            }
            pane.links.clear();
            self.spare.push(pane.links);
            gone(pane.span);
        }
    }
}
