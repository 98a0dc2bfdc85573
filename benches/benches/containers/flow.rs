//! The flows on timely, the same for every shape: one clock, a source a worker, an operator or two, a sink.
//!
//! Operators use `for_each`, never timely's own `map`, which may reorder what bears one timestamp.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tiderace_operators::batch::{Advance, Item, Mark};
use tiderace_operators::record::{EventTime, Header, Position};
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::OutputBuilderSession;
use timely::dataflow::operators::{CapabilityTrait, Input, Operator, Probe};
use timely::dataflow::{ProbeHandle, Stream, StreamVec};
use timely::scheduling::Activator;
use timely::worker::Worker;

use crate::load::{Counts, EPOCH, Flow, Load, MARK_EVERY, WINDOW, add_to, mapped};
use crate::shape::{Event, Shape};

/// Epochs that may be open or unfinished at once.
const IN_FLIGHT: u64 = 4;
/// Records that a source makes before it lets the other operators run.
const BURST: u64 = 4_096;
/// Numbers that keys are spread over; a table says which worker owns each.
const SHARDS: usize = 256;

/// Runs a flow on the load's workers and returns the sum of what reached the sinks.
pub(crate) fn on_timely<S: Shape>(flow: Flow, load: Load) -> u64 {
    let made = Arc::new(AtomicU64::new(0));
    let guards = timely::execute(timely::Config::process(load.workers), move |worker| {
        run_worker::<S>(worker, flow, load, &made)
    });
    let sums = guards.expect("the threads of the workers start").join();
    sums.into_iter().fold(0, |sum, of_worker| {
        sum.wrapping_add(of_worker.expect("no worker panics"))
    })
}

/// What the loop of a worker and its operators share.
struct Shared {
    load: Load,
    /// Records made by all sources.
    made: Arc<AtomicU64>,
    /// The first epoch that is not finished everywhere.
    unfinished: Cell<u64>,
    source: RefCell<Option<Activator>>,
    sum: Cell<u64>,
}

fn run_worker<S: Shape>(worker: &mut Worker, flow: Flow, load: Load, made: &Arc<AtomicU64>) -> u64 {
    let shared = Rc::new(Shared {
        load,
        made: Arc::clone(made),
        unfinished: Cell::new(0),
        source: RefCell::new(None),
        sum: Cell::new(0),
    });
    let probe = ProbeHandle::new();
    let clock = worker.dataflow::<u64, _, _>(|scope| {
        let (clock, ticks) = scope.new_input::<Vec<()>>();
        let events = source::<S>(ticks, &shared);
        match flow {
            Flow::Map => sink(map(events), Pipeline, &shared),
            Flow::Exchange => sink(events, S::exchange(route(load)), &shared),
            Flow::Count => sink(count(events, &shared), Pipeline, &shared),
            Flow::Tumbling => sink(tumbling(events, &shared), Pipeline, &shared),
        }
        .probe_with(&probe);
        clock
    });
    // One clock for all: the handles of the other workers are dropped, which ends their part in the frontier.
    let mut clock = Some(clock).filter(|_| worker.index() == 0);
    while !probe.done() {
        if let Some(open) = &mut clock {
            let made = shared.made.load(Ordering::Relaxed);
            if made >= load.share() * load.workers as u64 {
                clock = None;
            } else if made / EPOCH > *open.time() {
                open.advance_to(made / EPOCH);
            }
        }
        worker.step_or_park(Some(Duration::from_millis(1)));
        let unfinished = probe.with_frontier(|frontier| frontier.first().copied());
        if let Some(epoch) = unfinished
            && epoch > shared.unfinished.replace(epoch)
            && let Some(source) = &*shared.source.borrow()
        {
            source.activate();
        }
    }
    shared.sum.get()
}

/// Says which worker a key belongs to.
fn route(load: Load) -> impl FnMut(&Event) -> usize + 'static {
    let owner: Vec<usize> = (0..SHARDS).map(|shard| shard % load.workers).collect();
    move |event| owner[event.key.unwrap_or(0).wrapping_mul(0x9E37_79B9) as usize >> 24]
}

/// An operator's output, one container under construction.
struct Outgoing<S> {
    container: S,
}

type Session<'a, S> = OutputBuilderSession<'a, u64, NoopBuilder<S>>;

impl<S: Shape> Outgoing<S> {
    fn push(&mut self, event: Event, output: &mut Session<'_, S>, at: &impl CapabilityTrait<u64>) {
        self.container.push(event);
        if self.container.is_full() {
            self.send(output, at);
        }
    }

    fn send(&mut self, output: &mut Session<'_, S>, at: &impl CapabilityTrait<u64>) {
        if !self.container.is_empty() {
            output
                .session_with_builder(at)
                .give_container(&mut self.container);
        }
    }
}

/// Makes the worker's share of the events, a burst at a time, in the epoch that the clock shows, and marks.
fn source<'s, S: Shape>(ticks: StreamVec<'s, u64, ()>, shared: &Rc<Shared>) -> Stream<'s, u64, S> {
    let (worker, load) = (ticks.scope().index(), shared.load);
    let shared = Rc::clone(shared);
    let scope = ticks.scope();
    ticks.unary_frontier::<NoopBuilder<S>, _, _, _>(Pipeline, "source", move |capability, info| {
        let again = scope.activator_for(info.address.clone());
        shared
            .source
            .replace(Some(scope.activator_for(info.address)));
        let (mut next, share) = (0, load.share());
        let mut capability = Some(capability);
        let mut outgoing = Outgoing {
            container: S::default(),
        };
        move |(input, frontier), output| {
            input.for_each(|_, _| ());
            let Some(held) = &mut capability else { return };
            if let Some(epoch) = frontier.frontier().first()
                && epoch > held.time()
            {
                held.downgrade(epoch);
            }
            let allowed = (shared.unfinished.get() + IN_FLIGHT) * EPOCH / load.workers as u64;
            let until = share.min(allowed).min(next + BURST);
            let begin = next;
            while next < until {
                let event = load.event(worker, next);
                let time = event.header.timestamp;
                outgoing.push(event, output, held);
                next += 1;
                if next.is_multiple_of(MARK_EVERY) {
                    mark_all(
                        &mut outgoing.container,
                        worker,
                        load.workers,
                        Advance::Active(time),
                    );
                }
            }
            if next == share {
                mark_all(
                    &mut outgoing.container,
                    worker,
                    load.workers,
                    Advance::End(EventTime::MAX),
                );
            }
            outgoing.send(output, held);
            shared.made.fetch_add(next - begin, Ordering::Relaxed);
            if next == share {
                capability = None;
            } else if next < allowed {
                again.activate();
            }
        }
    })
}

fn mark_all<S: Shape>(container: &mut S, from: usize, workers: usize, advance: Advance) {
    for to in 0..workers as u32 {
        container.mark(Mark {
            from: from as u32,
            to,
            advance,
        });
    }
}

fn map<'s, S: Shape>(events: Stream<'s, u64, S>) -> Stream<'s, u64, S> {
    events.unary::<NoopBuilder<S>, _, _, _>(Pipeline, "map", |_, _| {
        let mut outgoing = Outgoing {
            container: S::default(),
        };
        move |input, output| {
            input.for_each(|capability, batch| {
                batch.take(|item| match item {
                    Item::Record(mut event) => {
                        event.value = mapped(event.value);
                        outgoing.push(event, output, &capability);
                    }
                    Item::Mark(mark) => outgoing.container.mark(mark),
                });
                outgoing.send(output, &capability);
            });
        }
    })
}

/// Counts per key; the counts join the worker's sum when the input has ended.
fn count<'s, S: Shape>(events: Stream<'s, u64, S>, shared: &Rc<Shared>) -> Stream<'s, u64, S> {
    let (load, shared) = (shared.load, Rc::clone(shared));
    events.unary_frontier::<NoopBuilder<S>, _, _, _>(
        S::exchange(route(load)),
        "count",
        move |_, _| {
            let mut counts = Counts::default();
            move |(input, frontier), _| {
                input.for_each(|_, batch| {
                    batch.take(|item| {
                        if let Item::Record(event) = item {
                            *counts
                                .entry(event.key.expect("every event has a key"))
                                .or_default() += 1;
                        }
                    });
                });
                if frontier.is_empty() {
                    let mut sum = shared.sum.get();
                    counts
                        .drain()
                        .for_each(|(key, count)| add_to(&mut sum, key, count));
                    shared.sum.set(sum);
                }
            }
        },
    )
}

/// The windows that are open, oldest first, and the stream time that each sender has marked.
struct Windows {
    open: Vec<(i64, Counts)>,
    spare: Vec<Counts>,
    marked: Vec<EventTime>,
}

impl Windows {
    fn add(&mut self, event: &Event) {
        let start = event.header.timestamp.as_millis().div_euclid(WINDOW) * WINDOW;
        let at = match self.open.iter().rposition(|(open, _)| *open <= start) {
            Some(at) if self.open[at].0 == start => at,
            before => {
                let at = before.map_or(0, |before| before + 1);
                self.open
                    .insert(at, (start, self.spare.pop().unwrap_or_default()));
                at
            }
        };
        *self.open[at]
            .1
            .entry(event.key.expect("every event has a key"))
            .or_default() += 1;
    }

    /// Notes what a sender says and hands over the counts of the windows that this closes.
    fn close(&mut self, mark: Mark, mut each: impl FnMut(i64, u32, u64)) {
        if let Advance::Active(time) | Advance::End(time) = mark.advance {
            self.marked[mark.from as usize] = time;
        }
        let reached = self.marked.iter().min().copied().unwrap_or(EventTime::MAX);
        let closed = self
            .open
            .iter()
            .take_while(|(start, _)| start + WINDOW <= reached.as_millis())
            .count();
        for (start, mut counts) in self.open.drain(..closed) {
            counts
                .drain()
                .for_each(|(key, count)| each(start, key, count));
            self.spare.push(counts);
        }
    }
}

fn tumbling<'s, S: Shape>(events: Stream<'s, u64, S>, shared: &Rc<Shared>) -> Stream<'s, u64, S> {
    let load = shared.load;
    events.unary::<NoopBuilder<S>, _, _, _>(S::exchange(route(load)), "tumbling", move |_, _| {
        let marked = vec![EventTime::MIN; load.workers];
        let mut windows = Windows {
            open: Vec::new(),
            spare: Vec::new(),
            marked,
        };
        let mut outgoing = Outgoing {
            container: S::default(),
        };
        move |input, output| {
            input.for_each(|capability, batch| {
                batch.take(|item| match item {
                    Item::Record(event) => windows.add(&event),
                    Item::Mark(mark) => windows.close(mark, |start, key, count| {
                        let closing = EventTime::from_millis(start + WINDOW);
                        let header = Header {
                            timestamp: closing,
                            stream_time: closing,
                            position: Position::result(closing),
                        };
                        let result = Event {
                            header,
                            extra: None,
                            key: Some(key),
                            value: count,
                        };
                        outgoing.push(result, output, &capability);
                    }),
                });
                outgoing.send(output, &capability);
            });
        }
    })
}

/// Adds what arrives to the worker's sum.
fn sink<'s, S: Shape>(
    results: Stream<'s, u64, S>,
    pact: impl ParallelizationContract<u64, S>,
    shared: &Rc<Shared>,
) -> Stream<'s, u64, S> {
    let shared = Rc::clone(shared);
    results.unary::<NoopBuilder<S>, _, _, _>(pact, "sink", move |_, _| {
        move |input, _| {
            let mut sum = shared.sum.get();
            input.for_each(|_, batch| {
                batch.take(|item| {
                    if let Item::Record(event) = item {
                        add_to(
                            &mut sum,
                            event.key.expect("every event has a key"),
                            event.value,
                        );
                    }
                });
            });
            shared.sum.set(sum);
        }
    })
}
