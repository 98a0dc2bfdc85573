//! The taxi zones as records: key the zone's id in 4 bytes, value the row as JSON.

use tiderace::connect::{Log, SinkRecord, partition_for};

use super::{LoadError, Loaded, describe};
use crate::taxi::Zone;

const BUILT_IN: &str = include_str!("../../../data/taxi_zone_lookup.csv");

/// Every zone's timestamp, the start of the month that the built-in rides are of: fixed, so that loading again
/// sends the same bytes.
pub const ZONES_DATED: i64 = 1_593_561_600_000;

/// Loads the zones that the program carries into `topic`, which must exist; each partition skips as many as it
/// holds.
///
/// # Errors
/// The log does not take a record.
pub fn load_zones(log: &dyn Log, topic: &str) -> Result<Loaded, LoadError> {
    let zones = built_in();
    let description = describe(log, topic)?;
    let partitions = description.partitions.len() as u32;
    let mut held: Vec<i64> = description
        .partitions
        .iter()
        .map(|offsets| offsets.end)
        .collect();
    let mut missing = Vec::new();
    for zone in &zones {
        let partition = partition_for(&zone.locationid.to_be_bytes(), partitions);
        let held = &mut held[partition as usize];
        if *held == 0 {
            missing.push((partition, zone));
        } else {
            *held -= 1;
        }
    }
    let loaded = Loaded {
        held: (zones.len() - missing.len()) as u64,
        sent: missing.len() as u64,
    };
    if missing.is_empty() {
        return Ok(loaded);
    }
    let mut writer = log.writer(topic)?;
    for (partition, zone) in missing {
        let value = serde_json::to_vec(zone).expect("a zone is plain data");
        writer.send(&SinkRecord {
            topic,
            partition,
            timestamp: ZONES_DATED,
            key: Some(&zone.locationid.to_be_bytes()),
            value: Some(&value),
            headers: &[],
        })?;
    }
    writer.flush()?;
    Ok(loaded)
}

fn built_in() -> Vec<Zone> {
    let rows = csv::Reader::from_reader(BUILT_IN.as_bytes()).into_deserialize();
    rows.collect::<Result<_, _>>()
        .expect("the built-in zones are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_zones_are_numbered_through() {
        let zones = built_in();
        let ids: Vec<u32> = zones.iter().map(|zone| zone.locationid).collect();
        assert_eq!(ids, (1..=265).collect::<Vec<_>>());
        assert_eq!(
            serde_json::to_string(&zones[0]).unwrap(),
            r#"{"locationid":1,"borough":"EWR","zone":"Newark Airport","service_zone":"EWR"}"#
        );
    }
}
