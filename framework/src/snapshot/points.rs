//! The places in snapshots where tests strike: handing over, writing, collecting, merging, and taking back.
//! [`crate::failpoint`] has them among its own. Compiled in with the feature `failpoints` only.

use std::io;

use tiderace_operators::failpoint::Point;

/// A step is about to hand over some of its entries; it may have handed over others, and may have more.
pub static P14_HANDING_OVER: Point = Point::new("P14-handing-over");
/// A step has handed over all of its entries on one worker, and others are behind.
pub static P14_HANDED_OVER: Point = Point::new("P14-handed-over");
/// A snapshot's epoch is committed and all of it is handed over; its last file and its manifest are not there.
pub static P14_COMPLETE: Point = Point::new("P14-complete");
/// A draft has been created and is empty; a draft of a manifest has its data file published before it.
pub static P15_CREATED: Point = Point::new("P15-created");
/// A draft has got bytes, which are not synced.
pub static P15_APPENDED: Point = Point::new("P15-appended");
/// A draft is synced and has not got its name.
pub static P16_SYNCED: Point = Point::new("P16-synced");
/// A draft has got its name, and the directory is not synced.
pub static P16_RENAMED: Point = Point::new("P16-renamed");
/// A file that no snapshot needs any more is about to be deleted.
pub static P17_DELETING: Point = Point::new("P17-deleting");
/// A lane is about to be merged into a new base.
pub static P17_MERGING: Point = Point::new("P17-merging");
/// A new base is published, and no manifest names it.
pub static P17_MERGED: Point = Point::new("P17-merged");
/// The names of what there is are known, and nothing of it has been read.
pub static P18_LISTED: Point = Point::new("P18-listed");
/// A data file of a snapshot has been found whole; others may not have been looked at.
pub static P18_VERIFIED: Point = Point::new("P18-verified");
/// A step is about to take entries back on one worker; it may have taken others.
pub static P18_RESTORING: Point = Point::new("P18-restoring");

/// The error of a place that is made to fail.
pub(super) fn broken() -> io::Error {
    io::Error::other("made to fail")
}
