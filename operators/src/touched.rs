//! What an epoch does to the rows of a running aggregation: one change a row, however many records are behind it.

use crate::keyed_table::Place;
use crate::record::{EventTime, Header, Position};

/// What an epoch did to a row.
pub(crate) struct Touched<A> {
    pub(crate) place: Place,
    /// The value before; `None` where there was no row.
    pub(crate) old: Option<A>,
    /// The last record behind the change.
    pub(crate) position: Position,
    /// The earliest stream time of those behind it.
    pub(crate) stream_time: EventTime,
    /// Whether one record alone has changed it.
    pub(crate) alone: bool,
}

/// Notes among an epoch's changes that a record changes the row at a place. `nth` is which of them the row is, counted
/// from 1, or 0 if it has not changed yet; then `old` makes the value before. `alone` says whether it is one record.
#[inline]
pub(crate) fn note<A>(
    changed: &mut Vec<Touched<A>>,
    place: Place,
    nth: &mut u32,
    header: &Header,
    alone: bool,
    old: impl FnOnce() -> Option<A>,
) {
    let Header {
        position,
        stream_time,
        ..
    } = *header;
    match nth.checked_sub(1) {
        Some(before) => {
            let touched = &mut changed[before as usize];
            touched.alone &= alone && touched.position == position;
            touched.position = touched.position.max(position);
            touched.stream_time = touched.stream_time.min(stream_time);
        }
        None => {
            changed.push(Touched {
                place,
                old: old(),
                position,
                stream_time,
                alone,
            });
            let count = u32::try_from(changed.len());
            *nth = count.expect("an epoch changes fewer than 2^32 rows");
        }
    }
}

/// An epoch's changes in the order of the last record behind each, by their numbers. Records that touch a row for the first
/// time mostly come in this order: only the changes that are behind in it for a later record are sorted.
pub(crate) fn in_order<A>(changed: &[Touched<A>]) -> Vec<u32> {
    let at = |nth: u32| changed[nth as usize].position;
    let mut order = Vec::with_capacity(changed.len());
    let mut again = Vec::new();
    let mut next = None;
    for nth in (0..changed.len() as u32).rev() {
        if next.is_none_or(|next| at(nth) <= next) {
            next = Some(at(nth));
            order.push(nth);
        } else {
            again.push(nth);
        }
    }
    order.reverse();
    again.sort_unstable_by_key(|nth| at(*nth));
    // Both are in order: from the back, the later one of the two each time.
    let mut left = order.len();
    order.resize(changed.len(), 0);
    for to in (0..order.len()).rev() {
        let Some(last) = again.last() else {
            break;
        };
        if left > 0 && at(order[left - 1]) > at(*last) {
            left -= 1;
            order[to] = order[left];
        } else {
            order[to] = *last;
            again.pop();
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn touched(offset: u64) -> Touched<()> {
        Touched {
            place: 0,
            old: None,
            position: Position::read(0, 0, offset).unwrap(),
            stream_time: EventTime::MIN,
            alone: true,
        }
    }

    proptest! {
        #[test]
        fn changes_are_put_in_order_however_they_come(
            mut offsets in prop::collection::vec(0..50_u64, 0..60),
            sorted in 0..60_usize,
        ) {
            let sorted = sorted.min(offsets.len());
            offsets[..sorted].sort_unstable();
            let changed: Vec<_> = offsets.iter().copied().map(touched).collect();
            let order = in_order(&changed);
            prop_assert!(order.is_sorted_by_key(|nth| offsets[*nth as usize]));
            let mut all = order;
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..offsets.len() as u32));
        }
    }
}
