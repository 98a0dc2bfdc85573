//! [`KStream::merge`]: the union of two streams.

use tiderace_operators::dataflow::Routing;
use tiderace_operators::key::{Data, Key};
use tiderace_operators::merge::merge;

use super::KStream;
use super::steps::StepKind;
use crate::topology::{Attach, Kind, Node, PortId, Render};

impl<K: Key, V: Data> KStream<K, V> {
    /// The union of two streams: order is kept within each.
    pub fn merge(&self, other: &KStream<K, V>) -> KStream<K, V> {
        if !self.plan.is(&other.plan) {
            self.plan
                .mistake("`merge` unites streams of two builders: begin both with one".into());
            return self.step("merge", StepKind::default(), |_| {
                |record, made: &mut Vec<_>| made.push(record)
            });
        }
        let node = self.plan.next();
        let attach = |input| -> Attach {
            Box::new(move |rendering, chain| {
                rendering.boundary::<K, V>(node, input, Routing::Stay, chain)
            })
        };
        let render: Render = Box::new(move |rendering, head| {
            let inputs = [
                rendering.input::<K, V>(node, 0),
                rendering.input::<K, V>(node, 1),
            ];
            let senders = inputs.iter().map(|input| input.senders).sum();
            let mut chain = rendering.chain(node, head, senders, inputs[0].counting);
            rendering.ends(&mut chain.head);
            let steps = rendering.steps::<K, V>(node, 0, &mut chain);
            merge(
                chain.head,
                inputs.map(|input| (input.stream, input.senders)).into(),
                steps,
            );
        });
        self.plan.add(Node {
            name: String::new(),
            verb: "merge",
            kind: Kind::Merge,
            inputs: vec![self.port, other.port],
            ports: vec![String::new()],
            attach: vec![attach(0), attach(1)],
            render: Some(render),
            share: None,
        });
        KStream {
            partitioned: self.partitioned && other.partitioned,
            results: self.results || other.results,
            ..KStream::new(self.plan.clone(), PortId { node, port: 0 })
        }
    }
}
