//! The vocabulary of New York's taxi rides, as pipelines read it: the fields they use, and no others.
//!
//! Ids are taken as numbers or as strings of digits; date-times have no zone and are read as UTC.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A ride, from pickup to payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ride {
    /// When the meter was engaged: the ride's event time.
    pub tpep_pickup_datetime: LocalTime,
    /// The distance in miles; 0 where the meter did not run.
    pub trip_distance: f64,
    /// The taxi zone in which the meter was engaged.
    #[serde(rename = "PULocationID", deserialize_with = "id")]
    pub pu_location_id: u32,
}

/// A taxi zone, a row of the lookup table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The zone's id.
    #[serde(deserialize_with = "id")]
    pub locationid: u32,
    /// The borough it lies in.
    pub borough: String,
    /// The zone's name.
    pub zone: String,
    /// Which taxis serve it.
    pub service_zone: String,
}

/// A date-time as the rides bear it, `2020-07-01T00:25:32`, without a zone and read as UTC.
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
        let at =
            DateTime::from_timestamp_millis(self.0).filter(|at| (0..=9999).contains(&at.year()));
        let at = at.expect("a ride's year has four digits").naive_utc();
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
}

const DAYS_BEFORE_1970: i64 = 719_163;

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u32::from(digit))
    })
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::TEXT_LENGTH];
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).expect("digits and marks are ASCII"))
    }
}

impl Serialize for LocalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct IdVisitor;
    impl Visitor<'_> for IdVisitor {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an id, a number or a string of digits")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number)
                .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
            let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| all_digits);
            number.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(IdVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 1_593_561_600_000;

    #[test]
    fn a_ride_is_read_from_the_fields_it_uses() {
        let json = r#"{"PULocationID":238,"trip_distance":1.50,"VendorID":"1","tpep_pickup_datetime":"2020-07-01T00:25:32"}"#;
        let ride: Ride = serde_json::from_str(json).unwrap();
        assert_eq!((ride.pu_location_id, ride.trip_distance), (238, 1.5));
        assert_eq!(ride.tpep_pickup_datetime.millis(), MIDNIGHT + 1_532_000);
    }

    #[test]
    fn ids_may_be_strings_of_digits() {
        let ride = |id: &str| {
            let json = format!(
                r#"{{"PULocationID":{id},"trip_distance":1,"tpep_pickup_datetime":[2020,7,1,0,25]}}"#
            );
            serde_json::from_str::<Ride>(&json)
        };
        assert_eq!(ride("\"238\"").unwrap().pu_location_id, 238);
        for refused in [
            "\"+238\"",
            "\"\"",
            "-1",
            "4294967296",
            "null",
            "1.5",
            "\"two\"",
        ] {
            assert!(ride(refused).is_err(), "{refused}");
        }
    }

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
}
