//! Limits that decide when an epoch closes, and how many may be closed.

use std::num::NonZeroU64;
use std::time::Duration;

use super::commit::MOST_EPOCHS;
use super::in_flight::Shares;
use super::schedule::ahead_of;
use crate::config::{Config, Guarantee};

/// Limits that decide when an epoch closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) interval: Duration,
    /// How long before the end of an interval an epoch closes ahead, if one does.
    pub(crate) ahead: Option<Duration>,
    pub(crate) records: u64,
    pub(crate) bytes: usize,
    /// Closed epochs whose outputs may be unacknowledged.
    pub(crate) in_flight: u64,
    /// Closed epochs that may be uncommitted.
    pub(crate) uncommitted: u64,
    /// Records a second that may be taken in.
    pub(crate) rate: Option<NonZeroU64>,
    /// Bytes that all epochs together may have in flight before sources wait.
    pub(crate) memory: usize,
    /// Records that a partition may be ahead of the one that windows wait for.
    pub(crate) lead: u64,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let shares = Shares::of(config.memory_budget);
        let in_flight = config.epochs_in_flight.max(2);
        let uncommitted = match config.guarantee {
            Guarantee::AtMostOnce => in_flight,
            // One transaction commits these once they are acknowledged, and memory bounds what is kept of them till then.
            Guarantee::ExactlyOnce | Guarantee::AtLeastOnce => MOST_EPOCHS as u64,
        };
        // Only in a transaction outputs are sent before they may be seen.
        let ahead = match config.guarantee {
            Guarantee::ExactlyOnce => ahead_of(config.commit_interval),
            Guarantee::AtMostOnce | Guarantee::AtLeastOnce => None,
        };
        Limits {
            interval: config.commit_interval,
            ahead,
            records: config.epoch_records.max(1),
            bytes: shares.epoch,
            in_flight,
            uncommitted,
            rate: config.rate,
            memory: shares.epochs,
            lead: config.max_lead_records,
        }
    }

    /// Limits of epochs that close when they are told to.
    pub(crate) fn by_hand() -> Self {
        Limits {
            interval: Duration::from_secs(u64::from(u32::MAX)),
            ahead: None,
            records: u64::MAX,
            bytes: usize::MAX,
            in_flight: u64::from(u32::MAX),
            uncommitted: u64::from(u32::MAX),
            rate: None,
            memory: usize::MAX,
            lead: u64::MAX,
        }
    }
}
