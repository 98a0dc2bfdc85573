//! [`TimeWindowedKStream`]: records by key and window of time.

use std::any::type_name;
use std::sync::Arc;

use tiderace_operators::aggregate::{Change, RunningStep, aggregate};
use tiderace_operators::dataflow::{Head, Routing};
use tiderace_operators::emit::Steps;
use tiderace_operators::fold::{Aggregation, Count, Fold, Order};
use tiderace_operators::key::{Data, Key, Windowed};
use tiderace_operators::rows::Rows;
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{
    Arriving, InGroups, OneByOne, WindowGroup, WindowGrouping, WindowStep, aggregate_windows, keeps,
};

use super::builder::BEHIND_STATE;
use super::grouped::{Entrance, counting, folding, reducing, same, whole, without_values};
use super::{KStream, KTable};
use crate::connect::Topic;
use crate::topology::{Attach, Chain, Kind, Node, PortId, Render, Rendering, State};

/// Outputs of a windowed step.
pub(crate) const UPDATES: usize = 0;
pub(crate) const CLOSED: usize = 1;
pub(crate) const LATE: usize = 2;

/// Records grouped by key and window.
#[must_use = "windows do nothing until they are aggregated"]
pub struct TimeWindowedKStream<K, V> {
    stream: KStream<K, V>,
    windows: TimeWindows,
    late: Option<&'static str>,
}

impl<K: Key, V: Data> TimeWindowedKStream<K, V> {
    pub(crate) fn new(stream: KStream<K, V>, windows: TimeWindows) -> Self {
        if let Err(reason) = windows.check() {
            stream.plan.mistake(format!("`windowed_by`: {reason}"));
        }
        TimeWindowedKStream {
            stream,
            windows,
            late: None,
        }
    }

    /// Sends records that are too late for every window they belong to, to this topic: the source's records, as
    /// they came.
    pub fn late_to<LK, LV>(self, topic: Topic<LK, LV>) -> Self {
        TimeWindowedKStream {
            late: Some(topic.name_of()),
            ..self
        }
    }

    /// How many records each key has in each window.
    pub fn count(&self) -> KTable<Windowed<K>, u64> {
        let group = WindowGrouping::<Count>::group_without_values::<K, V>;
        self.add("count", without_values::<K, V>, group, counting(), |_| {
            Count
        })
    }

    /// Puts the values of a key and window together two at a time: each partition's by offset, then what came of
    /// the partitions, in their order.
    pub fn reduce(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.folding("reduce", reducing(reducer))
    }

    /// Takes the values of a key and window in one by one, beginning with `initial`. To give the same result for
    /// any interleaving of partitions, a window that is emitted on close keeps its records and takes them in, by
    /// partition and offset, when it closes; see [`aggregate_combining`](Self::aggregate_combining).
    pub fn aggregate<A: Data>(
        &self,
        initial: A,
        add: impl Fn(A, V) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.folding("aggregate", folding(initial, add, Order::Keep))
    }

    /// As [`aggregate`](Self::aggregate), keeping a partial result per partition instead of the records: when the
    /// window closes they are put together by `combine`, the earlier partition first.
    pub fn aggregate_combining<A: Data>(
        &self,
        initial: A,
        add: impl Fn(A, V) -> A + Send + Sync + 'static,
        combine: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let order = Order::Combine(Arc::new(combine));
        self.folding("aggregate", folding(initial, add, order))
    }

    /// As [`aggregate_combining`](Self::aggregate_combining), where the order of records makes no difference, nor which of
    /// them are put together first: sums of integers, the least, the largest, sets. Not the sum of floating-point
    /// numbers, which depends on both.
    ///
    /// Windows that are emitted on close are made of groups of records, as those of `count` are: what comes of a key's
    /// records on one worker is put together before it moves to another, and where windows overlap a record is taken in
    /// once, however many it belongs to. So `initial` goes into each group, however many there are, and has to be what
    /// `combine` leaves as it is: zero for a sum. A record that makes `add` panic is found and can be rejected; where
    /// only what several have come to makes `combine` panic, no record can, and the run ends.
    pub fn aggregate_in_any_order<A: Data>(
        &self,
        initial: A,
        add: impl Fn(A, V) -> A + Send + Sync + 'static,
        combine: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let order = Order::Groups(Arc::new(combine));
        self.folding("aggregate", folding(initial, add, order))
    }

    fn folding<A: Data>(
        &self,
        verb: &'static str,
        aggregation: Aggregation<V, A>,
    ) -> KTable<Windowed<K>, A> {
        let group = WindowGrouping::<Aggregation<V, A>>::group::<K>;
        self.add(verb, whole::<K, V>, group, aggregation, Aggregation::clone)
    }

    /// Adds the step: by update it takes records by `aggregation`, on close as `on_close_by` makes of that. They come in
    /// by `entrance`, or in groups as `group` makes them where that combines.
    fn add<F: Fold>(
        &self,
        verb: &'static str,
        entrance: Entrance,
        group: MakeGroups<K, V, F>,
        aggregation: Aggregation<F::Taken, F::Value>,
        on_close_by: fn(&Aggregation<F::Taken, F::Value>) -> F,
    ) -> KTable<Windowed<K>, F::Value> {
        let plan = &self.stream.plan;
        let node = plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let routing = if self.stream.partitioned {
            Routing::Stay
        } else {
            Routing::ByKey
        };
        let aggregation = aggregation.at_step(number);
        let windows = self.windows;
        let closing = on_close_by(&aggregation);
        let keeps = keeps(windows, &closing);
        let state = State {
            windowed: Some((type_name::<F::Taken>(), keeps)),
            ..State::rows::<K, F::Value>()
        };
        let render: Render = Box::new(move |rendering, head| {
            let workers = rendering.shards.workers();
            let chain = rendering.chain(node, head, workers, BEHIND_STATE);
            if rendering.is_read(node, CLOSED) {
                let aggregation = on_close_by(&aggregation);
                let on_close = match aggregation.combines() {
                    true => on_close::<K, F, InGroups>,
                    false => on_close::<K, F, OneByOne>,
                };
                on_close(rendering, chain, node, routing, windows, aggregation);
            } else {
                by_update::<K, F::Taken, F::Value>(
                    rendering,
                    chain,
                    node,
                    routing,
                    windows,
                    &aggregation,
                );
            }
        });
        let in_groups = closing
            .combines()
            .then(|| in_groups(node, routing, windows, closing, group));
        let one_by_one = entrance(node, routing);
        let attach: Attach = Box::new(move |rendering, chain| match &in_groups {
            Some(in_groups) if rendering.is_read(node, CLOSED) => in_groups(rendering, chain),
            _ => one_by_one(rendering, chain),
        });
        let detail = format!(
            "windows of {} ms every {} ms, grace {} ms",
            windows.size_millis(),
            windows.advance_millis(),
            windows.grace_millis()
        );
        plan.add(Node {
            name: String::new(),
            verb,
            kind: Kind::Stateful { detail, state },
            inputs: vec![self.stream.port],
            ports: vec!["updates".into(), "closed".into(), "late".into()],
            attach: vec![attach],
            render: Some(render),
            share: None,
        });
        if let Some(topic) = self.late {
            add_late_sink(&self.stream, node, topic);
        }
        KTable::new(plan.clone(), node)
    }
}

/// Makes groups of the records of a step with windows.
type MakeGroups<K, V, F> = fn(
    WindowGrouping<F>,
    &mut Head<'_>,
    Steps<K, WindowGroup<<F as Fold>::Partial>>,
) -> Steps<K, V>;

/// The entrance of a step that closes windows: records of a key and its windows are put together before they move to
/// the worker that owns it.
fn in_groups<K: Key, V: Data, F: Fold>(
    node: usize,
    routing: Routing,
    windows: TimeWindows,
    aggregation: F,
    group: MakeGroups<K, V, F>,
) -> Attach {
    Box::new(move |rendering, chain| {
        let number = u32::try_from(node).expect("steps are counted in u32");
        let boundary = rendering.boundary::<K, WindowGroup<F::Partial>>(node, 0, routing, chain);
        let next = *boundary
            .downcast::<Steps<K, WindowGroup<F::Partial>>>()
            .expect("a boundary takes records of its own types");
        let grouping = WindowGrouping {
            windows,
            aggregation: aggregation.clone(),
            late: rendering.is_read(node, LATE),
            number,
            tally: chain.tally.at(number),
        };
        Box::new(group(grouping, &mut chain.head, next))
    })
}

fn on_close<'s, K: Key, F: Fold, A: Arriving<F>>(
    rendering: &mut Rendering<'_, 's>,
    mut chain: Chain<'s>,
    node: usize,
    routing: Routing,
    windows: TimeWindows,
    aggregation: F,
) {
    let input = rendering.input::<K, A::Value>(node, 0);
    rendering.ends(&mut chain.head);
    let step = WindowStep {
        windows,
        aggregation,
        senders: input.senders,
        results: rendering.emit::<Windowed<K>, F::Value>(node, CLOSED, &mut chain),
        late: rendering
            .is_read(node, LATE)
            .then(|| rendering.emit::<(), ()>(node, LATE, &mut chain)),
        tally: rendering.tally(node, input.counting),
    };
    let handover = rendering.handover(node);
    let stream = input.stream;
    let rows = aggregate_windows::<K, F, A>(chain.head, stream, routing, handover, step);
    rendering.keep_store(node, rows);
}

fn by_update<'s, K: Key, V: Data, A: Data>(
    rendering: &mut Rendering<'_, 's>,
    mut chain: Chain<'s>,
    node: usize,
    routing: Routing,
    windows: TimeWindows,
    aggregation: &Aggregation<V, A>,
) {
    let input = rendering.input::<K, V>(node, 0);
    rendering.ends(&mut chain.head);
    let step = RunningStep {
        aggregation: aggregation.clone(),
        rows: Rows::by_window(windows),
        same: same::<A>,
        senders: input.senders,
        changes: rendering.emit::<Windowed<K>, Change<A>>(node, UPDATES, &mut chain),
        late: rendering
            .is_read(node, LATE)
            .then(|| rendering.emit::<(), ()>(node, LATE, &mut chain)),
        grouped: None,
        tally: rendering.tally(node, input.counting),
    };
    let handover = rendering.handover(node);
    let rows = aggregate(chain.head, input.stream, routing, handover, step);
    rendering.keep_store(node, rows);
}

/// Late records are named by position; the worker that read them still has their bytes.
fn add_late_sink<K, V>(stream: &KStream<K, V>, windowed: usize, topic: &'static str) {
    let node = stream.plan.next();
    let attach: Attach = Box::new(move |rendering, chain| {
        rendering.boundary::<(), ()>(node, 0, Routing::ToReader, chain)
    });
    let render: Render = Box::new(move |rendering, mut head| {
        let input = rendering.input::<(), ()>(node, 0);
        rendering.ends(&mut head);
        let shards = rendering.shards;
        rendering.host.late(node, head, input.stream, shards);
    });
    stream.plan.add(Node {
        name: format!("{topic}-sink-{node}"),
        verb: "late_to",
        kind: Kind::LateSink {
            topic: topic.to_owned(),
        },
        inputs: vec![PortId {
            node: windowed,
            port: LATE,
        }],
        ports: Vec::new(),
        attach: vec![attach],
        render: Some(render),
        share: None,
    });
}
