//! What topic `rides-per-zone` must hold, byte for byte, after any run over given rides.
//!
//! Reads the CSV files and the JSON of rides by itself, and has its own partitioner.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde_json::Value;

use super::{Counted, Input, Tally, TimeWindows, count_windows};

/// Partitions of `rides` and of `rides-per-zone`.
const PARTITIONS: usize = 4;

/// What the pipeline looks at in a ride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ride {
    /// Pickup time in milliseconds since the epoch, read as UTC.
    pub pickup: i64,
    /// The zone it began in.
    pub zone: u32,
    /// Miles.
    pub distance: f64,
}

impl Ride {
    /// Reads the value of a record of topic `rides`; panics on anything that is not a ride.
    pub fn from_json(value: &[u8]) -> Self {
        let ride: Value = serde_json::from_slice(value).expect("a ride is JSON");
        let number = |name: &str| match &ride[name] {
            Value::String(digits) => digits.parse().expect("digits"),
            number => number.as_f64().expect("a number"),
        };
        let pickup = ride["tpep_pickup_datetime"]
            .as_str()
            .expect("a pickup time");
        Ride {
            pickup: millis(pickup, "%Y-%m-%dT%H:%M:%S%.f"),
            zone: number("PULocationID") as u32,
            distance: number("trip_distance"),
        }
    }
}

fn millis(text: &str, format: &str) -> i64 {
    NaiveDateTime::parse_from_str(text, format)
        .expect("a date and time")
        .and_utc()
        .timestamp_millis()
}

/// Reads rides from a CSV file and deals them out as topic `rides` holds them by default: in order of pickup
/// time, each in the partition of its zone's decimal text.
pub fn rides_by_partition(csv: &Path) -> Vec<Vec<Ride>> {
    let mut file = csv::Reader::from_path(csv).expect("the file of the rides can be read");
    let mut rides: Vec<Ride> = Vec::new();
    for row in file.deserialize() {
        let row: BTreeMap<String, String> = row.expect("a row of the header's width");
        rides.push(Ride {
            pickup: millis(&row["tpep_pickup_datetime"], "%Y-%m-%d %H:%M:%S"),
            zone: row["PULocationID"].parse().expect("a zone id"),
            distance: row["trip_distance"].parse().expect("a distance"),
        });
    }
    rides.sort_by_key(|ride| ride.pickup);
    let mut partitions = vec![Vec::new(); PARTITIONS];
    for ride in rides {
        partitions[java_partition(ride.zone.to_string().as_bytes(), PARTITIONS)].push(ride);
    }
    partitions
}

/// The names of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's name.
    pub name: String,
    /// The borough it lies in.
    pub borough: String,
}

/// Reads the names of the zones from a CSV file; of two rows of one zone the later one holds.
pub fn read_zones(csv: &Path) -> BTreeMap<u32, Zone> {
    let mut file = csv::Reader::from_path(csv).expect("the file of the zones can be read");
    let mut zones = BTreeMap::new();
    for row in file.deserialize() {
        let row: BTreeMap<String, String> = row.expect("a row of the header's width");
        let zone = Zone {
            name: row["zone"].clone(),
            borough: row["borough"].clone(),
        };
        zones.insert(row["locationid"].parse().expect("a zone id"), zone);
    }
    zones
}

/// Key bytes, value bytes and timestamp of an output record.
pub type Output = (Vec<u8>, Vec<u8>, i64);

/// The topic `rides-per-zone` as it must be, and what became of the rides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Per partition the records in order.
    pub partitions: Vec<Vec<Output>>,
    /// Per input partition the indices of the late rides.
    pub late: Vec<Vec<usize>>,
    /// The ends that the rides met.
    pub tally: Tally,
}

/// Counts rides per zone in tumbling windows, with `window` and `grace` in milliseconds.
pub fn rides_per_zone(
    rides: &[Vec<Ride>],
    zones: &BTreeMap<u32, Zone>,
    window: i64,
    grace: i64,
) -> Expected {
    let input = |(index, ride): (usize, &Ride)| Input {
        timestamp: ride.pickup,
        key: ride.zone,
        passes_filter: ride.distance > 0.0,
        record: index,
    };
    let inputs: Vec<Vec<_>> = rides
        .iter()
        .map(|partition| partition.iter().enumerate().map(input).collect())
        .collect();
    let Counted {
        results,
        late,
        tally,
    } = count_windows(&inputs, TimeWindows::tumbling(window, grace));
    let mut partitions = vec![Vec::new(); PARTITIONS];
    for result in results {
        let zone_id = result.key.to_be_bytes();
        let key = [&zone_id[..], &result.start.to_be_bytes()].concat();
        let name = |text: Option<&String>| Value::from(text.map(String::as_str)).to_string();
        let zone = zones.get(&result.key);
        let value = format!(
            r#"{{"zone_id":{},"zone":{},"borough":{},"window_start":"{}","window_end":"{}","rides":{}}}"#,
            result.key,
            name(zone.map(|zone| &zone.name)),
            name(zone.map(|zone| &zone.borough)),
            utc(result.start),
            utc(result.start + window),
            result.count,
        );
        partitions[java_partition(&zone_id, PARTITIONS)].push((
            key,
            value.into_bytes(),
            result.timestamp,
        ));
    }
    Expected {
        partitions,
        late,
        tally,
    }
}

fn utc(millis: i64) -> String {
    let at = DateTime::from_timestamp_millis(millis).expect("a time that chrono can write");
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The partition that Kafka's Java client gives a key: murmur2, made positive, modulo the count.
pub fn java_partition(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
pub(super) fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
