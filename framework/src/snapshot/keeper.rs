//! Keeping snapshots of a running application: takes what operators hand over and gives it back at a start.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;
use tiderace_operators::handover::{Chunk, Keeper, Part, StateError, TakeEntry};
use tiderace_operators::record::EventTime;

use super::attempt::BackOff;
use super::collect::Catalogue;
use super::error::SnapshotError;
use super::manifest::{InputPlace, LogPlace};
use super::restore::{most_entries, restore};
use super::shared::{OnFailure, Published, Shared};
use super::snapshots::{Loaded, Snapshots};
use super::store::SnapshotStore;
use super::writer::Writer;

/// The application whose state is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its id.
    pub application_id: String,
    /// Hash of its topology.
    pub topology: String,
    /// Entry 0 of its epoch log.
    pub origin: serde_json::Value,
    /// How many shards it has.
    pub shards: u32,
    /// How many workers run.
    pub workers: usize,
    /// Its steps with state.
    pub steps: Vec<Step>,
}

/// A step with state.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the topology of this program.
    pub node: u32,
    /// Its name, under which another program finds its entries.
    pub name: String,
    /// What it is and does.
    pub description: String,
}

/// Keeps snapshots, by a thread of its own, until it is dropped. One at a time: [`want`](Self::want) one, tell its
/// [`sources`](Self::sources) and that it is [`committed`](Self::committed); operators do the rest.
pub struct SnapshotKeeper {
    shared: Arc<Shared>,
    store: Arc<dyn SnapshotStore>,
    names: BTreeMap<u32, String>,
    workers: usize,
    loaded: Option<Loaded>,
    failure: Mutex<Option<SnapshotError>>,
    restoring: Mutex<Restoring>,
    thread: Option<JoinHandle<()>>,
}

/// How long giving state back takes.
#[derive(Default)]
struct Restoring {
    /// Since when a step on a worker is given its state.
    begun: BTreeMap<(u32, usize), Instant>,
    /// What it has taken so far, by worker.
    took: BTreeMap<usize, Duration>,
}

impl SnapshotKeeper {
    /// Begins to keep snapshots behind the one that was loaded, if one was. States in it whose step is gone or is
    /// described otherwise now are given up: a step of that name begins with none. `on_failure` is called at most once, from
    /// any thread, when no more can be written: the application is to stop, since its state outgrows its last snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] if the loaded snapshot has another number of shards; [`SnapshotError::Bug`] if two
    /// steps have one name or number, or there can be no thread.
    pub fn start(
        snapshots: Snapshots,
        loaded: Option<Loaded>,
        settings: Settings,
        on_failure: OnFailure,
    ) -> Result<Self, SnapshotError> {
        let back_off = BackOff::default();
        SnapshotKeeper::start_with(snapshots, loaded, settings, on_failure, back_off)
    }

    pub(super) fn start_with(
        snapshots: Snapshots,
        loaded: Option<Loaded>,
        settings: Settings,
        on_failure: OnFailure,
        back_off: BackOff,
    ) -> Result<Self, SnapshotError> {
        let names = names(&settings)?;
        check_shards(loaded.as_ref(), &settings)?;
        let catalogue = Catalogue::new(&snapshots, loaded.as_ref());
        let loaded = loaded.map(|it| it.for_steps(&settings.steps));
        let chain = loaded
            .as_ref()
            .map(|it| it.chain.clone())
            .unwrap_or_default();
        let workers = settings.workers;
        let steps = names.keys().copied().collect();
        let shared = Arc::new(Shared::new(steps, workers, on_failure));
        let last = loaded.as_ref().map(|it| Published {
            epoch: it.manifest.epoch,
            log: it.manifest.log.clone(),
            written: it.manifest.written,
        });
        shared.published(last, catalogue.oldest());
        let store = snapshots.store;
        let writer = Writer {
            shared: Arc::clone(&shared),
            store: Arc::clone(&store),
            settings,
            numbers: names.clone(),
            chain,
            catalogue,
            back_off,
        };
        Ok(SnapshotKeeper {
            thread: Some(spawn(Arc::clone(&shared), writer)?),
            shared,
            store,
            names,
            workers,
            loaded,
            failure: Mutex::new(None),
            restoring: Mutex::default(),
        })
    }

    /// Asks for a snapshot of an epoch that no worker has closed yet. False, and nothing happens, while another one
    /// is on its way or none can be written any more.
    ///
    /// Operators hand over at the close of `close`: the epoch itself, or one behind it in which nothing happens.
    pub fn want(&self, epoch: Epoch, close: Epoch) -> bool {
        self.shared.want(epoch, close)
    }

    /// Tells how far the inputs were read at the close of the epoch that is wanted, and what else the runtime needs to
    /// go on from there. Of another epoch it is ignored.
    pub fn sources(&self, epoch: Epoch, inputs: Vec<InputPlace>, standing: serde_json::Value) {
        self.shared.sources(epoch, inputs, standing);
    }

    /// Tells that an epoch is committed, and where its entry stands. Of another epoch than the wanted one it is
    /// ignored.
    pub fn committed(&self, epoch: Epoch, log: LogPlace) {
        self.shared.committed(epoch, log);
    }

    /// Waits until nothing that was wanted is outstanding, and returns the newest snapshot that is published.
    pub fn finish(&self, timeout: Duration) -> Option<Published> {
        self.shared.finish(timeout)
    }

    /// The newest snapshot that is published: a start goes on behind it.
    pub fn last(&self) -> Option<Published> {
        self.shared.last()
    }

    /// The oldest snapshot that is kept: the epoch log must reach back to it.
    pub fn oldest(&self) -> Option<Published> {
        self.shared.oldest()
    }

    /// Why state could not be taken back, if it could not. To be asked when all operators have been built, and before
    /// any record is processed.
    pub fn failure(&self) -> Option<SnapshotError> {
        self.failure_slot().take()
    }

    /// What giving state back has taken so far, on the worker that took longest.
    pub fn restored_in(&self) -> Duration {
        let restoring = self.restoring();
        restoring.took.values().max().copied().unwrap_or_default()
    }

    fn restoring(&self) -> std::sync::MutexGuard<'_, Restoring> {
        self.restoring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn failure_slot(&self) -> std::sync::MutexGuard<'_, Option<SnapshotError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for SnapshotKeeper {
    fn wanted(&self) -> Epoch {
        self.shared.wanted()
    }

    fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    fn chunk(&self, worker: usize, chunk: Chunk) {
        failpoint!(super::points::P14_HANDING_OVER);
        self.shared.chunk(worker, chunk);
    }

    fn done(&self, part: Part) {
        self.shared.done(part);
        failpoint!(super::points::P14_HANDED_OVER);
    }

    fn fail(&self, node: u32, worker: usize, error: StateError) {
        let step = self.names.get(&node).map_or("?", String::as_str);
        self.shared.fail(SnapshotError::Refused(format!(
            "the state of step `{step}` on worker {worker} cannot be kept: {error}. What was committed and the snapshot \
             before are safe; mend the type's `Serialize` and start again"
        )));
    }

    fn entries(&self, node: u32, worker: usize) -> usize {
        let loaded = self.loaded.as_ref().zip(self.names.get(&node));
        loaded.map_or(0, |(loaded, name)| {
            most_entries(loaded, name, (self.workers, worker))
        })
    }

    fn restore(&self, node: u32, worker: usize, take: &mut TakeEntry<'_>) -> Option<EventTime> {
        let loaded = self.loaded.as_ref()?;
        let begun = crate::clock::instant();
        self.restoring().begun.insert((node, worker), begun);
        let restored = match self.names.get(&node) {
            Some(name) => restore(&*self.store, loaded, name, (self.workers, worker), take),
            None => Err(SnapshotError::Bug(format!(
                "the unknown step {node} asks for its state"
            ))),
        };
        restored.unwrap_or_else(|error| {
            self.failure_slot().get_or_insert(error);
            None
        })
    }

    fn restored(&self, node: u32, worker: usize) {
        let mut restoring = self.restoring();
        if let Some(begun) = restoring.begun.remove(&(node, worker)) {
            *restoring.took.entry(worker).or_default() += begun.elapsed();
        }
    }
}

impl Drop for SnapshotKeeper {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // It catches its own panics and tells them.
            let _ = thread.join();
        }
    }
}

fn spawn(shared: Arc<Shared>, writer: Writer) -> Result<JoinHandle<()>, SnapshotError> {
    let run = move || {
        if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
            let reason = "the thread that writes snapshots panicked".to_owned();
            shared.fail(SnapshotError::Bug(reason));
        }
    };
    std::thread::Builder::new()
        .name("tiderace-snapshot".to_owned())
        .spawn(run)
        .map_err(|error| SnapshotError::Bug(format!("no thread for snapshots: {error}")))
}

fn names(settings: &Settings) -> Result<BTreeMap<u32, String>, SnapshotError> {
    let steps = settings.steps.iter();
    let by_number: BTreeMap<u32, String> = steps.map(|it| (it.node, it.name.clone())).collect();
    let names: BTreeSet<&String> = by_number.values().collect();
    if names.len() != settings.steps.len() {
        let reason = format!("two steps with one name or number: {:?}", settings.steps);
        return Err(SnapshotError::Bug(reason));
    }
    Ok(by_number)
}

fn check_shards(loaded: Option<&Loaded>, settings: &Settings) -> Result<(), SnapshotError> {
    match loaded.map(|it| it.manifest.shards) {
        Some(shards) if shards != settings.shards => Err(SnapshotError::Refused(format!(
            "the snapshot of `{}` has {shards} shards, which never change; {} are configured",
            settings.application_id, settings.shards
        ))),
        _ => Ok(()),
    }
}
