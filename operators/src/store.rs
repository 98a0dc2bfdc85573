//! A look into the state of an operator, for tests.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::batch::Mark;
use crate::changes::{Haste, Left};
use crate::dataflow::{Epoch, Ports};
use crate::key;
use crate::record::Record;
use crate::stage::Stage;

/// What a stateful operator holds, as rows.
pub trait StoreView<K, V> {
    /// All rows, ordered by the bytes of their keys.
    fn rows(&self) -> Vec<(K, V)>;
}

/// Orders rows by the bytes of their keys.
pub(crate) fn ordered<K: serde::Serialize + 'static, V>(
    rows: impl Iterator<Item = (K, V)>,
) -> Vec<(K, V)> {
    let with_bytes = |(key, value)| {
        let mut bytes = Vec::new();
        // A key without bytes comes first; a view has no other use for them.
        let _ = key::encode(&key, &mut bytes);
        (bytes, key, value)
    };
    let mut rows: Vec<_> = rows.map(with_bytes).collect();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    rows.into_iter()
        .map(|(_, key, value)| (key, value))
        .collect()
}

/// A stage that can be looked into while it runs.
impl<K, V, S: Stage<K, V>> Stage<K, V> for Rc<RefCell<S>> {
    fn record(&mut self, record: Record<K, V>) {
        self.borrow_mut().record(record);
    }

    fn records(&mut self, records: impl Iterator<Item = Record<K, V>>) {
        self.borrow_mut().records(records);
    }

    fn mark(&mut self, mark: Mark, ports: &mut Ports) {
        self.borrow_mut().mark(mark, ports);
    }

    fn close(&mut self, epoch: Epoch, ports: &mut Ports) {
        self.borrow_mut().close(epoch, ports);
    }

    fn closed(&mut self, closed: Range<Epoch>) {
        self.borrow_mut().closed(closed);
    }

    fn hand_over(&mut self, haste: Haste) -> Left {
        self.borrow_mut().hand_over(haste)
    }
}
