//! Which pane a record belongs to, without arithmetic: most come in order of time, or nearly so.

use std::ops::Range;

use crate::record::EventTime;

/// How many panes are remembered: as many as disorder has records change between.
const REMEMBERED: usize = 4;

/// The panes that records went into last, each with what is known of it.
#[derive(Default)]
pub(super) struct Recent<T> {
    panes: [Remembered<T>; REMEMBERED],
    /// The one that took the last record.
    at: usize,
}

/// A pane, and what goes into it and into no other.
#[derive(Default)]
struct Remembered<T> {
    timestamps: Range<i64>,
    /// What comes at this time or later is late for the first window of the pane.
    closing: i64,
    of: T,
}

impl<T> Remembered<T> {
    #[inline]
    fn takes(&self, timestamp: i64, time: i64) -> bool {
        self.timestamps.contains(&timestamp) && time < self.closing
    }
}

impl<T: Copy> Recent<T> {
    /// What is remembered of the pane that a record of `timestamp` goes into at `time`. Where the pane was closed
    /// since, `time` is past it: it is never later than the operator's watermark.
    #[inline]
    pub(super) fn find(&mut self, timestamp: EventTime, time: EventTime) -> Option<T> {
        let (timestamp, time) = (timestamp.as_millis(), time.as_millis());
        if !self.panes[self.at].takes(timestamp, time) {
            let mut panes = self.panes.iter();
            self.at = panes.position(|pane| pane.takes(timestamp, time))?;
        }
        Some(self.panes[self.at].of)
    }

    /// Remembers that records of these timestamps go into a pane alone, before the time `closing`.
    pub(super) fn remember(&mut self, timestamps: Range<i64>, closing: EventTime, of: T) {
        self.at = (self.at + 1) % REMEMBERED;
        self.panes[self.at] = Remembered {
            timestamps,
            closing: closing.as_millis(),
            of,
        };
    }
}
