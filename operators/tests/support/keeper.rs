//! A keeper of snapshots in memory, by maps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::handover::{Chunk, Entry, Handover, Keeper, Part, StateError, TakeEntry};
use tiderace_operators::record::EventTime;
use tiderace_operators::shard::Shards;

/// What a snapshot holds of a step: its watermark, and its entries by key, each with its shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    pub(crate) watermark: Option<EventTime>,
    pub(crate) entries: BTreeMap<Vec<u8>, (u32, Vec<u8>)>,
}

/// A snapshot: its epoch, how many entries were handed over for it, and what there is with those before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) epoch: Epoch,
    pub(crate) handed_over: u32,
    pub(crate) steps: BTreeMap<u32, Kept>,
}

pub(crate) struct MemoryKeeper {
    wanted: AtomicU64,
    pub(crate) full: AtomicBool,
    /// Whether it is full every other time that it is asked.
    pub(crate) wavers: bool,
    /// Whether it only counts what it is given.
    pub(crate) counts: bool,
    /// How many parts a snapshot has.
    parts: usize,
    begin: Option<Snapshot>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    chunks: Vec<Chunk>,
    /// Chunks of the snapshot behind the one that is wanted.
    ahead: Vec<Chunk>,
    parts: Vec<Part>,
    last: Snapshot,
    failures: Vec<StateError>,
}

impl MemoryKeeper {
    /// Keeps snapshots of `parts` parts, beginning with one.
    pub(crate) fn new(parts: usize, begin: Option<Snapshot>) -> Self {
        MemoryKeeper {
            wanted: AtomicU64::new(0),
            full: AtomicBool::new(false),
            wavers: false,
            counts: false,
            parts,
            inner: Mutex::new(Inner {
                last: begin.clone().unwrap_or_default(),
                ..Inner::default()
            }),
            begin,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics in between")
    }

    /// Wants a snapshot of an epoch that no operator has closed.
    pub(crate) fn want(&self, epoch: Epoch) {
        self.wanted.store(epoch, Ordering::SeqCst);
    }

    /// Whether the snapshot that was wanted is there.
    pub(crate) fn is_done(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) == 0
    }

    /// The last snapshot.
    pub(crate) fn last(&self) -> Snapshot {
        assert!(
            self.is_done(),
            "not all parts are done: {:?}",
            self.inner().parts
        );
        self.inner().last.clone()
    }

    pub(crate) fn failures(&self) -> Vec<StateError> {
        self.inner().failures.clone()
    }

    /// The way of step 3 on a worker to a keeper.
    pub(crate) fn handover(keeper: &Arc<Self>, worker: usize, shards: Shards) -> Handover {
        Handover {
            keeper: Some(Arc::clone(keeper) as Arc<dyn Keeper>),
            node: STEP,
            worker,
            shards,
        }
    }
}

/// The number of the step in tests with one.
pub(crate) const STEP: u32 = 3;

impl Inner {
    /// Makes a snapshot of what was handed over.
    fn publish(&mut self, counts: bool) {
        let chunks = std::mem::replace(&mut self.chunks, std::mem::take(&mut self.ahead));
        self.last.handed_over = chunks.iter().map(|chunk| chunk.entries).sum();
        for chunk in chunks.into_iter().filter(|_| !counts) {
            let kept = self.last.steps.entry(chunk.node).or_default();
            let mut rest = &chunk.bytes[..];
            for _ in 0..chunk.entries {
                let Entry { shard, key, value } = Entry::take(&mut rest).expect("an entry");
                match value {
                    Some(value) => kept.entries.insert(key.into(), (shard, value.into())),
                    None => kept.entries.remove(key),
                };
            }
            assert!(rest.is_empty(), "a chunk says how many entries it has");
        }
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            let kept = self.last.steps.entry(part.node).or_default();
            kept.entries.retain(|key, _| *key >= part.floor);
            kept.watermark = Some(part.watermark);
            self.last.epoch = part.epoch;
        }
    }
}

impl Keeper for MemoryKeeper {
    fn wanted(&self) -> Epoch {
        self.wanted.load(Ordering::SeqCst)
    }

    fn is_full(&self) -> bool {
        if self.wavers {
            self.full.fetch_xor(true, Ordering::SeqCst)
        } else {
            self.full.load(Ordering::SeqCst)
        }
    }

    fn chunk(&self, worker: usize, chunk: Chunk) {
        let mut inner = self.inner();
        let is = |part: &Part| part.worker == worker && part.node == chunk.node;
        if inner.parts.iter().any(is) {
            inner.ahead.push(chunk);
        } else {
            inner.chunks.push(chunk);
        }
    }

    fn done(&self, part: Part) {
        assert_eq!(part.epoch, self.wanted());
        let mut inner = self.inner();
        for other in &inner.parts {
            assert!(
                (other.node, other.worker) != (part.node, part.worker),
                "twice: {part:?}"
            );
            if other.node == part.node {
                assert_eq!(
                    (other.watermark, &other.floor),
                    (part.watermark, &part.floor)
                );
            }
        }
        inner.parts.push(part);
        if inner.parts.len() == self.parts {
            inner.publish(self.counts);
            self.wanted.store(0, Ordering::SeqCst);
        }
    }

    fn fail(&self, _: u32, _: usize, error: StateError) {
        self.inner().failures.push(error);
    }

    fn restore(&self, node: u32, worker: usize, take: &mut TakeEntry<'_>) -> Option<EventTime> {
        let kept = self.begin.as_ref()?.steps.get(&node)?;
        let workers = self.parts / self.begin.as_ref()?.steps.len();
        let owner = |shard| Shards::new(SHARDS, workers).owner(shard);
        for (key, (shard, value)) in &kept.entries {
            if owner(*shard) == worker {
                // An older version first, as in a chain of snapshots.
                take(key, Some(value)).expect("an entry");
                take(key, None).expect("an entry");
                take(key, Some(value)).expect("an entry");
            }
        }
        kept.watermark
    }
}

/// How many shards tests with a keeper have.
pub(crate) const SHARDS: u32 = 16;
