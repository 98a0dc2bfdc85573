//! How records leave an operator: through the stateless steps fused behind it, many at a time.
//!
//! Steps run one after another over as many records as are at hand, so that what each costs is a loop's turn and not
//! a call. What a stateful operator makes comes one by one; it is staged by its [`Emit`] and goes through the steps
//! together with what follows, at the latest when the operator sends a mark, flushes its ports or goes on to
//! another epoch.

use std::cell::RefCell;
use std::rc::Rc;

use crate::current;
use crate::record::Record;

/// Fused steps, ending in the ports of their operator: takes all records out, in their order.
pub type Steps<K, V> = Box<dyn FnMut(&mut Vec<Record<K, V>>)>;

/// Records that go through fused steps together, about.
pub const TOGETHER: usize = 256;

/// Where an operator puts the records that it makes; see [`Head::emit`](crate::dataflow::Head::emit).
pub struct Emit<K, V>(Rc<RefCell<Staged<K, V>>>);

struct Staged<K, V> {
    records: Vec<Record<K, V>>,
    /// Whether each comes of one record alone.
    alone: bool,
    steps: Steps<K, V>,
}

impl<K, V> Emit<K, V> {
    pub(crate) fn new(steps: Steps<K, V>) -> Self {
        Emit(Rc::new(RefCell::new(Staged {
            records: Vec::new(),
            alone: true,
            steps,
        })))
    }

    /// The same, for who sees to it that nothing stays.
    pub(crate) fn outlet(&self) -> Self {
        Emit(Rc::clone(&self.0))
    }

    /// Sends a record on; a panic behind is blamed on the record that its position names.
    #[inline]
    pub fn send(&mut self, record: Record<K, V>) {
        self.stage(record, true);
    }

    /// Sends on what several records have come to; the last of them gave it its position.
    #[inline]
    pub fn send_of_several(&mut self, record: Record<K, V>) {
        self.stage(record, false);
    }

    #[inline]
    fn stage(&mut self, record: Record<K, V>, alone: bool) {
        let staged = &mut *self.0.borrow_mut();
        if staged.alone != alone {
            staged.flush();
            staged.alone = alone;
        }
        staged.records.push(record);
        if staged.records.len() >= TOGETHER {
            staged.flush();
        }
    }
}

impl<K, V> Staged<K, V> {
    fn flush(&mut self) {
        if self.records.is_empty() {
            return;
        }
        current::are_alone(self.alone);
        (self.steps)(&mut self.records);
        current::are_alone(true);
    }
}

/// Something that may hold records back.
pub(crate) trait Outlet {
    /// Sends on what it holds.
    fn flush(&mut self);
}

impl<K, V> Outlet for Emit<K, V> {
    fn flush(&mut self) {
        self.0.borrow_mut().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current::culprit;
    use crate::record::{EventTime, Header, Position};

    fn record(offset: u64) -> Record<(), u64> {
        let time = EventTime::from_millis(0);
        Record {
            header: Header {
                timestamp: time,
                stream_time: time,
                position: Position::read(0, 0, offset).unwrap(),
            },
            extra: None,
            key: None,
            value: offset,
        }
    }

    #[test]
    fn records_go_on_in_order_whatever_they_come_of() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sees = Rc::clone(&seen);
        let mut emit = Emit::new(Box::new(move |records: &mut Vec<Record<(), u64>>| {
            let alone = culprit().alone;
            let of = records.drain(..).map(|record| (record.value, alone));
            sees.borrow_mut().push(of.collect::<Vec<_>>());
        }));
        let mut outlet = emit.outlet();
        emit.send(record(0));
        emit.send(record(1));
        emit.send_of_several(record(2));
        emit.send(record(3));
        outlet.flush();
        outlet.flush();
        assert!(culprit().alone);
        let expected = [
            vec![(0, true), (1, true)],
            vec![(2, false)],
            vec![(3, true)],
        ];
        assert_eq!(*seen.borrow(), expected);
        seen.borrow_mut().clear();
        (0..TOGETHER as u64).for_each(|offset| emit.send(record(offset)));
        assert_eq!(seen.borrow()[0].len(), TOGETHER);
    }
}
