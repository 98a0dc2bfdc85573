//! Windowed aggregation that emits each window once, when it is final.
//!
//! Results leave in the order of closing time, start and key bytes. Until a window closes its records are
//! folded as [`Order`](crate::fold::Order) says, so that the result does not depend on how partitions were
//! interleaved or epochs cut.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::batch::Mark;
use crate::dataflow::{Emit, Epoch, Head, Ports, Records, Routing, Stage, drive};
use crate::fold::{Aggregation, Partial};
use crate::key::{self, Key, Windowed};
use crate::record::{EventTime, Header, Position, Record};
use crate::shard::Shards;
use crate::store::{StoreView, ordered};
use crate::stream_time::Watermark;
use crate::tally::{Tally, Verdict};
use crate::window::TimeWindows;

/// What a windowed aggregation needs beside its input.
pub struct WindowStep<K, V, A> {
    /// The windows.
    pub windows: TimeWindows,
    /// How records become one value.
    pub aggregation: Aggregation<V, A>,
    /// How many senders the input has.
    pub senders: usize,
    /// Where results go.
    pub results: Emit<Windowed<K>, A>,
    /// Where the headers of records too late for every window go, if anybody asks.
    pub late: Option<Emit<(), ()>>,
    /// Its counts.
    pub tally: Tally,
}

/// Builds the operator on `head`, reading `stream` with `routing`. Returns a look into its open windows.
pub fn aggregate_windows<'s, K: Key, V: Clone + Send + 'static, A: Clone + 'static>(
    mut head: Head<'s>,
    stream: Records<'s, K, V>,
    routing: Routing,
    shards: Shards,
    step: WindowStep<K, V, A>,
) -> Rc<dyn StoreView<Windowed<K>, A>> {
    let index = u32::try_from(head.scope().index()).expect("workers are counted in u32");
    let input = head.keyed_input(stream, routing, shards);
    let watermark = Watermark::new(step.senders, step.windows.held_back());
    let stage = OnClose {
        step,
        index,
        watermark,
        open: BTreeMap::new(),
        spare: Vec::new(),
        closed: Vec::new(),
    };
    let stage = Rc::new(RefCell::new(stage));
    drive(head, input, Rc::clone(&stage));
    stage
}

type Window<K, V, A> = HashMap<K, Slot<V, A>, FixedState>;

struct Slot<V, A> {
    partial: Partial<V, A>,
    timestamp: EventTime,
    stream_time: EventTime,
}

struct OnClose<K, V, A> {
    step: WindowStep<K, V, A>,
    index: u32,
    watermark: Watermark,
    /// Open windows by start.
    open: BTreeMap<EventTime, Window<K, V, A>>,
    /// Emptied maps, kept for their memory.
    spare: Vec<Window<K, V, A>>,
    /// Key bytes, key and slot of a window that is being closed.
    closed: Vec<(Vec<u8>, K, Slot<V, A>)>,
}

impl<K: Key, V: 'static, A: 'static> OnClose<K, V, A> {
    fn add(&mut self, start: EventTime, header: Header, key: K, value: V) {
        let spare = &mut self.spare;
        let window = self
            .open
            .entry(start)
            .or_insert_with(|| spare.pop().unwrap_or_default());
        let aggregation = &self.step.aggregation;
        let slot = window.entry(key).or_insert_with(|| Slot {
            partial: aggregation.begin(),
            timestamp: header.timestamp,
            stream_time: header.stream_time,
        });
        slot.timestamp = slot.timestamp.max(header.timestamp);
        slot.stream_time = slot.stream_time.min(header.stream_time);
        aggregation.add(&mut slot.partial, header.position, value);
    }

    fn close_windows(&mut self) {
        let now = self.watermark.now();
        while let Some(entry) = self.open.first_entry()
            && self.step.windows.closing(*entry.key()) <= now
        {
            let (start, mut window) = entry.remove_entry();
            self.close_window(start, &mut window);
            self.spare.push(window);
        }
    }

    fn close_window(&mut self, start: EventTime, window: &mut Window<K, V, A>) {
        for (key, slot) in window.drain() {
            let mut bytes = Vec::new();
            // A key without bytes was reported where it was made; here it only needs a fixed place.
            let _ = key::encode(&key, &mut bytes);
            self.closed.push((bytes, key, slot));
        }
        self.closed
            .sort_unstable_by(|one, other| one.0.cmp(&other.0));
        self.step.tally.windows_closed(self.closed.len() as u64);
        let position = Position::result(self.step.windows.closing(start));
        let window = self.step.windows.window(start);
        crate::current::at(position);
        for (_, key, slot) in self.closed.drain(..) {
            let Some(value) = self.step.aggregation.finish(slot.partial) else {
                continue;
            };
            let header = Header {
                timestamp: slot.timestamp,
                stream_time: slot.stream_time,
                position,
            };
            (self.step.results)(Record {
                header,
                extra: None,
                key: Some(Windowed { key, window }),
                value,
            });
        }
    }
}

impl<K: Key, V: Clone + Send + 'static, A: 'static> Stage<K, V> for OnClose<K, V, A> {
    fn record(&mut self, record: Record<K, V>) {
        let Record {
            header, key, value, ..
        } = record;
        crate::current::at(header.position);
        let Some(key) = key else {
            return self.step.tally.verdict(header.position, Verdict::Skipped);
        };
        let time = header.stream_time.max(self.watermark.now());
        let windows = self.step.windows;
        let mut in_time = windows
            .starts(header.timestamp)
            .filter(|start| !windows.is_late(*start, time))
            .peekable();
        if in_time.peek().is_none() {
            self.step.tally.verdict(header.position, Verdict::Late);
            if let Some(late) = &mut self.step.late {
                late(Record {
                    header,
                    extra: None,
                    key: None,
                    value: (),
                });
            }
            return;
        }
        self.step.tally.verdict(header.position, Verdict::Processed);
        while let Some(start) = in_time.next() {
            if in_time.peek().is_none() {
                return self.add(start, header, key, value);
            }
            self.add(start, header, key.clone(), value.clone());
        }
    }

    fn mark(&mut self, mark: Mark, _: &mut Ports) {
        self.watermark.note(mark);
    }

    fn close(&mut self, epoch: Epoch, ports: &mut Ports) {
        self.watermark.settle();
        self.close_windows();
        if let Some(advance) = self.watermark.outgoing() {
            ports.mark(self.index, advance);
        }
        self.step.tally.close(epoch);
    }
}

impl<K: Key, V: Clone + 'static, A: Clone + 'static> StoreView<Windowed<K>, A>
    for RefCell<OnClose<K, V, A>>
{
    fn rows(&self) -> Vec<(Windowed<K>, A)> {
        let on_close = self.borrow();
        let step = &on_close.step;
        let windows = on_close.open.iter();
        let rows = windows.flat_map(|(start, window)| {
            let window_of = step.windows.window(*start);
            window.iter().filter_map(move |(key, slot)| {
                let value = step.aggregation.finish(slot.partial.clone())?;
                Some((
                    Windowed {
                        key: key.clone(),
                        window: window_of,
                    },
                    value,
                ))
            })
        });
        ordered(rows)
    }
}
