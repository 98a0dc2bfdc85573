//! The input topics: rides of about 390 bytes of JSON with 18 fields, and lines of ten words.
//!
//! Event time passes at 4,000 rides a second, up to two seconds out of order. Behind all others comes, in every
//! partition, a ride that is a minute later: Kafka Streams closes a window only when a later record has come.

use std::io::Write;

use tiderace::connect::{SinkRecord, partition_for};
use tiderace_pipelines::taxi::LocalTime;
use tiderace_testing::kills::Random;

use super::place::{PARTITIONS, Place};
use super::workload::{WIDE_KEYS, WINDOW, WORDS_A_LINE, Workload};
use crate::Failure;

/// Where the rides begin: 2020-07-01, in milliseconds since 1970.
const BEGIN: i64 = 1_593_561_600_000;
/// Rides a second of event time.
const PACE: i64 = 4_000;
/// How far a ride may come behind later ones, in milliseconds.
const DISORDER: u64 = 2_000;
const ZONES: u64 = 265;
const WORDS: u64 = 5_000;

/// A topic that was written.
pub(super) struct Input {
    pub(super) topic: String,
    /// Records, those that close windows among them.
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the rides that close windows began: what is counted of them is no output of all sides.
    pub(super) closing: i64,
}

impl Input {
    /// Writes the input of a workload to a new topic.
    pub(super) fn write(
        place: &Place,
        topic: String,
        workload: Workload,
        records: u64,
    ) -> Result<Self, Failure> {
        place.create(&topic)?;
        let mut writer = place.open()?.writer(&topic)?;
        let mut random = Random::new(5);
        let (mut key, mut value, mut bytes) = (Vec::new(), Vec::new(), 0);
        let closing = closing(records);
        let first_closing = records - u64::from(PARTITIONS);
        for nth in 0..records {
            key.clear();
            value.clear();
            let mut time = BEGIN + nth as i64 * 1_000 / PACE;
            let mut partition = None;
            match workload {
                Workload::Words => {
                    write_line(&mut value, &mut random)?;
                    partition = Some((nth % u64::from(PARTITIONS)) as u32);
                }
                _ if nth >= first_closing => {
                    time = closing;
                    let wanted = (nth - first_closing) as u32;
                    write!(key, "{}", zone_in(wanted))?;
                    write_ride(&mut value, &mut random, time, &key)?;
                }
                _ => {
                    time -= (random.number() % DISORDER) as i64;
                    let drawn = random.number();
                    let nth_key = match workload {
                        Workload::WideCounts => drawn % WIDE_KEYS,
                        Workload::Keyed(keys) if nth < u64::from(keys) => nth,
                        Workload::Keyed(keys) => drawn % u64::from(keys),
                        _ => drawn % ZONES,
                    };
                    write!(key, "{}", 1 + nth_key)?;
                    write_ride(&mut value, &mut random, time.max(BEGIN), &key)?;
                }
            }
            writer.send(&SinkRecord {
                topic: &topic,
                partition: partition.unwrap_or_else(|| partition_for(&key, PARTITIONS)),
                timestamp: time,
                key: (!key.is_empty()).then_some(&key),
                value: Some(&value),
                headers: &[],
            })?;
            bytes += value.len() as u64;
        }
        writer.flush()?;
        Ok(Input {
            topic,
            records,
            bytes,
            closing,
        })
    }
}

/// When the rides that close windows begin: a minute behind all others, with a window of their own.
fn closing(records: u64) -> i64 {
    let last = BEGIN + records as i64 * 1_000 / PACE;
    (last / WINDOW + 1) * WINDOW + 60_000
}

/// A zone whose rides lie in this partition.
fn zone_in(partition: u32) -> u64 {
    (1..=ZONES)
        .find(|zone| partition_for(zone.to_string().as_bytes(), PARTITIONS) == partition)
        .expect("265 zones lie in all partitions")
}

/// Appends a line: words of seven letters, each as likely as any other, with a space between two.
fn write_line(value: &mut Vec<u8>, random: &mut Random) -> Result<(), Failure> {
    for nth in 0..WORDS_A_LINE {
        let space = if nth > 0 { " " } else { "" };
        write!(value, "{space}w{:06}", random.number() % WORDS)?;
    }
    Ok(())
}

/// Appends a ride that begins at `pickup`, in milliseconds since 1970, in a zone.
pub(in crate::suite) fn write_ride(
    value: &mut Vec<u8>,
    random: &mut Random,
    pickup: i64,
    zone: &[u8],
) -> Result<(), Failure> {
    let mut texts = [[0; LocalTime::TEXT_LENGTH]; 2];
    LocalTime::from_millis(pickup).write(&mut texts[0]);
    LocalTime::from_millis(pickup + 489_000).write(&mut texts[1]);
    let [pickup, dropoff] = texts.map(|text| String::from_utf8_lossy(&text).into_owned());
    let zone = String::from_utf8_lossy(zone);
    // A tenth did not drive.
    let tenths = (random.number() % 10).min(1) * (1 + random.number() % 90);
    let (miles, tenth) = (tenths / 10, tenths % 10);
    write!(
        value,
        r#"{{"VendorID":"1","tpep_pickup_datetime":"{pickup}","tpep_dropoff_datetime":"{dropoff}","passenger_count":1,"trip_distance":{miles}.{tenth}0,"RatecodeID":"1","store_and_fwd_flag":"N","PULocationID":{zone},"DOLocationID":75,"payment_type":"2","fare_amount":8,"extra":0.5,"mta_tax":0.5,"tip_amount":0,"tolls_amount":0,"improvement_surcharge":0.3,"total_amount":9.3,"congestion_surcharge":0}}"#
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_words_of_seven_letters_with_a_space_between() {
        let (mut line, mut random) = (Vec::new(), Random::new(1));
        write_line(&mut line, &mut random).unwrap();
        let line = String::from_utf8(line).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words.len() as u64, WORDS_A_LINE);
        assert!(words.iter().all(|word| word.len() == 7), "{line}");
    }

    #[test]
    fn rides_that_close_windows_begin_one_and_come_late_enough() {
        for records in [8, 50_000, 5_000_000] {
            let last = BEGIN + records as i64 * 1_000 / PACE;
            let closing = closing(records);
            assert_eq!(closing % WINDOW, 0, "{records}");
            assert!(closing - last >= 60_000, "{records}");
        }
    }
}
