//! What can go wrong, one enum a verb, and the exit code that a command ends with for each.

mod lost;
mod poison;

use std::path::PathBuf;

pub use lost::Gap;
pub use poison::{Blame, PoisonRecord};

/// Why reading from or writing to a log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A request that cannot be served as it stands: a bad topic name, a topic that exists already.
    #[error("{0}")]
    Refused(String),
    /// A topic that is not there.
    #[error("topic `{topic}` does not exist in {location}")]
    NoTopic {
        /// The topic's name.
        topic: String,
        /// The log that was asked.
        location: String,
    },
    /// A record larger than the log takes.
    #[error(
        "topic `{topic}`, partition {partition}: a record of {bytes} bytes is larger than the {limit} that the topic takes"
    )]
    TooLarge {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: u32,
        /// Size of the record in bytes.
        bytes: usize,
        /// The largest size taken, in bytes.
        limit: usize,
    },
    /// Bytes on disk or on the wire that are not what was written.
    #[error("{}: damaged at byte {offset}: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What does not match.
        reason: String,
    },
    /// Records that are no longer held.
    #[error("{partition}: offset {wanted} is no longer held, the first one is {first}")]
    Gone {
        /// Topic and partition.
        partition: super::connect::TopicPartition,
        /// The offset that was to be read.
        wanted: i64,
        /// The first offset held.
        first: i64,
    },
    /// An offset behind the end of the partition: the topic is not the one that it was taken from.
    #[error(
        "{partition}: offset {wanted} lies behind the end, which is {end}; was the topic deleted and created again?"
    )]
    Beyond {
        /// Topic and partition.
        partition: super::connect::TopicPartition,
        /// The offset that was to be read.
        wanted: i64,
        /// The offset behind the last record.
        end: i64,
    },
    /// A topic that is not the one which an application was begun on.
    #[error(
        "topic `{topic}` was deleted and created again: its id was {then} when `{application_id}` was begun and is {now} now. The offsets that were read mean nothing in it, so nothing was read or written; use another --application-id or --data-dir to begin anew"
    )]
    Recreated {
        /// The topic's name.
        topic: String,
        /// The application.
        application_id: String,
        /// The id in the application's epoch log.
        then: String,
        /// The id that the topic has.
        now: String,
    },
    /// A broker that does not answer.
    #[error("cannot reach {location}: {reason}")]
    Unreachable {
        /// Where it was tried.
        location: String,
        /// The client's last word.
        reason: String,
    },
    /// Another process holds the lock.
    #[error("{what} is in use by process {pid}")]
    InUse {
        /// What is locked.
        what: String,
        /// The holder.
        pid: u32,
    },
    /// A newer instance has taken this application's place.
    #[error("fenced: {0}")]
    Fenced(String),
    /// A file or directory that cannot be written: full, read-only, no permission.
    #[error("cannot write {}: {source}; what was committed before is safe", file.display())]
    CannotWrite {
        /// The file or directory.
        file: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    CannotRead {
        /// The file or directory.
        file: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The broker refused the credentials or the permission.
    #[error("not allowed at {location}: {reason}")]
    Credentials {
        /// The broker.
        location: String,
        /// The client's word; never a secret.
        reason: String,
    },
    /// Anything else that the client of a broker reports.
    #[error("{location}: {reason}")]
    Client {
        /// The broker.
        location: String,
        /// The client's word.
        reason: String,
    },
}

impl LogError {
    /// The exit code of a command that ends with this error, as `docs/contract.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            LogError::Refused(_) | LogError::NoTopic { .. } => 64,
            LogError::Damaged { .. } | LogError::TooLarge { .. } => 65,
            LogError::Gone { .. } | LogError::Beyond { .. } | LogError::Recreated { .. } => 66,
            LogError::Unreachable { .. } | LogError::Fenced(_) | LogError::Client { .. } => 69,
            LogError::CannotWrite { .. } | LogError::CannotRead { .. } => 73,
            LogError::InUse { .. } => 75,
            LogError::Credentials { .. } => 77,
        }
    }
}

/// Why records of a topic could not be read as its types.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record that the topic's types do not fit.
    #[error("{partition}, offset {offset}: {reason}")]
    Data {
        /// Topic and partition of the record.
        partition: super::connect::TopicPartition,
        /// The record's offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The mistakes of a pipeline's program, all of them.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline `{application_id}` cannot be built:{}", list(mistakes))]
pub struct BuildError {
    /// The application id.
    pub application_id: String,
    /// One sentence a mistake.
    pub mistakes: Vec<String>,
}

fn list(mistakes: &[String]) -> String {
    mistakes
        .iter()
        .map(|mistake| format!("\n  - {mistake}"))
        .collect()
}

/// Why a run ended without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration, or the state that an earlier run left, does not fit.
    #[error("{0}")]
    Refused(String),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record that cannot be read, under the policy `Fail`.
    #[error(
        "step `{node}`: {partition}, offset {offset}: {reason}; nothing of its epoch was committed. To go on without such records, use `on_error` with `Skip` or `DeadLetter`"
    )]
    Data {
        /// The step's name.
        node: String,
        /// Topic and partition of the record.
        partition: crate::connect::TopicPartition,
        /// The record's offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A result that cannot be written.
    #[error(
        "step `{node}`: a result cannot be written: {reason}; nothing of its epoch was committed"
    )]
    Output {
        /// The sink's name.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A panic in user code or in ours.
    #[error(
        "step `{node}` panicked{}: {message}; {}",
        at(record),
        what_now(record)
    )]
    Panicked {
        /// The step's name.
        node: String,
        /// The record that was being processed, if there was one.
        record: Option<Box<PoisonRecord>>,
        /// The panic's message.
        message: String,
    },
    /// What was replayed differs from what was committed.
    #[error("epoch {epoch}: {reason}")]
    Replay {
        /// The epoch.
        epoch: u64,
        /// What differs.
        reason: String,
    },
    /// What a replay needs is no longer held.
    #[error("{what}:{}\nNothing was read or written; {remedy}", list(gaps))]
    Gone {
        /// What cannot be done.
        what: String,
        /// Topic, partition, what is wanted and what is held; one sentence a gap.
        gaps: Vec<String>,
        /// What can be done instead.
        remedy: String,
    },
    /// Records that were to be read next and are gone. What goes on without them is told by their topics' names
    /// ([`Config::accepted_losses`](crate::Config::accepted_losses)).
    #[error("{}", lost::unread(gaps))]
    Lost {
        /// What is missing, by partition.
        gaps: Vec<Gap>,
    },
    /// Records that epochs have read which have to be replayed, and that are gone.
    #[error("{}", lost::unreplayed(gaps, *first, *last))]
    Irreproducible {
        /// What is missing, by partition.
        gaps: Vec<Gap>,
        /// The first epoch that lacks records.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Records that an epoch has read which is replayed, and of which some are gone: compacted away, as a rule. Or there
    /// are more than it had read.
    #[error("epoch {epoch}: {}", lost::vanished(partition, *table, (*counted, *found), *end, *epoch))]
    Vanished {
        /// The epoch.
        epoch: u64,
        /// Topic and partition.
        partition: crate::connect::TopicPartition,
        /// Whether they are rows of a table.
        table: bool,
        /// How many records the epoch had read of it.
        counted: u64,
        /// How many of them are held.
        found: u64,
        /// The offset behind the last of them.
        end: i64,
    },
    /// A newer instance has taken this application's place.
    #[error("{0}")]
    Fenced(String),
    /// A commit of which it cannot be found out whether it took effect. The epoch log decides at the next start.
    #[error(
        "the commit stays in doubt: {0}; the next start finds out from the epoch log and goes on from there"
    )]
    InDoubt(String),
    /// A bug of ours.
    #[error("internal error: {0}")]
    Bug(String),
}

fn at(record: &Option<Box<PoisonRecord>>) -> String {
    record
        .as_ref()
        .map(|record| format!(" at {record}"))
        .unwrap_or_default()
}

fn what_now(record: &Option<Box<PoisonRecord>>) -> &'static str {
    match record.as_ref().map(|record| record.blame) {
        None => "nothing of its epoch was committed",
        Some(Blame::Alone) => {
            "nothing of its epoch was committed. To go on without such records, use `on_error` with `Skip` or `DeadLetter`"
        }
        Some(Blame::LastOfSeveral) => {
            "nothing of its epoch was committed. It was processing what several records came to, of which this is the \
             last, so no record can be rejected for it"
        }
        Some(Blame::Replayed) => {
            "its epoch was committed before with this record in it, so the step is not deterministic. What is committed \
             is safe"
        }
    }
}

impl RunError {
    /// The exit code of a command that ends with this error, as `docs/contract.md` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Refused(_) => 64,
            RunError::Log(error) => error.exit_code(),
            RunError::Gone { .. } => 66,
            RunError::Data { .. } | RunError::Output { .. } | RunError::Replay { .. } => 65,
            RunError::Lost { .. } | RunError::Irreproducible { .. } | RunError::Vanished { .. } => {
                66
            }
            RunError::Fenced(_) | RunError::InDoubt(_) => 69,
            RunError::Panicked { .. } | RunError::Bug(_) => 70,
        }
    }

    pub(crate) fn position(overflow: tiderace_operators::record::PositionOverflow) -> Self {
        RunError::Bug(overflow.to_string())
    }
}
