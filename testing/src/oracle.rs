//! A naive oracle for windowed counts: a loop, a map and a sort, straight from the definitions.
//!
//! It shares no code with the engine and must know nothing of it: no batches, no epochs, no watermarks. What
//! it says of an input is what the engine must say, whatever the number of workers and the cuts between epochs.

use std::collections::BTreeMap;

mod rides;
#[cfg(test)]
mod tests;

pub use rides::{
    Expected, Output, Ride, Zone, java_partition, read_zones, rides_by_partition, rides_per_zone,
};

/// A record as the oracle sees it, with whatever the caller wants back when it is late.
#[derive(Clone, Debug)]
pub struct Input<R> {
    /// Event time in milliseconds since the epoch; may be negative.
    pub timestamp: i64,
    /// What it is counted under.
    pub key: u32,
    /// Whether the filter in front of the count lets it through.
    pub passes_filter: bool,
    /// Returned in [`Counted::late`].
    pub record: R,
}

/// Windows of `size` that begin every `advance`, and how long they wait for stragglers, in milliseconds.
/// Tumbling windows advance by their size.
#[derive(Clone, Copy, Debug)]
pub struct TimeWindows {
    /// Length; the end is exclusive.
    pub size: i64,
    /// Distance between two starts, at least 1 and at most the size.
    pub advance: i64,
    /// How far stream time may pass the end before the window closes.
    pub grace: i64,
}

impl TimeWindows {
    /// Windows that follow one another without overlap.
    pub fn tumbling(size: i64, grace: i64) -> Self {
        TimeWindows {
            size,
            advance: size,
            grace,
        }
    }

    /// Starts of the windows that hold `timestamp`, ascending. A timestamp from 0 on has no window that
    /// starts below 0; one below 0 has all that hold it.
    pub fn starts(&self, timestamp: i64) -> Vec<i64> {
        let last = timestamp.div_euclid(self.advance) * self.advance;
        let mut starts = Vec::new();
        let mut start = last;
        while start + self.size > timestamp {
            if timestamp < 0 || start >= 0 {
                starts.push(start);
            }
            start -= self.advance;
        }
        starts.reverse();
        starts
    }

    /// The stream time at which the window that begins at `start` takes no more records.
    pub fn closing(&self, start: i64) -> i64 {
        start + self.size + self.grace
    }
}

/// The count of a key in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// When the window closed: its end plus the grace.
    pub closing: i64,
    /// When it began.
    pub start: i64,
    /// The key.
    pub key: u32,
    /// Records that it holds.
    pub count: u64,
    /// The largest of their timestamps.
    pub timestamp: i64,
}

/// How many records met which end; `read = processed + filtered + late`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All records.
    pub read: u64,
    /// In time for at least one window.
    pub processed: u64,
    /// Stopped by the filter.
    pub filtered: u64,
    /// Too late for every window.
    pub late: u64,
}

/// What a bounded input comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<R> {
    /// The results by closing time, then start, then key as big-endian bytes.
    pub results: Vec<WindowCount>,
    /// Per partition the records that came too late for every window, in their order.
    pub late: Vec<Vec<R>>,
    /// The ends that records met.
    pub tally: Tally,
}

/// Counts the records of each key and window. Whether a record is in time depends on nothing but its own
/// partition up to and including itself; the end of the input closes every window.
pub fn count_windows<R: Clone>(partitions: &[Vec<Input<R>>], windows: TimeWindows) -> Counted<R> {
    assert!(
        0 < windows.advance && windows.advance <= windows.size && windows.grace >= 0,
        "{windows:?}"
    );
    let mut tally = Tally::default();
    let mut counts: BTreeMap<(i64, i64, [u8; 4]), (u64, i64)> = BTreeMap::new();
    let mut late = Vec::new();
    for partition in partitions {
        let mut late_here = Vec::new();
        let mut stream_time = i64::MIN;
        for input in partition {
            tally.read += 1;
            stream_time = stream_time.max(input.timestamp);
            if !input.passes_filter {
                tally.filtered += 1;
                continue;
            }
            let mut in_time = windows.starts(input.timestamp);
            in_time.retain(|start| windows.closing(*start) > stream_time);
            if in_time.is_empty() {
                tally.late += 1;
                late_here.push(input.record.clone());
                continue;
            }
            tally.processed += 1;
            for start in in_time {
                let window = (windows.closing(start), start, input.key.to_be_bytes());
                let (count, timestamp) = counts.entry(window).or_insert((0, i64::MIN));
                *count += 1;
                *timestamp = input.timestamp.max(*timestamp);
            }
        }
        late.push(late_here);
    }
    let result = |((closing, start, key), (count, timestamp))| {
        let key = u32::from_be_bytes(key);
        WindowCount {
            closing,
            start,
            key,
            count,
            timestamp,
        }
    };
    Counted {
        results: counts.into_iter().map(result).collect(),
        late,
        tally,
    }
}
