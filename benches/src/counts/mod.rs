//! A running count over many keys, in a process of its own: how soon it is back when it was killed, and what keeping its
//! state costs.

mod bare;
mod contestant;
mod feed;
mod follow;
mod job;
mod kill;
mod place;
mod process;
pub(crate) mod recovery;
pub(crate) mod restart;
pub(crate) mod snapshots;
pub(crate) mod soak;
mod verify;
mod watch;

pub(crate) use job::{Options as JobOptions, run as run_job};
