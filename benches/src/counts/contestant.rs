//! Who counts and is killed: the engine, or Kafka Streams.

use std::time::Duration;

use tiderace_benches::peers::{Guarantee, KafkaStreams, Membership, Run, Started, Store, Workload};

use super::job::{self, COUNTS, EVENTS};
use super::place::Place;
use super::process::Process;
use crate::Failure;

/// The engine's name.
pub(super) const ENGINE: &str = "engine";

/// A program that counts the events, with its settings. Where it is started again it goes on where it was.
pub(super) struct Contestant<'a> {
    pub(super) name: &'static str,
    /// The topic that it reads, which is its own: what is fed while others run is not to be counted first.
    pub(super) input: String,
    /// The topic that it writes.
    pub(super) output: &'static str,
    pub(super) exactly_once: bool,
    /// How often it is killed.
    pub(super) kills: usize,
    by: By<'a>,
}

enum By<'a> {
    Engine(Box<job::Options>),
    Streams(&'a KafkaStreams, Box<Run>),
}

/// A life of one.
pub(super) enum Life {
    Engine(Process),
    Streams(Started),
}

impl<'a> Contestant<'a> {
    pub(super) fn engine(place: &Place, kills: usize) -> Self {
        Contestant {
            name: ENGINE,
            input: EVENTS.to_owned(),
            output: COUNTS,
            exactly_once: true,
            kills,
            by: By::Engine(Box::new(job::Options::new(place, 1).following())),
        }
    }

    /// Kafka Streams with RocksDB and its cache, one thread; the output's name is its application's id.
    pub(super) fn streams(
        (name, output): (&'static str, &'static str),
        peer: &'a KafkaStreams,
        place: &Place,
        (guarantee, membership): (Guarantee, Membership),
        kills: usize,
    ) -> Result<Self, Failure> {
        let input = format!("{EVENTS}-{output}");
        let run = Run {
            workload: Workload::Counts,
            brokers: place
                .brokers
                .clone()
                .ok_or("Kafka Streams needs a broker")?,
            input: input.clone(),
            output: output.to_owned(),
            application_id: output.to_owned(),
            state_directory: place.directory.join("streams").join(output),
            threads: 1,
            guarantee,
            store: Store::RocksDb,
            cache_bytes: 10 << 20,
            commit_interval: Duration::from_millis(100),
            linger: Duration::ZERO,
            membership,
            // It never ends by itself.
            records: i64::MAX as u64,
            core: None,
        };
        Ok(Contestant {
            name,
            input,
            output,
            exactly_once: guarantee == Guarantee::ExactlyOnce,
            kills,
            by: By::Streams(peer, Box::new(run)),
        })
    }

    pub(super) fn start(&self) -> Result<Life, Failure> {
        Ok(match &self.by {
            By::Engine(options) => Life::Engine(Process::start(options)?),
            By::Streams(peer, run) => Life::Streams(peer.start(run)?),
        })
    }
}

impl Life {
    /// Fails if it has ended, which nobody asked it to.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        match self {
            Life::Engine(process) => process.hear().map(|_| ()),
            Life::Streams(started) => match started.ended()? {
                None => Ok(()),
                Some(said) => Err(format!("Kafka Streams has ended by itself: {said}").into()),
            },
        }
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(self) -> Result<(), Failure> {
        match self {
            Life::Engine(process) => process.kill(),
            Life::Streams(started) => Ok(started.kill()?),
        }
    }
}
