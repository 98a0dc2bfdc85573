//! The pipeline `rides-per-zone`, with the same output bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use tiderace::connect::{Log, TransactionError};
use tiderace::runtime;

use super::Error;
use super::input::Input;
use super::json;
use super::output::{COMMIT_INTERVAL, Output};
use crate::zone_counts::{ZoneCount, ZoneCounts};

/// Where the loop reads and writes, and its windows in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Topic of the rides.
    pub rides: &'a str,
    /// Topic of the zones' names.
    pub zones: &'a str,
    /// Topic of the counts; must exist.
    pub output: &'a str,
    /// Length of a window.
    pub window: i64,
    /// How long a window waits for stragglers.
    pub grace: i64,
}

/// Counts what the topic of rides holds now, writes the counts, and says what became of the rides.
///
/// # Errors
/// See [`Error`].
pub fn rides_per_zone(log: &dyn Log, job: Job<'_>) -> Result<runtime::Counts, Error> {
    let zones = zone_names(log, job.zones)?;
    let input = Input::open(log, job.rides)?;
    let mut counts = ZoneCounts::new(job.window, job.grace, input.partitions.len());
    let mut results = Results {
        output: Output::open(log, "rides-per-zone-by-hand", job.output, COMMIT_INTERVAL)?,
        window: job.window,
        zones,
        value: Vec::new(),
    };
    let mut closed = Vec::new();
    input.read(|slot, partition, batch, ends| {
        for index in 0..batch.len() {
            let record = batch.get(index);
            if record.offset >= ends {
                break;
            }
            let value = record.value.unwrap_or_default();
            counts.take(slot, value).map_err(|reason| Error::Value {
                partition: partition.clone(),
                offset: record.offset,
                reason,
            })?;
        }
        let read_to = batch.get(batch.len() - 1).offset + 1;
        results
            .output
            .read_to(slot, partition, read_to, batch.len());
        if results.output.is_due() {
            counts.close_passed(&mut closed);
            results.send(&mut closed)?;
            results.output.commit()?;
        }
        Ok(())
    })?;
    counts.close_all(&mut closed);
    results.send(&mut closed)?;
    results.output.finish()?;
    Ok(counts.counts())
}

/// What is read of a row of the zones.
#[derive(Deserialize)]
struct Zone {
    zone: String,
    borough: String,
}

fn zone_names(log: &dyn Log, topic: &str) -> Result<BTreeMap<u32, Zone>, Error> {
    let mut zones = BTreeMap::new();
    Input::open(log, topic)?.read(|_, partition, batch, _| {
        for index in 0..batch.len() {
            let record = batch.get(index);
            let bad = |reason| Error::Value {
                partition: partition.clone(),
                offset: record.offset,
                reason,
            };
            if let Some(id) = record.key.and_then(|key| key.try_into().ok()) {
                let zone = json::decode(record.value.unwrap_or_default()).map_err(bad)?;
                zones.insert(u32::from_be_bytes(id), zone);
            }
        }
        Ok(())
    })?;
    Ok(zones)
}

/// The value of a record of counts.
#[derive(Serialize)]
struct ZoneRides<'a> {
    zone_id: u32,
    zone: Option<&'a str>,
    borough: Option<&'a str>,
    window_start: String,
    window_end: String,
    rides: u64,
}

/// What goes out of closed windows.
struct Results<'a> {
    output: Output<'a>,
    window: i64,
    zones: BTreeMap<u32, Zone>,
    value: Vec<u8>,
}

impl Results<'_> {
    fn send(&mut self, closed: &mut Vec<ZoneCount>) -> Result<(), TransactionError> {
        for count in closed.drain(..) {
            self.send_one(&count)?;
        }
        Ok(())
    }

    fn send_one(&mut self, count: &ZoneCount) -> Result<(), TransactionError> {
        let zone_id = count.zone.to_be_bytes();
        let mut key = [0; 12];
        key[..4].copy_from_slice(&zone_id);
        key[4..].copy_from_slice(&count.start.to_be_bytes());
        let zone = self.zones.get(&count.zone);
        let rides = ZoneRides {
            zone_id: count.zone,
            zone: zone.map(|zone| zone.zone.as_str()),
            borough: zone.map(|zone| zone.borough.as_str()),
            window_start: utc(count.start),
            window_end: utc(count.start + self.window),
            rides: count.rides,
        };
        self.value.clear();
        serde_json::to_writer(&mut self.value, &rides).expect("a count is plain data");
        self.output
            .send(&zone_id, (Some(&key), &self.value), count.latest)
    }
}

fn utc(millis: i64) -> String {
    let at = DateTime::from_timestamp_millis(millis)
        .expect("windows of rides lie in years of four digits");
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests;
