//! Loads the rides and the zones into their topics.
//!
//! A load is a fixed sequence of records per partition, so loading is idempotent and can be taken up where a
//! killed run left off: each partition skips as many records as it already holds. What was loaded is recorded
//! with the topic before its first record is sent; another load into the same topic is refused.

mod error;
mod ledger;
mod order;
mod plan;
mod rides;
mod zones;

#[cfg(test)]
mod memory_log;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use tiderace::connect::{Log, SinkRecord, TopicDescription, TopicPartition, partition_for};
use tiderace::error::LogError;

pub use error::LoadError;
pub use ledger::{LOAD_CONFIG, LOADS_TOPIC};
pub use order::{COPY_STEP, Departure};
pub use plan::{Order, Plan};
pub use rides::Rides;
pub use zones::{ZONES_DATED, load_zones};

use crate::read::read_partition;

/// Records between two calls of a load's progress function.
const PROGRESS_EVERY: u64 = 50_000;

/// What a load found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Records of the load that the topic held before.
    pub held: u64,
    /// Records sent now.
    pub sent: u64,
}

/// Loads the rides as `plan` says into `topic`, which must exist, and returns when they are durable.
/// `progress` is told the records done and the records in all, and says whether to go on.
///
/// # Errors
/// The topic holds another load or records that no load sent; the log does not take a record; `progress` said
/// no, after what was sent until then had been made durable.
pub fn load_rides(
    log: &dyn Log,
    topic: &str,
    rides: &Rides,
    plan: &Plan,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Loaded, LoadError> {
    let description = describe(log, topic)?;
    plan.check(rides)?;
    let partitions = description.partitions.len() as u32;
    let homes: Vec<u32> = rides
        .iter()
        .map(|ride| partition_for(ride.key.as_bytes(), partitions))
        .collect();
    let mut totals = vec![0; partitions as usize];
    for home in &homes {
        totals[*home as usize] += plan.scale;
    }
    let held: Vec<u64> = description
        .partitions
        .iter()
        .map(|offsets| offsets.end as u64)
        .collect();
    let done: u64 = held
        .iter()
        .zip(&totals)
        .map(|(held, total)| *held.min(total))
        .sum();
    ledger::agree(log, &description, plan)?;
    if done == totals.iter().sum::<u64>() {
        return Ok(Loaded {
            held: done,
            sent: 0,
        });
    }
    let mut sending = Sending {
        log,
        topic,
        rides,
        homes,
        held,
        totals,
        done,
    };
    let sent = sending.send(plan, progress)?;
    Ok(Loaded { held: done, sent })
}

pub(crate) fn describe(log: &dyn Log, topic: &str) -> Result<TopicDescription, LogError> {
    let missing = || LogError::NoTopic {
        topic: topic.to_owned(),
        location: log.location(),
    };
    log.topic(topic)?.ok_or_else(missing)
}

/// A load under way.
struct Sending<'a> {
    log: &'a dyn Log,
    topic: &'a str,
    rides: &'a Rides,
    /// The partition of each ride.
    homes: Vec<u32>,
    /// Records of the load that each partition held before.
    held: Vec<u64>,
    /// Records of the load for each partition.
    totals: Vec<u64>,
    /// Records done in all partitions.
    done: u64,
}

impl Sending<'_> {
    fn send(
        &mut self,
        plan: &Plan,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<u64, LoadError> {
        let pickups = self.rides.pickups();
        let in_all = self.totals.iter().sum();
        let mut writer = self.log.writer(self.topic)?;
        let mut passed = vec![0; self.held.len()];
        let mut value = Vec::new();
        let mut sent = 0;
        for departure in plan.departures(&pickups) {
            let partition = self.homes[departure.ride];
            let held = self.held[partition as usize];
            let place = &mut passed[partition as usize];
            *place += 1;
            if *place < held {
                continue;
            }
            let ride = self.rides.ride(departure.ride);
            ride.write(departure.copy as i64 * COPY_STEP, &mut value);
            let record = SinkRecord {
                topic: self.topic,
                partition,
                timestamp: departure.at,
                key: Some(ride.key.as_bytes()),
                value: Some(&value),
                headers: &[],
            };
            if *place == held {
                self.expect_held(&record, held)?;
                continue;
            }
            writer.send(&record)?;
            sent += 1;
            if sent % PROGRESS_EVERY == 0 && progress(self.done + sent, in_all).is_break() {
                writer.flush()?;
                return Err(LoadError::Interrupted {
                    sent: self.done + sent,
                    in_all,
                });
            }
        }
        writer.flush()?;
        self.done += sent;
        // The last report: nothing is left that a refusal could interrupt.
        let _ = progress(self.done, in_all);
        Ok(sent)
    }

    /// The last record that a partition holds must be the one that this load sends there, or what follows it
    /// would be a hole or a repetition. A partition that holds more than the load was fed afterwards.
    fn expect_held(&self, expected: &SinkRecord<'_>, held: u64) -> Result<(), LoadError> {
        if held >= self.totals[expected.partition as usize] {
            return Ok(());
        }
        let partition = TopicPartition::new(self.topic, expected.partition);
        let mut same = false;
        let offset = held as i64 - 1;
        let _ = read_partition(
            self.log,
            &partition,
            offset,
            offset + 1,
            &|| true,
            &mut |batch, index| {
                let found = batch.get(index);
                same = (found.timestamp, found.key, found.value)
                    == (expected.timestamp, expected.key, expected.value);
                ControlFlow::Break(())
            },
        )?;
        if same {
            Ok(())
        } else {
            Err(LoadError::Mixed { partition, offset })
        }
    }
}
