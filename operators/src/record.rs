//! The record as operators see it: a header of 24 bytes, a key that may be null, and a value.
//!
//! The header says when the record happened ([`EventTime`]), how far its partition had come when it was
//! read (its stream time), and where it stands in the order of its epoch ([`Position`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Event time in milliseconds since 1970-01-01T00:00:00Z; may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(i64);

impl EventTime {
    /// Before every event: the stream time of a partition that has delivered nothing.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every event.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        EventTime(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time moved by `millis`, held at the ends of the range; [`MIN`](Self::MIN) stays where it is.
    pub const fn saturating_add(self, millis: i64) -> Self {
        if self.0 == i64::MIN {
            self
        } else {
            EventTime(self.0.saturating_add(millis))
        }
    }

    /// This time moved back by `millis`, held at the ends of the range; [`MIN`](Self::MIN) stays where it is.
    pub const fn saturating_sub(self, millis: i64) -> Self {
        if self.0 == i64::MIN {
            self
        } else {
            EventTime(self.0.saturating_sub(millis))
        }
    }
}

impl From<chrono::NaiveDateTime> for EventTime {
    /// Reads a date-time without a zone as UTC.
    fn from(at: chrono::NaiveDateTime) -> Self {
        EventTime(at.and_utc().timestamp_millis())
    }
}

impl<Z: chrono::TimeZone> From<chrono::DateTime<Z>> for EventTime {
    fn from(at: chrono::DateTime<Z>) -> Self {
        EventTime(at.timestamp_millis())
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_millis(self.0) {
            Some(at) => write!(
                f,
                "{}",
                at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
            ),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// A record's place in the canonical order of its epoch, in 64 bits.
///
/// A record that was read is ordered by source (7 bits), partition (16) and offset (40, relative to the first
/// that the epoch takes from the partition); the result of a closed window by its closing time. Every read
/// record precedes every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

const RESULT: u64 = 1 << 63;
const OFFSET_BITS: u32 = 40;
const PARTITION_BITS: u32 = 16;

/// A number that does not fit into the fixed widths of a [`Position`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {number} does not fit into the {bits} bits that a record's position has for it")]
pub struct PositionOverflow {
    what: &'static str,
    number: u64,
    bits: u32,
}

impl Position {
    /// The least of all positions.
    pub const FIRST: Position = Position(0);
    /// The largest source number.
    pub const MAX_SOURCE: u64 = (1 << 7) - 1;
    /// The largest partition number.
    pub const MAX_PARTITION: u64 = (1 << PARTITION_BITS) - 1;
    /// The largest offset relative to the first of an epoch.
    pub const MAX_OFFSET: u64 = (1 << OFFSET_BITS) - 1;

    /// The position of a record that was read.
    ///
    /// # Errors
    /// A number is wider than its field.
    pub fn read(source: usize, partition: u32, offset: u64) -> Result<Self, PositionOverflow> {
        let fits = |what, number, max: u64| {
            if number <= max {
                Ok(number)
            } else {
                Err(PositionOverflow {
                    what,
                    number,
                    bits: max.count_ones(),
                })
            }
        };
        let source = fits("source", source as u64, Self::MAX_SOURCE)?;
        let partition = fits("partition", u64::from(partition), Self::MAX_PARTITION)?;
        let offset = fits("offset", offset, Self::MAX_OFFSET)?;
        Ok(Position(
            source << (OFFSET_BITS + PARTITION_BITS) | partition << OFFSET_BITS | offset,
        ))
    }

    /// The position of a result that became final when the watermark reached `closing`. Times beyond
    /// 2^62 ms, 146 million years, from the epoch count as that.
    pub fn result(closing: EventTime) -> Self {
        const HALF: i64 = 1 << 62;
        let biased = closing.0.clamp(-HALF, HALF - 1) + HALF;
        Position(RESULT | biased as u64)
    }

    /// Whether this is a window's result; its record does not come straight from a source.
    pub fn is_result(self) -> bool {
        self.0 & RESULT != 0
    }

    /// Its 64 bits.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The position of these bits.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Position(bits)
    }

    /// Source and partition of a record that was read, in one number that orders as they do.
    pub fn origin(self) -> u32 {
        (self.0 >> OFFSET_BITS) as u32
    }

    /// Number of the source that the record was read by; meaningless for a result.
    pub fn source(self) -> usize {
        (self.0 >> (OFFSET_BITS + PARTITION_BITS)) as usize & Self::MAX_SOURCE as usize
    }

    /// Partition that the record was read from; meaningless for a result.
    pub fn partition(self) -> u32 {
        (self.0 >> OFFSET_BITS) as u32 & Self::MAX_PARTITION as u32
    }

    /// Offset relative to the first that the epoch takes from the partition; meaningless for a result.
    pub fn offset(self) -> u64 {
        self.0 & Self::MAX_OFFSET
    }
}

/// What every record carries beside key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When it happened; for a result the largest timestamp of its records.
    pub timestamp: EventTime,
    /// Stream time of the record's partition when it was read; for a result the smallest of its records'.
    pub stream_time: EventTime,
    /// Place in the canonical order of the epoch.
    pub position: Position,
}

const _: () = assert!(size_of::<Header>() == 24, "a header is at most 24 bytes");

impl Header {
    /// Makes it the header of what another record has been put into.
    #[inline]
    pub(crate) fn take_in(&mut self, other: &Header) {
        self.timestamp = self.timestamp.max(other.timestamp);
        self.stream_time = self.stream_time.min(other.stream_time);
        self.position = self.position.max(other.position);
    }
}

/// What few records carry, so that the others pay eight bytes for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Order among equal positions, set where a step changes the key of a result: the bytes of the key before.
    pub order: Vec<u8>,
}

/// A record between operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    /// Timestamp, stream time and position.
    pub header: Header,
    /// What few records carry.
    pub extra: Option<Box<Extra>>,
    /// The key, `None` if it is null or no step of the topology looks at it.
    pub key: Option<K>,
    /// The value.
    pub value: V,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_by_source_then_partition_then_offset() {
        let at = |s, p, o| Position::read(s, p, o).unwrap();
        assert!(at(0, 9, 9) < at(1, 0, 0));
        assert!(at(1, 0, 9) < at(1, 1, 0));
        assert!(at(1, 1, 0) < at(1, 1, 1));
        let widest = at(127, 65_535, Position::MAX_OFFSET);
        assert_eq!(
            (widest.source(), widest.partition(), widest.offset()),
            (127, 65_535, Position::MAX_OFFSET)
        );
        assert!(!widest.is_result());
    }

    #[test]
    fn a_number_too_wide_is_an_error() {
        assert!(Position::read(128, 0, 0).is_err());
        assert!(Position::read(0, 65_536, 0).is_err());
        assert!(Position::read(0, 0, Position::MAX_OFFSET + 1).is_err());
    }

    #[test]
    fn results_come_behind_records_in_order_of_closing_time() {
        let times = [-(1 << 61), -10_000, -1, 0, 1, 2, 1_593_563_132_000, 1 << 61];
        let positions: Vec<_> = times
            .map(|t| Position::result(EventTime::from_millis(t)))
            .into();
        assert!(positions.is_sorted() && positions.windows(2).all(|p| p[0] != p[1]));
        assert!(positions[0] > Position::read(127, 65_535, Position::MAX_OFFSET).unwrap());
        assert!(positions[0].is_result());
    }
}
