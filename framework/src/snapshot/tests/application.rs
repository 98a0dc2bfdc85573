//! An application of the tests: steps whose state is a map, handed over and taken back as operators do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiderace_operators::handover::{Chunk, Entry, Keeper, LANES, Part};
use tiderace_operators::record::EventTime;
use tiderace_operators::shard::Shards;

use crate::snapshot::attempt::BackOff;
use crate::snapshot::store::SnapshotStore;
use crate::snapshot::{
    Found, InputPlace, InputStatus, Loaded, LogPlace, Settings, SnapshotError, SnapshotKeeper,
    Snapshots, Step,
};

/// Long enough for any machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The whole state: by step, by key.
pub(super) type State = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// The state of an application and what of it no snapshot has yet.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) shards: u32,
    pub(super) workers: usize,
    pub(super) steps: Vec<String>,
    pub(super) state: State,
    /// Keys to be handed over.
    pub(super) dirty: BTreeMap<String, BTreeSet<Vec<u8>>>,
    /// Keys handed over already, for the next snapshot.
    pub(super) early: BTreeMap<String, BTreeSet<Vec<u8>>>,
    pub(super) floors: BTreeMap<String, Vec<u8>>,
    /// Whether the keeper may give up in the midst.
    pub(super) may_die: bool,
}

impl Application {
    pub(super) fn new(workers: usize, steps: &[&str]) -> Self {
        let steps: Vec<String> = steps.iter().map(|name| (*name).to_owned()).collect();
        Application {
            shards: 64,
            workers,
            state: steps
                .iter()
                .map(|name| (name.clone(), BTreeMap::new()))
                .collect(),
            steps,
            dirty: BTreeMap::new(),
            early: BTreeMap::new(),
            floors: BTreeMap::new(),
            may_die: false,
        }
    }

    pub(super) fn put(&mut self, step: &str, key: &[u8], value: Option<&[u8]>) {
        let table = self.state.get_mut(step).unwrap();
        match value {
            Some(value) => _ = table.insert(key.to_vec(), value.to_vec()),
            None => _ = table.remove(key),
        }
        self.dirty
            .entry(step.to_owned())
            .or_default()
            .insert(key.to_vec());
    }

    pub(super) fn node(&self, step: &str) -> u32 {
        let at = self.steps.iter().position(|name| name == step);
        // Not the index, so that nobody takes it for one.
        7 + at.unwrap() as u32
    }

    fn shard(&self, key: &[u8]) -> u32 {
        Shards::new(self.shards, 1).shard_of_bytes(key)
    }

    pub(super) fn owner(&self, key: &[u8]) -> usize {
        Shards::new(self.shards, self.workers).owner(self.shard(key))
    }

    pub(super) fn settings(&self) -> Settings {
        let steps = self.steps.iter().map(|name| Step {
            node: self.node(name),
            name: name.clone(),
            description: format!("counts {name}"),
        });
        Settings {
            application_id: "app".to_owned(),
            topology: "topology".to_owned(),
            origin: serde_json::json!({"inputs": []}),
            shards: self.shards,
            workers: self.workers,
            steps: steps.collect(),
        }
    }

    /// The chunk that hands over one key as it is now.
    pub(super) fn chunk(&self, step: &str, key: &[u8]) -> Chunk {
        let shard = self.shard(key);
        let mut bytes = Vec::new();
        let value = self.state[step].get(key).map(Vec::as_slice);
        Entry { shard, key, value }.write(&mut bytes);
        Chunk {
            node: self.node(step),
            lane: shard * LANES / self.shards,
            entries: 1,
            bytes,
        }
    }

    /// Hands a key over before anybody asks.
    pub(super) fn hand_early(&mut self, keeper: &SnapshotKeeper, step: &str, key: &[u8]) {
        keeper.chunk(self.owner(key), self.chunk(step, key));
        self.dirty.entry(step.to_owned()).or_default().remove(key);
        self.early
            .entry(step.to_owned())
            .or_default()
            .insert(key.to_vec());
    }

    /// What a worker hands over of a step, and that it is done.
    fn hand_over(&self, keeper: &SnapshotKeeper, step: &str, worker: usize, epoch: u64) {
        let mut chunks: BTreeMap<u32, Chunk> = BTreeMap::new();
        for key in self.dirty.get(step).into_iter().flatten() {
            if self.owner(key) == worker {
                let chunk = self.chunk(step, key);
                let lane = chunks.entry(chunk.lane).or_insert_with(|| Chunk {
                    entries: 0,
                    bytes: Vec::new(),
                    ..chunk.clone()
                });
                lane.entries += 1;
                lane.bytes.extend_from_slice(&chunk.bytes);
            }
        }
        for chunk in chunks.into_values() {
            keeper.chunk(worker, chunk);
        }
        keeper.done(Part {
            node: self.node(step),
            worker,
            epoch,
            watermark: EventTime::from_millis(epoch as i64 * 10),
            floor: self.floors.get(step).cloned().unwrap_or_default(),
        });
    }

    /// Closes an epoch that a snapshot is taken of. `after` is called when worker 0 is done, with what it may hand
    /// over for the next one.
    pub(super) fn close(
        &mut self,
        keeper: &SnapshotKeeper,
        epoch: u64,
        after: impl FnOnce(&mut Application),
    ) {
        let wanted = keeper.want(epoch, epoch);
        assert!(wanted || self.may_die, "another one is outstanding");
        assert!(!keeper.want(epoch + 1, epoch + 1), "one is outstanding");
        for (step, floor) in &self.floors {
            let fresh = |key: &Vec<u8>| {
                let of = |keys: &BTreeMap<String, BTreeSet<Vec<u8>>>| {
                    keys.get(step).is_some_and(|keys| keys.contains(key))
                };
                of(&self.dirty) || of(&self.early)
            };
            let table = self.state.get_mut(step).unwrap();
            table.retain(|key, _| key >= floor || fresh(key));
        }
        for step in &self.steps {
            self.hand_over(keeper, step, 0, epoch);
        }
        let rest = self.clone();
        self.dirty.clear();
        self.early.clear();
        after(self);
        for worker in 1..self.workers {
            for step in &rest.steps {
                assert!(keeper.wanted() == epoch || self.may_die);
                rest.hand_over(keeper, step, worker, epoch);
            }
        }
        assert_eq!(keeper.wanted(), 0, "all parts are done");
        keeper.sources(
            epoch,
            vec![input(epoch)],
            serde_json::json!({"epoch": epoch}),
        );
        keeper.committed(epoch, place(epoch));
    }

    /// Closes an epoch and waits until its snapshot is published.
    pub(super) fn snapshot(&mut self, keeper: &SnapshotKeeper, epoch: u64) {
        self.close(keeper, epoch, |_| {});
        let published = keeper.finish(PATIENCE).unwrap();
        assert_eq!((published.epoch, published.log), (epoch, place(epoch)));
    }
}

pub(super) fn place(epoch: u64) -> LogPlace {
    LogPlace {
        offset: epoch as i64 * 3,
        hash: format!("hash {epoch}"),
    }
}

pub(super) fn input(epoch: u64) -> InputPlace {
    InputPlace {
        topic: "rides".to_owned(),
        topic_id: Some("id".to_owned()),
        partition: 0,
        table: false,
        offset: epoch as i64 * 100,
        largest: EventTime::MIN,
        status: InputStatus::Active,
    }
}

/// The failures that a keeper has told.
pub(super) type Failures = Arc<Mutex<Vec<SnapshotError>>>;

pub(super) fn newest(store: &Arc<dyn SnapshotStore>) -> (Snapshots, Found) {
    let snapshots = Snapshots::open(Arc::clone(store), "app").unwrap();
    let found = snapshots.newest(u64::MAX).unwrap();
    (snapshots, found)
}

/// A keeper on what was found, which does not wait long before it tries again.
pub(super) fn start_with(
    snapshots: Snapshots,
    loaded: Option<Loaded>,
    application: &Application,
) -> (SnapshotKeeper, Failures) {
    let failures = Failures::default();
    let told = Arc::clone(&failures);
    let on_failure = Box::new(move |error| told.lock().unwrap().push(error));
    let soon = BackOff {
        first: Duration::from_micros(10),
        longest: Duration::from_micros(100),
    };
    let settings = application.settings();
    let keeper = SnapshotKeeper::start_with(snapshots, loaded, settings, on_failure, soon);
    (keeper.unwrap(), failures)
}

pub(super) fn start(
    store: &Arc<dyn SnapshotStore>,
    application: &Application,
) -> (SnapshotKeeper, Failures) {
    let (snapshots, found) = newest(store);
    start_with(snapshots, found.loaded, application)
}

/// What the workers of an application get back, all at once, each only what it owns.
pub(super) fn restored(keeper: &SnapshotKeeper, application: &Application) -> State {
    let worker = |step: &str, worker: usize| {
        let mut table = BTreeMap::new();
        keeper.restore(application.node(step), worker, &mut |key, value| {
            assert_eq!(application.owner(key), worker, "a key of another worker");
            match value {
                Some(value) => _ = table.insert(key.to_vec(), value.to_vec()),
                None => _ = table.remove(key),
            }
            Ok(())
        });
        table
    };
    let step = |step: &String| {
        let mut whole = BTreeMap::new();
        std::thread::scope(|scope| {
            let workers = 0..application.workers;
            let threads: Vec<_> = workers
                .map(|number| scope.spawn(move || worker(step, number)))
                .collect();
            for thread in threads {
                whole.append(&mut thread.join().unwrap());
            }
        });
        (step.clone(), whole)
    };
    let state = application.steps.iter().map(step).collect();
    assert!(keeper.failure().is_none());
    state
}

/// The state of the newest snapshot in a store, and its epoch.
pub(super) fn stored(
    store: &Arc<dyn SnapshotStore>,
    application: &Application,
) -> Option<(u64, State)> {
    let (snapshots, found) = newest(store);
    let epoch = found.loaded.as_ref()?.manifest().epoch;
    let (keeper, _) = start_with(snapshots, found.loaded, application);
    Some((epoch, restored(&keeper, application)))
}
