//! What an application finds at its start: its epoch log, checked, and what follows from it.

use std::collections::{BTreeMap, HashMap};

use super::commit::{failed, write_entry};
use super::entry::{self, Entry, EpochEntry, Input, Origin, Start};
use super::epochs::Slot;
use crate::config::Config;
use crate::connect::{Log, TopicDescription, TopicPartition, Transactions};
use crate::error::{LogError, RunError};
use crate::topology::Topology;

/// What the epoch log says.
pub(crate) struct Recovered {
    pub(crate) origin: Origin,
    pub(crate) epochs: Vec<EpochEntry>,
    pub(crate) last_hash: String,
    /// Offset behind the last entry.
    pub(crate) log_end: i64,
    /// Whether there was a log.
    pub(crate) resumed: bool,
}

/// Reads the epoch log and checks its chain; begins it if there is none.
pub(crate) fn recover(
    transactions: &mut dyn Transactions,
    application_id: &str,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<Recovered, RunError> {
    let mut origin = None;
    let mut epochs: Vec<EpochEntry> = Vec::new();
    let mut last_hash = String::new();
    let mut log_end = 0;
    for record in transactions.read_epochs(0).map_err(failed)? {
        let entry: Entry = serde_json::from_slice(&record.value).map_err(|e| {
            RunError::Refused(format!(
                "the epoch log of `{application_id}` holds an entry at offset {} that this version cannot read: {e}",
                record.offset
            ))
        })?;
        if entry.previous() != last_hash {
            return Err(RunError::Replay {
                epoch: record.epoch,
                reason: format!(
                    "its entry does not follow the one before it: the epoch log of `{application_id}` is damaged"
                ),
            });
        }
        last_hash = entry::hash(&record.value);
        log_end = record.offset + 1;
        match entry {
            Entry::Origin(entry) => origin = Some(entry),
            Entry::Start(_) => {}
            Entry::Epoch(entry) => epochs.push(entry),
        }
    }
    if let Some(origin) = origin {
        check(&origin, application_id, topology, config)?;
        return Ok(Recovered {
            origin,
            epochs,
            last_hash,
            log_end,
            resumed: true,
        });
    }
    let origin = begin(application_id, topology, log, config)?;
    let bytes = Entry::Origin(origin.clone()).to_bytes();
    write_entry(transactions, application_id, 0, &bytes).map_err(failed)?;
    Ok(Recovered {
        origin,
        epochs,
        last_hash: entry::hash(&bytes),
        log_end,
        resumed: false,
    })
}

/// Commits the start entry, before the replay: an older instance that finds itself fenced looks for it.
/// Returns its hash.
pub(crate) fn announce(
    transactions: &mut dyn Transactions,
    application_id: &str,
    incarnation: &str,
    workers: usize,
    recovered: &Recovered,
) -> Result<String, RunError> {
    let after = recovered.epochs.last().map_or(0, |entry| entry.epoch);
    let entry = Entry::Start(Start {
        incarnation: incarnation.to_owned(),
        after,
        workers,
        previous: recovered.last_hash.clone(),
    });
    let bytes = entry.to_bytes();
    write_entry(transactions, application_id, after, &bytes).map_err(failed)?;
    Ok(entry::hash(&bytes))
}

/// The description of a topic that must be there.
pub(crate) fn describe(log: &dyn Log, topic: &str) -> Result<TopicDescription, RunError> {
    log.topic(topic)?.ok_or_else(|| {
        LogError::NoTopic {
            topic: topic.to_owned(),
            location: log.location(),
        }
        .into()
    })
}

fn begin(
    application_id: &str,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<Origin, RunError> {
    let mut inputs = Vec::new();
    for source in topology.sources() {
        let partitions = describe(log, &source.topic)?.partitions;
        inputs.push(Input {
            topic: source.topic,
            table: source.table,
            start: partitions.iter().map(|of| of.first).collect(),
            end: if source.table {
                partitions.iter().map(|of| of.end).collect()
            } else {
                Vec::new()
            },
        });
    }
    Ok(Origin {
        version: entry::VERSION,
        application_id: application_id.to_owned(),
        topology: topology.fingerprint(),
        parameters: topology.parameters().clone(),
        shards: config.shards,
        inputs,
        previous: String::new(),
    })
}

/// Whether a program may go on with what another start of it left.
fn check(
    origin: &Origin,
    application_id: &str,
    topology: &Topology,
    config: &Config,
) -> Result<(), RunError> {
    let refuse = |what: String| {
        Err(RunError::Refused(format!(
            "{what}. Use another --data-dir or --application-id to begin anew"
        )))
    };
    if origin.version != entry::VERSION {
        return refuse(format!(
            "the epoch log of `{application_id}` has version {}, not {}",
            origin.version,
            entry::VERSION
        ));
    }
    if &origin.parameters != topology.parameters() {
        return refuse(format!(
            "`{application_id}` was begun with {} and is started with {}",
            tell(&origin.parameters),
            tell(topology.parameters())
        ));
    }
    if origin.topology != topology.fingerprint() {
        return refuse(format!(
            "`{application_id}` was begun by another program: its topology was {}, this one's is {}",
            origin.topology,
            topology.fingerprint()
        ));
    }
    if origin.shards != config.shards {
        return refuse(format!(
            "`{application_id}` was begun with {} shards, which never change; {} are configured",
            origin.shards, config.shards
        ));
    }
    Ok(())
}

fn tell(parameters: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    if each.is_empty() {
        "no parameters".to_owned()
    } else {
        each.join(", ")
    }
}

/// The partitions that the run reads: from where, and in a bounded run to where.
pub(crate) fn slots(
    recovered: &Recovered,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<Vec<Slot>, RunError> {
    let mut slots = Vec::new();
    for (source, of) in topology.sources().into_iter().enumerate() {
        let input = recovered
            .origin
            .inputs
            .iter()
            .find(|input| input.topic == of.topic);
        let input = input.ok_or_else(|| {
            RunError::Refused(format!("the epoch log does not know topic `{}`", of.topic))
        })?;
        let now = describe(log, &of.topic)?.partitions;
        if now.len() != input.start.len() {
            return Err(RunError::Refused(format!(
                "topic `{}` has {} partitions now and had {} when `{}` was begun: adding partitions to a running \
                 application is not supported yet. Use another --data-dir or --application-id to begin anew",
                of.topic,
                now.len(),
                input.start.len(),
                recovered.origin.application_id
            )));
        }
        for (partition, offsets) in now.iter().enumerate() {
            let number = u32::try_from(partition).expect("partitions are counted in u32");
            slots.push(Slot {
                source,
                partition: TopicPartition::new(of.topic.as_str(), number),
                table: of.table,
                start: input.start[partition],
                table_end: input.end.get(partition).copied().unwrap_or(0),
                end: (!config.follow).then_some(offsets.end),
                idle_timeout: of.idle_timeout.unwrap_or(config.idle_timeout),
            });
        }
    }
    Ok(slots)
}

/// How many partitions each topic has that the topology writes.
pub(crate) fn sink_partitions(
    topology: &Topology,
    log: &dyn Log,
) -> Result<HashMap<String, u32>, RunError> {
    let mut partitions = HashMap::new();
    for topic in topology.sink_topics() {
        let count = describe(log, &topic)?.partitions.len();
        partitions.insert(
            topic,
            u32::try_from(count).expect("partitions are counted in u32"),
        );
    }
    Ok(partitions)
}
