//! Which table a record goes into, without arithmetic: most come in order of time, or nearly so.

use std::ops::Range;

use crate::record::EventTime;

/// How many tables are remembered: as many as disorder has records change between.
const REMEMBERED: usize = 4;

/// The tables that records went into last.
#[derive(Default)]
pub(super) struct Recent {
    tables: [Remembered; REMEMBERED],
    /// The one that took the last record.
    at: usize,
}

/// A table, and what goes into it and into no other.
#[derive(Default)]
struct Remembered {
    timestamps: Range<i64>,
    /// What comes at this time or later is late for the first window of the table.
    closing: i64,
    table: usize,
}

impl Remembered {
    #[inline]
    fn takes(&self, timestamp: i64, time: i64) -> bool {
        self.timestamps.contains(&timestamp) && time < self.closing
    }
}

impl Recent {
    /// The table that a record of `timestamp` goes into at `time`, if it is remembered. Where the table was closed
    /// since, `time` is past it: it is never later than the operator's watermark.
    #[inline]
    pub(super) fn table(&mut self, timestamp: EventTime, time: EventTime) -> Option<usize> {
        let (timestamp, time) = (timestamp.as_millis(), time.as_millis());
        if !self.tables[self.at].takes(timestamp, time) {
            let mut tables = self.tables.iter();
            self.at = tables.position(|table| table.takes(timestamp, time))?;
        }
        Some(self.tables[self.at].table)
    }

    /// Remembers that records of these timestamps go into a table alone, before the time `closing`.
    pub(super) fn remember(&mut self, timestamps: Range<i64>, closing: EventTime, table: usize) {
        self.at = (self.at + 1) % REMEMBERED;
        self.tables[self.at] = Remembered {
            timestamps,
            closing: closing.as_millis(),
            table,
        };
    }
}
