//! The run of a replay: a life of the engine that ends behind the last logged epoch, with nothing to commit to.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;

use tiderace_operators::shard::Shards;
use tiderace_operators::tally::Ledger;

use super::nothing::Nothing;
use super::shown::{ReplayedEpoch, Shown};
use super::{Replay, gaps};
use crate::connect::Log;
use crate::error::{LogError, RunError};
use crate::runtime::clock::Clock;
use crate::runtime::commit::{CommitParts, Delivery, Waits};
use crate::runtime::entry::{EpochEntry, Origin};
use crate::runtime::epochs::Epochs;
use crate::runtime::in_flight::Shares;
use crate::runtime::inputs::{added, describe, slots_as_read};
use crate::runtime::kept::keep;
use crate::runtime::limits::Limits;
use crate::runtime::outbox::Outbox;
use crate::runtime::poison::Poison;
use crate::runtime::recover::Recovered;
use crate::runtime::recovery::Recovering;
use crate::runtime::report::SharedProgress;
use crate::runtime::run::{Run, open};
use crate::runtime::worker::Plan;
use crate::topology::Topology;

impl Replay {
    /// Runs the epochs again with the program that wrote them, and shows each that is wanted; `show` breaks off when it
    /// has seen enough. Called from another thread, an epoch after the other.
    ///
    /// # Errors
    /// [`RunError::Refused`] if another program wrote the epochs; [`RunError::Gone`] if input is no longer held, with
    /// each partition's gap, before anything is shown; [`RunError::Replay`] if an epoch comes to something else than
    /// was committed, which is not shown.
    pub fn run(
        self,
        topology: impl Into<Arc<Topology>>,
        show: impl FnMut(&ReplayedEpoch<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(), RunError> {
        let broken_off = Arc::new(AtomicBool::new(false));
        let shown = Shown {
            epochs: self.epochs.clone(),
            show: Box::new(show),
            broken_off: Arc::clone(&broken_off),
        };
        let wanted = self.epochs.clone();
        let outcome = self
            .prepare(topology.into(), shown)
            .and_then(|run| run.go().outcome);
        match outcome {
            Err(_) if broken_off.load(Ordering::SeqCst) => Ok(()),
            // State is taken back before anything is shown.
            Err(RunError::Log(LogError::Damaged { file, .. })) if is_superseded(&file) => {
                let gap = format!(
                    "{}: the application has deleted this snapshot since, as newer ones have taken its place",
                    file.display()
                );
                Err(gaps::gone(&wanted, vec![gap], "try again".to_owned()))
            }
            outcome => outcome,
        }
    }

    fn prepare(self, topology: Arc<Topology>, shown: Shown) -> Result<Run, RunError> {
        let Replay {
            log,
            mut config,
            application_id,
            epochs: wanted,
            found,
            recovered,
        } = self;
        check_program(&recovered, &application_id, &topology)?;
        // What was added since is left out; that the topics are the same ones is what is asked.
        let _ = added(
            &application_id,
            &recovered.origin().inputs,
            0,
            &topology,
            &*log,
        )?;
        // It ends with the last epoch, not with the input.
        config.follow = true;
        let mut slots = slots_as_read(&recovered, &topology, &*log, &config, |_, _| ())?;
        gaps::of_inputs(&*log, &recovered, &wanted, &mut slots)?;
        let workers = config.workers.max(1);
        let shares = Shares::of(config.memory_budget);
        let progress = SharedProgress::default();
        let in_flight = progress.begin_life();
        let sources = (0..workers)
            .map(|index| open(&*log, &slots, index, workers, shares, &in_flight))
            .collect::<Result<_, _>>()?;
        let (to_committer, from_workers) = channel();
        let keeper = match found {
            Some(found) => {
                let (origin, sender) = (recovered.origin(), to_committer.clone());
                Some(keep(found, &topology, origin, workers, sender)?)
            }
            None => None,
        };
        let partitions = partitions(&topology, &*log, recovered.origin())?;
        let shards = recovered.origin().shards;
        let Recovered {
            basis,
            epochs: logged,
            last_hash,
            log_end,
            ..
        } = recovered;
        let epochs = Epochs::new(
            slots.clone(),
            &basis,
            logged.clone(),
            Limits::of(&config),
            Clock::system(),
        );
        epochs.count_in(in_flight);
        // Behind what is logged nothing opens.
        epochs.stop();
        let settled = Arc::new(AtomicU64::new(0));
        let plan = Plan {
            built: Arc::new(topology.share(&settled)),
            shards: Shards::new(shards, workers),
            ledger: Ledger::default(),
            epochs,
            slots: Arc::new(slots),
            basis: Arc::new(basis),
            keeper,
            partitions: Arc::new(partitions),
            any_timestamp: log.takes_nonpositive_timestamps(),
            max_skew: config.max_skew,
            settled,
            progress,
            poison: Poison::default(),
            to_committer,
            outbox: Outbox::default(),
            topology,
        };
        let by_epoch = |entry: EpochEntry| (entry.epoch, entry);
        let logged: BTreeMap<_, _> = logged.into_iter().map(by_epoch).collect();
        let commit = CommitParts {
            application_id,
            incarnation: String::new(),
            fingerprint: plan.topology.fingerprint(),
            sinks: plan.topology.collected(),
            nodes: plan.topology.node_names(),
            dead_letters: plan.topology.dead_letters(),
            transactions: Box::new(Nothing),
            // What was logged goes nowhere, whatever was promised of it.
            delivery: Delivery::InTransaction,
            basis: plan.basis.epoch,
            log_end,
            last_hash,
            recovery: Recovering::begin(),
            logged,
            epochs: plan.epochs.clone(),
            ledger: plan.ledger.clone(),
            settled: Arc::clone(&plan.settled),
            progress: Arc::clone(&plan.progress),
            from_workers,
            outbox: plan.outbox.clone(),
            waits: Waits::default(),
            send_ahead: shares.sending,
            shown: Some(shown),
        };
        Ok(Run::of_replay(plan, commit, sources, config.stall_timeout))
    }
}

/// Whether a file is one of a snapshot, and gone.
fn is_superseded(file: &Path) -> bool {
    let snapshot = file.extension().is_some_and(|it| it == "data");
    snapshot && !file.exists()
}

/// Only the program that wrote the epochs comes to the same again.
fn check_program(
    recovered: &Recovered,
    application_id: &str,
    topology: &Topology,
) -> Result<(), RunError> {
    let origin = recovered.origin();
    let fingerprint = topology.fingerprint();
    let other = |entry: &&EpochEntry| entry.topology != fingerprint;
    let tell = |parameters: &BTreeMap<String, String>| {
        let each: Vec<_> = parameters
            .iter()
            .map(|(name, of)| format!("{name} = {of}"))
            .collect();
        each.join(", ")
    };
    if let Some(entry) = recovered.epochs.iter().find(other) {
        return Err(RunError::Refused(format!(
            "epoch {} of `{application_id}` was written by another program: its topology was {}, this one's is \
             {fingerprint}. Replay it with the program that wrote it",
            entry.epoch, entry.topology
        )));
    }
    if &origin.parameters != topology.parameters() {
        return Err(RunError::Refused(format!(
            "epoch {} of `{application_id}` was written with {}, and this program has {}",
            recovered.last_epoch(),
            tell(&origin.parameters),
            tell(topology.parameters())
        )));
    }
    Ok(())
}

/// How many partitions each topic has that the program writes; of one that is gone, how many it had at the beginning.
fn partitions(
    topology: &Topology,
    log: &dyn Log,
    origin: &Origin,
) -> Result<HashMap<String, u32>, RunError> {
    let mut partitions = HashMap::new();
    for topic in topology.sink_topics() {
        let then = origin.outputs.iter().find(|output| output.topic == topic);
        let count = match (log.topic(&topic)?, then) {
            (Some(found), _) => found.partitions.len(),
            (None, Some(then)) => then.end.len(),
            (None, None) => describe(log, &topic)?.partitions.len(),
        };
        let count = u32::try_from(count).expect("partitions are counted in u32");
        partitions.insert(topic, count);
    }
    Ok(partitions)
}
