//! What a run reads: the partitions of every source, from where, and in a bounded run to where.

use std::collections::HashMap;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::record::EventTime;

use super::entry::{Begin, Input, Loss, Output, Reset};
use super::losses::Losses;
use super::recover::Recovered;
use super::slot::{Slot, Status};
use crate::config::Config;
use crate::connect::{Log, TopicDescription, TopicPartition};
use crate::error::{LogError, RunError};
use crate::snapshot::InputPlace;
use crate::topology::{SourceTopic, Topology};

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

/// Where reading of a source begins whose topic is read for the first time, from partition `known` on.
fn begin(of: &SourceTopic, now: &TopicDescription, known: usize) -> Input {
    let new = || now.partitions.iter().skip(known);
    Input {
        topic: of.topic.clone(),
        id: now.id.clone(),
        table: of.table,
        first: u32::try_from(known).expect("partitions are counted in u32"),
        after: 0,
        start: new().map(|of| of.first).collect(),
        end: if of.table {
            new().map(|of| of.end).collect()
        } else {
            Vec::new()
        },
    }
}

/// Topics and partitions that the topology reads and that `inputs` does not know, behind epoch `after`: all of them at
/// the first start, later those that were added.
///
/// # Errors
/// A topic that is missing, that is another one of the same name, that has fewer partitions than were read of it, or a
/// table's that has more.
pub(crate) fn added(
    application_id: &str,
    inputs: &[Input],
    after: Epoch,
    topology: &Topology,
    log: &dyn Log,
) -> Result<Vec<Input>, RunError> {
    let mut added = Vec::new();
    for source in topology.sources() {
        let now = describe(log, &source.topic)?;
        for input in inputs.iter().filter(|input| input.topic == source.topic) {
            check_id(application_id, input, &now)?;
        }
        let known = known(inputs, &source.topic);
        if now.partitions.len() < known {
            return Err(RunError::Refused(format!(
                "topic `{}` has {} partitions now and had {known} when it was read last: it is not the same topic. \
                 Nothing was read or written. Use another --data-dir or --application-id to begin anew",
                source.topic,
                now.partitions.len()
            )));
        }
        if source.table && known > 0 && now.partitions.len() > known {
            return Err(grown_table(&source.topic, known, now.partitions.len()));
        }
        if now.partitions.len() > known {
            added.push(Input {
                after,
                ..begin(&source, &now, known)
            });
        }
    }
    Ok(added)
}

/// Has topics that are read for the first time begin where a reset says; tables begin with their first record.
///
/// # Errors
/// A topic is another one than when the reset was made, or no longer has the records that it is to begin with.
pub(crate) fn begin_at(inputs: &mut [Input], reset: &Reset, log: &dyn Log) -> Result<(), RunError> {
    for input in inputs.iter_mut().filter(|input| !input.table) {
        let begin = reset.begins.iter().find(|it| it.topic == input.topic);
        let now = describe(log, &input.topic)?;
        if let Some(Begin {
            id: Some(then),
            start,
            ..
        }) = begin
            && !start.is_empty()
            && let Some(now) = now.id.as_ref().filter(|now| *now != then)
        {
            return Err(RunError::Refused(format!(
                "topic `{}` was deleted and created again since `{}` was reset: its id was {then} and is {now}. Nothing \
                 was read or written; reset the application again",
                input.topic, reset.application_id
            )));
        }
        let starts = input.start.iter_mut().zip(&now.partitions);
        for (number, (start, held)) in (0..).zip(starts) {
            let partition = TopicPartition::new(input.topic.as_str(), number);
            let chosen = begin.and_then(|of| of.start.get(number as usize));
            let wanted = match (chosen, reset.from_time) {
                (Some(chosen), _) => *chosen,
                (None, Some(time)) if begin.is_none() => {
                    log.offset_for_time(&partition, time)?.unwrap_or(held.end)
                }
                (None, _) => held.first,
            };
            let (first, end) = (held.first, held.end);
            if wanted < first {
                return Err(RunError::Log(LogError::Gone {
                    partition,
                    wanted,
                    first,
                }));
            }
            if wanted > end {
                return Err(RunError::Log(LogError::Beyond {
                    partition,
                    wanted,
                    end,
                }));
            }
            *start = wanted;
        }
    }
    Ok(())
}

/// Where the topics end that the topology writes.
///
/// # Errors
/// A topic that is missing.
pub(crate) fn outputs(topology: &Topology, log: &dyn Log) -> Result<Vec<Output>, RunError> {
    let output = |topic: String| {
        let TopicDescription { id, partitions, .. } = describe(log, &topic)?;
        let end = partitions.iter().map(|of| of.end).collect();
        Ok(Output { topic, id, end })
    };
    topology.sink_topics().into_iter().map(output).collect()
}

/// How many partitions of a topic have been read so far.
fn known(inputs: &[Input], topic: &str) -> usize {
    let of = inputs.iter().filter(|input| input.topic == topic);
    of.map(|input| input.first as usize + input.start.len())
        .max()
        .unwrap_or(0)
}

/// The partitions that the run reads: from where, and in a bounded run to where; with what is lost of them.
///
/// # Errors
/// A topic that is missing or shorter than what was read of it, or that lacks records whose loss is not accepted.
pub(crate) fn slots(
    recovered: &Recovered,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
) -> Result<(Vec<Slot>, Vec<Loss>), RunError> {
    let mut losses = Losses::default();
    let slots = slots_as_read(recovered, topology, log, config, |slot, first| {
        losses.look(slot, first, recovered);
    })?;
    Ok((slots, losses.accepted(&config.accepted_losses)?))
}

/// The partitions to be read from where the epochs go on, whether they hold that or not: `look` is told the first
/// offset that each holds.
pub(crate) fn slots_as_read(
    recovered: &Recovered,
    topology: &Topology,
    log: &dyn Log,
    config: &Config,
    mut look: impl FnMut(&mut Slot, i64),
) -> Result<Vec<Slot>, RunError> {
    let mut slots = Vec::new();
    for (source, of) in topology.sources().into_iter().enumerate() {
        let now = describe(log, &of.topic)?;
        for input in recovered.origin().inputs.iter().chain(&recovered.added) {
            if input.topic != of.topic {
                continue;
            }
            for (index, start) in input.start.iter().enumerate() {
                let number =
                    input.first + u32::try_from(index).expect("partitions are counted in u32");
                let Some(offsets) = now.partitions.get(number as usize) else {
                    continue;
                };
                check_end(recovered, &of.topic, number, offsets.end)?;
                let state = recovered.input(&of.topic, number);
                let mut slot = Slot {
                    source,
                    partition: TopicPartition::new(of.topic.as_str(), number),
                    table: of.table,
                    after: input.after,
                    start: state.map_or(*start, |state| state.offset),
                    largest: state.map_or(EventTime::MIN, |state| state.largest),
                    status: state.map_or(Status::Active, |state| state.status),
                    table_end: input.end.get(index).copied().unwrap_or(0),
                    end: (!config.follow).then_some(offsets.end),
                    windows: of.windows.clone(),
                    idle_timeout: of.idle_timeout.unwrap_or(config.idle_timeout),
                };
                look(&mut slot, offsets.first);
                slots.push(slot);
            }
        }
    }
    slots.sort_by_key(|slot| (slot.source, slot.partition.partition));
    Ok(slots)
}

/// The error for a table's topic that was given partitions.
pub(crate) fn grown_table(topic: &str, known: usize, now: usize) -> RunError {
    RunError::Refused(format!(
        "topic `{topic}` has {now} partitions now and had {known} when it was first read, and a table is made of it: the \
         rows of one key may lie in two partitions since, and which of them is the latest cannot be told. What was \
         committed is safe; nothing more is read or written. Send all rows to a new topic of {now} partitions, and read \
         that with another --application-id"
    ))
}

/// Offsets of a topic mean nothing in another one of its name.
pub(crate) fn check_id(
    application_id: &str,
    input: &Input,
    now: &TopicDescription,
) -> Result<(), LogError> {
    match (&input.id, &now.id) {
        (Some(then), Some(now)) if then != now => Err(LogError::Recreated {
            topic: input.topic.clone(),
            application_id: application_id.to_owned(),
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
    let kept = recovered.input(topic, partition);
    let read = of
        .map(|share| share.end)
        .chain(kept.map(|state: &InputPlace| state.offset))
        .max();
    match read {
        Some(read) if read > end => Err(LogError::Beyond {
            partition: TopicPartition::new(topic, partition),
            wanted: read,
            end,
        }),
        _ => Ok(()),
    }
}
