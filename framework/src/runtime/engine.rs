//! Starting, stopping and ending a run: [`Engine::start`] and the [`Running`] it returns.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tiderace_operators::current;
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::Ledger;

use super::clock::Clock;
use super::commit::{CommitParts, Committer};
use super::epochs::{Epochs, Limits};
use super::fetch::Fetcher;
use super::queue::Queues;
use super::recover::{Recovered, recover, sink_partitions, slots};
use super::report::{Progress, Report, SharedProgress};
use super::state_dir::StateDir;
use super::worker::{Plan, ToCommitter, Watch, build, slots_of};
use crate::config::Config;
use crate::connect::{Log, Source};
use crate::error::{LogError, RunError};
use crate::topology::{OnError, Topology};

/// How long a worker parks at most before it looks whether the run has failed.
const PARK: Duration = Duration::from_millis(50);

/// Runs topologies.
pub struct Engine;

/// A run. Dropping it leaves the run going; see [`join`](Self::join) and [`stop_handle`](Self::stop_handle).
pub struct Running {
    stop: StopHandle,
    progress: SharedProgress,
    finished: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<Result<Report, RunError>>,
}

/// Stops a run from anywhere. Clones stop the same run.
#[derive(Clone)]
pub struct StopHandle(Arc<StopState>);

#[derive(Default)]
struct StopState {
    asked: AtomicBool,
    epochs: Mutex<Option<Epochs>>,
}

impl StopHandle {
    /// Has the run finish the open epoch, commit it and end. Returns at once; more calls change nothing.
    pub fn stop(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        if let Some(epochs) = &*self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner) {
            epochs.stop();
        }
    }

    fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn watch(&self, epochs: &Epochs) {
        *self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner) = Some(epochs.clone());
        if self.is_asked() {
            epochs.stop();
        }
    }
}

impl Engine {
    /// Starts a topology on a log. Locks its state directory, fences older instances, reads its epoch log, replays
    /// what it committed, and goes on from there.
    ///
    /// # Errors
    /// What can be refused at once: the state directory is in use, a topic is missing, the log was begun by
    /// another program or with other parameters. What happens later, [`Running::join`] returns.
    pub fn start(
        topology: Topology,
        log: Arc<dyn Log>,
        config: &Config,
    ) -> Result<Running, RunError> {
        let started = Instant::now();
        let run = Run::prepare(topology, log, config)?;
        let stop = StopHandle(Arc::default());
        let progress = Arc::clone(&run.plan.progress);
        let finished: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        stop.watch(&run.plan.epochs);
        let (stop_of_run, finish) = (stop.clone(), Arc::clone(&finished));
        let thread = std::thread::Builder::new()
            .name("tiderace-engine".into())
            .spawn(move || {
                let outcome = run.go(started, &stop_of_run);
                *finish.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                finish.1.notify_all();
                outcome
            });
        let thread =
            thread.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
        Ok(Running {
            stop,
            progress,
            finished,
            thread,
        })
    }
}

impl Running {
    /// What stops the run.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Live figures.
    pub fn progress(&self) -> SharedProgress {
        Arc::clone(&self.progress)
    }

    /// Whether the run is over; [`join`](Self::join) returns at once then.
    pub fn is_finished(&self) -> bool {
        *self
            .finished
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the run is over, at most `timeout`; true if it is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let finished = self
            .finished
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .finished
            .1
            .wait_timeout_while(finished, timeout, |finished| !*finished);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// Why it ended without success. Everything committed before stays.
    pub fn join(self) -> Result<Report, RunError> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(RunError::Bug("the engine's own thread panicked".into())))
    }
}

/// A run that is ready to go.
struct Run {
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
    fn prepare(topology: Topology, log: Arc<dyn Log>, config: &Config) -> Result<Run, RunError> {
        let application_id = config
            .application_id
            .clone()
            .unwrap_or_else(|| topology.application_id().to_owned());
        let state = StateDir::lock(&config.data_dir, &application_id)?;
        let workers = config.workers.max(1);
        let partitions = sink_partitions(&topology, &*log)?;
        for source in topology.source_topics() {
            super::recover::describe(&*log, &source)?;
        }
        let mut transactions = log.transactions(&application_id, &topology.sink_topics())?;
        let recovered = recover(
            &mut *transactions,
            &application_id,
            &topology,
            &*log,
            config,
        )?;
        let slots = slots(&recovered, &topology, &*log, config)?;
        let (to_committer, from_workers) = channel();
        let Recovered {
            origin,
            epochs: logged,
            last_hash,
            log_end,
            resumed,
        } = recovered;
        let epochs = Epochs::new(
            slots.clone(),
            logged.clone(),
            Limits::of(config),
            Clock::system(),
        );
        let settled = Arc::new(AtomicU64::new(0));
        let fetch = (config.memory_budget / 4).max(1);
        let sources = (0..workers)
            .map(|index| open(&*log, &slots, index, workers, fetch))
            .collect::<Result<_, _>>()?;
        let mut sinks: Vec<String> = topology
            .sinks()
            .into_iter()
            .map(|(_, topic)| topic)
            .collect();
        if let OnError::DeadLetter(topic) = &topology.on_error {
            sinks.push(topic.clone());
        }
        let plan = Plan {
            built: Arc::new(topology.share(&settled)),
            shards: Shards::new(origin.shards, workers),
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
            incarnation: incarnation(),
            fingerprint: plan.topology.fingerprint(),
            workers,
            sinks,
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

    /// Runs to the end.
    fn go(self, started: Instant, stop: &StopHandle) -> Result<Report, RunError> {
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
    slots: &[super::epochs::Slot],
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

/// Runs the workers until their dataflows end, or `halt` is set. A panic of one stops all.
fn run_workers(
    plan: Plan,
    sources: Vec<(Queues, Box<dyn Source>)>,
    workers: usize,
    halt: &Arc<AtomicBool>,
) -> Result<(), RunError> {
    let sources = Mutex::new(sources.into_iter().map(Some).collect::<Vec<_>>());
    let (halt, first) = (Arc::clone(halt), plan.to_committer.clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let taken = sources.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()].take();
        let (queues, source) = taken.expect("each worker starts once");
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            run_worker(worker, &plan, queues, source, &halt)
        }));
        if let Err(panic) = outcome {
            halt.store(true, Ordering::SeqCst);
            // If the committer is gone the run has failed already, for an earlier reason.
            let _ = plan
                .to_committer
                .send(ToCommitter::Failed(blame(&plan, &*panic)));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
    drop(first);
    let guards =
        guards.map_err(|e| RunError::Bug(format!("the workers could not be started: {e}")))?;
    for outcome in guards.join() {
        outcome.map_err(|e| RunError::Bug(format!("a worker ended badly: {e}")))?;
    }
    Ok(())
}

fn run_worker(
    worker: &mut timely::worker::Worker,
    plan: &Plan,
    queues: Queues,
    source: Box<dyn Source>,
    halt: &AtomicBool,
) {
    let dataflow = build(worker, plan, &queues, None);
    let failed: Sender<ToCommitter> = plan.to_committer.clone();
    let fetcher = Fetcher::start(source, queues, dataflow.wake, move |error| {
        // If the committer is gone the run has failed already, for an earlier reason.
        let _ = failed.send(ToCommitter::Failed(error.into()));
    });
    let fetcher = match fetcher {
        Ok(fetcher) => fetcher,
        Err(error) => panic!("no thread could be started: {error}"),
    };
    let mut watch = (worker.index() == 0)
        .then(|| Watch::new(dataflow.passed.clone(), plan.to_committer.clone()));
    while !halt.load(Ordering::Relaxed) {
        worker.step_or_park(Some(PARK));
        let ended = match &mut watch {
            Some(watch) => watch.look(),
            None => dataflow.passed.done(),
        };
        if ended {
            break;
        }
    }
    fetcher.stop();
}

/// Says which step and record a worker's panic is to be blamed on.
fn blame(plan: &Plan, panic: &(dyn std::any::Any + Send)) -> RunError {
    let (step, position) = current::culprit();
    let node = step.and_then(|step| plan.topology.nodes.get(step as usize));
    let node = node.map_or_else(|| "(engine)".to_owned(), |node| node.name.clone());
    let record = position
        .filter(|position| !position.is_result())
        .and_then(|position| {
            let (partition, offset) =
                plan.epochs
                    .locate(position.source(), position.partition(), position.offset())?;
            Some(format!("{partition}, offset {offset}"))
        });
    RunError::Panicked {
        node,
        record,
        message: message(panic),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

/// An id that no other start of any application has.
fn incarnation() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
    format!("{:016x}-{}", random, std::process::id())
}
