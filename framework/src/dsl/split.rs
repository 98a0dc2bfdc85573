//! One stream into several: named branches, and results beside errors.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, RwLock};

use tiderace_operators::current;
use tiderace_operators::emit::Steps;
use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::Record;
use tiderace_operators::tally::Verdict;

use super::KStream;
use crate::topology::{Attach, Kind, Node, PortId};

type Predicate<V> = Box<dyn Fn(&V) -> bool + Send + Sync>;

/// The branches of a stream. Each record goes to the first branch, in the order of their declaration, whose
/// predicate holds; without a default branch the others are left out and counted as filtered.
///
/// ```
/// # use tiderace::{StreamsBuilder, Topic};
/// # const FARES: Topic<String, f64> = Topic::bytes("fares");
/// # const HIGH: Topic<String, f64> = Topic::bytes("high");
/// # const LOW: Topic<String, f64> = Topic::bytes("low");
/// # let builder = StreamsBuilder::new("split");
/// let branches = builder.stream(FARES).split();
/// branches.branch("high", |fare| *fare >= 40.0).to(HIGH);
/// branches.default_branch("low").to(LOW);
/// # builder.build()?;
/// # Ok::<(), tiderace::BuildError>(())
/// ```
pub struct Branches<K, V> {
    stream: KStream<K, V>,
    node: usize,
    predicates: Arc<RwLock<Vec<Predicate<V>>>>,
    names: Rc<RefCell<Vec<String>>>,
}

impl<K: Key, V: Data> Branches<K, V> {
    pub(crate) fn new(stream: &KStream<K, V>) -> Self {
        let predicates: Arc<RwLock<Vec<Predicate<V>>>> = Arc::default();
        let node = stream.plan.next();
        let branches = Branches {
            stream: stream.share(),
            node,
            predicates: Arc::clone(&predicates),
            names: Rc::default(),
        };
        let number = u32::try_from(node).expect("steps are counted in u32");
        let attach: Attach = Box::new(move |rendering, chain| {
            let count = predicates
                .read()
                .expect("predicates are only added while building")
                .len();
            let mut branches: Vec<Steps<K, V>> = (0..count)
                .map(|port| rendering.steps::<K, V>(node, port, chain))
                .collect();
            let mut taken: Vec<Vec<Record<K, V>>> = vec![Vec::new(); count];
            let predicates = Arc::clone(&predicates);
            let tally = chain.tally.at(number);
            let steps: Steps<K, V> = Box::new(move |records| {
                let predicates = predicates
                    .read()
                    .expect("predicates are only added while building");
                current::in_step(number, |here| {
                    for record in records.drain(..) {
                        let position = record.header.position;
                        here.at(position);
                        match predicates.iter().position(|holds| holds(&record.value)) {
                            Some(branch) => taken[branch].push(record),
                            None => tally.verdict(position, Verdict::Filtered),
                        }
                    }
                });
                for (steps, taken) in branches.iter_mut().zip(&mut taken) {
                    steps(taken);
                }
            });
            Box::new(steps) as Box<dyn Any>
        });
        stream.plan.add(Node {
            name: String::new(),
            verb: "split",
            kind: Kind::Step {
                multiplies: false,
                reads_key: false,
                changes_key: false,
            },
            inputs: vec![stream.port],
            ports: Vec::new(),
            attach: vec![attach],
            render: None,
            share: None,
        });
        branches
    }

    /// Adds a branch for the records for which `holds` is true and no earlier branch's predicate was.
    pub fn branch(
        &self,
        name: &str,
        holds: impl Fn(&V) -> bool + Send + Sync + 'static,
    ) -> KStream<K, V> {
        if self.names.borrow().iter().any(|taken| taken == name) {
            self.stream
                .plan
                .mistake(format!("two branches of one split are named `{name}`"));
        }
        self.names.borrow_mut().push(name.to_owned());
        let mut predicates = self
            .predicates
            .write()
            .expect("predicates are only added while building");
        predicates.push(Box::new(holds));
        let port = self.stream.plan.add_port(self.node, name);
        KStream {
            port: PortId {
                node: self.node,
                port,
            },
            ..self.stream.share()
        }
    }

    /// Adds the branch for all records that no branch before took.
    pub fn default_branch(&self, name: &str) -> KStream<K, V> {
        self.branch(name, |_| true)
    }
}

/// See [`KStream::try_map_values`].
pub(crate) fn try_map_values<K: Key, V: Data, W: Data, E: Data>(
    stream: &KStream<K, V>,
    of: impl Fn(V) -> Result<W, E> + Send + Sync + 'static,
) -> (KStream<K, W>, KStream<K, E>) {
    let of = Arc::new(of);
    let node = stream.plan.next();
    let number = u32::try_from(node).expect("steps are counted in u32");
    let attach: Attach = Box::new(move |rendering, chain| {
        let mut to_results = rendering.steps::<K, W>(node, 0, chain);
        let mut to_errors = rendering.steps::<K, E>(node, 1, chain);
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        let of = Arc::clone(&of);
        let steps: Steps<K, V> = Box::new(move |records| {
            current::in_step(number, |here| {
                for record in records.drain(..) {
                    here.at(record.header.position);
                    let Record {
                        header,
                        extra,
                        key,
                        value,
                    } = record;
                    match of(value) {
                        Ok(value) => results.push(Record {
                            header,
                            extra,
                            key,
                            value,
                        }),
                        Err(value) => errors.push(Record {
                            header,
                            extra,
                            key,
                            value,
                        }),
                    }
                }
            });
            to_results(&mut results);
            to_errors(&mut errors);
        });
        Box::new(steps) as Box<dyn Any>
    });
    stream.plan.add(Node {
        name: String::new(),
        verb: "try_map_values",
        kind: Kind::Step {
            multiplies: false,
            reads_key: false,
            changes_key: false,
        },
        inputs: vec![stream.port],
        ports: vec!["results".into(), "errors".into()],
        attach: vec![attach],
        render: None,
        share: None,
    });
    (output(stream, node, 0), output(stream, node, 1))
}

fn output<K, V, W>(stream: &KStream<K, V>, node: usize, port: usize) -> KStream<K, W> {
    KStream {
        plan: stream.plan.clone(),
        port: PortId { node, port },
        partitioned: stream.partitioned,
        results: stream.results,
        types: PhantomData,
    }
}
