//! [`GlobalKTable`]: a table of which every worker sees every row.

use std::marker::PhantomData;
use std::rc::Rc;

use tiderace_operators::dataflow::Routing;
use tiderace_operators::join_table::{GlobalTable, keep_table};
use tiderace_operators::key::{Data, Key};

use super::builder::{BEHIND_STATE, Plan, source_kind};
use crate::connect::Topic;
use crate::topology::{
    Attach, Kind, Node, PortId, Render, Share, State, TopicReader, table_values,
};

/// A table read from a topic, for joins by any key. What its topic holds when the application first starts is
/// in place before any stream is read; later changes take effect with the epoch that reads them.
#[must_use = "a global table does nothing until a stream is joined with it"]
pub struct GlobalKTable<K, V> {
    pub(crate) plan: Plan,
    pub(crate) node: usize,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Data> GlobalKTable<K, V> {
    pub(crate) fn new(plan: &Plan, topic: Topic<K, V>) -> Self {
        let source = plan.next();
        let render: Render = Box::new(move |rendering, head| {
            let workers = rendering.shards.workers();
            let mut chain = rendering.chain(source, head, workers, BEHIND_STATE);
            rendering.ends(&mut chain.head);
            let steps = rendering.steps::<K, Option<V>>(source, 0, &mut chain);
            let timestamp = topic.timestamp;
            let reader = TopicReader {
                node: u32::try_from(source).expect("steps are counted in u32"),
                decode: table_values(topic),
                timestamp: timestamp
                    .map(|of| Box::new(move |row: &Option<V>| row.as_ref().map(of)) as Box<_>),
                keyed: true,
                table: true,
                steps,
                read: Vec::new(),
                tally: chain.tally,
            };
            rendering.host.source(source, chain.head, Box::new(reader));
        });
        plan.add(Node {
            name: format!("{}-source", topic.name()),
            verb: "global_table",
            kind: source_kind(&topic, true),
            inputs: Vec::new(),
            ports: vec![String::new()],
            attach: Vec::new(),
            render: Some(render),
            share: None,
        });
        GlobalKTable {
            plan: plan.clone(),
            node: Self::add_table(plan, source, topic.name()),
            types: PhantomData,
        }
    }

    fn add_table(plan: &Plan, source: usize, topic: &str) -> usize {
        let node = plan.next();
        let attach: Attach = Box::new(move |rendering, chain| {
            rendering.boundary::<K, Option<V>>(node, 0, Routing::Stay, chain)
        });
        let render: Render = Box::new(move |rendering, mut head| {
            let input = rendering.input::<K, Option<V>>(node, 0);
            let progress = head.progress();
            rendering.put_progress(node, progress);
            rendering.ends(&mut head);
            let table = rendering.shared::<GlobalTable<K, V>>(node).clone();
            rendering.keep_store(node, Rc::new(table.clone()));
            keep_table(head, input.stream, table, rendering.handover(node));
        });
        let share: Share = Box::new(|settled| Box::new(GlobalTable::<K, V>::new(settled)));
        plan.add(Node {
            name: format!("{topic}-table"),
            verb: "table",
            kind: Kind::GlobalTable {
                state: State::rows::<K, V>(),
            },
            inputs: vec![PortId {
                node: source,
                port: 0,
            }],
            ports: vec![String::new()],
            attach: vec![attach],
            render: Some(render),
            share: Some(share),
        })
    }

    /// Names the table. The name is part of the state.
    pub fn named(self, name: &str) -> Self {
        self.plan.rename(self.node, name);
        self
    }
}
