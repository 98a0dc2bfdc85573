//! A ride as both sides of the comparison decode it: the three fields that the pipeline uses.

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// What is read of the JSON of a ride; the other fields are skipped over.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ride {
    /// Pickup time in milliseconds since the epoch.
    #[serde(rename = "tpep_pickup_datetime", deserialize_with = "date_time")]
    pub pickup: i64,
    /// The distance in miles.
    pub trip_distance: f64,
    /// The zone it began in.
    #[serde(rename = "PULocationID")]
    pub zone: u32,
}

/// Milliseconds since the epoch of `2020-07-01T00:25:32`, read as UTC.
fn millis(text: &[u8; 19]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days since 1970-01-01, in years that begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

fn date_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct DateTime;
    impl Visitor<'_> for DateTime {
        type Value = i64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a date-time such as \"2020-07-01T00:25:32\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            let read = text.as_bytes().try_into().ok().and_then(millis);
            read.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_str(DateTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times_are_read_as_utc() {
        let cases = [
            (b"1970-01-01T00:00:00", 0),
            (b"1969-12-31T23:59:59", -1_000),
            (b"2020-07-01T00:10:00", 1_593_562_200_000),
            (b"2024-02-29T12:00:00", 1_709_208_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(millis(text), Some(expected));
        }
        assert_eq!(millis(b"2020-13-01T00:00:00"), None);
        assert_eq!(millis(b"2020-07-01 00:00:00"), None);
    }
}
