//! One run of a topology: what is in place before the first epoch, and the threads until the last.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use tiderace_operators::shard::Shards;
use tiderace_operators::tally::Ledger;

use super::clock::Clock;
use super::commit::{CommitParts, Committer};
use super::crew::{message, run_workers};
use super::engine::StopHandle;
use super::epoch_state::Limits;
use super::epochs::Epochs;
use super::queue::Queues;
use super::recover::{Recovered, announce, describe, recover, sink_partitions, slots};
use super::report::{Progress, Report, SharedProgress};
use super::slot::Slot;
use super::state_dir::StateDir;
use super::worker::{Plan, slots_of};
use crate::config::Config;
use crate::connect::{Log, Source};
use crate::error::{LogError, RunError};
use crate::topology::Topology;

/// A run that is ready to go.
pub(super) struct Run {
    plan: Plan,
    commit: Box<CommitParts>,
    sources: Vec<(Queues, Box<dyn Source>)>,
    recovered_epochs: u64,
    resumed: bool,
    workers: usize,
    /// Held until the run is over.
    _state: StateDir,
}

impl Run {
    /// Locks, fences, recovers, and announces the start.
    pub(super) fn prepare(
        topology: Topology,
        log: Arc<dyn Log>,
        config: &Config,
    ) -> Result<Run, RunError> {
        let application_id = config
            .application_id
            .clone()
            .unwrap_or_else(|| topology.application_id().to_owned());
        let state = StateDir::lock(&config.data_dir, &application_id)?;
        let workers = config.workers.max(1);
        let partitions = sink_partitions(&topology, &*log)?;
        for source in topology.source_topics() {
            describe(&*log, &source)?;
        }
        let mut transactions = log.transactions(&application_id, &topology.sink_topics())?;
        let mut recovered = recover(
            &mut *transactions,
            &application_id,
            &topology,
            &*log,
            config,
        )?;
        let slots = slots(&recovered, &topology, &*log, config)?;
        let fetch = (config.memory_budget / 4).max(1);
        let sources = (0..workers)
            .map(|index| open(&*log, &slots, index, workers, fetch))
            .collect::<Result<_, _>>()?;
        let incarnation = incarnation();
        announce(
            &mut *transactions,
            &mut recovered,
            &application_id,
            &incarnation,
            workers,
        )?;
        let shards = recovered.origin().shards;
        let Recovered {
            epochs: logged,
            last_hash,
            log_end,
            resumed,
            ..
        } = recovered;
        let (to_committer, from_workers) = channel();
        let epochs = Epochs::new(
            slots.clone(),
            logged.clone(),
            Limits::of(config),
            Clock::system(),
        );
        let settled = Arc::new(AtomicU64::new(0));
        let sinks = topology.collected();
        let plan = Plan {
            built: Arc::new(topology.share(&settled)),
            shards: Shards::new(shards, workers),
            ledger: Ledger::default(),
            epochs,
            slots: Arc::new(slots),
            partitions: Arc::new(partitions),
            any_timestamp: log.takes_nonpositive_timestamps(),
            max_skew: config.max_skew,
            settled,
            progress: Arc::new(Progress::default()),
            to_committer,
            topology: Arc::new(topology),
        };
        let commit = CommitParts {
            application_id,
            incarnation,
            fingerprint: plan.topology.fingerprint(),
            sinks,
            nodes: plan.topology.node_names(),
            dead_letters: plan.topology.dead_letters(),
            transactions,
            log_end,
            last_hash,
            logged: logged
                .iter()
                .map(|entry| (entry.epoch, entry.clone()))
                .collect(),
            epochs: plan.epochs.clone(),
            ledger: plan.ledger.clone(),
            settled: Arc::clone(&plan.settled),
            progress: Arc::clone(&plan.progress),
            from_workers,
        };
        let recovered_epochs = logged.len() as u64;
        Ok(Run {
            plan,
            commit: Box::new(commit),
            sources,
            recovered_epochs,
            resumed,
            workers,
            _state: state,
        })
    }

    /// Live figures.
    pub(super) fn progress(&self) -> SharedProgress {
        Arc::clone(&self.plan.progress)
    }

    /// The epochs, which stopping is told to.
    pub(super) fn epochs(&self) -> &Epochs {
        &self.plan.epochs
    }

    /// Runs to the end.
    pub(super) fn go(self, started: Instant, stop: &StopHandle) -> Result<Report, RunError> {
        let Run {
            plan,
            commit,
            sources,
            recovered_epochs,
            resumed,
            workers,
            _state,
        } = self;
        tracing::info!(
            application = commit.application_id,
            workers,
            replayed = recovered_epochs,
            resumed,
            "starting"
        );
        let application_id = commit.application_id.clone();
        let halt = Arc::new(AtomicBool::new(false));
        let halted = Arc::clone(&halt);
        let committer = std::thread::Builder::new()
            .name("tiderace-commit".into())
            .spawn(move || {
                let outcome =
                    std::panic::catch_unwind(AssertUnwindSafe(|| Committer::new(*commit).run()));
                // Success ends with the dataflow; anything else has to end it.
                halted.store(true, Ordering::SeqCst);
                outcome.unwrap_or_else(|panic| Err(RunError::Bug(message(&*panic))))
            });
        let committer =
            committer.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
        let workers_done = run_workers(plan, sources, workers, &halt);
        let committed = committer
            .join()
            .unwrap_or_else(|_| Err(RunError::Bug("the committer panicked".into())))?;
        workers_done?;
        Ok(Report {
            application_id,
            first_epoch: committed.first_epoch,
            last_epoch: committed.last_epoch,
            resumed,
            counts: committed.counts,
            windows_closed: committed.windows_closed,
            commit_micros: committed.commit_micros,
            latency_micros: committed.latency_micros,
            seconds: started.elapsed().as_secs_f64(),
            stopped_early: stop.is_asked(),
        })
    }
}

/// Opens the source of one worker with its queues.
fn open(
    log: &dyn Log,
    slots: &[Slot],
    index: usize,
    workers: usize,
    memory: usize,
) -> Result<(Queues, Box<dyn Source>), LogError> {
    let mine = slots_of(slots, index, workers);
    let assignment: Vec<_> = mine
        .iter()
        .map(|slot| (slots[*slot].partition.clone(), slots[*slot].start))
        .collect();
    let share = memory / workers;
    let queues = Queues::new(mine.len(), (share / mine.len().max(1)).max(128 << 10));
    Ok((queues, log.source(&assignment, share)?))
}

/// An id that no other start of any application has.
fn incarnation() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one((std::process::id(), crate::clock::wall()));
    format!("{:016x}-{}", random, std::process::id())
}
