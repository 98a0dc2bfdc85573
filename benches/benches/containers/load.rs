//! The events that every side moves, and the loops by hand that the flows are measured against.
//!
//! Event `i` of worker `w` is a pure function of `i` and `w`; making it costs the same on every side.

use std::hint::black_box;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tiderace_operators::record::{EventTime, Header, Position};

use crate::shape::Event;

/// Records per epoch, all workers together.
pub(crate) const EPOCH: u64 = 10_000;
/// Records of a source between two marks.
pub(crate) const MARK_EVERY: u64 = 1_000;
/// Length of a tumbling window: 100,000 records, one a millisecond.
pub(crate) const WINDOW: i64 = 100_000;

/// What runs behind the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// One operator that rewrites each value.
    Map,
    /// Every record to the worker of its key.
    Exchange,
    /// Exchange, then a count per key for good.
    Count,
    /// Exchange, then a count per key and window, sent on when the marks have passed the window's end.
    Tumbling,
}

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Records of all workers together.
    pub(crate) records: u64,
    /// Keys, chosen evenly at random.
    pub(crate) keys: u32,
    /// Workers, each with a source that makes its share.
    pub(crate) workers: usize,
}

impl Load {
    /// Event `index` of the source on `worker`.
    #[inline]
    pub(crate) fn event(&self, worker: usize, index: u64) -> Event {
        let number = index * self.workers as u64 + worker as u64;
        let time = EventTime::from_millis(number as i64);
        let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let random = (random ^ (random >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        let key = ((random * u64::from(self.keys)) >> 32) as u32;
        let position = Position::read(0, worker as u32, index).expect("a bench has few records");
        let header = Header {
            timestamp: time,
            stream_time: time,
            position,
        };
        Event {
            header,
            extra: None,
            key: Some(key),
            value: number,
        }
    }

    /// Records of one worker's source.
    pub(crate) fn share(&self) -> u64 {
        self.records / self.workers as u64
    }
}

/// What [`Flow::Map`] does with a value.
#[inline]
pub(crate) fn mapped(value: u64) -> u64 {
    value.wrapping_mul(3) ^ 0x55
}

/// Adds a key and a value to a sum that does not depend on their order.
#[inline]
pub(crate) fn add_to(sum: &mut u64, key: u32, value: u64) {
    *sum = sum.wrapping_add((u64::from(key) + 1).wrapping_mul(value | 1));
}

/// A fast map with a fixed seed, the same on every side.
pub(crate) type Counts = HashMap<u32, u64, FixedState>;

/// The same work in one loop, without operators, batches or marks; returns the sum of what leaves.
pub(crate) fn by_hand(flow: Flow, load: Load) -> u64 {
    let load = Load { workers: 1, ..load };
    let mut sum = 0;
    let events = (0..load.records).map(|index| black_box(load.event(0, index)));
    let key = |event: &Event| event.key.expect("every event has a key");
    match flow {
        Flow::Map => events.for_each(|event| add_to(&mut sum, key(&event), mapped(event.value))),
        Flow::Exchange => events.for_each(|event| add_to(&mut sum, key(&event), event.value)),
        Flow::Count => {
            let mut counts = Counts::default();
            events.for_each(|event| *counts.entry(key(&event)).or_default() += 1);
            counts
                .drain()
                .for_each(|(key, count)| add_to(&mut sum, key, count));
        }
        Flow::Tumbling => {
            let mut counts = Counts::default();
            let mut end = WINDOW;
            for event in events {
                if event.header.timestamp.as_millis() >= end {
                    counts
                        .drain()
                        .for_each(|(key, count)| add_to(&mut sum, key, count));
                    end += WINDOW;
                }
                *counts.entry(key(&event)).or_default() += 1;
            }
            counts
                .drain()
                .for_each(|(key, count)| add_to(&mut sum, key, count));
        }
    }
    sum
}
