//! Putting the keys of a closing window in their order, where the window has a table of its own.

use super::ordering::{Keys, Ordered};
use super::tables::Slot;
use crate::key::{self, Key};
use crate::keyed_table::Place;

/// A window that is being closed; between windows, memory for one.
pub(super) struct Closing<K, P> {
    pub(super) slots: Vec<Option<Slot<K, P>>>,
    bytes: Vec<u8>,
    /// Where the bytes of the key at each place end in `bytes`; where they begin, those of the place before end.
    ends: Vec<usize>,
    pub(super) order: Vec<Ordered>,
}

impl<K, P> Default for Closing<K, P> {
    fn default() -> Self {
        Closing {
            slots: Vec::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            order: Vec::new(),
        }
    }
}

impl<K: Key, P> Closing<K, P> {
    /// Puts the slots in the canonical order.
    pub(super) fn put_in_order(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.order.clear();
        for (place, slot) in (0..).zip(&self.slots) {
            let begin = self.bytes.len();
            if let Some(slot) = slot {
                // A key without bytes was reported where it was made; here it only needs a fixed place.
                let _ = key::encode(&slot.key, &mut self.bytes);
                self.order.push(Ordered::new(&self.bytes[begin..], place));
            }
            self.ends.push(self.bytes.len());
        }
        let mut order = std::mem::take(&mut self.order);
        order.sort_unstable_by(|one, other| one.compare(other, self));
        self.order = order;
    }
}

impl<K: Key, P> Keys for Closing<K, P> {
    type Key = K;
    fn key(&self, place: Place) -> Option<&K> {
        Some(&self.slots.get(place as usize)?.as_ref()?.key)
    }
    fn bytes(&self, place: Place) -> &[u8] {
        let begin = (place as usize).checked_sub(1);
        let begin = begin.map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[place as usize]]
    }
}
