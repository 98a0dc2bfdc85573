//! Windowed aggregation that emits each window once, when it is final.
//!
//! Results leave in the order of closing time, start and key bytes. Until a window closes its records are
//! folded as [`Order`](crate::fold::Order) says, so that the result does not depend on how partitions were
//! interleaved or epochs cut.
//!
//! State in a snapshot: of each open window and key its partial result, by the window's start and then the key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::batch::Mark;
use crate::changes::{self, Changes, Generation, Haste, Left, Table};
use crate::dataflow::{Epoch, Head, Ports, Records, Routing};
use crate::emit::Emit;
use crate::fold::{Aggregation, Partial};
use crate::handover::{Handover, StateError};
use crate::key::{self, Data, Key, Windowed};
use crate::record::{EventTime, Header, Position, Record};
use crate::stage::{Stage, drive};
use crate::state_codec::{self, take_time, time_bytes};
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

/// Builds the operator on `head`, reading `stream` with `routing`, and gives it back what was kept of it. Returns a
/// look into its open windows.
pub fn aggregate_windows<'s, K: Key, V: Data, A: Data>(
    mut head: Head<'s>,
    stream: Records<'s, K, V>,
    routing: Routing,
    handover: Handover,
    step: WindowStep<K, V, A>,
) -> Rc<dyn StoreView<Windowed<K>, A>> {
    let index = u32::try_from(head.scope().index()).expect("workers are counted in u32");
    let input = head.keyed_input(stream, routing, handover.shards);
    let watermark = head.watermark(routing, step.senders, step.windows.held_back());
    let mut stage = OnClose {
        step,
        index,
        watermark,
        open: OpenWindows::new(),
        closed: Vec::new(),
        key_bytes: Vec::new(),
        changes: Changes::new(&handover, |(start, key): &(EventTime, K), slot, entries| {
            entries.put(&time_bytes(*start), key, |to| Slot::write(slot, to))
        }),
    };
    stage.restore(&handover);
    let stage = Rc::new(RefCell::new(stage));
    drive(head, input, Rc::clone(&stage));
    stage
}

type Window<K, V, A> = HashMap<K, Slot<V, A>, FixedState>;

struct Slot<V, A> {
    partial: Partial<V, A>,
    timestamp: EventTime,
    stream_time: EventTime,
    generation: Generation,
}

impl<V, A> changes::Slot for Slot<V, A> {
    fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }
}

impl<V: Data, A: Data> Slot<V, A> {
    fn write(&self, to: &mut Vec<u8>) -> Result<(), StateError> {
        to.extend_from_slice(&time_bytes(self.timestamp));
        to.extend_from_slice(&time_bytes(self.stream_time));
        self.partial.write(to)
    }

    fn read(mut bytes: &[u8]) -> Result<Self, StateError> {
        Ok(Slot {
            timestamp: take_time(&mut bytes)?,
            stream_time: take_time(&mut bytes)?,
            partial: Partial::read(bytes)?,
            generation: Generation::CLEAN,
        })
    }
}

/// The windows that are open, by start. Maps of closed ones are kept for their memory.
struct OpenWindows<K, V, A> {
    /// Where in `maps` each open window has its own.
    places: BTreeMap<EventTime, usize>,
    maps: Vec<Window<K, V, A>>,
    /// Places in `maps` that no open window has.
    spare: Vec<usize>,
    /// The window that was asked for last, with its place: records mostly come in order of time.
    last: Option<(EventTime, usize)>,
}

impl<K, V, A> OpenWindows<K, V, A> {
    fn new() -> Self {
        OpenWindows {
            places: BTreeMap::new(),
            maps: Vec::new(),
            spare: Vec::new(),
            last: None,
        }
    }

    /// The window that starts at `start`, opened if it was not.
    #[inline]
    fn at(&mut self, start: EventTime) -> &mut Window<K, V, A> {
        let place = match self.last {
            Some((last, place)) if last == start => place,
            _ => self.look_up(start),
        };
        &mut self.maps[place]
    }

    fn look_up(&mut self, start: EventTime) -> usize {
        let OpenWindows { maps, spare, .. } = self;
        let place = *self.places.entry(start).or_insert_with(|| {
            spare.pop().unwrap_or_else(|| {
                maps.push(Window::default());
                maps.len() - 1
            })
        });
        self.last = Some((start, place));
        place
    }

    /// The window that starts at `start`, if it is open.
    fn get(&mut self, start: EventTime) -> Option<&mut Window<K, V, A>> {
        let place = self.places.get(&start)?;
        Some(&mut self.maps[*place])
    }

    /// The open windows with their starts.
    fn iter(&self) -> impl Iterator<Item = (EventTime, &Window<K, V, A>)> {
        let of = |(start, place): (&EventTime, &usize)| (*start, &self.maps[*place]);
        self.places.iter().map(of)
    }

    fn first(&self) -> Option<EventTime> {
        self.places.keys().next().copied()
    }

    /// Closes the first window: hands its slots to `each` and forgets it.
    fn drain_first(&mut self, mut each: impl FnMut(K, Slot<V, A>)) {
        let Some((start, place)) = self.places.pop_first() else {
            return;
        };
        if self.last.is_some_and(|(last, _)| last == start) {
            self.last = None;
        }
        for (key, slot) in self.maps[place].drain() {
            each(key, slot);
        }
        self.spare.push(place);
    }
}

impl<K: Key, V, A> Table<(EventTime, K), Slot<V, A>> for OpenWindows<K, V, A> {
    fn find(&mut self, (start, key): &(EventTime, K)) -> Option<&mut Slot<V, A>> {
        self.get(*start)?.get_mut(key)
    }
}

struct OnClose<K, V, A> {
    step: WindowStep<K, V, A>,
    index: u32,
    watermark: Watermark,
    open: OpenWindows<K, V, A>,
    /// Slots of a window that is being closed, each with where its key's bytes lie in `key_bytes`.
    closed: Vec<(Range<usize>, K, Slot<V, A>)>,
    key_bytes: Vec<u8>,
    changes: Changes<(EventTime, K), Slot<V, A>>,
}

impl<K: Key, V: Data, A: Data> OnClose<K, V, A> {
    /// Takes back what was kept. Windows that are final went out in the epoch at whose close they were kept.
    fn restore(&mut self, handover: &Handover) {
        let open = &mut self.open;
        let read = |mut key: &[u8], value: Option<&[u8]>| {
            let start = take_time(&mut key)?;
            let slot = value.map(Slot::read).transpose()?;
            Ok((start, state_codec::read(key)?, slot))
        };
        // Windows are tables of their own, each with few of the keys.
        let hash = |_: &(EventTime, K, Option<Slot<V, A>>)| 0;
        let watermark = handover.restore(read, hash, |(start, key, slot)| {
            if let Some(slot) = slot {
                open.at(start).insert(key, slot);
            } else if let Some(window) = open.get(start) {
                window.remove(&key);
            }
        });
        self.watermark.restore(watermark.unwrap_or(EventTime::MIN));
        while self.first_final().is_some() {
            self.open.drain_first(|_, _| ());
        }
    }

    /// The start of the first open window, if it is final.
    fn first_final(&self) -> Option<EventTime> {
        let now = self.watermark.now();
        let first = self.open.first();
        first.filter(|start| self.step.windows.closing(*start) <= now)
    }

    #[inline]
    fn add(&mut self, start: EventTime, header: Header, key: K, value: V) {
        let aggregation = &self.step.aggregation;
        let mut entry = match self.open.at(start).entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Slot {
                partial: aggregation.begin(),
                timestamp: header.timestamp,
                stream_time: header.stream_time,
                generation: Generation::CLEAN,
            }),
        };
        if !self.changes.is_noted(entry.get().generation) {
            let key = (start, entry.key().clone());
            self.changes.touch(key, Some(entry.get_mut()));
        }
        let slot = entry.into_mut();
        slot.timestamp = slot.timestamp.max(header.timestamp);
        slot.stream_time = slot.stream_time.min(header.stream_time);
        aggregation.add(&mut slot.partial, header.position, value);
    }

    fn close_windows(&mut self) {
        while let Some(start) = self.first_final() {
            self.close_first(start);
        }
    }

    fn close_first(&mut self, start: EventTime) {
        let (closed, bytes) = (&mut self.closed, &mut self.key_bytes);
        let changes = &mut self.changes;
        bytes.clear();
        self.open.drain_first(|mut key, mut slot| {
            if changes.waits(slot.generation) {
                let of = (start, key);
                changes.leave(&of, &mut slot);
                key = of.1;
            }
            let begin = bytes.len();
            // A key without bytes was reported where it was made; here it only needs a fixed place.
            let _ = key::encode(&key, bytes);
            closed.push((begin..bytes.len(), key, slot));
        });
        let of = |at: &Range<usize>| &bytes[at.clone()];
        closed.sort_unstable_by(|one, other| of(&one.0).cmp(of(&other.0)));
        self.step.tally.windows_closed(self.closed.len() as u64);
        let position = Position::result(self.step.windows.closing(start));
        let window = self.step.windows.window(start);
        crate::current::at(position);
        for (at, key, slot) in self.closed.drain(..) {
            let Some(value) = self.step.aggregation.finish(slot.partial) else {
                continue;
            };
            let times = [start, slot.timestamp];
            self.step.tally.result(&self.key_bytes[at], times, &value);
            let header = Header {
                timestamp: slot.timestamp,
                stream_time: slot.stream_time,
                position,
            };
            self.step.results.send(Record {
                header,
                extra: None,
                key: Some(Windowed { key, window }),
                value,
            });
        }
    }
}

impl<K, V, A> OnClose<K, V, A> {
    #[cold]
    fn late(&mut self, header: Header) {
        self.step.tally.verdict(header.position, Verdict::Late);
        if let Some(late) = &mut self.step.late {
            late.send(Record {
                header,
                extra: None,
                key: None,
                value: (),
            });
        }
    }
}

impl<K: Key, V: Data, A: Data> Stage<K, V> for OnClose<K, V, A> {
    #[inline]
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
        if let Some(start) = windows.only_start(header.timestamp) {
            if windows.is_late(start, time) {
                return self.late(header);
            }
            self.step.tally.verdict(header.position, Verdict::Processed);
            return self.add(start, header, key, value);
        }
        let mut in_time = windows
            .starts(header.timestamp)
            .filter(|start| !windows.is_late(*start, time))
            .peekable();
        if in_time.peek().is_none() {
            return self.late(header);
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

    fn closed(&mut self, closed: Range<Epoch>) {
        if let Some(epoch) = self.changes.wanted(closed) {
            let now = self.watermark.now();
            let floor = time_bytes(self.step.windows.first_open(now)).to_vec();
            self.changes.freeze(epoch, now, floor, &mut self.open);
        }
    }

    fn hand_over(&mut self, haste: Haste) -> Left {
        self.changes.hand_over(&mut self.open, haste)
    }
}

impl<K: Key, V: Data, A: Data> StoreView<Windowed<K>, A> for RefCell<OnClose<K, V, A>> {
    fn rows(&self) -> Vec<(Windowed<K>, A)> {
        let on_close = self.borrow();
        let step = &on_close.step;
        let windows = on_close.open.iter();
        let rows = windows.flat_map(|(start, window)| {
            let window_of = step.windows.window(start);
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
