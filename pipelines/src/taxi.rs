//! The vocabulary of New York's taxi rides, as pipelines read it: the fields they use, and no others.
//!
//! Ids are taken as numbers or as strings of digits; date-times have no zone and are read as UTC.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
pub use tiderace::codec::local_time::LocalTime;

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
}
