//! How a stateless step joins the plan: fused into the operator before it.

use std::any::Any;

use tiderace_operators::current;
use tiderace_operators::dataflow::Emit;
use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::Record;
use tiderace_operators::tally::Tally;

use super::KStream;
use crate::topology::{Attach, Kind, Node, PortId};

/// What a stateless step is, beside what it does.
#[derive(Clone, Copy, Default)]
pub(crate) struct StepKind {
    pub(crate) multiplies: bool,
    pub(crate) reads_key: bool,
    pub(crate) changes_key: bool,
}

impl<K: Key, V: Data> KStream<K, V> {
    /// Adds a stateless step with one output. `make` is called once a worker, with the number of the step, and
    /// returns what is done with each record and the steps behind it.
    pub(crate) fn step<K2: Key, V2: Data, F>(
        &self,
        verb: &'static str,
        kind: StepKind,
        make: impl Fn(Tally) -> F + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        F: FnMut(Record<K, V>, &mut Emit<K2, V2>) + 'static,
    {
        let node = self.plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let attach: Attach = Box::new(move |rendering, chain| {
            let mut next = rendering.emit::<K2, V2>(node, 0, chain);
            let mut each = make(chain.tally.at(number));
            let emit: Emit<K, V> = Box::new(move |record| {
                current::enter(number);
                each(record, &mut next);
            });
            Box::new(emit) as Box<dyn Any>
        });
        let StepKind {
            multiplies,
            reads_key,
            changes_key,
        } = kind;
        self.plan.add(Node {
            name: String::new(),
            verb,
            kind: Kind::Step {
                multiplies,
                reads_key,
                changes_key,
            },
            inputs: vec![self.port],
            ports: vec![String::new()],
            attach: vec![attach],
            render: None,
            share: None,
        });
        KStream {
            plan: self.plan.clone(),
            port: PortId { node, port: 0 },
            partitioned: self.partitioned && !changes_key,
            results: self.results,
            types: std::marker::PhantomData,
        }
    }
}
