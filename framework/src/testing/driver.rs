//! [`TopologyTestDriver`].

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::channel;
use std::time::Duration;

use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::EventTime;
use tiderace_operators::shard::Shards;
use tiderace_operators::store::StoreView;
use tiderace_operators::tally::Ledger;
use timely::communication::allocator::{Allocator, thread::Thread};
use timely::worker::Worker;

use super::input::{encode, slots};
use super::memory::{MemoryBatch, MemoryTransactions, Topics};
use super::{RawRecord, Store, TestRecord};
use crate::config::Config;
use crate::connect::Topic;
use crate::error::RunError;
use crate::runtime::driving::{
    Arrived, Basis, Clock, CommitParts, Committer, Dataflow, Delivery, Epochs, InFlight, Limits,
    Outbox, Plan, Poison, Progress, Queues, Recovering, Slot, Waits, Watch, build,
};
use crate::runtime::{Counts, SharedProgress};
use crate::topology::Topology;

/// The wall clock of a test until it is moved: 2020-01-01T00:00:00Z.
const WALL_CLOCK: Duration = Duration::from_secs(1_577_836_800);

/// Turns of the worker after which a test is told that nothing moves.
const TURNS: usize = 100_000;

/// Runs a topology in the thread of a test.
///
/// Each piped record is an epoch of its own; [`pipe_batch`](Self::pipe_batch) pipes many as one. An epoch is
/// committed when the method returns, so what it wrote can be read. Topics have one partition unless asked.
///
/// ```
/// # use tiderace::testing::TopologyTestDriver;
/// # use tiderace::{StreamsBuilder, Topic};
/// const WORDS: Topic<String, String> = Topic::bytes("words");
/// const COUNTS: Topic<String, u64> = Topic::bytes("counts");
/// let builder = StreamsBuilder::new("word-count");
/// builder.stream(WORDS).group_by(|word| word.clone()).count().to(COUNTS);
/// let mut driver = TopologyTestDriver::new(builder.build()?)?;
/// driver.pipe_input(WORDS, ("line".to_string(), "tide".to_string()))?;
/// driver.pipe_input(WORDS, ("line".to_string(), "tide".to_string()))?;
/// let counts = driver.read_key_values(COUNTS);
/// assert_eq!(counts, [("tide".to_string(), 1), ("tide".to_string(), 2)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopologyTestDriver {
    worker: Worker,
    pub(super) plan: Plan,
    dataflow: Dataflow,
    watch: Watch,
    committer: Committer,
    queues: Queues,
    partitions: u32,
    /// Next offset of each slot.
    offsets: Vec<i64>,
    piped: u64,
    pub(super) topics: Topics,
    stores: HashMap<usize, Box<dyn Any>>,
}

impl TopologyTestDriver {
    /// A driver whose topics have one partition.
    ///
    /// # Errors
    /// As for a run: see [`Engine::start`](crate::Engine::start).
    pub fn new(topology: Topology) -> Result<Self, RunError> {
        Self::with_partitions(topology, 1)
    }

    /// A driver whose topics have this many partitions.
    ///
    /// # Errors
    /// As for a run: see [`Engine::start`](crate::Engine::start).
    pub fn with_partitions(topology: Topology, partitions: u32) -> Result<Self, RunError> {
        Self::with_config(topology, partitions, &Config::default())
    }

    /// A driver with limits (`idle_timeout`, `max_skew`) of its own.
    ///
    /// # Errors
    /// As for a run: see [`Engine::start`](crate::Engine::start).
    pub fn with_config(
        topology: Topology,
        partitions: u32,
        config: &Config,
    ) -> Result<Self, RunError> {
        let partitions = partitions.max(1);
        let slots = slots(&topology, partitions, config);
        let clock = Clock::manual(WALL_CLOCK);
        let epochs = Epochs::new(
            slots.clone(),
            &Basis::default(),
            Vec::new(),
            Limits::by_hand(),
            clock,
        );
        let settled = Arc::new(AtomicU64::new(0));
        let (to_committer, from_workers) = channel();
        let topics = Topics::default();
        let sinks = topology.collected();
        let plan = Plan {
            built: Arc::new(topology.share(&settled)),
            shards: Shards::new(config.shards, 1),
            ledger: Ledger::default(),
            epochs,
            slots: Arc::new(slots),
            basis: Arc::default(),
            keeper: None,
            partitions: Arc::new(
                sinks
                    .iter()
                    .map(|topic| (topic.clone(), partitions))
                    .collect(),
            ),
            any_timestamp: true,
            max_skew: config.max_skew,
            settled,
            progress: Arc::new(Progress::default()),
            poison: Poison::default(),
            to_committer,
            outbox: Outbox::default(),
            topology: Arc::new(topology),
        };
        let committer = Committer::new(CommitParts {
            application_id: plan.topology.application_id().to_owned(),
            incarnation: "test".to_owned(),
            fingerprint: plan.topology.fingerprint(),
            sinks,
            nodes: plan.topology.node_names(),
            dead_letters: plan.topology.dead_letters(),
            transactions: Box::new(MemoryTransactions::new(topics.clone())),
            delivery: Delivery::InTransaction,
            basis: 0,
            log_end: 0,
            recovery: Recovering::begin(),
            last_hash: String::new(),
            logged: BTreeMap::new(),
            epochs: plan.epochs.clone(),
            ledger: plan.ledger.clone(),
            settled: Arc::clone(&plan.settled),
            progress: Arc::clone(&plan.progress),
            from_workers,
            outbox: plan.outbox.clone(),
            waits: Waits::default(),
            send_ahead: usize::MAX,
            shown: None,
        });
        Self::start(plan, committer, partitions, topics)
    }

    fn start(
        plan: Plan,
        committer: Committer,
        partitions: u32,
        topics: Topics,
    ) -> Result<Self, RunError> {
        let queues = Queues::new(plan.slots.len(), usize::MAX, InFlight::default());
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(
            timely::WorkerConfig::default(),
            allocator,
            Some(crate::clock::instant()),
        );
        let mut stores = HashMap::new();
        let dataflow = build(&mut worker, &plan, &queues, Some(&mut stores));
        let watch = Watch::new(dataflow.passed.clone(), plan.to_committer.clone());
        let offsets = vec![0; plan.slots.len()];
        let mut driver = TopologyTestDriver {
            worker,
            plan,
            dataflow,
            watch,
            committer,
            queues,
            partitions,
            offsets,
            piped: 0,
            topics,
            stores,
        };
        driver.committer.advance()?;
        driver.turn(|driver| driver.plan.epochs.state().open == 1)?;
        Ok(driver)
    }

    /// Pipes a record into a topic that the topology reads, as an epoch of its own.
    ///
    /// # Errors
    /// The run has failed: bad data under `Fail`, a result that cannot be written.
    ///
    /// # Panics
    /// The topology does not read the topic, or the partition is not one of the driver's.
    pub fn pipe_input<K: Key, V: Data>(
        &mut self,
        topic: Topic<K, V>,
        record: impl Into<TestRecord<K, V>>,
    ) -> Result<(), RunError> {
        self.pipe_batch(topic, [record])
    }

    /// Pipes records into a topic that the topology reads, all as one epoch.
    ///
    /// # Errors
    /// As for [`pipe_input`](Self::pipe_input).
    pub fn pipe_batch<K: Key, V: Data, R: Into<TestRecord<K, V>>>(
        &mut self,
        topic: Topic<K, V>,
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), RunError> {
        let partitions = self.partitions;
        let records = records
            .into_iter()
            .map(|record| encode(topic, record.into(), partitions));
        let records: Vec<RawRecord> = records.collect();
        self.pipe_raw(records)
    }

    /// Pipes records as their bytes, of any topics that the topology reads, all as one epoch: for bad data,
    /// headers, tombstones, and epochs over several topics.
    ///
    /// # Errors
    /// As for [`pipe_input`](Self::pipe_input).
    pub fn pipe_raw(
        &mut self,
        records: impl IntoIterator<Item = RawRecord>,
    ) -> Result<(), RunError> {
        for record in records {
            let is = |slot: &Slot| {
                *slot.partition.topic == *record.topic
                    && slot.partition.partition == record.partition
            };
            let slot = self.plan.slots.iter().position(is).unwrap_or_else(|| {
                panic!(
                    "no step reads topic `{}`, partition {}",
                    record.topic, record.partition
                )
            });
            let first_offset = self.offsets[slot];
            self.offsets[slot] += 1;
            self.piped += 1;
            let records = vec![record];
            let batch = Arrived::new(Arc::new(MemoryBatch {
                slot,
                first_offset,
                records,
            }));
            self.queues.push(batch, &[]);
        }
        let piped = self.piped;
        self.caught_up();
        self.turn(|driver| driver.plan.epochs.taken() >= piped)?;
        self.finish_epoch()
    }

    /// Moves the watermark of every step to `time`, if it has not come so far: closes windows without a record.
    ///
    /// # Errors
    /// As for [`pipe_input`](Self::pipe_input).
    pub fn advance_watermark(&mut self, time: EventTime) -> Result<(), RunError> {
        self.plan.epochs.ask_watermark(time);
        self.finish_epoch()
    }

    /// Moves the wall clock: partitions that have been silent for `idle_timeout` are left out of the watermark.
    ///
    /// # Errors
    /// As for [`pipe_input`](Self::pipe_input).
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<(), RunError> {
        self.caught_up();
        self.turns(8)?;
        self.plan.epochs.clock().advance(by);
        self.wake();
        self.turns(8)?;
        if self.plan.epochs.is_open() {
            self.finish_epoch()
        } else {
            Ok(())
        }
    }

    /// Ends the input: every window that began at or before the largest stream time closes, as at the end of a
    /// bounded run.
    ///
    /// # Errors
    /// As for [`pipe_input`](Self::pipe_input).
    pub fn end_input(&mut self) -> Result<(), RunError> {
        self.plan.epochs.ask_end();
        self.finish_epoch()
    }

    /// What the stateful step or global table of this name holds.
    ///
    /// # Panics
    /// There is no such step, or it holds other types.
    pub fn store<K: Key, V: Data>(&self, name: &str) -> Store<K, V> {
        let node = self
            .plan
            .topology
            .nodes
            .iter()
            .position(|node| node.name == name);
        let node = node.unwrap_or_else(|| panic!("no step is named `{name}`"));
        let store = self
            .stores
            .get(&node)
            .unwrap_or_else(|| panic!("`{name}` keeps no state"));
        let view = store.downcast_ref::<std::rc::Rc<dyn StoreView<K, V>>>();
        let rows = view
            .unwrap_or_else(|| panic!("`{name}` holds other types"))
            .rows();
        Store { rows }
    }

    /// Counts of the records piped in so far.
    pub fn counts(&self) -> Counts {
        self.plan.progress.committed()
    }

    /// Live figures, as of a run.
    pub fn progress(&self) -> SharedProgress {
        Arc::clone(&self.plan.progress)
    }

    fn caught_up(&mut self) {
        for (slot, offset) in self.offsets.iter().enumerate() {
            self.queues.caught_up(slot, *offset);
        }
        self.wake();
    }

    fn wake(&self) {
        for activator in &self.dataflow.rouse.sources {
            // The worker is this thread's and there.
            let _ = activator.activate();
        }
    }

    /// Closes the open epoch and has it committed.
    fn finish_epoch(&mut self) -> Result<(), RunError> {
        while self.plan.epochs.is_open() {
            let open = self.plan.epochs.state().open;
            self.plan.epochs.hurry();
            self.turn(move |driver| driver.plan.epochs.state().committed >= open)?;
        }
        Ok(())
    }

    /// Gives the worker turns until `done`.
    fn turn(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), RunError> {
        for _ in 0..TURNS {
            if done(self) {
                return Ok(());
            }
            self.turns(1)?;
        }
        Err(RunError::Bug("the dataflow does not move".into()))
    }

    fn turns(&mut self, turns: usize) -> Result<(), RunError> {
        for _ in 0..turns {
            // Parks a moment when nothing is active, so that a test that waits does not spin.
            self.worker.step_or_park(Some(Duration::from_micros(100)));
            self.watch.look();
            self.committer.advance()?;
        }
        Ok(())
    }
}

impl Drop for TopologyTestDriver {
    fn drop(&mut self) {
        for dataflow in self.worker.installed_dataflows() {
            self.worker.drop_dataflow(dataflow);
        }
    }
}
