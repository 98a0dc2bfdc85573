//! Where a pipeline begins and where it becomes a [`Topology`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tiderace_operators::key::{Data, Key};
use tiderace_operators::tally::Counting;

use super::{GlobalKTable, KStream};
use crate::connect::Topic;
use crate::error::BuildError;
use crate::topology::{self, Kind, Node, OnError, PortId, TopicReader, Topology, stream_values};

/// Puts a pipeline together.
///
/// ```
/// # use tiderace::{StreamsBuilder, Topic};
/// const WORDS: Topic<String, String> = Topic::bytes("words");
/// const SHOUTED: Topic<String, String> = Topic::bytes("shouted");
/// let builder = StreamsBuilder::new("shout");
/// builder.stream(WORDS).map_values(|word| word.to_uppercase()).to(SHOUTED);
/// let topology = builder.build()?;
/// assert_eq!(topology.sink_topics(), ["shouted"]);
/// # Ok::<(), tiderace::BuildError>(())
/// ```
pub struct StreamsBuilder {
    plan: Plan,
}

/// The plan that a builder and its handles add to.
#[derive(Clone)]
pub(crate) struct Plan(Rc<RefCell<Draft>>);

struct Draft {
    application_id: String,
    nodes: Vec<Node>,
    on_error: OnError,
    parameters: BTreeMap<String, String>,
    mistakes: Vec<String>,
}

impl Plan {
    /// The number that the next node will have.
    pub(crate) fn next(&self) -> usize {
        self.0.borrow().nodes.len()
    }

    /// Adds a node; without a name of its own it is named by verb and number.
    pub(crate) fn add(&self, mut node: Node) -> usize {
        let nodes = &mut self.0.borrow_mut().nodes;
        if node.name.is_empty() {
            node.name = format!("{}-{}", node.verb, nodes.len());
        }
        nodes.push(node);
        nodes.len() - 1
    }

    /// Names a node.
    pub(crate) fn rename(&self, node: usize, name: &str) {
        self.0.borrow_mut().nodes[node].name = name.to_owned();
    }

    /// Adds an output to a node and returns its number.
    pub(crate) fn add_port(&self, node: usize, name: &str) -> usize {
        let ports = &mut self.0.borrow_mut().nodes[node].ports;
        ports.push(name.to_owned());
        ports.len() - 1
    }

    /// Notes a mistake for `build` to report.
    pub(crate) fn mistake(&self, mistake: String) {
        self.0.borrow_mut().mistakes.push(mistake);
    }

    /// Whether two handles belong to one builder.
    pub(crate) fn is(&self, other: &Plan) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl StreamsBuilder {
    /// Begins the pipeline of an application. The id names its epoch log, its transactions, its consumer group
    /// and its state directory; two instances with one id on one log are one application.
    pub fn new(application_id: impl Into<String>) -> Self {
        StreamsBuilder {
            plan: Plan(Rc::new(RefCell::new(Draft {
                application_id: application_id.into(),
                nodes: Vec::new(),
                on_error: OnError::default(),
                parameters: BTreeMap::new(),
                mistakes: Vec::new(),
            }))),
        }
    }

    /// What becomes of records that cannot be read; [`OnError::Fail`] without this.
    pub fn on_error(&self, policy: OnError) -> &Self {
        self.plan.0.borrow_mut().on_error = policy;
        self
    }

    /// Declares a parameter of the program, such as a window's size: a start with another value on the same
    /// state is refused and names both.
    pub fn parameter(&self, name: impl Into<String>, value: impl ToString) -> &Self {
        self.plan
            .0
            .borrow_mut()
            .parameters
            .insert(name.into(), value.to_string());
        self
    }

    /// Reads a topic as a stream of records.
    pub fn stream<K: Key, V: Data>(&self, topic: Topic<K, V>) -> KStream<K, V> {
        let node = self.plan.next();
        let render: topology::Render = Box::new(move |rendering, head| {
            let counting = rendering.counting();
            let workers = rendering.shards.workers();
            let mut chain = rendering.chain(node, head, workers, counting);
            rendering.ends(&mut chain.head);
            let steps = rendering.steps::<K, V>(node, 0, &mut chain);
            let timestamp = topic.timestamp;
            let reader = TopicReader {
                node: u32::try_from(node).expect("steps are counted in u32"),
                decode: stream_values(topic),
                timestamp: timestamp.map(|of| Box::new(move |value: &V| Some(of(value))) as Box<_>),
                keyed: rendering.key_is_read(node),
                table: false,
                steps,
                read: Vec::new(),
                tally: chain.tally,
            };
            rendering.host.source(node, chain.head, Box::new(reader));
        });
        self.plan.add(Node {
            name: format!("{}-source", topic.name()),
            verb: "stream",
            kind: source_kind(&topic, false),
            inputs: Vec::new(),
            ports: vec![String::new()],
            attach: Vec::new(),
            render: Some(render),
            share: None,
        });
        KStream::new(self.plan.clone(), PortId { node, port: 0 })
    }

    /// Reads a topic as a table of which every worker sees every row.
    pub fn global_table<K: Key, V: Data>(&self, topic: Topic<K, V>) -> GlobalKTable<K, V> {
        GlobalKTable::new(&self.plan, topic)
    }

    /// The finished pipeline.
    ///
    /// # Errors
    /// Lists every mistake: topics read twice or for nothing, steps with one name, windows that leave records
    /// out, names that no topic can have.
    pub fn build(&self) -> Result<Topology, BuildError> {
        let mut draft = self.plan.0.borrow_mut();
        let topology = Topology {
            application_id: draft.application_id.clone(),
            nodes: std::mem::take(&mut draft.nodes),
            on_error: draft.on_error.clone(),
            parameters: draft.parameters.clone(),
        };
        let mut mistakes = std::mem::take(&mut draft.mistakes);
        mistakes.extend(topology::check(&topology));
        if mistakes.is_empty() {
            Ok(topology)
        } else {
            Err(BuildError {
                application_id: topology.application_id,
                mistakes,
            })
        }
    }
}

pub(crate) fn source_kind<K, V>(topic: &Topic<K, V>, table: bool) -> Kind {
    Kind::Source {
        topic: topic.name_of().to_owned(),
        table,
        idle_timeout: topic.idle_timeout,
        out_of_orderness: topic.out_of_orderness,
        format: topic.format.to_owned(),
    }
}

/// How a node's records are counted when they come from a stateful step.
pub(crate) const BEHIND_STATE: Counting = Counting::Not;
