//! What an application finds at its start: its epoch log, checked, and what follows from it.

use std::collections::{BTreeMap, HashMap};

use super::entry::{self, Entry, EpochEntry, Input, Origin, Output, Start};
use super::epoch_log::{EpochLog, failed};
use super::slot::Slot;
use crate::config::Config;
use crate::connect::{Log, TopicDescription, TopicPartition, Transactions};
use crate::error::{LogError, RunError};
use crate::topology::Topology;

/// What the epoch log says.
pub(crate) struct Recovered {
    /// Entry 0; there once [`recover`] has returned.
    origin: Option<Origin>,
    pub(crate) epochs: Vec<EpochEntry>,
    pub(crate) last_hash: String,
    /// Offset behind the last entry.
    pub(crate) log_end: i64,
    /// Whether there was a log.
    pub(crate) resumed: bool,
    /// The starts that the log tells of: the entry's offset and the incarnation.
    starts: Vec<(i64, String)>,
}

impl Recovered {
    /// Entry 0.
    pub(crate) fn origin(&self) -> &Origin {
        self.origin
            .as_ref()
            .expect("`recover` begins a log that has none")
    }

    /// The incarnation of a start at or behind `offset` that is none of `own`, if there is one.
    pub(crate) fn foreign_start(&self, offset: i64, own: &[String]) -> Option<&str> {
        let mut starts = self.starts.iter().filter(|(at, _)| *at >= offset);
        let foreign = starts.find(|(_, incarnation)| !own.contains(incarnation))?;
        Some(&foreign.1)
    }
}

/// Reads the epoch log and checks its chain; begins it if there is none.
pub(crate) fn recover(
    transactions: &mut dyn Transactions,
    application_id: &str,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<Recovered, RunError> {
    let mut recovered = read(transactions, application_id)?;
    match &recovered.origin {
        Some(origin) => check(origin, application_id, topology, config)?,
        None => {
            let origin = begin(application_id, topology, log, config)?;
            let bytes = Entry::Origin(origin.clone()).to_bytes();
            epoch_log(transactions, application_id, "", recovered.log_end).write(0, &bytes)?;
            recovered.last_hash = entry::hash(&bytes);
            recovered.origin = Some(origin);
        }
    }
    Ok(recovered)
}

/// Writes the start entry of an incarnation: whoever it has fenced can tell from now on.
pub(crate) fn announce(
    transactions: &mut dyn Transactions,
    recovered: &mut Recovered,
    application_id: &str,
    incarnation: &str,
    workers: usize,
) -> Result<(), RunError> {
    let after = recovered.epochs.last().map_or(0, |entry| entry.epoch);
    let entry = Entry::Start(Start {
        incarnation: incarnation.to_owned(),
        after,
        workers,
        previous: recovered.last_hash.clone(),
    });
    let bytes = entry.to_bytes();
    epoch_log(transactions, application_id, incarnation, recovered.log_end).write(after, &bytes)?;
    recovered.last_hash = entry::hash(&bytes);
    Ok(())
}

fn epoch_log<'a>(
    transactions: &'a mut dyn Transactions,
    application_id: &'a str,
    incarnation: &'a str,
    end: i64,
) -> EpochLog<'a> {
    EpochLog {
        transactions,
        application_id,
        incarnation,
        end,
    }
}

fn read(transactions: &mut dyn Transactions, application_id: &str) -> Result<Recovered, RunError> {
    let mut recovered = Recovered {
        origin: None,
        epochs: Vec::new(),
        last_hash: String::new(),
        log_end: 0,
        resumed: false,
        starts: Vec::new(),
    };
    for record in transactions.read_epochs(0).map_err(failed)? {
        let entry: Entry = serde_json::from_slice(&record.value).map_err(|e| {
            RunError::Refused(format!(
                "the epoch log of `{application_id}` holds an entry at offset {} that this version cannot read: {e}",
                record.offset
            ))
        })?;
        if entry.previous() != recovered.last_hash {
            let reason = format!(
                "its entry does not follow the one before it: the epoch log of `{application_id}` is damaged"
            );
            return Err(RunError::Replay {
                epoch: record.epoch,
                reason,
            });
        }
        recovered.last_hash = entry::hash(&record.value);
        recovered.log_end = record.offset + 1;
        recovered.resumed = true;
        match entry {
            Entry::Origin(entry) => recovered.origin = Some(entry),
            Entry::Start(entry) => recovered.starts.push((record.offset, entry.incarnation)),
            Entry::Epoch(entry) => recovered.epochs.push(entry),
        }
    }
    Ok(recovered)
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
        let TopicDescription { id, partitions, .. } = describe(log, &source.topic)?;
        inputs.push(Input {
            topic: source.topic,
            id,
            table: source.table,
            start: partitions.iter().map(|of| of.first).collect(),
            end: if source.table {
                partitions.iter().map(|of| of.end).collect()
            } else {
                Vec::new()
            },
        });
    }
    let mut outputs = Vec::new();
    for topic in topology.sink_topics() {
        let TopicDescription { id, partitions, .. } = describe(log, &topic)?;
        let end = partitions.iter().map(|of| of.end).collect();
        outputs.push(Output { topic, id, end });
    }
    Ok(Origin {
        version: entry::VERSION,
        application_id: application_id.to_owned(),
        topology: topology.fingerprint(),
        parameters: topology.parameters().clone(),
        shards: config.shards,
        inputs,
        outputs,
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
            .origin()
            .inputs
            .iter()
            .find(|input| input.topic == of.topic);
        let input = input.ok_or_else(|| {
            RunError::Refused(format!("the epoch log does not know topic `{}`", of.topic))
        })?;
        let now = describe(log, &of.topic)?;
        check_id(recovered.origin(), input, &now)?;
        let now = now.partitions;
        if now.len() != input.start.len() {
            return Err(RunError::Refused(format!(
                "topic `{}` has {} partitions now and had {} when `{}` was begun: adding partitions to a running \
                 application is not supported yet. Use another --data-dir or --application-id to begin anew",
                of.topic,
                now.len(),
                input.start.len(),
                recovered.origin().application_id
            )));
        }
        for (partition, offsets) in now.iter().enumerate() {
            let number = u32::try_from(partition).expect("partitions are counted in u32");
            check_end(recovered, &of.topic, number, offsets.end)?;
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

/// Offsets of a topic mean nothing in another one of its name.
fn check_id(origin: &Origin, input: &Input, now: &TopicDescription) -> Result<(), LogError> {
    match (&input.id, &now.id) {
        (Some(then), Some(now)) if then != now => Err(LogError::Recreated {
            topic: input.topic.clone(),
            application_id: origin.application_id.clone(),
            then: then.clone(),
            now: now.clone(),
        }),
        _ => Ok(()),
    }
}

/// A replay would wait for ever for records that a topic no longer has.
fn check_end(recovered: &Recovered, topic: &str, partition: u32, end: i64) -> Result<(), LogError> {
    let shares = recovered.epochs.iter().flat_map(|entry| &entry.read);
    let of = shares.filter(|share| share.topic == topic && share.partition == partition);
    match of.map(|share| share.end).max() {
        Some(read) if read > end => Err(LogError::Beyond {
            partition: TopicPartition::new(topic, partition),
            wanted: read,
            end,
        }),
        _ => Ok(()),
    }
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
