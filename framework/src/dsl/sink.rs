//! [`KStream::to`]: where a stream leaves for a topic.

use tiderace_operators::dataflow::Routing;
use tiderace_operators::key::{Data, Key};
use tiderace_operators::stage::drive;

use super::KStream;
use crate::connect::Takes;
use crate::topology::{Attach, Encoder, Kind, Node, Render, SinkRun, SinkStage};

impl<K: Key, V: Data> KStream<K, V> {
    /// Sends the stream to a topic, with the records' timestamps. A key goes to the partition where a Java
    /// producer would put it (murmur2; a windowed key by its inner key), a null key to the partition that it
    /// was read from, modulo.
    pub fn to(&self, topic: impl Takes<K, V>) {
        let topic = topic.topic();
        let node = self.plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let attach: Attach = Box::new(move |rendering, chain| {
            rendering.boundary::<K, V>(node, 0, Routing::Stay, chain)
        });
        let render: Render = Box::new(move |rendering, mut head| {
            let input = rendering.input::<K, V>(node, 0);
            rendering.ends(&mut head);
            let reads = head.follow(input.stream);
            let encoder = Encoder {
                topic,
                partitions: rendering.host.partitions(node),
                any_timestamp: rendering.host.any_timestamp(),
            };
            let collect = rendering.host.collect(node);
            let tally = rendering.tally(node, input.counting);
            let run = SinkRun::default();
            drive(
                head,
                reads,
                SinkStage {
                    node: number,
                    encoder,
                    collect,
                    tally,
                    run,
                    told: 0,
                    failure: None,
                },
            );
        });
        self.plan.add(Node {
            name: format!("{}-sink-{node}", topic.name_of()),
            verb: "to",
            kind: Kind::Sink {
                topic: topic.name_of().to_owned(),
                format: topic.format.to_owned(),
            },
            inputs: vec![self.port],
            ports: Vec::new(),
            attach: vec![attach],
            render: Some(render),
            share: None,
        });
    }
}
