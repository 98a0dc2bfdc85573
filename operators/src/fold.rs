//! How the records of a key, or of a key and window, become one value.

use std::sync::Arc;

use crate::handover::StateError;
use crate::key::Data;
use crate::record::Position;
use crate::state_codec;

/// A step of an aggregation: what there is so far, if anything, and one more value.
pub type Step<V, A> = Arc<dyn Fn(Option<A>, V) -> A + Send + Sync>;

/// Puts two partial results together, the earlier one first.
pub type Combine<A> = Arc<dyn Fn(A, A) -> A + Send + Sync>;

/// In which order a closed window's records are folded, so that the result is a function of the input alone.
#[derive(Clone)]
pub enum Order<A> {
    /// Any: the steps commute.
    Any,
    /// Each partition's records by offset; then the partial results by source and partition.
    Combine(Combine<A>),
    /// Records are kept and folded once, by source, partition and offset.
    Keep,
}

/// An aggregation of values `V` to an `A`.
#[derive(Clone)]
pub struct Aggregation<V, A> {
    step: Step<V, A>,
    order: Order<A>,
}

impl<V, A> Aggregation<V, A> {
    /// An aggregation by `step`.
    pub fn new(step: impl Fn(Option<A>, V) -> A + Send + Sync + 'static, order: Order<A>) -> Self {
        Aggregation {
            step: Arc::new(step),
            order,
        }
    }

    /// The same, known as step `number` of the topology: a panic inside is blamed on it.
    pub fn at_step(self, number: u32) -> Self
    where
        V: 'static,
        A: 'static,
    {
        let step = self.step;
        let step = move |so_far: Option<A>, value: V| {
            crate::current::enter(number);
            step(so_far, value)
        };
        let order = match self.order {
            Order::Combine(combine) => Order::Combine(Arc::new(move |one, next| {
                crate::current::enter(number);
                combine(one, next)
            })),
            order => order,
        };
        Aggregation {
            step: Arc::new(step),
            order,
        }
    }

    /// What a closing window is folded from, in words: the form of its state.
    pub fn keeps(&self) -> &'static str {
        match self.order {
            Order::Any => "one value",
            Order::Combine(_) => "a value per partition",
            Order::Keep => "its records",
        }
    }

    /// Whether records may be folded as they arrive.
    pub fn commutes(&self) -> bool {
        matches!(self.order, Order::Any)
    }

    /// One step.
    pub fn step(&self, so_far: Option<A>, value: V) -> A {
        (self.step)(so_far, value)
    }

    /// What a window holds before its first record.
    pub(crate) fn begin(&self) -> Partial<V, A> {
        match self.order {
            Order::Any => Partial::One(None),
            Order::Combine(_) => Partial::ByOrigin(Vec::new()),
            Order::Keep => Partial::Records(Vec::new()),
        }
    }

    /// Takes a record into a window. A partition's records come in the order of their offsets.
    #[inline]
    pub(crate) fn add(&self, partial: &mut Partial<V, A>, position: Position, value: V) {
        match partial {
            Partial::One(so_far) => *so_far = Some((self.step)(so_far.take(), value)),
            Partial::ByOrigin(partials) => {
                let origin = position.origin();
                match partials.iter_mut().find(|(of, _)| *of == origin) {
                    Some((_, so_far)) => *so_far = Some((self.step)(so_far.take(), value)),
                    None => partials.push((origin, Some((self.step)(None, value)))),
                }
            }
            Partial::Records(records) => records.push((position.origin(), value)),
        }
    }

    /// The window's result, `None` if it took no record.
    pub(crate) fn finish(&self, partial: Partial<V, A>) -> Option<A> {
        match partial {
            Partial::One(result) => result,
            Partial::ByOrigin(mut partials) => {
                let Order::Combine(combine) = &self.order else {
                    unreachable!("`begin` made it for `Combine`")
                };
                partials.sort_by_key(|(origin, _)| *origin);
                partials
                    .into_iter()
                    .filter_map(|(_, part)| part)
                    .reduce(|one, next| combine(one, next))
            }
            Partial::Records(mut records) => {
                // Stable: within an origin they stay as they came, by offset.
                records.sort_by_key(|(origin, _)| *origin);
                records
                    .into_iter()
                    .fold(None, |so_far, (_, value)| Some((self.step)(so_far, value)))
            }
        }
    }
}

/// What a window holds of its records until it closes.
#[derive(Clone)]
pub(crate) enum Partial<V, A> {
    One(Option<A>),
    ByOrigin(Vec<(u32, Option<A>)>),
    Records(Vec<(u32, V)>),
}

/// First byte of a partial result in a snapshot.
const EMPTY: u8 = 0;
const ONE: u8 = 1;
const BY_ORIGIN: u8 = 2;
const RECORDS: u8 = 3;

impl<V: Data, A: Data> Partial<V, A> {
    /// Appends it as state.
    pub(crate) fn write(&self, to: &mut Vec<u8>) -> Result<(), StateError> {
        match self {
            Partial::One(None) => {
                to.push(EMPTY);
                Ok(())
            }
            Partial::One(Some(value)) => {
                to.push(ONE);
                state_codec::write(value, to)
            }
            Partial::ByOrigin(partials) => {
                to.push(BY_ORIGIN);
                let parts = partials.iter();
                let parts = parts.filter_map(|(origin, part)| Some((origin, part.as_ref()?)));
                state_codec::write(&parts.collect::<Vec<_>>(), to)
            }
            Partial::Records(records) => {
                to.push(RECORDS);
                state_codec::write(records, to)
            }
        }
    }

    /// Reads what [`write`](Self::write) appended.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, StateError> {
        match bytes.split_first() {
            Some((&EMPTY, [])) => Ok(Partial::One(None)),
            Some((&ONE, value)) => Ok(Partial::One(Some(state_codec::read(value)?))),
            Some((&BY_ORIGIN, parts)) => {
                let parts: Vec<(u32, A)> = state_codec::read(parts)?;
                let parts = parts.into_iter();
                Ok(Partial::ByOrigin(
                    parts.map(|(origin, part)| (origin, Some(part))).collect(),
                ))
            }
            Some((&RECORDS, records)) => Ok(Partial::Records(state_codec::read(records)?)),
            _ => Err(StateError(
                "what the snapshot holds is no partial result of a window".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(partial: &Partial<Option<u8>, Option<f64>>) -> bool {
        let mut bytes = Vec::new();
        partial.write(&mut bytes).unwrap();
        match (partial, Partial::read(&bytes).unwrap()) {
            (Partial::One(one), Partial::One(other)) => *one == other,
            (Partial::ByOrigin(one), Partial::ByOrigin(other)) => *one == other,
            (Partial::Records(one), Partial::Records(other)) => *one == other,
            _ => false,
        }
    }

    #[test]
    fn partial_results_come_back_with_values_that_are_options() {
        assert!(comes_back(&Partial::One(None)));
        assert!(comes_back(&Partial::One(Some(None))));
        assert!(comes_back(&Partial::One(Some(Some(0.1)))));
        let parts = vec![(70_000, Some(None)), (1, Some(Some(-0.5)))];
        assert!(comes_back(&Partial::ByOrigin(parts)));
        let records = vec![(2, Some(1)), (1, None), (2, Some(255))];
        assert!(comes_back(&Partial::Records(records)));
        assert!(Partial::<u8, u8>::read(&[]).is_err());
        assert!(Partial::<u8, u8>::read(&[9, 0]).is_err());
    }
}
