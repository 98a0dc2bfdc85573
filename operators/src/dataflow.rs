//! The one door to timely: what every operator here is built of.
//!
//! An operator has a [`Head`] while it is put together: its inputs, and an output [`port`](Head::port) for each
//! operator behind it. Once it runs it speaks through its [`Ports`]: records and marks are staged in the ports
//! and sent by [`Ports::flush`]; one capability per port follows the epoch, so that no window holds a commit.
//!
//! Inputs are read with `for_each`, never with timely's `map`, `filter` or `exchange`, which reorder records
//! inside a timestamp.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;

use crate::batch::{Advance, Batch, Mark};
use crate::current;
use crate::emit::{Emit, Outlet, Steps};
use crate::failpoint;
use crate::key::Key;
use crate::record::Record;
use crate::shard::{Shards, reader};
use crate::stream_time::Watermark;
use crate::tally::Tally;

/// The timely timestamp: the number of an epoch, from 1.
pub type Epoch = u64;

/// The epoch behind the last one.
pub const NEVER: Epoch = Epoch::MAX;

/// A stream of records between operators.
pub type Records<'s, K, V> = Stream<'s, Epoch, Batch<K, V>>;

/// How a stream gets to the operator that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// To the same worker.
    Stay,
    /// To the worker that owns the key.
    ByKey,
    /// To the worker that read the record's partition.
    ToReader,
}

/// Reads what has come: calls its argument with each batch and the batch's epoch.
pub type RecordInput<K, V> = Box<dyn FnMut(&mut dyn FnMut(Epoch, &mut Batch<K, V>))>;

/// An operator being put together.
pub struct Head<'s> {
    builder: OperatorBuilder<'s, Epoch>,
    scope: Scope<'s, Epoch>,
    outlets: Vec<Box<dyn Outlet>>,
    holding: Vec<Box<dyn Outlet>>,
    tallies: Vec<Tally>,
    ports: Vec<Box<dyn Port>>,
}

impl<'s> Head<'s> {
    /// Begins the operator `name`.
    pub fn new(name: &str, scope: Scope<'s, Epoch>) -> Self {
        Head {
            builder: OperatorBuilder::new(name.to_owned(), scope),
            scope,
            outlets: Vec::new(),
            holding: Vec::new(),
            tallies: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// The scope it belongs to.
    pub fn scope(&self) -> Scope<'s, Epoch> {
        self.scope
    }

    /// timely's builder, for inputs of other containers and for the operator's address.
    pub fn builder(&mut self) -> &mut OperatorBuilder<'s, Epoch> {
        &mut self.builder
    }

    /// Has counts handed over as an epoch's when the operator goes on to the next, behind all that it made in it.
    pub fn counts(&mut self, tally: &Tally) {
        self.tallies.push(tally.clone());
    }

    /// A way for records made one by one through `steps`: what it holds back goes before any mark, and whenever the
    /// ports are flushed.
    pub fn emit<K: 'static, V: 'static>(&mut self, steps: Steps<K, V>) -> Emit<K, V> {
        let emit = Emit::new(steps);
        self.outlets.push(Box::new(emit.outlet()));
        emit
    }

    /// Has fused steps that hold records back let them go before any mark, and at the end of an epoch.
    pub(crate) fn holds(&mut self, steps: Box<dyn Outlet>) {
        self.holding.push(steps);
    }

    /// Adds an output: what is given to the first goes out as the second, to be read with `routing`.
    pub fn port<K: 'static, V: 'static>(
        &mut self,
        routing: Routing,
    ) -> (Steps<K, V>, Records<'s, K, V>) {
        let (output, stream) = self.builder.new_output::<Batch<K, V>>();
        let staged = Rc::new(RefCell::new(Batch::default()));
        let receivers = match routing {
            Routing::Stay => {
                let index = u32::try_from(self.scope.index()).expect("workers are counted in u32");
                index..index + 1
            }
            Routing::ByKey | Routing::ToReader => {
                0..u32::try_from(self.scope.peers()).expect("workers are counted in u32")
            }
        };
        let output = OutputBuilder::from(output);
        self.ports.push(Box::new(RecordPort {
            output,
            staged: Rc::clone(&staged),
            receivers,
        }));
        (
            Box::new(move |records| staged.borrow_mut().append(records)),
            stream,
        )
    }

    /// Adds an output that carries nothing: whoever reads it sees how far this operator has come.
    pub fn progress(&mut self) -> Records<'s, (), ()> {
        self.port(Routing::Stay).1
    }

    /// Adds an input that carries nothing but progress, and returns its index among the frontiers.
    pub fn follow<K: 'static, V: 'static>(
        &mut self,
        stream: Records<'s, K, V>,
    ) -> RecordInput<K, V> {
        self.input(stream, Pipeline)
    }

    /// Adds an input of records that come to the worker that owns their key, or stay where they are.
    pub fn keyed_input<K: Key, V: 'static + Send>(
        &mut self,
        stream: Records<'s, K, V>,
        routing: Routing,
        shards: Shards,
    ) -> RecordInput<K, V> {
        match routing {
            Routing::Stay => self.input(stream, Pipeline),
            Routing::ByKey => {
                let mut owner = shards.router::<K>();
                self.input(
                    stream,
                    crate::exchange::exchange(move |record: &Record<K, V>| {
                        record.key.as_ref().map_or(0, &mut owner)
                    }),
                )
            }
            Routing::ToReader => self.input(
                stream,
                crate::exchange::exchange(move |record: &Record<K, V>| {
                    let position = record.header.position;
                    reader(position.source(), position.partition(), shards.workers())
                }),
            ),
        }
    }

    /// The watermark over the senders of an input that is read with `routing`.
    pub fn watermark(&self, routing: Routing, senders: usize, held_back: i64) -> Watermark {
        match routing {
            Routing::Stay => {
                let (index, workers) = (self.scope.index(), self.scope.peers());
                Watermark::staying(senders, held_back, index, workers)
            }
            Routing::ByKey | Routing::ToReader => Watermark::new(senders, held_back),
        }
    }

    /// Adds an input with a pact of its own.
    pub fn input<K: 'static, V: 'static, P>(
        &mut self,
        stream: Records<'s, K, V>,
        pact: P,
    ) -> RecordInput<K, V>
    where
        P: timely::dataflow::channels::pact::ParallelizationContract<Epoch, Batch<K, V>>,
    {
        let mut input = self.builder.new_input(stream, pact);
        Box::new(move |each| input.for_each(|capability, batch| each(*capability.time(), batch)))
    }

    /// Ends the building: `logic` is called with the frontiers of the inputs, in their order, whenever
    /// something moved.
    pub fn build(self, mut logic: impl FnMut(&[MutableAntichain<Epoch>], &mut Ports) + 'static) {
        let (outlets, holding) = (self.outlets, self.holding);
        let (tallies, ports) = (self.tallies, self.ports);
        self.builder.build(move |capabilities| {
            let mut ports = Ports {
                outlets,
                holding,
                tallies,
                ports,
                capabilities,
                epoch: 0,
            };
            move |frontiers| {
                logic(frontiers, &mut ports);
                current::leave();
            }
        });
    }
}

/// The outputs of a running operator and the epoch they stand at.
pub struct Ports {
    outlets: Vec<Box<dyn Outlet>>,
    holding: Vec<Box<dyn Outlet>>,
    tallies: Vec<Tally>,
    ports: Vec<Box<dyn Port>>,
    capabilities: Vec<Capability<Epoch>>,
    epoch: Epoch,
}

impl Ports {
    /// The epoch that what is sent belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Tells every operator behind how far this one has come in event time, as sender `from`.
    pub fn mark(&mut self, from: u32, advance: Advance) {
        self.let_go();
        for port in &mut self.ports {
            port.mark(from, advance);
        }
    }

    /// Has what the operator made go through its steps.
    fn release(&mut self) {
        for outlet in &mut self.outlets {
            outlet.flush();
        }
    }

    /// Has all that the operator made reach the ports.
    fn let_go(&mut self) {
        self.release();
        for steps in &mut self.holding {
            steps.flush();
        }
    }

    /// Passes a mark on to the operators behind.
    pub fn pass(&mut self, mark: Mark) {
        self.mark(mark.from, mark.advance);
    }

    /// Sends what is staged, at the current epoch.
    pub fn flush(&mut self) {
        self.release();
        current::leave();
        for (port, capability) in self.ports.iter_mut().zip(&self.capabilities) {
            port.flush(capability);
        }
    }

    /// Sends what is staged and goes on to `epoch`: nothing more will be sent before it, nor ever at [`NEVER`].
    pub fn advance_to(&mut self, epoch: Epoch) {
        self.let_go();
        self.flush();
        for tally in &self.tallies {
            tally.close(self.epoch);
        }
        failpoint!(failpoint::P02_MID_OPERATOR);
        if epoch == NEVER {
            self.capabilities.clear();
        }
        for capability in &mut self.capabilities {
            capability.downgrade(&epoch);
        }
        self.epoch = epoch;
    }
}

trait Port {
    fn mark(&mut self, from: u32, advance: Advance);
    fn flush(&mut self, capability: &Capability<Epoch>);
}

struct RecordPort<K: 'static, V: 'static> {
    output: OutputBuilder<Epoch, NoopBuilder<Batch<K, V>>>,
    staged: Rc<RefCell<Batch<K, V>>>,
    /// The workers that read it from here.
    receivers: Range<u32>,
}

impl<K: 'static, V: 'static> Port for RecordPort<K, V> {
    fn mark(&mut self, from: u32, advance: Advance) {
        let mut staged = self.staged.borrow_mut();
        for to in self.receivers.clone() {
            staged.mark(Mark { from, to, advance });
        }
    }

    fn flush(&mut self, capability: &Capability<Epoch>) {
        let mut staged = self.staged.borrow_mut();
        if !staged.is_blank() {
            self.output
                .activate()
                .session_with_builder(capability)
                .give_container(&mut staged);
        }
    }
}
