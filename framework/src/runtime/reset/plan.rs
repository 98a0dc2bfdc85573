//! What a reset would do: which inputs there are, how far they were read, and where they are to begin.

use std::collections::BTreeMap;

use tiderace_operators::dataflow::Epoch;

use super::{Move, StartPoint, counts};
use crate::connect::{Log, PartitionOffsets, TopicDescription, TopicPartition};
use crate::error::RunError;
use crate::runtime::entry::{Begin, Entry, Input};
use crate::runtime::epoch_view::EpochLogView;
use crate::snapshot::Manifest;

/// What a reset would do.
pub(super) struct Plan {
    pub(super) last_epoch: Epoch,
    pub(super) moves: Vec<Move>,
    pub(super) begins: Vec<Begin>,
}

/// What is known of a topic that is read.
#[derive(Default)]
struct Known {
    table: bool,
    id: Option<String>,
    /// By partition, the offset up to which it was read.
    read: BTreeMap<u32, i64>,
}

impl Known {
    fn reads(&mut self, partition: u32, up_to: i64) {
        let read = self.read.entry(partition).or_insert(up_to);
        *read = up_to.max(*read);
    }

    fn of_input(&mut self, input: &Input) {
        self.table |= input.table;
        self.id.clone_from(&input.id);
        for (partition, start) in (input.first..).zip(&input.start) {
            self.reads(partition, *start);
        }
    }
}

impl Plan {
    /// Looks at what the entries and the newest snapshot tell of the inputs, and at what those hold now.
    ///
    /// # Errors
    /// The log cannot be read, or offsets are not to be had.
    pub(super) fn of(
        log: &dyn Log,
        view: &EpochLogView,
        newest: Option<&Manifest>,
        to: &StartPoint,
    ) -> Result<Plan, RunError> {
        let newest = counts(view, newest);
        let (known, last) = known(view, newest);
        if let StartPoint::Offsets(chosen) = to {
            check_places_known(view, newest)?;
            check_inputs(chosen, &known, view.application_id())?;
        }
        let (mut moves, mut begins) = (Vec::new(), Vec::new());
        for (topic, mut known) in known {
            // One that is gone begins as any other topic that was not read yet, should it come back.
            let Some(now) = log.topic(&topic)? else {
                if let StartPoint::Offsets(chosen) = to
                    && chosen.keys().any(|at| *at.topic == *topic)
                {
                    return Err(RunError::Refused(format!(
                        "topic `{topic}` is not there, so no offset of it can be chosen. Nothing was changed"
                    )));
                }
                continue;
            };
            if known.id.is_some() && now.id.is_some() && known.id != now.id {
                // Offsets mean nothing in another topic of its name.
                known.read.clear();
            }
            let starts = starts(log, &now, &known, to)?;
            for (number, start) in (0..).zip(&starts) {
                moves.push(Move {
                    partition: TopicPartition::new(topic.as_str(), number),
                    table: known.table,
                    before: known.read.get(&number).copied(),
                    after: *start,
                });
            }
            // What begins with the first record does so with the first one held at the start.
            let fixed = !known.table && *to != StartPoint::Beginning;
            begins.push(Begin {
                topic,
                id: now.id,
                table: known.table,
                start: if fixed { starts } else { Vec::new() },
            });
        }
        Ok(Plan {
            last_epoch: last,
            moves,
            begins,
        })
    }
}

/// The topics that are read, and the last epoch.
fn known(view: &EpochLogView, newest: Option<&Manifest>) -> (BTreeMap<String, Known>, Epoch) {
    let mut topics: BTreeMap<String, Known> = BTreeMap::new();
    let mut last = 0;
    if let Some(manifest) = newest {
        last = manifest.epoch;
        for input in &manifest.inputs {
            let known = topics.entry(input.topic.clone()).or_default();
            known.table |= input.table;
            known.id.clone_from(&input.topic_id);
            known.reads(input.partition, input.offset);
        }
    }
    for entry in view
        .current()
        .iter()
        .filter_map(|logged| logged.entry().ok())
    {
        match entry {
            Entry::Origin(origin) => {
                for input in &origin.inputs {
                    topics
                        .entry(input.topic.clone())
                        .or_default()
                        .of_input(input);
                }
            }
            Entry::Start(start) => {
                last = last.max(start.after);
                for input in &start.added {
                    topics
                        .entry(input.topic.clone())
                        .or_default()
                        .of_input(input);
                }
            }
            Entry::Epoch(of) => {
                last = last.max(of.epoch);
                for share in of.read {
                    let known = topics.entry(share.topic).or_default();
                    known.reads(share.partition, share.end);
                }
            }
            Entry::Reset(reset) => {
                for begin in reset.begins {
                    let known = topics.entry(begin.topic).or_default();
                    known.table = begin.table;
                    known.id = begin.id;
                    for (partition, start) in (0..).zip(begin.start) {
                        known.reads(partition, start);
                    }
                }
            }
        }
    }
    (topics, last)
}

/// Partitions of which no offset is chosen go on where they are, so that must be known of each.
fn check_places_known(view: &EpochLogView, newest: Option<&Manifest>) -> Result<(), RunError> {
    if newest.is_some() || view.is_whole() {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "how far `{}` has read is not known here: its epoch log does not reach back to the beginning, and there is no snapshot. \
         Nothing was changed. Reset it with the --data-dir that holds its snapshots, or to the beginning or a time",
        view.application_id()
    )))
}

/// Offsets can be chosen of streams that are read, and of nothing else.
fn check_inputs(
    chosen: &BTreeMap<TopicPartition, i64>,
    known: &BTreeMap<String, Known>,
    application_id: &str,
) -> Result<(), RunError> {
    for at in chosen.keys() {
        let reason = match known.get(&*at.topic) {
            Some(known) if !known.table => continue,
            Some(_) => "it is read into a table, which begins with its first record".to_owned(),
            None => {
                let streams = known.iter().filter(|(_, known)| !known.table);
                let streams: Vec<_> = streams.map(|(topic, _)| format!("`{topic}`")).collect();
                format!("`{application_id}` reads {}", streams.join(", "))
            }
        };
        let topic = &at.topic;
        return Err(RunError::Refused(format!(
            "topic `{topic}` cannot be given an offset to begin at: {reason}. Nothing was changed"
        )));
    }
    Ok(())
}

/// Where each partition of a topic is to begin.
fn starts(
    log: &dyn Log,
    now: &TopicDescription,
    known: &Known,
    to: &StartPoint,
) -> Result<Vec<i64>, RunError> {
    let begin = |(number, held): (u32, &PartitionOffsets)| -> Result<i64, RunError> {
        let at = TopicPartition::new(now.name.as_str(), number);
        if known.table {
            return Ok(held.first);
        }
        Ok(match to {
            StartPoint::Beginning => held.first,
            StartPoint::Time(time) => log.offset_for_time(&at, *time)?.unwrap_or(held.end),
            StartPoint::Offsets(chosen) => match chosen.get(&at) {
                Some(offset) if (held.first..=held.end).contains(offset) => *offset,
                Some(offset) => {
                    let PartitionOffsets { first, end } = held;
                    return Err(RunError::Refused(format!(
                        "{at}: offset {offset} is not held, offsets {first} to {end} are (the last one is where the next \
                         record comes). Nothing was changed"
                    )));
                }
                None => {
                    let read = known.read.get(&number).copied().unwrap_or(held.first);
                    read.clamp(held.first, held.end)
                }
            },
        })
    };
    if let StartPoint::Offsets(chosen) = to {
        let of_topic = chosen.keys().filter(|at| *at.topic == *now.name);
        let count = now.partitions.len();
        if let Some(at) = of_topic
            .into_iter()
            .find(|at| at.partition as usize >= count)
        {
            return Err(RunError::Refused(format!(
                "{at}: there is no such partition, there are {count}. Nothing was changed"
            )));
        }
    }
    (0..).zip(&now.partitions).map(begin).collect()
}
