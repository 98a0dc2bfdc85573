//! [`KTable`]: the latest value of each key.

use std::marker::PhantomData;

use tiderace_operators::aggregate::Change;
use tiderace_operators::key::{Data, Key, Windowed};
use tiderace_operators::record::Record;
use tiderace_operators::tally::Verdict;

use super::KStream;
use super::builder::Plan;
use super::steps::StepKind;
use super::windowed::{CLOSED, UPDATES};
use crate::connect::Takes;
use crate::topology::PortId;

/// A table: a value per key, changed at most once per key and epoch, and only when the value changed.
#[must_use = "a table does nothing until it reaches a topic: end it with `to`"]
pub struct KTable<K, V> {
    plan: Plan,
    node: usize,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> KTable<K, V> {
    pub(crate) fn new(plan: Plan, node: usize) -> Self {
        KTable {
            plan,
            node,
            types: PhantomData,
        }
    }
}

impl<K: Key, V: Data> KTable<K, V> {
    /// Names the step that keeps the table. The name is part of the state.
    pub fn named(self, name: &str) -> Self {
        self.plan.rename(self.node, name);
        self
    }

    /// The table's changes as a stream: the new value of each key that an epoch changed.
    #[doc(alias = "toStream")]
    pub fn to_stream(&self) -> KStream<K, V> {
        let changes: KStream<K, Change<V>> = KStream {
            partitioned: true,
            ..KStream::new(
                self.plan.clone(),
                PortId {
                    node: self.node,
                    port: UPDATES,
                },
            )
        };
        changes.step("to_stream", StepKind::default(), |tally| {
            move |Record {
                      header,
                      extra,
                      key,
                      value,
                  }: Record<K, Change<V>>,
                  made| match value.new {
                Some(value) => made.push(Record {
                    header,
                    extra,
                    key,
                    value,
                }),
                None => tally.verdict(header.position, Verdict::Filtered),
            }
        })
    }

    /// Sends the table's changes to a topic.
    pub fn to(&self, topic: impl Takes<K, V>) {
        self.to_stream().to(topic);
    }
}

impl<K: Key, V: Data> KTable<Windowed<K>, V> {
    /// Each window's result once, when it is final: its end and grace have passed in the stream time of every
    /// partition. Results come in the order of closing time, start and key.
    #[doc(alias = "suppress")]
    #[doc(alias = "onWindowClose")]
    pub fn emit_on_close(&self) -> KStream<Windowed<K>, V> {
        KStream {
            partitioned: true,
            results: true,
            ..KStream::new(
                self.plan.clone(),
                PortId {
                    node: self.node,
                    port: CLOSED,
                },
            )
        }
    }
}
