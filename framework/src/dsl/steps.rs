//! How a stateless step joins the plan: fused into the operator before it, where it goes through records many at a
//! time.

use std::any::Any;
use std::sync::Arc;

use tiderace_operators::current;
use tiderace_operators::emit::{Steps, TOGETHER};
use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::Record;
use tiderace_operators::tally::{Counting, Tally, Verdict};

use super::KStream;
use super::left_out::LeftOut;
use crate::topology::{Attach, Kind, Node, PortId};

/// What a stateless step is, beside what it does.
#[derive(Clone, Copy, Default)]
pub(crate) struct StepKind {
    pub(crate) multiplies: bool,
    pub(crate) reads_key: bool,
    pub(crate) changes_key: bool,
}

impl<K: Key, V: Data> KStream<K, V> {
    /// Adds a stateless step with one output. `make` is called once a worker, with the step's counts, and returns
    /// what puts what comes of a record behind the records there.
    pub(crate) fn step<K2: Key, V2: Data, F>(
        &self,
        verb: &'static str,
        kind: StepKind,
        make: impl Fn(Tally) -> F + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        F: FnMut(Record<K, V>, &mut Vec<Record<K2, V2>>) + 'static,
    {
        self.fused(verb, kind, move |number, tally, mut next| {
            let mut each = make(tally);
            let mut made = Vec::new();
            Box::new(move |records| {
                made.reserve(records.len());
                let mut records = records.drain(..);
                while records.len() > 0 {
                    current::in_step(number, |here| {
                        for record in records.by_ref() {
                            here.at(record.header.position);
                            each(record, &mut made);
                            if made.len() >= TOGETHER {
                                break;
                            }
                        }
                    });
                    next(&mut made);
                }
            })
        })
    }

    /// Adds a stateless step that makes one record of each. `make` is called once a worker, and returns what makes it.
    pub(crate) fn each<K2: Key, V2: Data, F>(
        &self,
        verb: &'static str,
        kind: StepKind,
        make: impl Fn() -> F + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        F: FnMut(Record<K, V>) -> Record<K2, V2> + 'static,
    {
        self.fused(verb, kind, move |number, _, mut next| {
            let mut each = make();
            Box::new(move |records| {
                let mut made: Vec<_> = current::in_step(number, |here| {
                    // Records of one size are made where the ones before them lay.
                    let records = std::mem::take(records).into_iter();
                    records
                        .map(|record| {
                            here.at(record.header.position);
                            each(record)
                        })
                        .collect()
                });
                next(&mut made);
                // Their memory is used again, where what goes in and what comes out is alike.
                if let Some(made) = (&mut made as &mut dyn Any).downcast_mut() {
                    std::mem::swap(records, made);
                }
            })
        })
    }

    /// Adds a stateless step that makes a value of each value.
    pub(crate) fn each_value<W: Data>(
        &self,
        verb: &'static str,
        of: impl Fn(V) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let of = Arc::new(of);
        self.fused(verb, StepKind::default(), move |number, _, mut next| {
            let of = Arc::clone(&of);
            let mut made = Vec::new();
            Box::new(move |records| {
                if let Some(records) = in_place::<K, V, W>(records) {
                    current::in_step(number, |here| {
                        for record in records.iter_mut() {
                            here.at(record.header.position);
                            if let Some(value) = same(record.value.clone()) {
                                record.value = of(value);
                            }
                        }
                    });
                    return next(records);
                }
                current::in_step(number, |here| {
                    made.extend(records.drain(..).map(|record| {
                        here.at(record.header.position);
                        Record {
                            header: record.header,
                            extra: record.extra,
                            key: record.key,
                            value: of(record.value),
                        }
                    }));
                });
                next(&mut made);
            })
        })
    }

    /// Adds a stateless step that keeps the records for whose value `keep` is true.
    pub(crate) fn keep(
        &self,
        verb: &'static str,
        keep: impl Fn(&V) -> bool + Send + Sync + 'static,
    ) -> KStream<K, V> {
        let keep = Arc::new(keep);
        self.fused(verb, StepKind::default(), move |number, tally, mut next| {
            let keep = Arc::clone(&keep);
            let named = tally.counting() == Counting::ByPosition;
            let mut left_out = LeftOut::default();
            Box::new(move |records| {
                current::in_step(number, |here| {
                    left_out.look(records, |record| {
                        here.at(record.header.position);
                        !keep(&record.value)
                    });
                });
                if named {
                    tally.giving(|given| {
                        for place in left_out.places() {
                            given.verdict(records[place].header.position, Verdict::Filtered);
                        }
                    });
                } else {
                    tally.verdicts(left_out.count() as u64, Verdict::Filtered);
                }
                left_out.take_out(records);
                next(records);
            })
        })
    }

    /// Adds a stateless step. `make` is called once a worker, with the step's number and counts and with the steps
    /// behind it, and returns the step with those.
    fn fused<K2: Key, V2: Data>(
        &self,
        verb: &'static str,
        kind: StepKind,
        make: impl Fn(u32, Tally, Steps<K2, V2>) -> Steps<K, V> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let node = self.plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let attach: Attach = Box::new(move |rendering, chain| {
            let next = rendering.steps::<K2, V2>(node, 0, chain);
            let steps = make(number, chain.tally.at(number), next);
            Box::new(steps) as Box<dyn Any>
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

/// The records as those of values `W`, if they are, and if a value is copied as cheaply as it is moved: then the new ones
/// are put where the old ones are, and nothing else of a record is touched.
#[expect(
    clippy::ptr_arg,
    reason = "the vector is what the type of its records is told of"
)]
#[inline]
fn in_place<K: 'static, V: 'static, W: 'static>(
    records: &mut Vec<Record<K, V>>,
) -> Option<&mut Vec<Record<K, W>>> {
    // What need not be dropped owns nothing that a clone would have to copy.
    if std::mem::needs_drop::<V>() || size_of::<V>() > size_of::<[u64; 4]>() {
        return None;
    }
    (records as &mut dyn Any).downcast_mut()
}

/// The value as the type that it is.
#[inline]
fn same<W: 'static, V: 'static>(value: W) -> Option<V> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any)
        .downcast_mut::<Option<V>>()?
        .take()
}
