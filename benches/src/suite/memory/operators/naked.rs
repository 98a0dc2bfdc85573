//! A worker with a source of pairs, an operator, and an end: no log, codec, epoch log or commit.

#![expect(clippy::disallowed_methods, reason = "timely asks when a worker began")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace_operators::batch::{Advance, Item};
use tiderace_operators::dataflow::{Epoch, Head, NEVER, Records, Routing};
use tiderace_operators::emit::{Steps, TOGETHER};
use tiderace_operators::record::{EventTime, Header, Position, Record};
use timely::communication::allocator::{Allocator, thread::Thread};
use timely::dataflow::Scope;
use timely::worker::Worker;

use crate::suite::memory::pairs::EPOCH;
use crate::suite::memory::records::Pair;

/// Records that the source makes before the operators behind it have their turn, as the engine's does.
const TURN: usize = 2_048;

/// Runs the dataflow that `build` makes to its end, on this thread.
pub(super) fn run(build: impl FnOnce(Scope<'_, Epoch>)) {
    let mut worker = Worker::new(
        timely::WorkerConfig::default(),
        Allocator::Thread(Thread::default()),
        Some(Instant::now()),
    );
    worker.dataflow(build);
    while worker.has_dataflows() {
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

/// Makes records of pairs, epoch by epoch, which go out through what `steps` makes of the port.
pub(super) fn source<'s, V: 'static>(
    scope: Scope<'s, Epoch>,
    pairs: &Arc<Vec<Pair>>,
    routing: Routing,
    steps: impl FnOnce(&mut Head<'s>, Steps<u64, V>) -> Steps<u64, ()>,
) -> Records<'s, u64, V> {
    let mut head = Head::new("source", scope);
    let (port, stream) = head.port(routing);
    let mut steps = steps(&mut head, port);
    let address = head.builder().operator_info().address;
    let again = scope.worker().activator_for(address);
    let pairs = Arc::clone(pairs);
    let (mut next, mut made) = (0, Vec::new());
    let mut latest = EventTime::MIN;
    head.build(move |_, ports| {
        if next == pairs.len() {
            return ports.advance_to(NEVER);
        }
        let epoch = (next / EPOCH) as Epoch + 1;
        if epoch > ports.epoch() {
            ports.advance_to(epoch);
        }
        let end = pairs.len().min(next - next % EPOCH + EPOCH);
        let turn = end.min(next + TURN);
        while next < turn {
            let until = turn.min(next + TOGETHER);
            made.extend((next..until).map(|nth| {
                let time = EventTime::from_millis(pairs[nth].time());
                latest = latest.max(time);
                record(pairs[nth].key(), time, latest, nth % EPOCH)
            }));
            steps(&mut made);
            ports.flush();
            next = until;
        }
        if next == end {
            let advance = match end == pairs.len() {
                true => Advance::End(latest),
                false => Advance::Active(latest),
            };
            ports.mark(0, advance);
        }
        again.activate();
    });
    stream
}

#[inline]
fn record(
    key: u64,
    timestamp: EventTime,
    stream_time: EventTime,
    offset: usize,
) -> Record<u64, ()> {
    let position = Position::read(0, 0, offset as u64);
    Record {
        header: Header {
            timestamp,
            stream_time,
            position: position.expect("an epoch's offsets are few"),
        },
        extra: None,
        key: Some(key),
        value: (),
    }
}

/// Gives `each` what comes out.
pub(super) fn end<'s, K: 'static, V: 'static>(
    scope: Scope<'s, Epoch>,
    stream: Records<'s, K, V>,
    mut each: impl FnMut(Record<K, V>) + 'static,
) {
    let mut head = Head::new("end", scope);
    let mut input = head.follow(stream);
    head.build(move |_, _| {
        input(&mut |_, batch| {
            batch.drain(|item| {
                if let Item::Record(record) = item {
                    each(record);
                }
            });
        });
    });
}
