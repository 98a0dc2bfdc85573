//! The two shapes under test, at several capacities, behind one trait.
//!
//! [`Mixed`] keeps records and marks in one vector of an enum, [`Apart`] in two vectors, as the engine's own
//! [`Batch`] does; `Apart` exists beside it only because a `Batch` has a single, fixed capacity.

use tiderace_operators::batch::{Batch, Item, Mark};
use tiderace_operators::exchange;
use tiderace_operators::record::Record;
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};

/// The record that every flow moves: 24 bytes of header, a `u32` key, a `u64` value.
pub(crate) type Event = Record<u32, u64>;

/// A container of events and marks in order.
pub(crate) trait Shape: Accountable + ContainerBytes + Default + Send + 'static {
    /// Appends a record.
    fn push(&mut self, event: Event);
    /// Appends a mark.
    fn mark(&mut self, mark: Mark);
    /// Whether it holds enough to be sent on.
    fn is_full(&self) -> bool;
    /// Takes everything out, in order.
    fn take(&mut self, each: impl FnMut(Item<u32, u64>));
    /// Sends each record where `route` says and each mark to its addressee.
    fn exchange(
        route: impl FnMut(&Event) -> usize + 'static,
    ) -> impl ParallelizationContract<u64, Self>;
}

impl Shape for Batch<u32, u64> {
    fn push(&mut self, event: Event) {
        Batch::push(self, event);
    }

    fn mark(&mut self, mark: Mark) {
        Batch::mark(self, mark);
    }

    fn is_full(&self) -> bool {
        Batch::is_full(self)
    }

    fn take(&mut self, each: impl FnMut(Item<u32, u64>)) {
        self.drain(each);
    }

    fn exchange(
        route: impl FnMut(&Event) -> usize + 'static,
    ) -> impl ParallelizationContract<u64, Self> {
        exchange::exchange(route)
    }
}

/// How many events of `size` bytes make a container of `BYTES` bytes.
const fn capacity<const BYTES: usize>(size: usize) -> usize {
    if BYTES / size < 16 { 16 } else { BYTES / size }
}

/// Records and marks in one vector of about `BYTES` bytes.
#[derive(Default)]
pub(crate) struct Mixed<const BYTES: usize>(Vec<Item<u32, u64>>);

impl<const BYTES: usize> Mixed<BYTES> {
    const CAPACITY: usize = capacity::<BYTES>(size_of::<Item<u32, u64>>());

    fn append(&mut self, item: Item<u32, u64>) {
        if self.0.capacity() == 0 {
            self.0.reserve(Self::CAPACITY);
        }
        self.0.push(item);
    }
}

impl<const BYTES: usize> Shape for Mixed<BYTES> {
    fn push(&mut self, event: Event) {
        self.append(Item::Record(event));
    }

    fn mark(&mut self, mark: Mark) {
        self.append(Item::Mark(mark));
    }

    fn is_full(&self) -> bool {
        self.0.len() >= Self::CAPACITY
    }

    fn take(&mut self, mut each: impl FnMut(Item<u32, u64>)) {
        self.0.drain(..).for_each(&mut each);
    }

    fn exchange(
        route: impl FnMut(&Event) -> usize + 'static,
    ) -> impl ParallelizationContract<u64, Self> {
        distribute(route)
    }
}

/// Records and marks in two vectors, with about `BYTES` bytes of records.
#[derive(Default)]
pub(crate) struct Apart<const BYTES: usize> {
    records: Vec<Event>,
    marks: Vec<(u32, Mark)>,
}

impl<const BYTES: usize> Apart<BYTES> {
    const CAPACITY: usize = capacity::<BYTES>(size_of::<Event>());
}

impl<const BYTES: usize> Shape for Apart<BYTES> {
    fn push(&mut self, event: Event) {
        if self.records.capacity() == 0 {
            self.records.reserve(Self::CAPACITY);
        }
        self.records.push(event);
    }

    fn mark(&mut self, mark: Mark) {
        self.marks.push((self.records.len() as u32, mark));
    }

    fn is_full(&self) -> bool {
        self.records.len() >= Self::CAPACITY
    }

    fn take(&mut self, mut each: impl FnMut(Item<u32, u64>)) {
        let mut records = self.records.drain(..);
        let mut taken = 0;
        for (behind, mark) in self.marks.drain(..) {
            for record in records.by_ref().take((behind - taken) as usize) {
                each(Item::Record(record));
            }
            taken = behind;
            each(Item::Mark(mark));
        }
        for record in records {
            each(Item::Record(record));
        }
    }

    fn exchange(
        route: impl FnMut(&Event) -> usize + 'static,
    ) -> impl ParallelizationContract<u64, Self> {
        distribute(route)
    }
}

/// Sends the containers of a shape to the workers, with one container under construction for each.
struct Router<S, F> {
    buffers: Vec<S>,
    route: F,
}

fn distribute<S: Shape, F: FnMut(&Event) -> usize + 'static>(
    route: F,
) -> impl ParallelizationContract<u64, S> {
    DistributorPact(|peers| Router {
        buffers: (0..peers).map(|_| S::default()).collect::<Vec<S>>(),
        route,
    })
}

impl<S: Shape, F: FnMut(&Event) -> usize> Distributor<S> for Router<S, F> {
    fn partition<T: Clone, P: Push<Message<T, S>>>(
        &mut self,
        container: &mut S,
        time: &T,
        pushers: &mut [P],
    ) {
        let Router { buffers, route } = self;
        container.take(|item| match item {
            Item::Record(event) => {
                let to = route(&event);
                buffers[to].push(event);
                if buffers[to].is_full() {
                    Message::push_at(&mut buffers[to], time.clone(), &mut pushers[to]);
                }
            }
            Item::Mark(mark) => buffers[mark.to as usize].mark(mark),
        });
    }

    fn flush<T: Clone, P: Push<Message<T, S>>>(&mut self, time: &T, pushers: &mut [P]) {
        for (buffer, pusher) in self.buffers.iter_mut().zip(pushers) {
            if !buffer.is_empty() {
                Message::push_at(buffer, time.clone(), pusher);
            }
        }
    }
}

/// The workers of one process hand containers over by moving them.
macro_rules! never_serialised {
    ($shape:ident, $count:expr) => {
        impl<const BYTES: usize> Accountable for $shape<BYTES> {
            fn record_count(&self) -> i64 {
                let count: fn(&Self) -> usize = $count;
                count(self) as i64
            }
        }

        impl<const BYTES: usize> ContainerBytes for $shape<BYTES> {
            fn from_bytes(_: Bytes) -> Self {
                unreachable!("the workers are threads of one process")
            }

            fn length_in_bytes(&self) -> usize {
                unreachable!("the workers are threads of one process")
            }

            fn into_bytes<W: std::io::Write>(&self, _: &mut W) {
                unreachable!("the workers are threads of one process")
            }
        }
    };
}
never_serialised!(Mixed, |shape| shape.0.len());
never_serialised!(Apart, |shape| shape.records.len() + shape.marks.len());
