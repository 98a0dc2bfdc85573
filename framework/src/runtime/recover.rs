//! What an application finds at its start: its newest snapshot, the epoch log behind that, checked, and what follows.

mod retrace;

use std::collections::BTreeMap;

use self::retrace::read;
pub(crate) use self::retrace::retrace;
use super::basis::Basis;
use super::compatible;
use super::entry::{self, Decision, Entry, EpochEntry, Input, Loss, Origin, Reset, Start};
use super::epoch_log::{EpochLog, NEWER_INSTANCE, epoch_topic};
use super::inputs;
use super::slot::Slot;
use crate::config::Config;
use crate::connect::{Log, Transactions};
use crate::error::RunError;
use crate::snapshot::{InputPlace, LogPlace, Manifest, StepState};
use crate::topology::Topology;

/// What a snapshot says, as a start sees it.
pub(crate) struct Kept {
    /// Entry 0, with what starts up to the snapshot have changed of it.
    pub(crate) origin: Origin,
    pub(crate) basis: Basis,
    /// How far inputs were read.
    pub(crate) inputs: Vec<InputPlace>,
    /// What its states are, by step.
    pub(crate) steps: BTreeMap<String, String>,
    /// Where the entry of its epoch lies.
    pub(crate) place: LogPlace,
}

impl Kept {
    /// Reads the runtime's part of a manifest.
    ///
    /// # Errors
    /// This version cannot read it.
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, RunError> {
        let unreadable = |what: &str, error: serde_json::Error| {
            RunError::Refused(format!(
                "the snapshot of epoch {} holds {what} that this version cannot read: {error}",
                manifest.epoch
            ))
        };
        let origin = serde_json::from_value(manifest.origin.clone());
        let standing = serde_json::from_value(manifest.standing.clone());
        let step = |step: &StepState| (step.name.clone(), step.description.clone());
        Ok(Kept {
            origin: origin.map_err(|error| unreadable("an entry 0", error))?,
            basis: Basis {
                epoch: manifest.epoch,
                standing: standing.map_err(|error| unreadable("a standing of sources", error))?,
            },
            inputs: manifest.inputs.clone(),
            steps: manifest.steps.iter().map(step).collect(),
            place: manifest.log.clone(),
        })
    }
}

/// What the snapshot and the epoch log say.
pub(crate) struct Recovered {
    /// Entry 0, with what later starts have changed of it; there once [`begin_or_go_on`] has returned.
    origin: Option<Origin>,
    /// What the run goes on from.
    pub(crate) basis: Basis,
    inputs: Vec<InputPlace>,
    /// What the states of the snapshot are, by step; `None` without one.
    pub(crate) steps: Option<BTreeMap<String, String>>,
    /// The epochs behind the basis, to be replayed.
    pub(crate) epochs: Vec<EpochEntry>,
    /// Where the entry of the last epoch lies, if there is one.
    pub(crate) place: Option<LogPlace>,
    pub(crate) last_hash: String,
    /// Offset behind the last entry.
    pub(crate) log_end: i64,
    /// Topics and partitions that are read from this start on.
    pub(crate) added: Vec<Input>,
    /// What this start leaves out.
    pub(crate) lost: Vec<Loss>,
    /// What earlier starts behind the basis have left out.
    losses: Vec<Loss>,
    /// Whether there was a log.
    pub(crate) resumed: bool,
    /// The starts that the log tells of: the entry's offset and the incarnation. A reset counts as one.
    starts: Vec<(i64, String)>,
    /// The reset that the log begins with, if it does.
    reset: Option<Reset>,
    /// Whether there are snapshots of what a reset has forgotten.
    pub(crate) forgotten: bool,
}

impl Recovered {
    /// Entry 0, with what later starts have changed of it.
    pub(crate) fn origin(&self) -> &Origin {
        self.origin
            .as_ref()
            .expect("`begin_or_go_on` begins a log that has none")
    }

    /// The incarnation of a start at or behind `offset` that is none of `own`, if there is one.
    pub(crate) fn foreign_start(&self, offset: i64, own: &[String]) -> Option<&str> {
        let mut starts = self.starts.iter().filter(|(at, _)| *at >= offset);
        let foreign = starts.find(|(_, incarnation)| !own.contains(incarnation))?;
        Some(&foreign.1)
    }

    /// How far a partition was read, if the basis knows it.
    pub(crate) fn input(&self, topic: &str, partition: u32) -> Option<&InputPlace> {
        let is = |input: &&InputPlace| input.topic == topic && input.partition == partition;
        self.inputs.iter().find(is)
    }

    /// How far partitions were read that are not among these.
    pub(crate) fn unread(&self, slots: &[Slot]) -> Vec<InputPlace> {
        let is_read = |input: &InputPlace| {
            slots.iter().any(|slot| {
                *slot.partition.topic == *input.topic && slot.partition.partition == input.partition
            })
        };
        let unread = self.inputs.iter().filter(|input| !is_read(input));
        unread.cloned().collect()
    }

    /// What starts behind the basis have left out.
    pub(crate) fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The last epoch that was committed.
    pub(crate) fn last_epoch(&self) -> u64 {
        self.epochs
            .last()
            .map_or(self.basis.epoch, |entry| entry.epoch)
    }

    fn new(kept: Option<Kept>) -> Self {
        let mut recovered = Recovered {
            origin: None,
            basis: Basis::default(),
            inputs: Vec::new(),
            steps: None,
            epochs: Vec::new(),
            place: None,
            last_hash: String::new(),
            log_end: 0,
            added: Vec::new(),
            lost: Vec::new(),
            losses: Vec::new(),
            resumed: false,
            starts: Vec::new(),
            reset: None,
            forgotten: false,
        };
        if let Some(kept) = kept {
            recovered.origin = Some(with_added(kept.origin, &kept.inputs));
            recovered.basis = kept.basis;
            recovered.inputs = kept.inputs;
            recovered.steps = Some(kept.steps);
            recovered.last_hash.clone_from(&kept.place.hash);
            recovered.log_end = kept.place.offset;
            recovered.place = Some(kept.place);
            recovered.resumed = true;
        }
        recovered
    }

    /// Takes in an entry of the log, the next one.
    fn take(&mut self, entry: Entry) {
        match (entry, &mut self.origin) {
            (Entry::Origin(entry), _) => self.origin = Some(entry),
            (Entry::Start(start), Some(origin)) => {
                origin.topology = start.topology;
                origin.parameters = start.parameters;
                self.losses.extend(start.lost);
                let after = start.after;
                let added = start.added.into_iter();
                let added = added.map(|input| Input { after, ..input });
                origin.inputs.extend(added);
            }
            (Entry::Start(_), None) => {}
            (Entry::Epoch(entry), origin) => {
                if let Some(origin) = origin {
                    origin.inputs.extend(added_in(&entry));
                }
                self.epochs.push(entry);
            }
            (Entry::Reset(entry), _) => self.reset = Some(entry),
        }
    }
}

/// Entry 0 as a snapshot has it, which is that of its run's start, with the partitions that were added between the two.
fn with_added(mut origin: Origin, read: &[InputPlace]) -> Origin {
    for place in read {
        let holds = |input: &Input| {
            let numbers = input.first..input.first + input.start.len() as u32;
            input.topic == place.topic && numbers.contains(&place.partition)
        };
        if !origin.inputs.iter().any(holds) {
            origin.inputs.push(Input {
                table: place.table,
                ..Input::one(&place.topic, place.partition, place.offset, 0)
            });
        }
    }
    origin
}

/// The partitions that were added for an epoch. They count in the watermark from that epoch on.
fn added_in(entry: &EpochEntry) -> impl Iterator<Item = Input> {
    let after = entry.epoch - 1;
    entry
        .decisions
        .iter()
        .filter_map(move |decision| match decision {
            Decision::Added {
                topic,
                partition,
                start,
            } => Some(Input::one(topic, *partition, *start, after)),
            _ => None,
        })
}

/// Reads the epoch log behind the snapshot, if there is one, and checks its chain.
pub(crate) fn recover(
    transactions: &mut dyn Transactions,
    application_id: &str,
    log: &dyn Log,
    kept: Option<Kept>,
) -> Result<Recovered, RunError> {
    if let Some(kept) = &kept {
        check_length(application_id, log, kept)?;
    }
    read(transactions, application_id, log, kept)
}

/// Begins the log if there is none, or begins it anew behind a reset; otherwise the program must be one that may go on.
/// Looks for topics and partitions that are not known yet.
pub(crate) fn begin_or_go_on(
    transactions: &mut dyn Transactions,
    recovered: &mut Recovered,
    application_id: &str,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<(), RunError> {
    if recovered.origin.is_some() {
        compatible::check(recovered, application_id, topology, config)?;
    } else {
        let mut inputs = inputs::added(application_id, &[], 0, topology, log)?;
        if let Some(reset) = &recovered.reset {
            inputs::begin_at(&mut inputs, reset, log)?;
        }
        let origin = Origin {
            version: entry::VERSION,
            application_id: application_id.to_owned(),
            topology: topology.fingerprint(),
            parameters: topology.parameters().clone(),
            shards: config.shards,
            inputs,
            outputs: inputs::outputs(topology, log)?,
            previous: recovered.last_hash.clone(),
        };
        let bytes = Entry::Origin(origin.clone()).to_bytes();
        epoch_log(transactions, application_id, "", recovered.log_end).write(0, &bytes)?;
        recovered.last_hash = entry::hash(&bytes);
        recovered.origin = Some(origin);
    }
    let (known, after) = (&recovered.origin().inputs, recovered.last_epoch());
    recovered.added = inputs::added(application_id, known, after, topology, log)?;
    Ok(())
}

/// Writes the start entry of an incarnation: whoever it has fenced can tell from now on. Topics and partitions that
/// were added since the last start are read from here on.
pub(crate) fn announce(
    transactions: &mut dyn Transactions,
    recovered: &mut Recovered,
    topology: &Topology,
    incarnation: &str,
    config: &Config,
) -> Result<(), RunError> {
    let application_id = recovered.origin().application_id.clone();
    let after = recovered.last_epoch();
    let start = Start {
        incarnation: incarnation.to_owned(),
        after,
        workers: config.workers.max(1),
        topology: topology.fingerprint(),
        parameters: topology.parameters().clone(),
        added: recovered.added.clone(),
        guarantee: config.guarantee,
        lost: recovered.lost.clone(),
        previous: recovered.last_hash.clone(),
    };
    let entry = Entry::Start(start);
    let bytes = entry.to_bytes();
    epoch_log(
        transactions,
        &application_id,
        incarnation,
        recovered.log_end,
    )
    .write(after, &bytes)?;
    recovered.last_hash = entry::hash(&bytes);
    recovered.take(entry);
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
        newer_instance: NEWER_INSTANCE,
    }
}

/// A snapshot beyond the end of the log means that the log has lost entries.
fn check_length(application_id: &str, log: &dyn Log, kept: &Kept) -> Result<(), RunError> {
    let end = log
        .topic(&epoch_topic(application_id))?
        .and_then(|topic| topic.partitions.first().map(|of| of.end))
        .unwrap_or(0);
    if end < kept.place.offset {
        return Err(RunError::Refused(format!(
            "the epoch log of `{application_id}` in {} ends at offset {end}, and a snapshot was taken of epoch {}, whose \
             entry ends at offset {}: the log has lost entries, or it is another one. Nothing was read or written. Bring the \
             log back, or use another --data-dir or --application-id to begin anew",
            log.location(),
            kept.basis.epoch,
            kept.place.offset
        )));
    }
    Ok(())
}
