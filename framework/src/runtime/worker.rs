//! One worker: its dataflow with the engine's sources and sinks in it, and the loop that runs it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tiderace_operators::dataflow::{Epoch, Head, NEVER, Records, Routing};
use tiderace_operators::handover::Keeper;
use tiderace_operators::shard::{Shards, reader};
use tiderace_operators::stage::{drive, frontier};
use tiderace_operators::tally::Ledger;
use timely::scheduling::SyncActivator;

use super::SharedProgress;
use super::alarm::Alarm;
use super::basis::Basis;
use super::dead_letter::{DeadLetters, LateStage};
use super::decided::Admit;
use super::epochs::Epochs;
use super::fetch::Rouse;
use super::outbox::Outbox;
use super::pickup::Pickup;
use super::poison::Poison;
use super::queue::Queues;
use super::reading::Reading;
use super::retained::Retained;
use super::slot::Slot;
use super::source::{Again, SourceStage};
use super::staged::Staged;
use super::standing::Standing;
use super::ticker::{Beside, ticker};
use crate::error::RunError;
use crate::snapshot::SnapshotKeeper;
use crate::topology::{
    Built, Collect, Collector, Host, OnError, Reader, SinkRun, SourceTopic, Topology, compile,
};

/// What the workers of a run share.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) topology: Arc<Topology>,
    pub(crate) built: Arc<Built>,
    pub(crate) shards: Shards,
    pub(crate) ledger: Ledger,
    pub(crate) epochs: Epochs,
    pub(crate) slots: Arc<Vec<Slot>>,
    /// What the run goes on from.
    pub(crate) basis: Arc<Basis>,
    /// Who keeps the state of operators, if anybody does.
    pub(crate) keeper: Option<Arc<SnapshotKeeper>>,
    /// Partitions of every topic that is written.
    pub(crate) partitions: Arc<HashMap<String, u32>>,
    pub(crate) any_timestamp: bool,
    pub(crate) max_skew: Duration,
    pub(crate) settled: Arc<AtomicU64>,
    pub(crate) progress: SharedProgress,
    /// Records that are rejected without a look at them.
    pub(crate) poison: Poison,
    pub(crate) to_committer: Sender<ToCommitter>,
    pub(crate) outbox: Outbox,
}

/// What the committer is told.
pub(crate) enum ToCommitter {
    /// Every operator has passed all epochs before this one; what they made of them lies in the [`Outbox`].
    Passed(Epoch),
    /// The run has failed: commit nothing more.
    Failed(RunError),
}

/// The slots that a worker reads, in the order of its queues.
pub(crate) fn slots_of(slots: &[Slot], index: usize, workers: usize) -> Vec<usize> {
    let reads = |slot: &Slot| reader(slot.source, slot.partition.partition, workers) == index;
    (0..slots.len())
        .filter(|slot| reads(&slots[*slot]))
        .collect()
}

/// A worker's dataflow once it is built.
pub(crate) struct Dataflow {
    /// Rouse the sources.
    pub(crate) rouse: Rouse,
    /// How far every operator has come.
    pub(crate) passed: timely::dataflow::ProbeHandle<u64>,
}

/// Looks into the state of operators, by node: each an `Rc<dyn StoreView<K, V>>`.
pub(crate) type Stores = HashMap<usize, Box<dyn std::any::Any>>;

/// Builds the dataflow of one worker; `stores` gets looks into its state, if given.
pub(crate) fn build(
    worker: &mut timely::worker::Worker,
    plan: &Plan,
    queues: &Queues,
    stores: Option<&mut Stores>,
) -> Dataflow {
    let passed = timely::dataflow::ProbeHandle::new();
    let index = worker.index();
    let pickup = (index == 0).then(Pickup::default);
    let beside = Beside::default();
    let sources = worker.dataflow::<u64, _, _>(|scope| {
        let sources = plan.topology.sources();
        let mine = slots_of(&plan.slots, index, scope.peers());
        let ticks = ticker(
            scope,
            &plan.epochs,
            pickup.clone().unwrap_or_default(),
            Rc::clone(&beside),
        );
        let mut host = WorkerHost {
            plan,
            ticks,
            sources,
            mine,
            queues,
            index,
            retained: plan.topology.keeps_late().then(Retained::default),
            wake: Vec::new(),
            beside,
            stores,
        };
        let ends = compile(
            &plan.topology,
            &plan.built,
            scope,
            plan.shards,
            &plan.ledger,
            &mut host,
        );
        for end in ends {
            timely::dataflow::operators::Probe::probe_with(end, &passed);
        }
        host.wake
    });
    let rouse = Rouse { sources, pickup };
    Dataflow { rouse, passed }
}

/// Hands the runs of a sink over to the committer, and counts them as in flight from the moment they grow.
struct SinkRuns {
    to_committer: Sender<ToCommitter>,
    outbox: Outbox,
    epochs: Epochs,
    worker: usize,
    sink: usize,
    node: String,
    /// Bytes of the open epoch's run that are counted.
    counted: usize,
}

impl Collector for SinkRuns {
    fn grew(&mut self, memory: usize) {
        self.epochs.outputs(memory.saturating_sub(self.counted), 0);
        self.counted = self.counted.max(memory);
    }

    fn take(&mut self, epoch: Epoch, outcome: Result<SinkRun, String>) {
        match outcome {
            Ok(run) => {
                self.grew(run.memory());
                self.counted = 0;
                self.outbox.put(epoch, self.sink, self.worker, run);
            }
            Err(reason) => {
                let node = self.node.clone();
                let failed = ToCommitter::Failed(RunError::Output { node, reason });
                // The committer is gone only when the run has failed.
                let _ = self.to_committer.send(failed);
            }
        }
    }
}

struct WorkerHost<'p, 's> {
    plan: &'p Plan,
    ticks: Records<'s, (), ()>,
    sources: Vec<SourceTopic>,
    /// Slots of this worker, in the order of its queues.
    mine: Vec<usize>,
    queues: &'p Queues,
    index: usize,
    retained: Option<Retained>,
    wake: Vec<SyncActivator>,
    beside: Beside,
    stores: Option<&'p mut Stores>,
}

impl WorkerHost<'_, '_> {
    fn collect_as(&self, sink: usize, node: String) -> Collect {
        Box::new(SinkRuns {
            to_committer: self.plan.to_committer.clone(),
            outbox: self.plan.outbox.clone(),
            epochs: self.plan.epochs.clone(),
            worker: self.index,
            sink,
            node,
            counted: 0,
        })
    }

    fn dead_letters(&self) -> DeadLetters {
        let OnError::DeadLetter(topic) = &self.plan.topology.on_error else {
            return DeadLetters::new(None);
        };
        let sink = self.plan.topology.sinks().len();
        DeadLetters::new(Some((
            self.collect_as(sink, "dead-letters".to_owned()),
            self.plan.partitions[topic],
        )))
    }

    fn readings(&self, source: usize) -> Vec<Reading> {
        let of = |(queue, slot): (usize, &usize)| {
            let slot_of = self.plan.slots[*slot].clone();
            let out_of_orderness = self.sources[source].out_of_orderness;
            let poison = self.plan.poison.of(&slot_of.partition);
            (slot_of.source == source).then(|| Reading {
                poison,
                ..Reading::new(*slot, queue, slot_of, out_of_orderness, self.plan.max_skew)
            })
        };
        self.mine.iter().enumerate().filter_map(of).collect()
    }
}

impl WorkerHost<'_, '_> {
    /// How a partition of a source that was added comes to be read, if by this worker.
    fn admit(&self, source: usize, workers: usize) -> Admit {
        let (index, queues) = (self.index, self.queues.clone());
        let out_of_orderness = self.sources[source].out_of_orderness;
        let max_skew = self.plan.max_skew;
        Box::new(move |slot, of| {
            let number = of.partition.partition;
            if of.source != source || reader(source, number, workers) != index {
                return None;
            }
            let queue = queues.add(of.partition.clone(), of.start);
            Some(Reading::new(slot, queue, of, out_of_orderness, max_skew))
        })
    }
}

impl<'s> Host<'s> for WorkerHost<'_, 's> {
    fn source(&mut self, node: usize, mut head: Head<'s>, reader: Box<dyn Reader>) {
        let source = self
            .sources
            .iter()
            .position(|of| of.node == node)
            .expect("the node is a source");
        let info = head.builder().operator_info();
        let beside = || {
            head.scope()
                .worker()
                .activator_for(Rc::clone(&info.address))
        };
        let mut alarm = Alarm::new(beside());
        self.beside.borrow_mut().push(beside());
        let from_afar = || {
            head.scope()
                .worker()
                .sync_activator_for(info.address.to_vec())
        };
        self.wake.push(from_afar());
        self.plan.epochs.add_source(from_afar());
        let sender = self.plan.to_committer.clone();
        let mut stage = SourceStage {
            node: self.plan.topology.nodes[node].name.clone(),
            index: u32::try_from(self.index).expect("workers are counted in u32"),
            table: self.sources[source].table,
            readings: self.readings(source),
            admit: self.admit(source, head.scope().peers()),
            reader,
            queues: self.queues.clone(),
            epochs: self.plan.epochs.clone(),
            on_error: self.plan.topology.on_error.clone(),
            dead_letters: self.dead_letters(),
            retained: self.retained.clone(),
            // The committer is gone only when the run has failed already.
            fail: Rc::new(move |error| drop(sender.send(ToCommitter::Failed(error)))),
            progress: Arc::clone(&self.plan.progress),
            standing: Standing::resume(&self.plan.basis),
            staged: Staged::default(),
        };
        let mut ticks = head.follow(self.ticks.clone());
        head.build(move |frontiers, ports| {
            ticks(&mut |_, batch| batch.drain(|_| ()));
            match stage.run(frontier(&frontiers[0]), ports) {
                Again::Now => alarm.now(),
                Again::In(time) => alarm.within(time),
                Again::OnArrival | Again::Incomplete => {}
            }
        });
    }

    fn collect(&mut self, node: usize) -> Collect {
        let sinks = self.plan.topology.sinks();
        let sink = sinks
            .iter()
            .position(|(of, _)| *of == node)
            .expect("the node is a sink");
        self.collect_as(sink, self.plan.topology.nodes[node].name.clone())
    }

    fn partitions(&self, node: usize) -> u32 {
        let sinks = self.plan.topology.sinks();
        let (_, topic) = sinks
            .iter()
            .find(|(of, _)| *of == node)
            .expect("the node is a sink");
        self.plan.partitions[topic]
    }

    fn keep_store(&mut self, node: usize, store: Box<dyn std::any::Any>) {
        if let Some(stores) = &mut self.stores {
            stores.insert(node, store);
        }
    }

    fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        let keeper = self.plan.keeper.clone()?;
        Some(keeper)
    }

    fn any_timestamp(&self) -> bool {
        self.plan.any_timestamp
    }

    fn late(&mut self, node: usize, mut head: Head<'s>, late: Records<'s, (), ()>, shards: Shards) {
        let input = head.keyed_input(late, Routing::ToReader, shards);
        let retained = self
            .retained
            .clone()
            .expect("a topology with late sinks keeps batches");
        let stage = LateStage {
            reader: retained.add_reader(),
            retained,
            epochs: self.plan.epochs.clone(),
            collect: self.collect(node),
            partitions: self.partitions(node),
            late: Vec::new(),
        };
        drive(head, input, stage);
    }
}

/// Tells the committer, from the first worker, how far every operator has come; true when all input has ended.
pub(crate) struct Watch {
    passed: timely::dataflow::ProbeHandle<u64>,
    told: Epoch,
    to_committer: Sender<ToCommitter>,
}

impl Watch {
    pub(crate) fn new(
        passed: timely::dataflow::ProbeHandle<u64>,
        to_committer: Sender<ToCommitter>,
    ) -> Self {
        Watch {
            passed,
            told: 0,
            to_committer,
        }
    }

    pub(crate) fn look(&mut self) -> bool {
        let reached = self
            .passed
            .with_frontier(|frontier| frontier.first().copied().unwrap_or(NEVER));
        if reached > self.told {
            self.told = reached;
            // The committer is gone only when the run has failed.
            let _ = self.to_committer.send(ToCommitter::Passed(reached));
        }
        reached == NEVER
    }
}
