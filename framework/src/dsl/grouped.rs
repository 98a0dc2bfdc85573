//! [`KGroupedStream`]: records by key, before their window and their aggregation are chosen.

use std::any::Any;
use std::sync::Arc;

use tiderace_operators::aggregate::{Change, RunningStep, aggregate};
use tiderace_operators::dataflow::Routing;
use tiderace_operators::emit::Steps;
use tiderace_operators::fold::{Aggregation, Count, Order};
use tiderace_operators::grouping::{Group, group};
use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::Record;
use tiderace_operators::rows::Rows;
use tiderace_operators::window::TimeWindows;

use super::builder::BEHIND_STATE;
use super::{KStream, KTable, TimeWindowedKStream};
use crate::topology::{Attach, Kind, Node, Render, State};

/// Records grouped by key.
#[must_use = "a grouping does nothing until it is aggregated"]
pub struct KGroupedStream<K, V> {
    pub(crate) stream: KStream<K, V>,
}

/// `count`: how many.
pub(crate) fn counting() -> Aggregation<(), u64> {
    Aggregation::new(
        |so_far: Option<u64>, ()| so_far.unwrap_or(0) + 1,
        Order::Any,
    )
}

/// `reduce`: values of one type put together two at a time.
pub(crate) fn reducing<V: 'static>(
    reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
) -> Aggregation<V, V> {
    let reducer = Arc::new(reducer);
    let step = Arc::clone(&reducer);
    let step = move |so_far: Option<V>, value: V| match so_far {
        None => value,
        Some(so_far) => step(so_far, value),
    };
    Aggregation::new(step, Order::Combine(reducer))
}

/// `aggregate`: from an initial value, record by record.
pub(crate) fn folding<V: 'static, A: Data>(
    initial: A,
    add: impl Fn(A, V) -> A + Send + Sync + 'static,
    order: Order<A>,
) -> Aggregation<V, A> {
    Aggregation::new(
        move |so_far: Option<A>, value| add(so_far.unwrap_or_else(|| initial.clone()), value),
        order,
    )
}

/// Makes the entrance of an aggregating step from its node and routing.
pub(crate) type Entrance = fn(usize, Routing) -> Attach;

/// The entrance of a step that needs its records whole.
pub(crate) fn whole<K: Key, V: Data>(node: usize, routing: Routing) -> Attach {
    Box::new(move |rendering, chain| rendering.boundary::<K, V>(node, 0, routing, chain))
}

/// The entrance of a step that needs no values: they are dropped before the records move to the worker that
/// owns their key, because what is moved is what an exchange costs.
pub(crate) fn without_values<K: Key, V: Data>(node: usize, routing: Routing) -> Attach {
    Box::new(move |rendering, chain| {
        let boundary = rendering.boundary::<K, ()>(node, 0, routing, chain);
        let next = *boundary
            .downcast::<Steps<K, ()>>()
            .expect("a boundary takes records of its own types");
        Box::new(bare::<K, V>(next))
    })
}

/// The entrance of `count`: records of a key are put together before they move to the worker that owns it.
fn in_groups<K: Key, V: Data>(node: usize, routing: Routing) -> Attach {
    Box::new(move |rendering, chain| {
        let number = u32::try_from(node).expect("steps are counted in u32");
        let boundary = rendering.boundary::<K, Group<u64>>(node, 0, routing, chain);
        let next = *boundary
            .downcast::<Steps<K, Group<u64>>>()
            .expect("a boundary takes records of its own types");
        let tally = chain.tally.at(number);
        let steps: Steps<K, V> = group(&mut chain.head, Count, number, tally, next);
        Box::new(steps)
    })
}

/// Has `next` take records without their values.
fn bare<K: Key, V: Data>(mut next: Steps<K, ()>) -> Steps<K, V> {
    let mut bare = Vec::new();
    Box::new(move |records| {
        let without_value = |record: Record<K, V>| Record {
            header: record.header,
            extra: record.extra,
            key: record.key,
            value: (),
        };
        bare.extend(records.drain(..).map(without_value));
        next(&mut bare);
    })
}

/// How groups become a running count.
fn counting_groups() -> Aggregation<Group<u64>, u64> {
    let step = |so_far: Option<u64>, group: Group<u64>| so_far.unwrap_or(0) + group.value;
    Aggregation::new(step, Order::Any)
}

/// Whether two values would be written as the same JSON, so that a table has not changed.
pub(crate) fn same<A: Data>(one: &A, other: &A) -> bool {
    fn equal<T: PartialEq + 'static>(one: &dyn Any, other: &dyn Any) -> Option<bool> {
        Some(one.downcast_ref::<T>()? == other.downcast_ref::<T>()?)
    }
    // Of these no two are written alike: counts need not be written to be told apart.
    let plain = equal::<u64>(one, other)
        .or_else(|| equal::<i64>(one, other))
        .or_else(|| equal::<String>(one, other));
    plain.unwrap_or_else(|| serde_json::to_vec(one).ok() == serde_json::to_vec(other).ok())
}

impl<K: Key, V: Data> KGroupedStream<K, V> {
    /// Puts the records of a key into windows of time.
    #[doc(alias = "windowedBy")]
    pub fn windowed_by(&self, windows: TimeWindows) -> TimeWindowedKStream<K, V> {
        TimeWindowedKStream::new(self.stream.share(), windows)
    }

    /// How many records each key has.
    pub fn count(&self) -> KTable<K, u64> {
        let alone = |of: &Group<u64>| of.alone;
        self.running("count", counting_groups(), in_groups::<K, V>, Some(alone))
    }

    /// Puts the values of a key together two at a time, in the order of an epoch's records.
    pub fn reduce(&self, reducer: impl Fn(V, V) -> V + Send + Sync + 'static) -> KTable<K, V> {
        self.running("reduce", reducing(reducer), whole::<K, V>, None)
    }

    /// Takes the values of a key in one by one, beginning with `initial`, in the order of an epoch's records.
    pub fn aggregate<A: Data>(
        &self,
        initial: A,
        add: impl Fn(A, V) -> A + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.running(
            "aggregate",
            folding(initial, add, Order::Keep),
            whole::<K, V>,
            None,
        )
    }

    fn running<W: Data, A: Data>(
        &self,
        verb: &'static str,
        aggregation: Aggregation<W, A>,
        entrance: Entrance,
        grouped: Option<fn(&W) -> bool>,
    ) -> KTable<K, A> {
        let plan = &self.stream.plan;
        let node = plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let routing = if self.stream.partitioned {
            Routing::Stay
        } else {
            Routing::ByKey
        };
        let aggregation = aggregation.at_step(number);
        let render: Render = Box::new(move |rendering, head| {
            let input = rendering.input::<K, W>(node, 0);
            let workers = rendering.shards.workers();
            let mut chain = rendering.chain(node, head, workers, BEHIND_STATE);
            rendering.ends(&mut chain.head);
            let step = RunningStep {
                aggregation: aggregation.clone(),
                rows: Rows::by_key(),
                same: same::<A>,
                senders: input.senders,
                changes: rendering.emit::<K, Change<A>>(node, 0, &mut chain),
                late: None,
                grouped,
                tally: rendering.tally(node, input.counting),
            };
            let handover = rendering.handover(node);
            let rows = aggregate(chain.head, input.stream, routing, handover, step);
            rendering.keep_store(node, rows);
        });
        plan.add(Node {
            name: String::new(),
            verb,
            kind: Kind::Stateful {
                detail: "by key".into(),
                state: State::rows::<K, A>(),
            },
            inputs: vec![self.stream.port],
            ports: vec![String::new()],
            attach: vec![entrance(node, routing)],
            render: Some(render),
            share: None,
        });
        KTable::new(plan.clone(), node)
    }
}
