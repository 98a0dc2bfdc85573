//! Reads committed records of assigned partitions, by batch.
//!
//! One consumer, one queue. Records of a slot that is paused are held here while they are few, so that a
//! short pause costs no fetch; beyond that the client stops, drops what it has fetched ahead, and fetches it
//! again when the slot goes on.

mod assignment;
mod slot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use self::assignment::{list_of, require_partitions};
use self::slot::{Arrival, Slot};
use super::client::QUESTION_LIMIT;
use super::errors::{is_passing, is_unknown_topic, log_error};
use super::ffi::{Consumer, Item};
use super::log::Cluster;
use super::properties;
use super::reports::Reports;
use crate::connect::{Fetched, Source, TopicPartition};
use crate::error::LogError;

/// Records a call of the client hands over at most.
const BATCH: usize = 1_000;
/// How soon it is asked again whether a broker knows of a partition.
const AGAIN: Duration = Duration::from_millis(20);
/// How long no broker may be reachable before the source gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long, before the brokers are named to the client.
const FORGOTTEN: Duration = Duration::from_secs(1);

pub(super) struct KafkaSource {
    cluster: Arc<Cluster>,
    consumer: Consumer,
    slots: Vec<Slot>,
    /// Slot by the client's handle of the topic and by partition.
    known: HashMap<(usize, i32), usize>,
    ready: VecDeque<(usize, Arrival)>,
    failed: Option<LogError>,
    /// Bytes that a paused slot may hold before the client stops fetching for it.
    hold_limit: usize,
    /// Bytes that the source may hold.
    memory: usize,
}

impl KafkaSource {
    /// Reads the partitions from their offsets, each fetch waiting at most `wait` for records where none are.
    pub(super) fn open(
        cluster: Arc<Cluster>,
        assignment: &[(TopicPartition, i64)],
        memory: usize,
        wait: Duration,
    ) -> Result<KafkaSource, LogError> {
        for (index, (partition, _)) in assignment.iter().enumerate() {
            let seen = assignment[..index]
                .iter()
                .any(|(earlier, _)| earlier.topic == partition.topic);
            if !seen {
                require_partitions(&cluster, assignment, &partition.topic)?;
            }
        }
        let config = config(&cluster, memory, wait);
        let consumer =
            Consumer::new(&config, Arc::new(Reports::default())).map_err(properties::refused)?;
        let list = list_of(assignment)?;
        let location = cluster.properties.location();
        consumer
            .assign(&list)
            .map_err(|code| log_error(&location, "assigning partitions", code, "refused"))?;
        Ok(KafkaSource {
            cluster,
            consumer,
            slots: assignment
                .iter()
                .map(|(partition, offset)| Slot::new(partition, *offset))
                .collect(),
            known: HashMap::new(),
            ready: VecDeque::new(),
            failed: None,
            hold_limit: hold_limit(memory, assignment.len()),
            memory,
        })
    }

    /// Takes what the client has, waiting for the first of it.
    fn fetch(&mut self, timeout: Duration) {
        let mut touched = Vec::new();
        let (slots, known) = (&mut self.slots, &mut self.known);
        let mut errors = Vec::new();
        // Records of a partition come in runs.
        let mut last = None;
        self.consumer.fetch(BATCH, timeout, |origin, item| {
            let key = origin.key();
            let slot = match last {
                Some((of, slot)) if of == key => slot,
                _ => {
                    let Some(topic) = origin.topic() else {
                        if let Item::Error { code, reason } = item {
                            errors.push((None, code, reason));
                        }
                        return;
                    };
                    let named = |slot: &Slot| {
                        slot.partition.partition == origin.partition()
                            && *slot.partition.topic == *topic
                    };
                    let find = || {
                        let found = slots.iter().position(named);
                        found.expect("only what is assigned is fetched")
                    };
                    *known.entry(key).or_insert_with(find)
                }
            };
            last = Some((key, slot));
            let state = &mut slots[slot];
            match item {
                Item::Error { code, reason } => return errors.push((Some(slot), code, reason)),
                Item::End(offset) => {
                    state.end = Some(offset);
                    state.position = state.position.max(offset);
                }
                Item::Record(record) => {
                    state.end = None;
                    state.position = record.offset() + 1;
                    state.records.push(record);
                }
            }
            if touched.last() != Some(&slot) && !touched.contains(&slot) {
                touched.push(slot);
            }
        });
        if !touched.is_empty() {
            self.consumer.reports().lock().down_since = None;
        }
        for slot in touched {
            self.deliver(slot);
        }
        for (slot, code, reason) in errors {
            if self.failed.is_none() {
                self.failed = self.error_of(slot, code, &reason);
            }
        }
    }

    /// Makes a batch, and perhaps an end, of what a fetch brought for a slot.
    fn deliver(&mut self, slot: usize) {
        let state = &mut self.slots[slot];
        let mut arrivals = Vec::with_capacity(2);
        if !state.records.is_empty() {
            arrivals.push(Arrival::Batch(
                self.consumer
                    .batch(slot, std::mem::take(&mut state.records)),
            ));
        }
        if let Some(end) = state.end.take() {
            // Reading committed records, the client ends at the last stable offset; behind it may lie records
            // of a transaction that is open. When that ends, the client comes to another end.
            let high = self
                .consumer
                .high_watermark(&state.partition.topic, state.partition.partition);
            if high.is_some_and(|high| end >= high) && end > state.caught_up {
                state.caught_up = end;
                arrivals.push(Arrival::CaughtUp(end));
            }
        }
        for arrival in arrivals {
            if state.paused {
                state.held_bytes += arrival.memory();
                state.held.push_back(arrival);
            } else {
                self.ready.push_back((slot, arrival));
            }
        }
        if state.paused && !state.stopped && state.held_bytes > self.hold_limit {
            let stopped = self.consumer.pause(&state.list());
            state.stopped = stopped.is_ok();
        }
    }

    /// What an error that the client reports means, `None` if it goes on by itself.
    fn error_of(&self, slot: Option<usize>, code: i32, reason: &str) -> Option<LogError> {
        let location = self.cluster.properties.location();
        let Some(slot) = slot else {
            tracing::warn!(target: "tiderace::kafka", code, "{location}: {reason}");
            self.consumer.reports().on_error(code, reason);
            return None;
        };
        let Slot {
            partition,
            position,
            ..
        } = &self.slots[slot];
        if code == Code::AutoOffsetReset as i32 || code == Code::OffsetOutOfRange as i32 {
            return Some(self.out_of_range(partition, *position, reason));
        }
        if is_passing(code) {
            tracing::warn!(target: "tiderace::kafka", code, "{partition}: {reason}");
            return None;
        }
        if is_unknown_topic(code) {
            return Some(LogError::NoTopic {
                topic: partition.topic.to_string(),
                location,
            });
        }
        if code == Code::BadMessage as i32 || code == Code::InvalidMessage as i32 {
            return Some(LogError::Damaged {
                file: partition.to_string().into(),
                offset: (*position).max(0) as u64,
                reason: format!(
                    "the records from offset {position} on do not match their checksum: {reason}"
                ),
            });
        }
        Some(log_error(&location, &partition.to_string(), code, reason))
    }

    fn out_of_range(&self, partition: &TopicPartition, wanted: i64, reason: &str) -> LogError {
        let partition = partition.clone();
        match self
            .cluster
            .client
            .offsets(&partition.topic, partition.partition)
        {
            Err(error) => error,
            Ok(held) if wanted < held.first => LogError::Gone {
                partition,
                wanted,
                first: held.first,
            },
            Ok(held) if wanted > held.end => LogError::Beyond {
                partition,
                wanted,
                end: held.end,
            },
            // A broker that has just come back may not know yet how far its records are committed.
            Ok(_) => LogError::Unreachable {
                location: self.cluster.properties.location(),
                reason: format!("{partition}: offset {wanted} cannot be read: {reason}"),
            },
        }
    }

    /// After a fetch that brought nothing: whether the broker is still there.
    fn check(&self) -> Result<(), LogError> {
        let reported = self.consumer.reports().now();
        let properties = &self.cluster.properties;
        let location = properties.location();
        if let Some(reason) = reported.credentials {
            return Err(LogError::Credentials { location, reason });
        }
        let is_over = |since: Option<Instant>, time| since.is_some_and(|at| at.elapsed() >= time);
        if is_over(reported.lost_all, FORGOTTEN) {
            // Once, however often it tries.
            if reported.lost_all == reported.down_since {
                tracing::warn!(target: "tiderace::kafka", "{location}: no broker can be reached; reading waits for one");
            }
            self.consumer.reports().lock().lost_all = None;
            self.consumer.name_brokers(properties.brokers());
        }
        // A client that has connected again says nothing where nothing is to be read, so it is asked.
        if is_over(reported.down_since, PATIENCE)
            && let Some(Slot { partition, .. }) = self.slots.first()
        {
            self.cluster
                .client
                .offsets(&partition.topic, partition.partition)?;
            self.consumer.reports().lock().down_since = None;
        }
        Ok(())
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, timeout: Duration) -> Result<Fetched, LogError> {
        if self.ready.is_empty() && self.failed.is_none() {
            self.fetch(timeout);
        }
        match self.ready.pop_front() {
            Some((_, Arrival::Batch(batch))) => Ok(Fetched::Batch(Arc::new(batch))),
            Some((slot, Arrival::CaughtUp(position))) => Ok(Fetched::CaughtUp { slot, position }),
            None => match self.failed.take() {
                Some(error) => Err(error),
                None => self.check().map(|()| Fetched::Nothing),
            },
        }
    }

    fn pause(&mut self, slot: usize) -> Result<(), LogError> {
        let state = &mut self.slots[slot];
        state.paused = true;
        for (other, arrival) in std::mem::take(&mut self.ready) {
            if other == slot {
                state.held_bytes += arrival.memory();
                state.held.push_back(arrival);
            } else {
                self.ready.push_back((other, arrival));
            }
        }
        Ok(())
    }

    fn resume(&mut self, slot: usize) -> Result<(), LogError> {
        let state = &mut self.slots[slot];
        state.paused = false;
        state.held_bytes = 0;
        self.ready
            .extend(state.held.drain(..).map(|arrival| (slot, arrival)));
        if std::mem::take(&mut state.stopped) {
            let location = self.cluster.properties.location();
            let what = state.partition.to_string();
            let list = list_of(&[(state.partition.clone(), state.position)])?;
            self.consumer
                .resume(&list, QUESTION_LIMIT)
                .map_err(|code| {
                    log_error(
                        &location,
                        &what,
                        code,
                        &format!("cannot go on (error {code})"),
                    )
                })?;
        }
        Ok(())
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        let location = self.cluster.properties.location();
        let failed = |code| log_error(&location, &partition.to_string(), code, "cannot be added");
        let begun = crate::clock::instant();
        // The client waits for minutes for a partition that it does not know, and not every broker knows it at once.
        loop {
            let known = self.consumer.partitions(&partition.topic, QUESTION_LIMIT);
            match known {
                Ok(count) if count > partition.partition as usize => break,
                Err(code) if !is_passing(code) => return Err(failed(code)),
                Ok(_) | Err(_) if begun.elapsed() >= QUESTION_LIMIT => {
                    let reason = format!("{partition} is not known to the broker that was asked");
                    return Err(LogError::Unreachable { location, reason });
                }
                Ok(_) | Err(_) => std::thread::park_timeout(AGAIN),
            }
        }
        let list = list_of(&[(partition.clone(), offset)])?;
        self.consumer.assign_more(&list).map_err(failed)?;
        self.slots.push(Slot::new(partition, offset));
        self.hold_limit = hold_limit(self.memory, self.slots.len());
        Ok(())
    }
}

/// What a paused slot of so many may hold.
fn hold_limit(memory: usize, slots: usize) -> usize {
    memory / (4 * slots.max(1))
}

fn config(cluster: &Cluster, memory: usize, wait: Duration) -> rdkafka::ClientConfig {
    let mut config = cluster.properties.base();
    // Without, a client whose queue was full looks again after a second only.
    cluster
        .properties
        .suggest(&mut config, "fetch.queue.backoff.ms", "2");
    cluster.properties.suggest(
        &mut config,
        "fetch.wait.max.ms",
        &wait.as_millis().to_string(),
    );
    let per_partition = (memory / 4).clamp(64 << 10, 1 << 20).to_string();
    cluster
        .properties
        .suggest(&mut config, "fetch.message.max.bytes", &per_partition);
    cluster.properties.suggest(
        &mut config,
        "fetch.max.bytes",
        &(memory / 2).clamp(1 << 20, 50 << 20).to_string(),
    );
    // The group is never joined: the client needs a name to assign partitions.
    config.set("group.id", "tiderace");
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed");
    config
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true");
    config.set("allow.auto.create.topics", "false");
    config.set(
        "queued.max.messages.kbytes",
        (memory / 1024).clamp(64, 2_000_000).to_string(),
    );
    config
}
