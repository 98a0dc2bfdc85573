//! Seeded faults, compiled into tests only: what must be noticed when it happens.

use std::sync::atomic::{AtomicI64, Ordering};

static RECORDS_UNTIL_DROP: AtomicI64 = AtomicI64::new(i64::MAX);

/// Has the sources of this process lose one record, the `after`th from now, as a bug would.
pub fn drop_one_record(after: i64) {
    RECORDS_UNTIL_DROP.store(after, Ordering::SeqCst);
}

pub(crate) fn drops_record() -> bool {
    RECORDS_UNTIL_DROP.load(Ordering::Relaxed) != i64::MAX
        && RECORDS_UNTIL_DROP.fetch_sub(1, Ordering::SeqCst) == 0
}
