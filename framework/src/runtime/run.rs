//! One life of a run: what is in place before its first epoch, and the threads until its last.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::Ledger;

use super::clock::Clock;
use super::commit::{CommitParts, Committer, Delivery, Waits, between_commits, in_transaction};
use super::committed::Committed;
use super::compaction;
use super::crew::{message, run_workers};
use super::entry::EpochEntry;
use super::epochs::Epochs;
use super::growth::Growth;
use super::heritage::Heritage;
use super::in_flight::{InFlight, Shares};
use super::inputs::{describe, sink_partitions, slots};
use super::keeping::Keeping;
use super::kept::{find_beside, find_none, keep};
use super::limits::Limits;
use super::outbox::Outbox;
use super::periodic::Periodic;
use super::queue::Queues;
use super::recover::{Kept, Recovered, announce, begin_or_go_on, recover};
use super::recovery::Recovering;
use super::slot::Slot;
use super::state_dir::StateDir;
use super::trim::keep_short;
use super::worker::{Plan, slots_of};
use crate::config::Config;
use crate::connect::{Log, Source};
use crate::error::{LogError, RunError};
use crate::snapshot::SnapshotKeeper;
use crate::topology::Topology;

/// How long a clean end waits for its snapshot.
const LAST_SNAPSHOT: Duration = Duration::from_secs(60);

/// One life of a run, ready to go.
pub(super) struct Run {
    plan: Plan,
    commit: Box<CommitParts>,
    sources: Vec<(Queues, Box<dyn Source>)>,
    recovered_epochs: u64,
    resumed: bool,
    stall_timeout: Duration,
    /// What goes on beside the life until it is over: the epoch log is kept short, and topics may grow.
    _aside: Vec<Periodic>,
}

/// How a life ended.
pub(super) struct Life {
    /// What it committed.
    pub(super) committed: Committed,
    pub(super) outcome: Result<(), RunError>,
    /// How long it was live, counted from the end of the replay; `None` if it did not get there.
    pub(super) lived: Option<Duration>,
}

impl Run {
    /// Fences, recovers, and announces the start.
    pub(super) fn prepare(
        topology: Arc<Topology>,
        log: &Arc<dyn Log>,
        config: &Config,
        state: &StateDir,
        application_id: &str,
        heritage: &mut Heritage,
    ) -> Result<Run, RunError> {
        let mut recovery = Recovering::begin();
        let fits = config.check_transaction_timeout();
        fits.map_err(|error| RunError::Refused(error.to_string()))?;
        let workers = config.workers.max(1);
        let partitions = sink_partitions(&topology, &**log)?;
        for source in topology.source_topics() {
            describe(&**log, &source)?;
        }
        let outputs = topology.sink_topics();
        let transactional = in_transaction(config.guarantee, &outputs);
        let (transactions, found) = find_beside(state.path(), application_id, || {
            log.transactions(application_id, transactional)
        })?;
        let delivery = Delivery::open(config.guarantee, log, &outputs)?;
        #[cfg(feature = "failpoints")]
        let transactions = super::commit_points::CommitPoints::over(transactions)?;
        let mut transactions = transactions;
        recovery.fenced();
        let kept = found.loaded.as_ref().map(|it| Kept::of(it.manifest()));
        let kept = kept.transpose()?;
        let mut recovered = recover(&mut *transactions, application_id, &**log, kept)?;
        let incarnation = incarnation();
        heritage.live_on(&recovered, application_id, &incarnation)?;
        begin_or_go_on(
            &mut *transactions,
            &mut recovered,
            application_id,
            &topology,
            &**log,
            config,
        )?;
        let (slots, lost) = slots(&recovered, &topology, &**log, config)?;
        recovered.lost = lost;
        let found = match recovered.forgotten {
            true => find_none(state.path(), application_id)?,
            false => found,
        };
        recovery.checked();
        let shares = Shares::of(config.memory_budget);
        let in_flight = heritage.progress.begin_life();
        let sources = (0..workers)
            .map(|index| open(&**log, &slots, index, workers, shares, &in_flight))
            .collect::<Result<_, _>>()?;
        failpoint!(crate::failpoint::P18_SOUGHT, |_| Err(
            crate::failpoint::broken().into()
        ));
        announce(
            &mut *transactions,
            &mut recovered,
            &topology,
            &incarnation,
            config,
        )?;
        recovery.announced();
        let (to_committer, from_workers) = channel();
        let origin = recovered.origin();
        let keeper = keep(found, &topology, origin, workers, to_committer.clone())?;
        compaction::warn(&topology, &**log, &keeper, config.snapshot_interval)?;
        let (shards, inputs) = (origin.shards, origin.inputs.clone());
        let last_epoch = recovered.last_epoch();
        let unread = recovered.unread(&slots);
        let Recovered {
            basis,
            epochs: logged,
            place,
            last_hash,
            log_end,
            resumed,
            ..
        } = recovered;
        let records = logged.iter().map(|entry| entry.counts.read).sum();
        recovery.behind(basis.epoch, (logged.len() as u64, records), &keeper);
        let epochs = Epochs::new(
            slots.clone(),
            &basis,
            logged.clone(),
            Limits::of(config),
            Clock::system(),
        );
        epochs.count_in(in_flight.clone());
        epochs.set_keeping(Keeping::new(
            Arc::clone(&keeper),
            config.snapshot_interval,
            unread,
            basis.epoch,
            (last_epoch, place),
        ));
        let trimmer = keep_short(
            Arc::clone(log),
            application_id,
            Arc::clone(&keeper),
            config.epoch_log_retention,
            config.snapshot_interval,
        )?;
        let growth = Growth::new(
            application_id,
            &topology,
            &inputs,
            &slots,
            &partitions,
            config.idle_timeout,
            (epochs.clone(), to_committer.clone()),
        );
        let mut aside = vec![trimmer];
        if config.follow {
            aside.push(watch_growth(log, config.metadata_max_age, growth)?);
        }
        let settled = Arc::new(AtomicU64::new(0));
        let sinks = topology.collected();
        let plan = Plan {
            built: Arc::new(topology.share(&settled)),
            shards: Shards::new(shards, workers),
            ledger: Ledger::default(),
            epochs,
            slots: Arc::new(slots),
            basis: Arc::new(basis),
            keeper: Some(keeper),
            partitions: Arc::new(partitions),
            any_timestamp: log.takes_nonpositive_timestamps(),
            max_skew: config.max_skew,
            settled,
            progress: Arc::clone(&heritage.progress),
            poison: heritage.poison.clone(),
            to_committer,
            outbox: Outbox::default(),
            topology,
        };
        let commit = CommitParts {
            application_id: application_id.to_owned(),
            incarnation,
            fingerprint: plan.topology.fingerprint(),
            sinks,
            nodes: plan.topology.node_names(),
            dead_letters: plan.topology.dead_letters(),
            transactions,
            delivery,
            basis: plan.basis.epoch,
            log_end,
            last_hash,
            recovery,
            logged: logged
                .iter()
                .map(|entry| (entry.epoch, entry.clone()))
                .collect(),
            epochs: plan.epochs.clone(),
            ledger: plan.ledger.clone(),
            settled: Arc::clone(&plan.settled),
            progress: Arc::clone(&plan.progress),
            from_workers,
            outbox: plan.outbox.clone(),
            waits: Waits {
                commits: between_commits(config.commit_interval),
                ..Waits::default()
            },
            send_ahead: shares.sending,
            shown: None,
        };
        let recovered_epochs = logged.len() as u64;
        Ok(Run {
            plan,
            commit: Box::new(commit),
            sources,
            recovered_epochs,
            resumed,
            stall_timeout: config.stall_timeout,
            _aside: aside,
        })
    }

    /// A life that ends with its last logged epoch.
    pub(super) fn of_replay(
        plan: Plan,
        commit: CommitParts,
        sources: Vec<(Queues, Box<dyn Source>)>,
        stall_timeout: Duration,
    ) -> Run {
        Run {
            recovered_epochs: commit.logged.len() as u64,
            plan,
            commit: Box::new(commit),
            sources,
            resumed: true,
            stall_timeout,
            _aside: Vec::new(),
        }
    }

    /// The epochs, which stopping is told to.
    pub(super) fn epochs(&self) -> &Epochs {
        &self.plan.epochs
    }

    /// The epochs to be replayed, by number.
    pub(super) fn logged(&self) -> &BTreeMap<Epoch, EpochEntry> {
        &self.commit.logged
    }

    /// The last epoch that was committed before, 0 before the first.
    pub(super) fn last_epoch(&self) -> Epoch {
        let last_logged = self.logged().keys().next_back().copied();
        last_logged.unwrap_or(self.plan.basis.epoch)
    }

    /// Whether there was a log.
    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    /// Lives to the end.
    pub(super) fn go(self) -> Life {
        let last_epoch = self.last_epoch();
        let Run {
            plan,
            commit,
            sources,
            recovered_epochs,
            resumed,
            stall_timeout,
            _aside,
        } = self;
        tracing::info!(
            application = commit.application_id,
            guarantee = %commit.delivery.guarantee(),
            workers = sources.len(),
            replayed = recovered_epochs,
            resumed,
            "starting"
        );
        let epochs = plan.epochs.clone();
        let halt = Arc::new(AtomicBool::new(false));
        let committer = spawn_committer(commit, Arc::clone(&halt));
        let (committed, outcome) = match committer {
            Err(error) => (Committed::behind(last_epoch), Err(error)),
            Ok(committer) => {
                let keeper = plan.keeper.clone();
                let workers_done = run_workers(plan, sources, stall_timeout, &halt);
                let (committed, outcome) = committer.join().unwrap_or_else(|_| {
                    let error = RunError::Bug("the committer panicked".into());
                    (Committed::behind(last_epoch), Err(error))
                });
                let outcome = outcome.and(workers_done);
                if let (Some(keeper), Ok(())) = (keeper, &outcome) {
                    finish(&keeper);
                }
                (committed, outcome)
            }
        };
        // Whoever may stop the run still holds its epochs.
        epochs.end_keeping();
        Life {
            committed,
            outcome,
            lived: epochs.live_for(),
        }
    }
}

/// What a committer's thread leaves: what was committed, and how it ended.
type CommitterEnded = (Committed, Result<(), RunError>);

/// Starts the committer's thread, which sets `halt` when it ends.
fn spawn_committer(
    commit: Box<CommitParts>,
    halt: Arc<AtomicBool>,
) -> Result<JoinHandle<CommitterEnded>, RunError> {
    let thread = std::thread::Builder::new().name("tiderace-commit".into());
    let spawned = thread.spawn(move || {
        let mut committer = Committer::new(*commit);
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| committer.run()));
        // Success ends with the dataflow; anything else has to end it.
        halt.store(true, Ordering::SeqCst);
        let outcome = outcome.unwrap_or_else(|panic| Err(RunError::Bug(message(&*panic))));
        (committer.done(), outcome)
    });
    spawned.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))
}

/// Waits for the snapshot that a clean end has asked for. Without it the next start replays more.
fn finish(keeper: &SnapshotKeeper) {
    if keeper.finish(LAST_SNAPSHOT).is_none() {
        tracing::warn!("no snapshot was published: the next start replays the whole epoch log");
    }
}

/// Looks for partitions that topics were given, `every` so often.
fn watch_growth(
    log: &Arc<dyn Log>,
    every: Duration,
    mut growth: Growth,
) -> Result<Periodic, RunError> {
    let log = Arc::clone(log);
    Periodic::start("tiderace-topics", every, move || growth.look(&log))
}

/// Opens the source of one worker with its queues.
pub(super) fn open(
    log: &dyn Log,
    slots: &[Slot],
    index: usize,
    workers: usize,
    shares: Shares,
    in_flight: &InFlight,
) -> Result<(Queues, Box<dyn Source>), LogError> {
    let mine = slots_of(slots, index, workers);
    let assignment: Vec<_> = mine
        .iter()
        .map(|slot| (slots[*slot].partition.clone(), slots[*slot].start))
        .collect();
    let queues = Queues::new(mine.len(), shares.fetched / workers, in_flight.clone());
    Ok((queues, log.source(&assignment, shares.clients / workers)?))
}

/// An id that no other start of any application has.
fn incarnation() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one((std::process::id(), crate::clock::wall()));
    format!("{:016x}-{}", random, std::process::id())
}
