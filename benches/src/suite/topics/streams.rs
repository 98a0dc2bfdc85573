//! Kafka Streams' side.

use std::time::Duration;

use tiderace_benches::peers::{Guarantee, KafkaStreams, Measured, Membership, Run, Store};

use super::input::Input;
use super::place::Place;
use super::workload::Workload;
use crate::Failure;

/// How Kafka Streams is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) guarantee: Guarantee,
    pub(super) store: Store,
    pub(super) cache: bool,
    pub(super) threads: usize,
}

impl Setting {
    /// Exactly once, with RocksDB and the cache: what it is compared with.
    pub(in crate::suite) const MAIN: Setting = Setting {
        guarantee: Guarantee::ExactlyOnce,
        store: Store::RocksDb,
        cache: true,
        threads: 1,
    };

    /// The same with two threads, on all cores.
    pub(super) const TWO_THREADS: Setting = Setting {
        threads: 2,
        ..Setting::MAIN
    };

    /// The other settings with one thread; without state, stores and caches are no settings.
    pub(super) fn others(has_state: bool) -> Vec<Setting> {
        let [default, in_memory] = [Store::RocksDb, Store::InMemory];
        let (stores, caches): (&[Store], &[bool]) = match has_state {
            true => (&[default, in_memory], &[true, false]),
            false => (&[default], &[true]),
        };
        let mut others = Vec::new();
        for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
            for &store in stores {
                for &cache in caches {
                    others.push(Setting {
                        guarantee,
                        store,
                        cache,
                        threads: 1,
                    });
                }
            }
        }
        others.retain(|setting| *setting != Setting::MAIN);
        others
    }

    pub(super) fn name(self) -> String {
        let guarantee = match self.guarantee {
            Guarantee::ExactlyOnce => "exactly once",
            Guarantee::AtLeastOnce => "at least once",
        };
        let store = match self.store {
            Store::RocksDb => "RocksDB",
            Store::InMemory => "in memory",
        };
        let cache = if self.cache { "cache" } else { "no cache" };
        format!(
            "Kafka Streams, {} thread(s), {guarantee}, {store}, {cache}",
            self.threads
        )
    }

    /// Runs it once, to a new output topic that is also its application's id.
    pub(super) fn run(
        self,
        peer: &KafkaStreams,
        place: &Place,
        (workload, input): (Workload, &Input),
        output: &str,
    ) -> Result<Measured, Failure> {
        place.create(output)?;
        let run = Run {
            workload: workload.of_streams(),
            brokers: place
                .brokers
                .clone()
                .ok_or("Kafka Streams needs a broker")?,
            input: input.topic.clone(),
            output: output.to_owned(),
            application_id: output.to_owned(),
            state_directory: place.directory.join("state").join(output),
            threads: self.threads,
            guarantee: self.guarantee,
            store: self.store,
            cache_bytes: if self.cache { 10 << 20 } else { 0 },
            commit_interval: Duration::from_millis(100),
            linger: Duration::from_millis(100),
            membership: Membership::Dynamic,
            records: input.records * workload.units_a_record(),
            core: (self.threads == 1).then_some(0),
        };
        Ok(peer.run(&run)?)
    }
}
