//! The plan of a pipeline as a value: described, checked, tested and run.
//!
//! A [`Topology`] is a list of nodes, inputs before those that read them. Stateless steps are fused into the
//! operator before them when it is compiled (`compile.rs`); sources, stateful steps, unions, joins and sinks are
//! operators of their own.

mod check;
mod chunks;
mod compile;
mod describe;
mod record_hash;
mod sink;
mod sink_run;
mod source;

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiderace_operators::dataflow::Head;

pub(crate) use check::check;
pub(crate) use compile::{Built, Chain, Host, Rendering, compile};
pub use describe::Fingerprint;
pub(crate) use record_hash::{RecordHash, RecordHasher};
pub(crate) use sink::{Collect, Collector, Encoder, SinkStage};
pub(crate) use sink_run::{FinishedRun, SinkRun};
pub(crate) use source::{Cursor, Reader, Rejections};
pub(crate) use source::{TopicReader, stream_values, table_values};

/// What becomes of a record that cannot be read or processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The run ends; the error names topic, partition and offset.
    #[default]
    Fail,
    /// It is counted and left out.
    Skip,
    /// It goes, as it was read, to this topic, with Kafka's `__streams.errors.*` headers.
    DeadLetter(String),
}

/// One output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PortId {
    pub(crate) node: usize,
    pub(crate) port: usize,
}

/// What a node is, for descriptions, checks and the engine.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Reads a topic.
    Source {
        topic: String,
        table: bool,
        idle_timeout: Option<Duration>,
        out_of_orderness: Duration,
        format: String,
    },
    /// Looks at each record by itself.
    Step {
        /// Whether one record may become several, or be read in several ways.
        multiplies: bool,
        reads_key: bool,
        changes_key: bool,
    },
    /// Keeps state by key.
    Stateful { detail: String, state: State },
    /// Keeps a copy of a table that every worker sees.
    GlobalTable { state: State },
    /// Joins with a global table, a node too. Its rows come by the share of the process, not by an input.
    TableJoin { table: usize },
    /// The union of its inputs.
    Merge,
    /// Writes a topic.
    Sink { topic: String, format: String },
    /// Writes the source records that were too late for a windowed step.
    LateSink { topic: String },
}

/// What a step keeps, by the names of its types.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    /// Of a window that is emitted on close: the type of what it takes in, and what it keeps until then.
    pub(crate) windowed: Option<(&'static str, &'static str)>,
}

impl State {
    /// A value per key.
    pub(crate) fn rows<K, V>() -> Self {
        State {
            key: type_name::<K>(),
            value: type_name::<V>(),
            windowed: None,
        }
    }
}

/// A step that keeps state beyond an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatefulStep {
    /// Its number in the topology.
    pub node: u32,
    /// Its name.
    pub name: String,
    /// What its state is: method, windows, what is kept, names of the types. A snapshot fits a step only if this is
    /// the same. The compiler's names of types are no promise: they may differ from one version of it to the next.
    pub state: String,
}

/// Hooks a node into the operator that makes its input: returns `Steps` of the input's types.
pub(crate) type Attach = Box<
    dyn for<'s> Fn(&mut Rendering<'_, 's>, &mut Chain<'s>) -> Box<dyn std::any::Any> + Send + Sync,
>;

/// Builds a node's own operator.
pub(crate) type Render = Box<dyn for<'s> Fn(&mut Rendering<'_, 's>, Head<'s>) + Send + Sync>;

/// Makes what the workers share of a node; versions that only epochs up to the number given can read may go.
pub(crate) type Share =
    Box<dyn Fn(Arc<AtomicU64>) -> Box<dyn std::any::Any + Send + Sync> + Send + Sync>;

pub(crate) struct Node {
    pub(crate) name: String,
    /// The DSL method that made it.
    pub(crate) verb: &'static str,
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<PortId>,
    /// Names of its outputs; one without a name for most.
    pub(crate) ports: Vec<String>,
    /// How it reads each of its inputs.
    pub(crate) attach: Vec<Attach>,
    /// Its operator, if it is one.
    pub(crate) render: Option<Render>,
    /// What the workers of a process share of it.
    pub(crate) share: Option<Share>,
}

/// A pipeline: what [`StreamsBuilder::build`](crate::StreamsBuilder::build) makes and
/// [`Engine::start`](crate::Engine::start) runs.
pub struct Topology {
    pub(crate) application_id: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) on_error: OnError,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A topic that a topology reads.
#[derive(Clone, Debug)]
pub(crate) struct SourceTopic {
    pub(crate) node: usize,
    pub(crate) topic: String,
    pub(crate) table: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) out_of_orderness: Duration,
    /// The windowed steps whose watermark it counts in, by node.
    pub(crate) windows: Arc<[usize]>,
}

impl Topology {
    /// The application id: the name of the epoch log, the consumer group and the state directory.
    pub fn application_id(&self) -> &str {
        &self.application_id
    }

    /// Parameters that the program declared with [`StreamsBuilder::parameter`](crate::StreamsBuilder::parameter).
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// Names of the topics it reads, in the order of their declaration.
    pub fn source_topics(&self) -> Vec<String> {
        self.sources()
            .into_iter()
            .map(|source| source.topic)
            .collect()
    }

    /// Names of the topics it writes, sorted: sinks, late records and dead letters.
    pub fn sink_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.sinks().into_iter().map(|(_, topic)| topic).collect();
        if let OnError::DeadLetter(topic) = &self.on_error {
            topics.push(topic.clone());
        }
        topics.sort();
        topics.dedup();
        topics
    }

    pub(crate) fn sources(&self) -> Vec<SourceTopic> {
        let source = |(node, it): (usize, &Node)| match &it.kind {
            Kind::Source {
                topic,
                table,
                idle_timeout,
                out_of_orderness,
                ..
            } => Some(SourceTopic {
                node,
                topic: topic.clone(),
                table: *table,
                idle_timeout: *idle_timeout,
                out_of_orderness: *out_of_orderness,
                windows: match table {
                    true => Arc::default(),
                    false => self.windows_behind(node).into(),
                },
            }),
            _ => None,
        };
        self.nodes.iter().enumerate().filter_map(source).collect()
    }

    /// The windowed steps that records of a node reach.
    fn windows_behind(&self, node: usize) -> Vec<usize> {
        let mut reached = vec![false; self.nodes.len()];
        reached[node] = true;
        // Inputs stand before those that read them.
        for (behind, it) in self.nodes.iter().enumerate().skip(node + 1) {
            reached[behind] = it.inputs.iter().any(|of| reached[of.node]);
        }
        let is_windowed = |at: &usize| match &self.nodes[*at].kind {
            Kind::Stateful { state, .. } => state.windowed.is_some(),
            _ => false,
        };
        let reached = (node..self.nodes.len()).filter(|at| reached[*at]);
        reached.filter(is_windowed).collect()
    }

    /// Node and topic of every sink, late ones included.
    pub(crate) fn sinks(&self) -> Vec<(usize, String)> {
        let sink = |(node, it): (usize, &Node)| match &it.kind {
            Kind::Sink { topic, .. } | Kind::LateSink { topic } => Some((node, topic.clone())),
            _ => None,
        };
        self.nodes.iter().enumerate().filter_map(sink).collect()
    }

    /// Topics of the sinks, in their order, and behind them that of the dead letters, if there is one.
    pub(crate) fn collected(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.sinks().into_iter().map(|(_, topic)| topic).collect();
        topics.extend(self.dead_letters());
        topics
    }

    /// The steps that keep state beyond an epoch, by number: each hands over its part of a snapshot on every worker,
    /// and no other step does.
    pub fn stateful(&self) -> Vec<StatefulStep> {
        let step = |(node, it): (usize, &Node)| {
            let (detail, state) = match &it.kind {
                Kind::Stateful { detail, state } => (detail.clone(), state),
                Kind::GlobalTable { state } => {
                    (format!("rows of topic `{}`", self.topic_of(it)), state)
                }
                _ => return None,
            };
            let closed = PortId { node, port: 1 };
            let keeps = match state.windowed {
                Some((taken, keeps)) if !self.readers(closed).is_empty() => {
                    format!("emitted on close, {keeps} of {taken}, ")
                }
                _ => String::new(),
            };
            Some(StatefulStep {
                node: u32::try_from(node).expect("steps are counted in u32"),
                name: it.name.clone(),
                state: format!(
                    "{}, {detail}, {keeps}{} -> {}",
                    it.verb, state.key, state.value
                ),
            })
        };
        self.nodes.iter().enumerate().filter_map(step).collect()
    }

    /// Step and topic of every global table.
    pub(crate) fn global_tables(&self) -> Vec<(String, String)> {
        let is_table = |it: &&Node| matches!(it.kind, Kind::GlobalTable { .. });
        let tables = self.nodes.iter().filter(is_table);
        tables
            .map(|it| (it.name.clone(), self.topic_of(it).to_owned()))
            .collect()
    }

    /// The topic that a global table's rows come from.
    fn topic_of(&self, table: &Node) -> &str {
        match &self.nodes[table.inputs[0].node].kind {
            Kind::Source { topic, .. } => topic,
            other => unreachable!("a global table reads a source, not {other:?}"),
        }
    }

    /// Names of the nodes, by number.
    pub(crate) fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The topic of the dead letters, if there is one.
    pub(crate) fn dead_letters(&self) -> Option<String> {
        match &self.on_error {
            OnError::DeadLetter(topic) => Some(topic.clone()),
            OnError::Fail | OnError::Skip => None,
        }
    }

    /// Whether raw batches must be kept for late records.
    pub(crate) fn keeps_late(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| matches!(node.kind, Kind::LateSink { .. }))
    }

    /// What the workers of one run share.
    pub(crate) fn share(&self, settled: &Arc<AtomicU64>) -> Built {
        let share =
            |(node, it): (usize, &Node)| Some((node, it.share.as_ref()?(Arc::clone(settled))));
        self.nodes.iter().enumerate().filter_map(share).collect()
    }

    /// Whether any step looks at the keys that come out of a port.
    pub(crate) fn key_is_read(&self, port: PortId) -> bool {
        self.readers(port).into_iter().any(|(node, _)| {
            let onward = || {
                (0..self.nodes[node].ports.len())
                    .any(|port| self.key_is_read(PortId { node, port }))
            };
            match self.nodes[node].kind {
                Kind::Step {
                    reads_key: true, ..
                } => true,
                Kind::Step {
                    changes_key: true, ..
                } => false,
                Kind::Step { .. } | Kind::Merge => onward(),
                Kind::Sink { .. }
                | Kind::Stateful { .. }
                | Kind::GlobalTable { .. }
                | Kind::TableJoin { .. } => true,
                Kind::LateSink { .. } | Kind::Source { .. } => false,
            }
        })
    }

    /// The nodes that read a port, with the number of the input.
    pub(crate) fn readers(&self, port: PortId) -> Vec<(usize, usize)> {
        let mut readers = Vec::new();
        for (node, it) in self.nodes.iter().enumerate() {
            readers.extend(
                it.inputs
                    .iter()
                    .enumerate()
                    .filter(|(_, of)| **of == port)
                    .map(|(input, _)| (node, input)),
            );
        }
        readers
    }
}
