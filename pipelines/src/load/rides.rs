//! Rides of a CSV file as records: each is rendered once, and a copy of it only gets its two date-times
//! written over.
//!
//! The value is JSON of all 18 columns under the CSV's names. Numbers keep the CSV's digits (`1.50` stays
//! `1.50`, and `.73` becomes `0.73`), `VendorID`, `payment_type` and the flag are strings, an empty field is `null`.

use std::path::{Path, PathBuf};

use super::LoadError;
use super::order::COPY_STEP;
use crate::taxi::LocalTime;

const BUILT_IN: &str = include_str!("../../../data/rides.csv");

/// How a column's text becomes JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Number,
    DateTime,
}

const COLUMNS: [(&str, Form); 18] = [
    ("VendorID", Form::Text),
    ("tpep_pickup_datetime", Form::DateTime),
    ("tpep_dropoff_datetime", Form::DateTime),
    ("passenger_count", Form::Number),
    ("trip_distance", Form::Number),
    ("RatecodeID", Form::Number),
    ("store_and_fwd_flag", Form::Text),
    ("PULocationID", Form::Number),
    ("DOLocationID", Form::Number),
    ("payment_type", Form::Text),
    ("fare_amount", Form::Number),
    ("extra", Form::Number),
    ("mta_tax", Form::Number),
    ("tip_amount", Form::Number),
    ("tolls_amount", Form::Number),
    ("improvement_surcharge", Form::Number),
    ("total_amount", Form::Number),
    ("congestion_surcharge", Form::Number),
];
const PICKUP: usize = 1;
const DROPOFF: usize = 2;
const ZONE: usize = 7;

/// The rides of one file, in its order.
pub struct Rides {
    pub(super) source: String,
    pub(super) content: u64,
    rides: Vec<Ride>,
}

/// One ride, rendered.
pub(super) struct Ride {
    /// The pickup zone's id in decimal.
    pub(super) key: String,
    pickup: i64,
    dropoff: i64,
    json: Vec<u8>,
    pickup_place: usize,
    dropoff_place: usize,
}

impl Rides {
    /// The rides that the program carries.
    ///
    /// # Panics
    /// Never: a test reads them.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN.as_bytes(), "the built-in rides")
            .expect("the built-in rides are well formed")
    }

    /// The rides of a CSV file with the same 18 columns.
    ///
    /// # Errors
    /// A file that cannot be read, a column missing, a field that does not fit its column.
    pub fn from_file(file: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read(file).map_err(|source| LoadError::File {
            file: PathBuf::from(file),
            source,
        })?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Rides of CSV text; `source` names it in errors and in what is recorded of a load.
    ///
    /// # Errors
    /// As for [`Rides::from_file`].
    pub fn parse(text: &[u8], source: &str) -> Result<Self, LoadError> {
        let bad = |line: u64, reason: String| LoadError::Row {
            source_name: source.to_owned(),
            line,
            reason,
        };
        let mut reader = csv::Reader::from_reader(text);
        let header = reader
            .headers()
            .map_err(|error| bad(1, error.to_string()))?
            .clone();
        let mut places = [0; COLUMNS.len()];
        for (place, (name, _)) in places.iter_mut().zip(COLUMNS) {
            let found = header.iter().position(|column| column == name);
            *place = found.ok_or_else(|| bad(1, format!("there is no column `{name}`")))?;
        }
        let mut rides = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|error| {
                let line = error.position().map_or(0, csv::Position::line);
                bad(line, error.to_string())
            })?;
            let line = row.position().map_or(0, csv::Position::line);
            let fields = places.map(|place| row.get(place).unwrap_or_default().trim());
            rides.push(Ride::render(&fields).map_err(|reason| bad(line, reason))?);
        }
        if rides.is_empty() {
            return Err(bad(1, "there are no rides in it".into()));
        }
        Ok(Rides {
            source: source.to_owned(),
            content: fingerprint(text),
            rides,
        })
    }

    /// How many rides one copy has.
    pub fn len(&self) -> usize {
        self.rides.len()
    }

    /// Whether there are none; never so, as a file without rides is refused.
    pub fn is_empty(&self) -> bool {
        self.rides.is_empty()
    }

    /// Pickup times in milliseconds, in the file's order.
    pub fn pickups(&self) -> Vec<i64> {
        self.rides.iter().map(|ride| ride.pickup).collect()
    }

    pub(super) fn ride(&self, index: usize) -> &Ride {
        &self.rides[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ride> {
        self.rides.iter()
    }

    /// The most copies whose date-times still have a year of four digits.
    pub(super) fn most_copies(&self) -> u64 {
        const END_OF_9999: i64 = 253_402_300_799_000;
        let latest = self
            .rides
            .iter()
            .map(|ride| ride.pickup.max(ride.dropoff))
            .max()
            .unwrap_or(0);
        ((END_OF_9999 - latest) / COPY_STEP) as u64 + 1
    }
}

impl Ride {
    fn render(fields: &[&str; COLUMNS.len()]) -> Result<Self, String> {
        let mut json = String::with_capacity(512);
        let mut places = [0; COLUMNS.len()];
        for (index, ((name, form), field)) in COLUMNS.iter().zip(fields).enumerate() {
            json.push(if index == 0 { '{' } else { ',' });
            json.push_str(&format!("\"{name}\":"));
            places[index] = json.len() + 1;
            json.push_str(
                &value(*form, field).map_err(|reason| format!("column `{name}`: {reason}"))?,
            );
        }
        json.push('}');
        let zone: u32 = fields[ZONE]
            .parse()
            .map_err(|_| format!("`{}` is not a zone's id", fields[ZONE]))?;
        let time = |column: usize| {
            LocalTime::parse(fields[column])
                .expect("rendered as a date-time above")
                .millis()
        };
        Ok(Ride {
            key: zone.to_string(),
            pickup: time(PICKUP),
            dropoff: time(DROPOFF),
            json: json.into_bytes(),
            pickup_place: places[PICKUP],
            dropoff_place: places[DROPOFF],
        })
    }

    /// Writes the value of the copy that is `shift` milliseconds later than the ride itself.
    pub(super) fn write(&self, shift: i64, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&self.json);
        if shift != 0 {
            for (time, place) in [
                (self.pickup, self.pickup_place),
                (self.dropoff, self.dropoff_place),
            ] {
                let text = &mut value[place..place + LocalTime::TEXT_LENGTH];
                let text = text.try_into().expect("the slice has the text's length");
                LocalTime::from_millis(time + shift).write(text);
            }
        }
    }
}

fn value(form: Form, field: &str) -> Result<String, String> {
    match form {
        Form::DateTime => match LocalTime::parse(field) {
            Some(time) => Ok(format!("\"{time}\"")),
            None => Err(format!(
                "`{field}` is not a date-time such as 2020-07-01 00:25:32"
            )),
        },
        _ if field.is_empty() => Ok("null".into()),
        Form::Text => Ok(serde_json::Value::from(field).to_string()),
        Form::Number => {
            let number = with_leading_zero(field);
            match serde_json::from_str::<serde_json::Number>(&number) {
                Ok(_) => Ok(number),
                Err(_) => Err(format!("`{field}` is not a number")),
            }
        }
    }
}

/// The meters write `.73`, which JSON does not take.
fn with_leading_zero(number: &str) -> String {
    match (number.strip_prefix('.'), number.strip_prefix("-.")) {
        (Some(fraction), _) => format!("0.{fraction}"),
        (_, Some(fraction)) => format!("-0.{fraction}"),
        _ => number.to_owned(),
    }
}

/// FNV-1a of the file's bytes: it tells files apart that bear the same name, on every machine and version.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ride_has_all_columns_in_the_csvs_order() {
        let rides = Rides::built_in();
        assert_eq!(rides.len(), 266);
        let mut value = Vec::new();
        rides.ride(0).write(0, &mut value);
        assert_eq!(
            String::from_utf8(value).unwrap(),
            concat!(
                r#"{"VendorID":"1","tpep_pickup_datetime":"2020-07-01T00:25:32","#,
                r#""tpep_dropoff_datetime":"2020-07-01T00:33:39","passenger_count":1,"trip_distance":1.50,"#,
                r#""RatecodeID":1,"store_and_fwd_flag":"N","PULocationID":238,"DOLocationID":75,"#,
                r#""payment_type":"2","fare_amount":8,"extra":0.5,"mta_tax":0.5,"tip_amount":0,"tolls_amount":0,"#,
                r#""improvement_surcharge":0.3,"total_amount":9.3,"congestion_surcharge":0}"#
            )
        );
        assert_eq!(rides.ride(0).key, "238");
        assert_eq!(rides.pickups()[0], 1_593_563_132_000);
    }

    #[test]
    fn a_copy_differs_in_its_date_times_only() {
        let rides = Rides::built_in();
        for ride in rides.iter() {
            let (mut value, mut copy) = (Vec::new(), Vec::new());
            ride.write(0, &mut value);
            ride.write(86_400_000, &mut copy);
            let mut expected: serde_json::Value = serde_json::from_slice(&value).unwrap();
            for name in ["tpep_pickup_datetime", "tpep_dropoff_datetime"] {
                let time = LocalTime::parse(expected[name].as_str().unwrap())
                    .unwrap()
                    .millis();
                expected[name] = LocalTime::from_millis(time + 86_400_000).to_string().into();
            }
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&copy).unwrap(),
                expected
            );
        }
    }

    fn with_field(column: usize, field: &str) -> Result<Rides, LoadError> {
        let mut lines = BUILT_IN.lines();
        let header = lines.next().unwrap();
        let mut fields: Vec<&str> = lines.next().unwrap().split(',').collect();
        fields[column] = field;
        Rides::parse(
            format!("{header}\n{}\n", fields.join(",")).as_bytes(),
            "test.csv",
        )
    }

    #[test]
    fn an_empty_field_is_null() {
        let rides = with_field(3, "").unwrap();
        let mut value = Vec::new();
        rides.ride(0).write(0, &mut value);
        assert!(
            String::from_utf8(value)
                .unwrap()
                .contains(r#""passenger_count":null"#)
        );
    }

    #[test]
    fn a_number_without_its_leading_zero_gets_one() {
        let mut value = Vec::new();
        with_field(13, "-.50").unwrap().ride(0).write(0, &mut value);
        assert!(
            String::from_utf8(value)
                .unwrap()
                .contains(r#""tip_amount":-0.50,"#)
        );
    }

    #[test]
    fn a_bad_field_is_named_with_line_and_column() {
        let cases = [
            (1, "yesterday"),
            (4, "1.5 miles"),
            (4, "NaN"),
            (4, "."),
            (7, "-3"),
            (7, ""),
            (2, ""),
        ];
        for (column, field) in cases {
            let error = with_field(column, field).err().unwrap();
            let message = error.to_string();
            assert_eq!(error.exit_code(), 65);
            assert!(message.starts_with("test.csv, line 2: "), "{message}");
        }
    }

    #[test]
    fn a_file_of_other_columns_is_refused() {
        let error = Rides::parse(b"a,b\n1,2\n", "test.csv")
            .err()
            .unwrap()
            .to_string();
        assert_eq!(error, "test.csv, line 1: there is no column `VendorID`");
        let header = BUILT_IN.lines().next().unwrap();
        assert!(
            Rides::parse(header.as_bytes(), "test.csv")
                .err()
                .unwrap()
                .to_string()
                .contains("no rides")
        );
        let short = format!("{header}\n1,2\n");
        assert!(Rides::parse(short.as_bytes(), "test.csv").is_err());
    }
}
