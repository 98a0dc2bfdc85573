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
