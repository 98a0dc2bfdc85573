//! Date-times without a zone, as most JSON has them: text of a fixed layout, read once a record.
//!
//! [`LocalTime`] is the number behind the text. A field that is to be a [`NaiveDateTime`] is read and written the same way
//! by naming this module, in place of chrono's own reader, which finds the layout out anew each time:
//!
//! ```
//! use chrono::NaiveDateTime;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Ride {
//!     #[serde(with = "tiderace::codec::local_time")]
//!     tpep_pickup_datetime: NaiveDateTime,
//! }
//!
//! let ride: Ride = tiderace::codec::json::decode(br#"{"tpep_pickup_datetime":"2020-07-01T00:25:32"}"#)?;
//! assert_eq!(ride.tpep_pickup_datetime.and_utc().timestamp(), 1_593_563_132);
//! # Ok::<(), String>(())
//! ```

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};
use tiderace_operators::record::EventTime;

/// Reads a [`NaiveDateTime`] as [`LocalTime`] is read, for `#[serde(with = "...")]`.
///
/// # Errors
/// It is no date-time of that layout.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDateTime, D::Error> {
    LocalTime::deserialize(deserializer).map(NaiveDateTime::from)
}

/// Writes a [`NaiveDateTime`] as [`LocalTime`] is written, for `#[serde(with = "...")]`; what is below a second is dropped.
///
/// # Errors
/// The year is not one of 0 to 9999.
pub fn serialize<S: Serializer>(time: &NaiveDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    LocalTime::from(*time).serialize(serializer)
}

/// A date-time of a topic, `2020-07-01T00:25:32`, without a zone and read as UTC: what event times are made of, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime(i64);

impl LocalTime {
    /// The length of the text, the same for every date-time.
    pub const TEXT_LENGTH: usize = 19;

    /// The date-time this many milliseconds after 1970 began; the text drops what is below a second.
    pub fn from_millis(millis: i64) -> Self {
        LocalTime(millis)
    }

    /// Milliseconds since 1970 began.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads `2020-07-01T00:25:32` or `2020-07-01 00:25:32`; `None` for anything else. Clocks and calendars
    /// are checked, and the layout is fixed, because this is read once a record.
    pub fn parse(text: &str) -> Option<Self> {
        let text: &[u8; Self::TEXT_LENGTH] = text.as_bytes().try_into().ok()?;
        let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| text[*at] != *mark) || !matches!(text[10], b'T' | b' ') {
            return None;
        }
        let year = digits(&text[0..4])?;
        let (month, day) = (digits(&text[5..7])?, digits(&text[8..10])?);
        let (hour, minute, second) = (
            digits(&text[11..13])?,
            digits(&text[14..16])?,
            digits(&text[17..19])?,
        );
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let date = NaiveDate::from_ymd_opt(year as i32, month, day)?;
        let days = i64::from(date.num_days_from_ce()) - DAYS_BEFORE_1970;
        Some(LocalTime(
            (days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second)) * 1_000,
        ))
    }

    /// Writes the text, `2020-07-01T00:25:32`.
    ///
    /// # Panics
    /// The year is not one of 0 to 9999.
    pub fn write(self, text: &mut [u8; Self::TEXT_LENGTH]) {
        let at = self.of_four_digits().expect("the year has four digits");
        text.copy_from_slice(b"0000-00-00T00:00:00");
        let year = at.year() as u32;
        let pairs = [
            (0, year / 100),
            (2, year % 100),
            (5, at.month()),
            (8, at.day()),
            (11, at.hour()),
            (14, at.minute()),
            (17, at.second()),
        ];
        for (place, pair) in pairs {
            text[place] += (pair / 10) as u8;
            text[place + 1] += (pair % 10) as u8;
        }
    }

    /// The date-time, if the text has room for its year.
    fn of_four_digits(self) -> Option<NaiveDateTime> {
        DateTime::from_timestamp_millis(self.0)
            .map(|at| at.naive_utc())
            .filter(|at| (0..=9999).contains(&at.year()))
    }
}

const DAYS_BEFORE_1970: i64 = 719_163;

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u32::from(digit))
    })
}

impl From<LocalTime> for EventTime {
    fn from(time: LocalTime) -> Self {
        EventTime::from_millis(time.0)
    }
}

impl From<LocalTime> for NaiveDateTime {
    /// What is read is a time that chrono has; one made of more milliseconds than it has becomes its first or last.
    fn from(time: LocalTime) -> Self {
        let ends = if time.0 < 0 {
            NaiveDateTime::MIN
        } else {
            NaiveDateTime::MAX
        };
        DateTime::from_timestamp_millis(time.0).map_or(ends, |time| time.naive_utc())
    }
}

impl From<NaiveDateTime> for LocalTime {
    fn from(time: NaiveDateTime) -> Self {
        LocalTime(time.and_utc().timestamp_millis())
    }
}

/// The text; of a year that it has no room for, the milliseconds.
impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_four_digits().is_none() {
            return write!(f, "{} ms after 1970 began", self.0);
        }
        let mut text = [0; Self::TEXT_LENGTH];
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).expect("digits and marks are ASCII"))
    }
}

impl Serialize for LocalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.of_four_digits() {
            Some(_) => serializer.collect_str(self),
            None => Err(ser::Error::custom(format!(
                "{self}: the year has more than four digits or is before 0"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for LocalTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LocalTimeVisitor)
    }
}

/// Takes the text, and the array `[2020, 7, 1, 0, 25, 32]` that Java's Jackson writes by default.
struct LocalTimeVisitor;

impl<'de> Visitor<'de> for LocalTimeVisitor {
    type Value = LocalTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date-time such as \"2020-07-01T00:25:32\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LocalTime, E> {
        LocalTime::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<LocalTime, A::Error> {
        let mut numbers = [0u32; 7];
        let mut given = 0;
        while let Some(number) = parts.next_element()? {
            let place = numbers
                .get_mut(given)
                .ok_or_else(|| de::Error::invalid_length(given + 1, &self))?;
            *place = number;
            given += 1;
        }
        let [year, month, day, hour, minute, second, nanos] = numbers;
        let time = NaiveDate::from_ymd_opt(year as i32, month, day)
            .filter(|_| given >= 5 && year <= 9999)
            .and_then(|date| date.and_hms_nano_opt(hour, minute, second, nanos))
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Seq, &self))?;
        Ok(LocalTime(time.and_utc().timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 1_593_561_600_000;

    #[test]
    fn date_times_go_to_text_and_back() {
        for text in [
            "2020-07-01T00:25:32",
            "1969-12-31T23:59:59",
            "2024-02-29T12:00:00",
            "0001-01-01T00:00:00",
        ] {
            assert_eq!(LocalTime::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            LocalTime::parse("2020-07-01 00:00:00"),
            Some(LocalTime::from_millis(MIDNIGHT))
        );
        assert_eq!(LocalTime::parse("1970-01-01T00:00:00").unwrap().millis(), 0);
    }

    #[test]
    fn what_is_no_date_time_is_refused() {
        let refused = [
            "",
            "2020-07-01",
            "2020-13-01T00:00:00",
            "2021-02-29T00:00:00",
            "2020-07-01T24:00:00",
            "2020-07-01T00:60:00",
            "2020-07-01T00:00:6O",
            "2020-07-01T00:00:00Z",
            "+020-07-01T00:00:00",
        ];
        for text in refused {
            assert_eq!(LocalTime::parse(text), None, "{text}");
        }
        assert!(serde_json::from_str::<LocalTime>("[2020,7,1]").is_err());
        assert!(serde_json::from_str::<LocalTime>("[2020,7,1,0,0,0,0,0]").is_err());
        assert!(serde_json::from_str::<LocalTime>("5").is_err());
    }

    #[test]
    fn a_field_of_chronos_type_is_read_and_written_alike() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct At(#[serde(with = "super")] NaiveDateTime);
        let read = |json: &str| serde_json::from_str::<At>(json);
        let text = "\"2020-07-01T00:25:32\"";
        let at = read(text).unwrap();
        assert_eq!(at.0.and_utc().timestamp_millis(), MIDNIGHT + 1_532_000);
        assert_eq!(serde_json::to_string(&at).unwrap(), text);
        assert_eq!(read("[2020,7,1,0,25,32]").unwrap(), at);
        assert!(read("\"2020-07-01T00:25\"").is_err());
        let error = serde_json::to_string(&At(NaiveDateTime::MAX)).unwrap_err();
        assert!(error.to_string().contains("four digits"), "{error}");
        for millis in [i64::MIN, i64::MAX] {
            let time = NaiveDateTime::from(LocalTime::from_millis(millis));
            assert!([NaiveDateTime::MIN, NaiveDateTime::MAX].contains(&time));
            let shown = LocalTime::from_millis(millis).to_string();
            assert_eq!(shown, format!("{millis} ms after 1970 began"));
        }
    }
}
