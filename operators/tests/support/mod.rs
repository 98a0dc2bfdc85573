//! A naked timely worker with a source that plays a script and an end that keeps what reaches it.
//!
//! It knows operators and streams, and nothing of the framework: no topology, no log, no clock.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
// Each file of tests is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub(crate) mod keeper;
pub(crate) mod table;
pub(crate) mod windows;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiderace_operators::batch::{Advance, Item, Mark};
use tiderace_operators::dataflow::{Epoch, Head, NEVER, RecordInput, Records, Routing};
use tiderace_operators::emit::Steps;
use tiderace_operators::record::{EventTime, Header, Position, Record};
use tiderace_operators::stage::frontier;
use tiderace_operators::tally::{Counting, Ledger, Tally};
use timely::communication::allocator::{Allocator, thread::Thread};
use timely::dataflow::Scope;
use timely::scheduling::Activator;
use timely::worker::Worker;

/// Turns after which a worker that stands still is given up.
const TURNS: usize = 10_000;

/// Time after which several workers that do not come to an end are given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn tally(ledger: &Ledger, counting: Counting) -> Tally {
    Tally::new(ledger, counting, 0)
}

pub(crate) fn at(millis: i64) -> EventTime {
    EventTime::from_millis(millis)
}

pub(crate) fn active(millis: i64) -> Advance {
    Advance::Active(at(millis))
}

/// Makes the records of a partition of source 0: counts offsets and keeps the stream time.
#[derive(Clone, Copy)]
pub(crate) struct Partition {
    number: u32,
    offset: u64,
    pub(crate) stream_time: EventTime,
}

impl Partition {
    pub(crate) fn new(number: u32) -> Self {
        Partition {
            number,
            offset: 0,
            stream_time: EventTime::MIN,
        }
    }

    pub(crate) fn record<K, V>(&mut self, key: K, millis: i64, value: V) -> Record<K, V> {
        self.stream_time = self.stream_time.max(at(millis));
        let position = Position::read(0, self.number, self.offset).expect("the numbers are small");
        self.offset += 1;
        Record {
            header: Header {
                timestamp: at(millis),
                stream_time: self.stream_time,
                position,
            },
            extra: None,
            key: Some(key),
            value,
        }
    }
}

/// What a source sends in one go: the records in one batch, and the marks behind them.
#[derive(Clone, Debug)]
pub(crate) struct Play<K, V> {
    pub(crate) epoch: Epoch,
    pub(crate) records: Vec<Record<K, V>>,
    /// Each with the number of its sender.
    pub(crate) marks: Vec<(u32, Advance)>,
}

pub(crate) fn play<K, V>(
    epoch: Epoch,
    records: impl IntoIterator<Item = Record<K, V>>,
    marks: impl IntoIterator<Item = (u32, Advance)>,
) -> Play<K, V> {
    Play {
        epoch,
        records: records.into_iter().collect(),
        marks: marks.into_iter().collect(),
    }
}

type Plays<K, V> = Rc<RefCell<VecDeque<Option<Play<K, V>>>>>;

/// Has a source play, from the thread of its worker.
pub(crate) struct Hand<K, V> {
    plays: Plays<K, V>,
    activator: Activator,
}

impl<K, V> Hand<K, V> {
    pub(crate) fn play(&self, play: Play<K, V>) {
        self.plays.borrow_mut().push_back(Some(play));
        self.activator.activate();
    }

    /// The source has nothing more to say.
    pub(crate) fn end(&self) {
        self.plays.borrow_mut().push_back(None);
        self.activator.activate();
    }
}

/// A source that plays what it is handed: one play whenever it is scheduled, so that plays interleave with
/// the operators behind it.
pub(crate) fn source<'s, K: 'static, V: 'static>(
    scope: Scope<'s, Epoch>,
    routing: Routing,
) -> (Hand<K, V>, Records<'s, K, V>) {
    let mut head = Head::new("source", scope);
    let (steps, stream) = head.port(routing);
    let mut emit = head.emit(steps);
    let address = head.builder().operator_info().address;
    let activator = || scope.worker().activator_for(Rc::clone(&address));
    let (again, hand) = (activator(), activator());
    let plays = Plays::<K, V>::default();
    let queue = Rc::clone(&plays);
    head.build(move |_, ports| {
        let Some(next) = queue.borrow_mut().pop_front() else {
            return;
        };
        again.activate();
        let Some(play) = next else {
            return ports.advance_to(NEVER);
        };
        assert!(play.epoch >= ports.epoch(), "a script goes forward");
        if play.epoch > ports.epoch() {
            ports.advance_to(play.epoch);
        }
        play.records
            .into_iter()
            .for_each(|record| emit.send(record));
        for (from, advance) in play.marks {
            ports.mark(from, advance);
        }
        ports.flush();
    });
    let activator = hand;
    (Hand { plays, activator }, stream)
}

/// A source that plays a script and ends.
pub(crate) fn script<'s, K: 'static, V: 'static>(
    scope: Scope<'s, Epoch>,
    routing: Routing,
    plays: impl IntoIterator<Item = Play<K, V>>,
) -> Records<'s, K, V> {
    let (hand, stream) = source(scope, routing);
    plays.into_iter().for_each(|play| hand.play(play));
    hand.end();
    stream
}

/// Has what a script plays go through fused steps, record by record: `make` makes them of the head and its port.
pub(crate) fn through<'s, K: 'static, V: 'static, W: 'static>(
    scope: Scope<'s, Epoch>,
    routing: Routing,
    plays: Vec<Play<K, V>>,
    make: impl FnOnce(&mut Head<'s>, Steps<K, W>) -> Steps<K, V>,
) -> Records<'s, K, W> {
    let stream = script(scope, Routing::Stay, plays);
    let mut head = Head::new("steps", scope);
    let mut input = head.follow(stream);
    let (next, out) = head.port(routing);
    let mut steps = make(&mut head, next);
    head.build(move |frontiers, ports| {
        input(&mut |epoch, batch| {
            if epoch > ports.epoch() {
                ports.advance_to(epoch);
            }
            batch.drain(|item| match item {
                Item::Record(record) => steps(&mut vec![record]),
                Item::Mark(mark) => ports.pass(mark),
            });
        });
        ports.flush();
        if frontier(&frontiers[0]) == NEVER && ports.epoch() != NEVER {
            ports.advance_to(NEVER);
        }
    });
    out
}

/// Something that reached the end of a dataflow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen<K, V> {
    Record(Record<K, V>),
    Mark(Mark),
}

type Arrived<K, V> = (usize, Epoch, Seen<K, V>);

/// What reached the end of a dataflow, with worker and epoch, in order of arrival on each worker.
pub(crate) struct Captured<K, V>(Arc<Mutex<Vec<Arrived<K, V>>>>);

impl<K, V> Clone for Captured<K, V> {
    fn clone(&self) -> Self {
        Captured(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Captured<K, V> {
    fn default() -> Self {
        Captured(Arc::default())
    }
}

impl<K: Clone, V: Clone> Captured<K, V> {
    fn all(&self) -> Vec<Arrived<K, V>> {
        self.0.lock().expect("no test panics in between").clone()
    }

    /// What reached `worker`.
    pub(crate) fn on(&self, worker: usize) -> Vec<(Epoch, Seen<K, V>)> {
        let all = self.all().into_iter();
        all.filter(|(on, ..)| *on == worker)
            .map(|(_, epoch, seen)| (epoch, seen))
            .collect()
    }

    /// The records that reached `worker`.
    pub(crate) fn records_on(&self, worker: usize) -> Vec<(Epoch, Record<K, V>)> {
        let seen = self.on(worker).into_iter();
        seen.filter_map(|(epoch, seen)| match seen {
            Seen::Record(record) => Some((epoch, record)),
            Seen::Mark(_) => None,
        })
        .collect()
    }

    /// The marks that reached `worker`.
    pub(crate) fn marks_on(&self, worker: usize) -> Vec<(Epoch, Mark)> {
        let seen = self.on(worker).into_iter();
        seen.filter_map(|(epoch, seen)| match seen {
            Seen::Mark(mark) => Some((epoch, mark)),
            Seen::Record(_) => None,
        })
        .collect()
    }
}

/// Keeps what comes over `stream`.
pub(crate) fn capture<K: Send + 'static, V: Send + 'static>(
    scope: Scope<'_, Epoch>,
    stream: Records<'_, K, V>,
    captured: &Captured<K, V>,
) {
    let mut head = Head::new("capture", scope);
    let input = head.follow(stream);
    capture_input(head, input, captured);
}

/// Keeps what comes into an input of `head`.
pub(crate) fn capture_input<K: Send + 'static, V: Send + 'static>(
    head: Head<'_>,
    mut input: RecordInput<K, V>,
    captured: &Captured<K, V>,
) {
    let captured = captured.clone();
    let worker = head.scope().index();
    head.build(move |_, _| {
        input(&mut |epoch, batch| {
            let mut all = captured.0.lock().expect("no test panics in between");
            batch.drain(|item| {
                let seen = match item {
                    Item::Record(record) => Seen::Record(record),
                    Item::Mark(mark) => Seen::Mark(mark),
                };
                all.push((worker, epoch, seen));
            });
        });
    });
}

/// Runs the dataflow that `build` makes on each of `workers` threads until all of it has ended.
pub(crate) fn run(
    workers: usize,
    build: impl for<'s> Fn(usize, Scope<'s, Epoch>) + Send + Sync + 'static,
) {
    let done = timely::execute(timely::Config::process(workers), move |worker| {
        let index = worker.index();
        worker.dataflow(|scope| build(index, scope));
        let begin = Instant::now();
        while worker.has_dataflows() && begin.elapsed() < PATIENCE {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        let stuck = worker.has_dataflows();
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
        !stuck
    });
    for ended in done.expect("threads start").join() {
        assert!(ended.expect("no worker panics"), "the dataflow has no end");
    }
}

/// A worker on the thread of the test, driven by hand.
pub(crate) struct Solo(Worker);

impl Solo {
    pub(crate) fn new() -> Self {
        Solo(Worker::new(
            timely::WorkerConfig::default(),
            Allocator::Thread(Thread::default()),
            Some(Instant::now()),
        ))
    }

    pub(crate) fn dataflow<R>(&mut self, build: impl FnOnce(Scope<'_, Epoch>) -> R) -> R {
        self.0.dataflow(build)
    }

    /// Steps until all that was handed in has had its effect: more turns than any dataflow here is deep.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.0.step();
        }
    }

    /// Steps once.
    pub(crate) fn step(&mut self) {
        self.0.step();
    }

    /// Steps until `done`, parking while nothing moves.
    pub(crate) fn step_until(&mut self, done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < PATIENCE, "it does not happen");
            self.0.step_or_park(Some(Duration::from_millis(1)));
        }
    }

    /// Steps until the dataflow has ended.
    pub(crate) fn finish(&mut self) {
        for _ in 0..TURNS {
            if !self.0.has_dataflows() {
                return;
            }
            self.0.step();
        }
        panic!("the dataflow has no end");
    }
}

impl Drop for Solo {
    fn drop(&mut self) {
        for dataflow in self.0.installed_dataflows() {
            self.0.drop_dataflow(dataflow);
        }
    }
}
