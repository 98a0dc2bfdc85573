//! Forgetting records: the commits file says from which offset on a partition is held, and segments that lie
//! wholly below go. The word comes first, so a crash in between leaves files that nobody reads, for the next
//! writer or the next deletion to remove.

use super::disk;
use super::segment::Place;
use crate::error::LogError;

/// Removes the segments of a partition that end at or before `first`, but never the one at `last`, which is
/// appended to. A reader that has one of them open goes on to its end.
pub(super) fn remove_below(place: &Place, first: i64, last: i64) -> Result<(), LogError> {
    let bases = place.bases()?;
    for pair in bases.windows(2) {
        if pair[0] < last && pair[1] <= first {
            disk::remove(&place.segment(pair[0]))?;
        }
    }
    Ok(())
}
