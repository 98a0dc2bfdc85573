//! Places where a test can strike: compiled in with the feature `failpoints` only, never into a release.
//!
//! A `Point` is passed by [`failpoint!`](crate::failpoint!). Armed with the language of the `fail` crate
//! (`3*off->1*panic`: at the fourth pass) or with a closure it panics, waits, or has its place fail; every pass is
//! counted, so that a test knows that what it armed was reached. Points are of a process: tests that arm one run
//! alone in theirs, or one after the other.

#[cfg(feature = "failpoints")]
mod point;

#[cfg(feature = "failpoints")]
pub use point::Point;

/// An operator has sent what it makes of an epoch and goes on to the next, while others are behind.
#[cfg(feature = "failpoints")]
pub static P02_MID_OPERATOR: Point = Point::new("P02-mid-operator");

/// Passes a `failpoint::Point`. With a closure its place can fail: the enclosing function then
/// returns what the closure makes of the action's word. Without the crate's feature `failpoints` it is nothing.
#[macro_export]
macro_rules! failpoint {
    ($point:expr) => {
        #[cfg(feature = "failpoints")]
        let _ = $point.pass();
    };
    ($point:expr, $fail:expr) => {
        #[cfg(feature = "failpoints")]
        if let Some(said) = $point.pass() {
            return $fail(said);
        }
    };
}
