//! From the plan to one worker's dataflow.
//!
//! Nodes of different types keep their streams in one registry, by node and input. `dyn Any` asks for `'static`,
//! which timely's streams, bound to their scope, are not; hence the one `unsafe` cast of this file.
#![allow(unsafe_code)]

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tiderace_operators::current;
use tiderace_operators::dataflow::{Head, Records, Routing};
use tiderace_operators::emit::{Emit, Steps};
use tiderace_operators::handover::{Handover, Keeper};
use tiderace_operators::shard::Shards;
use tiderace_operators::store::StoreView;
use tiderace_operators::tally::{Counting, Ledger, Tally, Verdict};
use timely::dataflow::Scope;

use super::{Collect, Kind, PortId, Reader, Topology};

/// What the engine, or the test driver, adds to the dataflow on one worker.
pub(crate) trait Host<'s> {
    /// Builds the operator of the source at `node` on `head`.
    fn source(&mut self, node: usize, head: Head<'s>, reader: Box<dyn Reader>);
    /// Where the runs of the sink at `node` go.
    fn collect(&mut self, node: usize) -> Collect;
    /// How many partitions the sink at `node` writes to.
    fn partitions(&self, node: usize) -> u32;
    /// Whether the log takes timestamps at or before the epoch.
    fn any_timestamp(&self) -> bool;
    /// Who keeps snapshots of the steps' state; `None` if nobody does.
    fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        None
    }
    /// Keeps a look into the state of `node`, an `Rc<dyn StoreView<K, V>>`, if anybody asks.
    fn keep_store(&mut self, node: usize, store: Box<dyn Any>);
    /// Builds the operator that looks late records up, on `head`, for the late sink at `node`.
    fn late(&mut self, node: usize, head: Head<'s>, late: Records<'s, (), ()>, shards: Shards);
}

/// The operator whose fused steps are being put together.
pub(crate) struct Chain<'s> {
    pub(crate) head: Head<'s>,
    /// How many senders its outputs have.
    pub(crate) senders: usize,
    /// The counts of its fused steps.
    pub(crate) tally: Tally,
}

/// One worker's dataflow, being built.
pub(crate) struct Rendering<'h, 's> {
    pub(crate) scope: Scope<'s, u64>,
    pub(crate) shards: Shards,
    ledger: Ledger,
    pub(crate) host: &'h mut dyn Host<'s>,
    counting: Counting,
    readers: HashMap<PortId, Vec<(usize, usize)>>,
    topology: &'h Topology,
    streams: HashMap<(usize, usize), Waiting<'s>>,
    /// Streams that carry nothing but progress: whoever follows them all has seen everything.
    ends: Vec<Records<'s, (), ()>>,
    progress: HashMap<usize, Records<'s, (), ()>>,
    shared: &'h HashMap<usize, Box<dyn Any + Send + Sync>>,
}

/// A stream that waits for the node that reads it.
struct Waiting<'s> {
    types: TypeId,
    stream: Box<dyn Opaque + 's>,
    senders: usize,
    counting: Counting,
}

/// A stream as a node finds it.
pub(crate) struct Input<'s, K: 'static, V: 'static> {
    pub(crate) stream: Records<'s, K, V>,
    pub(crate) senders: usize,
    pub(crate) counting: Counting,
}

trait Opaque {}
impl<T> Opaque for T {}

/// What all workers of a process share of a topology: the copies of its global tables, by node.
pub(crate) type Built = HashMap<usize, Box<dyn Any + Send + Sync>>;

impl<'h, 's> Rendering<'h, 's> {
    /// Begins the operator of a node.
    fn head(&self, node: usize) -> Head<'s> {
        Head::new(&self.topology.nodes[node].name, self.scope)
    }

    /// The operator of a node whose outputs have `senders` senders; its steps count as `counting` says.
    pub(crate) fn chain(
        &self,
        node: usize,
        mut head: Head<'s>,
        senders: usize,
        counting: Counting,
    ) -> Chain<'s> {
        let tally = self.tally(node, counting);
        head.counts(&tally);
        Chain {
            head,
            senders,
            tally,
        }
    }

    /// The counts of a node.
    pub(crate) fn tally(&self, node: usize, counting: Counting) -> Tally {
        let node = u32::try_from(node).expect("nodes are counted in u32");
        Tally::new(&self.ledger, counting, node)
    }

    /// A node's way to whoever keeps its state; each that [`Topology::stateful`] lists has its own.
    pub(crate) fn handover(&self, node: usize) -> Handover {
        Handover {
            keeper: self.host.keeper(),
            node: u32::try_from(node).expect("nodes are counted in u32"),
            worker: self.scope.index(),
            shards: self.shards,
        }
    }

    /// How records that come straight from a source are counted.
    pub(crate) fn counting(&self) -> Counting {
        self.counting
    }

    /// Keeps a look into the state of a node.
    pub(crate) fn keep_store<K: 'static, V: 'static>(
        &mut self,
        node: usize,
        store: Rc<dyn StoreView<K, V>>,
    ) {
        self.host.keep_store(node, Box::new(store));
    }

    /// Whether any step looks at the keys that come out of a node.
    pub(crate) fn key_is_read(&self, node: usize) -> bool {
        self.topology.key_is_read(PortId { node, port: 0 })
    }

    /// Whether anything reads a port.
    pub(crate) fn is_read(&self, node: usize, port: usize) -> bool {
        self.readers.contains_key(&PortId { node, port })
    }

    /// The way for what a node makes one by one, through the fused steps behind one of its ports.
    pub(crate) fn emit<K: Clone + 'static, V: Clone + 'static>(
        &mut self,
        node: usize,
        port: usize,
        chain: &mut Chain<'s>,
    ) -> Emit<K, V> {
        let steps = self.steps(node, port, chain);
        chain.head.emit(steps)
    }

    /// The fused steps behind a port of a node, hooked into `chain`.
    pub(crate) fn steps<K: Clone + 'static, V: Clone + 'static>(
        &mut self,
        node: usize,
        port: usize,
        chain: &mut Chain<'s>,
    ) -> Steps<K, V> {
        let readers = self
            .readers
            .get(&PortId { node, port })
            .cloned()
            .unwrap_or_default();
        let topology = self.topology;
        let mut all = readers.into_iter().map(|(reader, input)| {
            let steps = (topology.nodes[reader].attach[input])(self, chain);
            *steps
                .downcast::<Steps<K, V>>()
                .expect("`build` connects nodes of the same types only")
        });
        let Some(first) = all.next() else {
            let tally = chain.tally.clone();
            return Box::new(move |records| {
                for record in records.drain(..) {
                    tally.verdict(record.header.position, Verdict::Filtered);
                }
            });
        };
        all.fold(first, |mut one, mut other| {
            let mut copies = Vec::new();
            Box::new(move |records| {
                // Where a copy fails is not known.
                current::leave();
                copies.clone_from(records);
                one(&mut copies);
                other(records);
            })
        })
    }

    /// Adds an output to `chain` for input `input` of `node`, which finds it when its turn comes.
    pub(crate) fn boundary<K: 'static, V: 'static>(
        &mut self,
        node: usize,
        input: usize,
        routing: Routing,
        chain: &mut Chain<'s>,
    ) -> Box<dyn Any> {
        let (steps, stream) = chain.head.port::<K, V>(routing);
        let waiting = Waiting {
            types: TypeId::of::<(K, V)>(),
            stream: Box::new(stream),
            senders: chain.senders,
            counting: chain.tally.counting(),
        };
        self.streams.insert((node, input), waiting);
        Box::new(steps)
    }

    /// The stream that was put aside for input `input` of `node`.
    pub(crate) fn input<K: 'static, V: 'static>(
        &mut self,
        node: usize,
        input: usize,
    ) -> Input<'s, K, V> {
        let Waiting {
            types,
            stream,
            senders,
            counting,
        } = self
            .streams
            .remove(&(node, input))
            .expect("inputs come before those that read them");
        assert_eq!(
            types,
            TypeId::of::<(K, V)>(),
            "the stream for node {node} is of other types"
        );
        let stream = Box::into_raw(stream).cast::<Records<'s, K, V>>();
        // SAFETY: `boundary` is the only writer and boxed a `Records<'s, K, V>` under the `TypeId` of `(K, V)`,
        // and `'s` is the lifetime of this rendering, so the pointer came from a box of exactly this type.
        let stream = *unsafe { Box::from_raw(stream) };
        Input {
            stream,
            senders,
            counting,
        }
    }

    /// Has `head` show, to whoever follows everything, how far it has come.
    pub(crate) fn ends(&mut self, head: &mut Head<'s>) {
        self.ends.push(head.progress());
    }

    /// Keeps the progress of a global table for the joins with it.
    pub(crate) fn put_progress(&mut self, node: usize, progress: Records<'s, (), ()>) {
        self.progress.insert(node, progress);
    }

    /// The progress of a global table.
    pub(crate) fn progress(&self, node: usize) -> Records<'s, (), ()> {
        self.progress[&node].clone()
    }

    /// What the workers share of a node.
    pub(crate) fn shared<T: 'static>(&self, node: usize) -> &'h T {
        self.shared[&node]
            .downcast_ref()
            .expect("`share` made it of this type")
    }
}

/// Builds the dataflow of `topology` on one worker. Returns streams that carry nothing: an epoch that all of them
/// have passed is complete.
pub(crate) fn compile<'s>(
    topology: &Topology,
    shared: &Built,
    scope: Scope<'s, u64>,
    shards: Shards,
    ledger: &Ledger,
    host: &mut dyn Host<'s>,
) -> Vec<Records<'s, (), ()>> {
    let mut readers: HashMap<PortId, Vec<(usize, usize)>> = HashMap::new();
    for (node, it) in topology.nodes.iter().enumerate() {
        for (input, port) in it.inputs.iter().enumerate() {
            readers.entry(*port).or_default().push((node, input));
        }
    }
    let branches = readers.values().any(|of| of.len() > 1)
        || topology.nodes.iter().any(|node| {
            matches!(
                node.kind,
                Kind::Step {
                    multiplies: true,
                    ..
                }
            )
        });
    let mut rendering = Rendering {
        scope,
        shards,
        ledger: ledger.clone(),
        host,
        counting: if branches {
            Counting::ByPosition
        } else {
            Counting::Once
        },
        readers,
        topology,
        streams: HashMap::new(),
        ends: Vec::new(),
        progress: HashMap::new(),
        shared,
    };
    for (node, it) in topology.nodes.iter().enumerate() {
        if let Some(render) = &it.render {
            let head = rendering.head(node);
            render(&mut rendering, head);
        }
    }
    rendering.ends
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    use tiderace_operators::dataflow::{Epoch, NEVER};
    use tiderace_operators::handover::{Chunk, Part, StateError, TakeEntry};
    use tiderace_operators::record::EventTime;
    use tiderace_operators::stage::frontier;

    use super::*;
    use crate::topology::{Collector, SinkRun};
    use crate::{StreamsBuilder, TimeWindows, Topic, Windowed};

    /// Wants a snapshot of epoch 1 and notes whose parts are done.
    #[derive(Default)]
    struct Parts(Mutex<Vec<(usize, u32)>>);

    impl Keeper for Parts {
        fn wanted(&self) -> Epoch {
            1
        }
        fn is_full(&self) -> bool {
            false
        }
        fn chunk(&self, _: usize, _: Chunk) {}
        fn done(&self, part: Part) {
            self.0.lock().unwrap().push((part.worker, part.node));
        }
        fn fail(&self, _: u32, _: usize, _: StateError) {}
        fn restore(&self, _: u32, _: usize, _: &mut TakeEntry<'_>) -> Option<EventTime> {
            None
        }
    }

    /// Takes nothing from a sink.
    struct Nothing;

    impl Collector for Nothing {
        fn grew(&mut self, _: usize) {}
        fn take(&mut self, _: Epoch, _: Result<SinkRun, String>) {}
    }

    /// Has sources that read nothing, and sinks that write nothing.
    struct Idle(Arc<Parts>);

    impl<'s> Host<'s> for Idle {
        fn source(&mut self, _: usize, head: Head<'s>, _: Box<dyn Reader>) {
            head.build(|_, ports| ports.advance_to(NEVER));
        }
        fn collect(&mut self, _: usize) -> Collect {
            Box::new(Nothing)
        }
        fn partitions(&self, _: usize) -> u32 {
            1
        }
        fn any_timestamp(&self) -> bool {
            true
        }
        fn keeper(&self) -> Option<Arc<dyn Keeper>> {
            Some(Arc::clone(&self.0) as Arc<dyn Keeper>)
        }
        fn keep_store(&mut self, _: usize, _: Box<dyn Any>) {}
        fn late(&mut self, _: usize, mut head: Head<'s>, late: Records<'s, (), ()>, _: Shards) {
            let mut late = head.follow(late);
            head.build(move |frontiers, ports| {
                late(&mut |_, batch| batch.drain(|_| ()));
                if frontier(&frontiers[0]) == NEVER {
                    ports.advance_to(NEVER);
                }
            });
        }
    }

    const IN: Topic<u32, u64> = Topic::json("in");
    const ROWS: Topic<u32, String> = Topic::json("rows");

    /// A topology with a step of every kind.
    fn all_kinds() -> Topology {
        let builder = StreamsBuilder::new("all-kinds");
        let rows = builder.global_table(ROWS).named("rows");
        let stream = builder.stream(IN);
        let joined = stream.join(&rows, |key, _| *key, |value, _| value);
        let grouped = joined.merge(&stream).filter(|_| true).group_by_key();
        let windowed =
            || grouped.windowed_by(TimeWindows::of_size(std::time::Duration::from_secs(1)));
        let (counts, sums): (Topic<u32, u64>, Topic<Windowed<u32>, u64>) =
            (Topic::json("counts"), Topic::json("sums"));
        grouped.count().named("counts").to(counts);
        let late: Topic<u32, u64> = Topic::json("late");
        let of_windows = windowed().late_to(late);
        of_windows
            .aggregate(0, |sum, _| sum)
            .named("kept")
            .emit_on_close()
            .to(sums);
        let updates: Topic<Windowed<u32>, u64> = Topic::json("updates");
        windowed().reduce(|one, _| one).named("updated").to(updates);
        builder.build().unwrap()
    }

    #[test]
    fn exactly_the_stateful_steps_hand_over_a_part_on_every_worker() {
        let (topology, parts) = (Arc::new(all_kinds()), Arc::new(Parts::default()));
        let built = Arc::new(topology.share(&Arc::new(AtomicU64::new(0))));
        let stateful = topology.stateful();
        let names: Vec<&str> = stateful.iter().map(|step| &*step.name).collect();
        assert_eq!(names, ["rows", "counts", "kept", "updated"]);
        let (kept, of_workers) = (Arc::clone(&parts), Arc::clone(&topology));
        let ended = timely::execute(timely::Config::process(2), move |worker| {
            worker.dataflow(|scope| {
                let (shards, mut host) = (Shards::new(8, 2), Idle(Arc::clone(&kept)));
                let ledger = Ledger::default();
                compile(&of_workers, &built, scope, shards, &ledger, &mut host);
            });
            while worker.has_dataflows() {
                worker.step_or_park(Some(std::time::Duration::from_millis(1)));
            }
        });
        for ended in ended.unwrap().join() {
            ended.unwrap();
        }
        let mut done = parts.0.lock().unwrap().clone();
        done.sort_unstable();
        let of_worker = |worker| stateful.iter().map(move |step| (worker, step.node));
        assert_eq!(done, (0..2).flat_map(of_worker).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_steps_state_is_names_method_windows_form_and_types() {
        let states: Vec<String> = all_kinds()
            .stateful()
            .into_iter()
            .map(|step| step.state)
            .collect();
        let expected = [
            "table, rows of topic `rows`, u32 -> alloc::string::String",
            "count, by key, u32 -> u64",
            "aggregate, windows of 1000 ms every 1000 ms, grace 0 ms, emitted on close, its records of u64, u32 -> u64",
            "reduce, windows of 1000 ms every 1000 ms, grace 0 ms, u32 -> u64",
        ];
        assert_eq!(states, expected);
    }
}
