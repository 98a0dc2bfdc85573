//! How the records of a key, or of a key and window, become one value.
//!
//! A windowed step takes any [`Fold`]. [`Aggregation`] is the one made of closures; [`Count`] is one that the compiler
//! can see through.

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
    /// Any, and in any groups: what came of some records and what came of others can be put together, whichever they
    /// are, and that gives what all of them give.
    Groups(Combine<A>),
    /// Each partition's records by offset; then the partial results by source and partition.
    Combine(Combine<A>),
    /// Records are kept and folded once, by source, partition and offset.
    Keep,
}

/// How the records of a key and window become one value.
pub trait Fold: Clone + Send + Sync + 'static {
    /// What it takes of a record.
    type Taken: Data;
    /// The value.
    type Value: Data;
    /// What there is of it until the window closes.
    type Partial: Clone + Send + 'static;

    /// What a window holds before its first record.
    fn begin(&self) -> Self::Partial;
    /// Takes a record in. A partition's records come in the order of their offsets.
    fn add(&self, partial: &mut Self::Partial, position: Position, value: Self::Taken);
    /// The window's result, `None` if it took no record.
    fn finish(&self, partial: Self::Partial) -> Option<Self::Value>;
    /// Whether [`combine`](Self::combine) may be called.
    fn combines(&self) -> bool;
    /// Takes in what came of other records. Which ones they are, and when they come, makes no difference.
    ///
    /// # Panics
    /// It does not combine.
    fn combine(&self, partial: &mut Self::Partial, other: &Self::Partial);
    /// As [`combine`](Self::combine), of what nobody else keeps.
    ///
    /// # Panics
    /// It does not combine.
    fn take_in(&self, partial: &mut Self::Partial, other: Self::Partial);
    /// What a window keeps until it closes, in words: the form of its state.
    fn keeps(&self) -> &'static str;

    /// Appends a partial result as state.
    ///
    /// # Errors
    /// The `Serialize` of what it holds refuses.
    fn write(partial: &Self::Partial, to: &mut Vec<u8>) -> Result<(), StateError>;
    /// Reads what [`write`](Self::write) appended.
    ///
    /// # Errors
    /// The bytes are no partial result.
    fn read(bytes: &[u8]) -> Result<Self::Partial, StateError>;
}

/// How many records there are, whatever their values.
#[derive(Clone, Copy, Debug)]
pub struct Count;

impl Fold for Count {
    type Taken = ();
    type Value = u64;
    type Partial = u64;

    fn begin(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, partial: &mut u64, _: Position, (): ()) {
        *partial += 1;
    }

    #[inline]
    fn finish(&self, partial: u64) -> Option<u64> {
        (partial != 0).then_some(partial)
    }

    fn combines(&self) -> bool {
        true
    }

    #[inline]
    fn combine(&self, partial: &mut u64, other: &u64) {
        *partial += other;
    }

    #[inline]
    fn take_in(&self, partial: &mut u64, other: u64) {
        *partial += other;
    }

    fn keeps(&self) -> &'static str {
        ONE_VALUE
    }

    fn write(partial: &u64, to: &mut Vec<u8>) -> Result<(), StateError> {
        to.push(ONE);
        state_codec::write(partial, to)
    }

    fn read(bytes: &[u8]) -> Result<u64, StateError> {
        match bytes.split_first() {
            Some((&ONE, count)) => state_codec::read(count),
            _ => Err(StateError(
                "what the snapshot holds is no count of a window".into(),
            )),
        }
    }
}

const ONE_VALUE: &str = "one value";

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
        let at_step = |combine: Combine<A>| -> Combine<A> {
            Arc::new(move |one, next| {
                crate::current::enter(number);
                combine(one, next)
            })
        };
        let order = match self.order {
            Order::Groups(combine) => Order::Groups(at_step(combine)),
            Order::Combine(combine) => Order::Combine(at_step(combine)),
            order @ (Order::Any | Order::Keep) => order,
        };
        Aggregation {
            step: Arc::new(step),
            order,
        }
    }

    /// Whether records may be folded as they arrive.
    pub fn commutes(&self) -> bool {
        matches!(self.order, Order::Any | Order::Groups(_))
    }

    /// One step.
    pub fn step(&self, so_far: Option<A>, value: V) -> A {
        (self.step)(so_far, value)
    }
}

impl<V: Data, A: Data> Fold for Aggregation<V, A> {
    type Taken = V;
    type Value = A;
    type Partial = Partial<V, A>;

    fn begin(&self) -> Partial<V, A> {
        match self.order {
            Order::Any | Order::Groups(_) => Partial::One(None),
            Order::Combine(_) => Partial::ByOrigin(Vec::new()),
            Order::Keep => Partial::Records(Vec::new()),
        }
    }

    #[inline]
    fn add(&self, partial: &mut Partial<V, A>, position: Position, value: V) {
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

    fn finish(&self, partial: Partial<V, A>) -> Option<A> {
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

    fn combines(&self) -> bool {
        matches!(self.order, Order::Groups(_))
    }

    fn combine(&self, partial: &mut Partial<V, A>, other: &Partial<V, A>) {
        self.take_in(partial, other.clone());
    }

    fn take_in(&self, partial: &mut Partial<V, A>, other: Partial<V, A>) {
        let (Order::Groups(combine), Partial::One(one), Partial::One(other)) =
            (&self.order, partial, other)
        else {
            unreachable!("only what is folded in groups is asked to combine")
        };
        if let Some(other) = other {
            *one = Some(match one.take() {
                Some(so_far) => combine(so_far, other),
                None => other,
            });
        }
    }

    fn keeps(&self) -> &'static str {
        match self.order {
            Order::Any | Order::Groups(_) => ONE_VALUE,
            Order::Combine(_) => "a value per partition",
            Order::Keep => "its records",
        }
    }

    fn write(partial: &Partial<V, A>, to: &mut Vec<u8>) -> Result<(), StateError> {
        partial.write(to)
    }

    fn read(bytes: &[u8]) -> Result<Partial<V, A>, StateError> {
        Partial::read(bytes)
    }
}

/// What a window holds of its records until it closes.
#[derive(Clone)]
pub enum Partial<V, A> {
    /// What came of all of them.
    One(Option<A>),
    /// What came of each source and partition, see [`Position::origin`].
    ByOrigin(Vec<(u32, Option<A>)>),
    /// All of them, with source and partition.
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
    fn a_count_is_kept_as_the_one_value_that_closures_would_count() {
        let mut counted = Vec::new();
        Count::write(&300, &mut counted).unwrap();
        let mut bytes = Vec::new();
        Partial::<u8, u64>::One(Some(300))
            .write(&mut bytes)
            .unwrap();
        assert_eq!(counted, bytes);
        assert_eq!(Count::read(&bytes), Ok(300));
        assert!(Count::read(&[BY_ORIGIN, 0x90]).is_err());
        assert!(Count::read(&[]).is_err());
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
