//! In memory: what the engine costs where no broker, disk or network takes part, beside loops over the same records.
//!
//! Records are made before and lie in memory as bytes; a log of ours hands them out and takes what is written
//! (`log.rs`). Everything between is the engine as users run it. The loops read the same bytes directly.

mod chain;
mod contest;
mod decode;
mod epochs;
mod json;
mod keyed;
mod log;
mod nexmark;
mod operators;
mod outputs;
mod pace;
mod pairs;
mod records;
mod side;
mod skew;
mod source;
mod state;
mod texts;
mod transactions;

pub(super) use self::chain::run as chain;
pub(super) use self::decode::run as decode;
pub(super) use self::epochs::run as epochs;
pub(super) use self::json::run as json;
pub(super) use self::keyed::run as keyed;
pub(super) use self::nexmark::run as nexmark;
pub(super) use self::operators::run as operators;
pub(super) use self::pace::run as pace;
pub(super) use self::skew::{Run as SkewRun, run as skew};
pub(super) use self::state::{Growth, run as state};
