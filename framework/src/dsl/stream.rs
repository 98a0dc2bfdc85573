//! [`KStream`]: a stream of records and its stateless steps.

use std::marker::PhantomData;
use std::sync::Arc;

use tiderace_operators::key::{self, Data, Key};
use tiderace_operators::record::{Extra, Record};
use tiderace_operators::tally::{Tally, Verdict};

use super::builder::Plan;
use super::steps::StepKind;
use super::{Branches, KGroupedStream};
use crate::topology::PortId;

/// A stream of records, each a fact of its own.
///
/// Closures get the value: by reference where the step looks (`filter`, `group_by`, `peek`), by value where it
/// consumes (`map_values`). The variants `..._with_key` also get the key; a record whose key is null is skipped
/// and counted by them, and by everything keyed. Declare keys as `Option<K>` to see null ones.
#[must_use = "a stream does nothing until it reaches a topic: end it with `to`"]
pub struct KStream<K, V> {
    pub(crate) plan: Plan,
    pub(crate) port: PortId,
    /// Whether every record is with the worker that owns its key.
    pub(crate) partitioned: bool,
    /// Whether it carries results of closed windows, whose order a change of key must remember.
    pub(crate) results: bool,
    pub(crate) types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> KStream<K, V> {
    pub(crate) fn new(plan: Plan, port: PortId) -> Self {
        KStream {
            plan,
            port,
            partitioned: false,
            results: false,
            types: PhantomData,
        }
    }
}

/// What reads a key by reference: a record without one is skipped and counted.
fn with_key<'a, K, V>(record: &'a Record<K, V>, tally: &Tally) -> Option<&'a K> {
    if record.key.is_none() {
        tally.verdict(record.header.position, Verdict::Skipped);
    }
    record.key.as_ref()
}

const LOOKS_AT_KEY: StepKind = StepKind {
    multiplies: false,
    reads_key: true,
    changes_key: false,
};
const PLAIN: StepKind = StepKind {
    multiplies: false,
    reads_key: false,
    changes_key: false,
};

impl<K: Key, V: Data> KStream<K, V> {
    /// Names the last step. Names of stateful steps are part of the state: give them yourself, so that they
    /// outlive changes of the program.
    pub fn named(self, name: &str) -> Self {
        self.plan.rename(self.port.node, name);
        self
    }

    /// Keeps the records for which `keep` is true.
    pub fn filter(&self, keep: impl Fn(&V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.keep("filter", keep)
    }

    /// Leaves out the records for which `drop` is true.
    #[doc(alias = "filterNot")]
    pub fn filter_not(&self, drop: impl Fn(&V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.keep("filter_not", move |value| !drop(value))
    }

    /// Keeps the records for whose key and value `keep` is true.
    pub fn filter_with_key(
        &self,
        keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> KStream<K, V> {
        let keep = Arc::new(keep);
        self.step("filter", LOOKS_AT_KEY, move |tally| {
            let keep = Arc::clone(&keep);
            move |record: Record<K, V>, made| {
                let Some(key) = with_key(&record, &tally) else {
                    return;
                };
                if keep(key, &record.value) {
                    made.push(record);
                } else {
                    tally.verdict(record.header.position, Verdict::Filtered);
                }
            }
        })
    }

    /// Makes a new value of each value.
    #[doc(alias = "mapValues")]
    pub fn map_values<W: Data>(
        &self,
        of: impl Fn(V) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.each_value("map_values", of)
    }

    /// Makes a new value of each key and value.
    pub fn map_values_with_key<W: Data>(
        &self,
        of: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let of = Arc::new(of);
        self.step("map_values", LOOKS_AT_KEY, move |tally| {
            let of = Arc::clone(&of);
            move |record: Record<K, V>, made| {
                let Record {
                    header,
                    extra,
                    key,
                    value,
                } = record;
                let Some(key) = key else {
                    return tally.verdict(header.position, Verdict::Skipped);
                };
                let value = of(&key, value);
                made.push(Record {
                    header,
                    extra,
                    key: Some(key),
                    value,
                });
            }
        })
    }

    /// Makes any number of values of each value, in their order.
    #[doc(alias = "flatMapValues")]
    pub fn flat_map_values<W: Data, I: IntoIterator<Item = W>>(
        &self,
        of: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let of = Arc::new(of);
        self.step(
            "flat_map_values",
            StepKind {
                multiplies: true,
                ..PLAIN
            },
            move |tally| {
                let of = Arc::clone(&of);
                move |Record {
                          header,
                          extra,
                          key,
                          value,
                      }: Record<K, V>,
                      made| {
                    let before = made.len();
                    made.extend(of(value).into_iter().map(|value| Record {
                        header,
                        extra: extra.clone(),
                        key: key.clone(),
                        value,
                    }));
                    if made.len() == before {
                        tally.verdict(header.position, Verdict::Filtered);
                    }
                }
            },
        )
    }

    /// Makes any number of keys and values of each record, in their order. The stream is moved to its new keys'
    /// workers by the next step that needs them together.
    #[doc(alias = "flatMap")]
    pub fn flat_map<L: Key, W: Data, I: IntoIterator<Item = (L, W)>>(
        &self,
        of: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<L, W> {
        let of = Arc::new(of);
        let results = self.results;
        self.step(
            "flat_map",
            StepKind {
                multiplies: true,
                reads_key: true,
                changes_key: true,
            },
            move |tally| {
                let of = Arc::clone(&of);
                move |record: Record<K, V>, made| {
                    let extra = keep_order(&record, results);
                    let Record {
                        header, key, value, ..
                    } = record;
                    let Some(key) = key else {
                        return tally.verdict(header.position, Verdict::Skipped);
                    };
                    let before = made.len();
                    made.extend(of(key, value).into_iter().map(|(key, value)| Record {
                        header,
                        extra: extra.clone(),
                        key: Some(key),
                        value,
                    }));
                    if made.len() == before {
                        tally.verdict(header.position, Verdict::Filtered);
                    }
                }
            },
        )
    }

    /// Makes a new key and value of each record. The stream is moved to its new keys' workers by the next step
    /// that needs them together.
    pub fn map<L: Key, W: Data>(
        &self,
        of: impl Fn(K, V) -> (L, W) + Send + Sync + 'static,
    ) -> KStream<L, W> {
        let of = Arc::new(of);
        let results = self.results;
        self.step(
            "map",
            StepKind {
                changes_key: true,
                ..LOOKS_AT_KEY
            },
            move |tally| {
                let of = Arc::clone(&of);
                move |record: Record<K, V>, made| {
                    let extra = keep_order(&record, results);
                    let Record {
                        header, key, value, ..
                    } = record;
                    let Some(key) = key else {
                        return tally.verdict(header.position, Verdict::Skipped);
                    };
                    let (key, value) = of(key, value);
                    made.push(Record {
                        header,
                        extra,
                        key: Some(key),
                        value,
                    });
                }
            },
        )
    }

    /// Gives each record a new key, made of its value.
    #[doc(alias = "selectKey")]
    pub fn select_key<L: Key>(
        &self,
        of: impl Fn(&V) -> L + Send + Sync + 'static,
    ) -> KStream<L, V> {
        self.key_by("select_key", of)
    }

    pub(crate) fn key_by<L: Key>(
        &self,
        verb: &'static str,
        of: impl Fn(&V) -> L + Send + Sync + 'static,
    ) -> KStream<L, V> {
        let of = Arc::new(of);
        let results = self.results;
        let kind = StepKind {
            changes_key: true,
            reads_key: results,
            multiplies: false,
        };
        self.each(verb, kind, move || {
            let of = Arc::clone(&of);
            move |record: Record<K, V>| Record {
                extra: keep_order(&record, results),
                key: Some(of(&record.value)),
                header: record.header,
                value: record.value,
            }
        })
    }

    /// Looks at each value, for its side effect; not covered by exactly once, since a restart looks again. Records
    /// pass a step many at a time: of two `peek`s the first looks at several records before the second does.
    pub fn peek(&self, look: impl Fn(&V) + Send + Sync + 'static) -> KStream<K, V> {
        let look = Arc::new(look);
        self.each("peek", PLAIN, move || {
            let look = Arc::clone(&look);
            move |record: Record<K, V>| {
                look(&record.value);
                record
            }
        })
    }

    /// Makes a new value of each value, or fails: two streams, one of what came out and one of the errors.
    pub fn try_map_values<W: Data, E: Data>(
        &self,
        of: impl Fn(V) -> Result<W, E> + Send + Sync + 'static,
    ) -> (KStream<K, W>, KStream<K, E>) {
        super::split::try_map_values(self, of)
    }

    /// Splits the stream into named branches: each record goes to the first whose predicate holds.
    pub fn split(&self) -> Branches<K, V> {
        Branches::new(self)
    }

    /// Groups the records by a key made of the value.
    #[doc(alias = "groupBy")]
    pub fn group_by<L: Key>(
        &self,
        of: impl Fn(&V) -> L + Send + Sync + 'static,
    ) -> KGroupedStream<L, V> {
        KGroupedStream {
            stream: self.key_by("group_by", of),
        }
    }

    /// Groups the records by their key.
    #[doc(alias = "groupByKey")]
    pub fn group_by_key(&self) -> KGroupedStream<K, V> {
        KGroupedStream {
            stream: self.share(),
        }
    }

    /// Another handle of the same stream.
    pub(crate) fn share(&self) -> KStream<K, V> {
        KStream {
            plan: self.plan.clone(),
            port: self.port,
            partitioned: self.partitioned,
            results: self.results,
            types: PhantomData,
        }
    }
}

/// The order among equal positions that a window's result keeps when its key changes.
#[inline]
fn keep_order<K: Key, V>(record: &Record<K, V>, results: bool) -> Option<Box<Extra>> {
    if record.extra.is_some() {
        return record.extra.clone();
    }
    if results { order_of(record) } else { None }
}

fn order_of<K: Key, V>(record: &Record<K, V>) -> Option<Box<Extra>> {
    let mut order = Vec::new();
    let key = record.key.as_ref()?;
    // A key without bytes cannot have been grouped by; see `Aggregation`.
    key::encode(key, &mut order).ok()?;
    Some(Box::new(Extra { order }))
}
