//! What workers, the runtime and the writing thread share: the snapshot that is asked for, and what waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::handover::{Chunk, Part};
use tiderace_operators::record::EventTime;

use super::error::SnapshotError;
use super::manifest::{InputPlace, LogPlace};

/// From how many waiting bytes on operators had better wait: some files' worth of a slow disk's second.
const FULL: usize = 16 << 20;

/// A snapshot that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its epoch.
    pub epoch: Epoch,
    /// The epoch's entry in the epoch log.
    pub log: LogPlace,
    /// When it was written, in milliseconds since 1970 by the clock of who wrote it.
    pub written: i64,
}

/// Who is told that no more snapshots can be written.
pub type OnFailure = Box<dyn FnOnce(SnapshotError) + Send>;

/// What a complete snapshot has beside its entries.
pub(super) struct Complete {
    pub(super) epoch: Epoch,
    /// Watermark and floor of each step.
    pub(super) steps: BTreeMap<u32, (EventTime, Vec<u8>)>,
    pub(super) inputs: Vec<InputPlace>,
    pub(super) standing: serde_json::Value,
    pub(super) log: LogPlace,
}

/// What the writing thread is to do next.
pub(super) enum Work {
    /// Chunks, each with the number of its file.
    Chunks(VecDeque<(u64, Chunk)>),
    /// All entries of the snapshot are written: publish it, with the file of this number.
    Publish(u64, Complete),
    /// Nothing.
    Nothing,
    /// End.
    Stop,
}

/// The shared part of a keeper.
pub(super) struct Shared {
    steps: BTreeSet<u32>,
    workers: usize,
    /// The epoch that is wanted of operators, so that they need not lock to ask.
    wanted: AtomicU64,
    queued: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    request: Option<Request>,
    /// Number of the file that the request fills, or that the last one filled; what comes early is the next one's.
    filling: u64,
    queue: VecDeque<(u64, Chunk)>,
    last: Option<Published>,
    oldest: Option<Published>,
    stopped: bool,
    on_failure: Option<OnFailure>,
}

struct Request {
    epoch: Epoch,
    /// The epoch at whose close operators hand over: this one, or an empty one behind it.
    close: Epoch,
    missing: BTreeSet<(u32, usize)>,
    steps: BTreeMap<u32, (EventTime, Vec<u8>)>,
    sources: Option<(Vec<InputPlace>, serde_json::Value)>,
    log: Option<LogPlace>,
    /// The writing thread has it.
    publishing: bool,
}

impl Shared {
    pub(super) fn new(steps: BTreeSet<u32>, workers: usize, on_failure: OnFailure) -> Self {
        Shared {
            steps,
            workers,
            wanted: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            state: Mutex::new(State {
                request: None,
                filling: 0,
                queue: VecDeque::new(),
                last: None,
                oldest: None,
                stopped: false,
                on_failure: Some(on_failure),
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wanted(&self) -> Epoch {
        self.wanted.load(Ordering::Acquire)
    }

    pub(super) fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > FULL
    }

    pub(super) fn want(&self, epoch: Epoch, close: Epoch) -> bool {
        let mut state = self.lock();
        if state.request.is_some() || state.stopped {
            return false;
        }
        let workers = 0..self.workers;
        let missing: BTreeSet<_> = workers
            .flat_map(|worker| self.steps.iter().map(move |step| (*step, worker)))
            .collect();
        let wanted = if missing.is_empty() { 0 } else { close };
        state.filling += 1;
        state.request = Some(Request {
            epoch,
            close,
            missing,
            steps: BTreeMap::new(),
            sources: None,
            log: None,
            publishing: false,
        });
        self.wanted.store(wanted, Ordering::Release);
        true
    }

    pub(super) fn chunk(&self, worker: usize, chunk: Chunk) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        if !self.steps.contains(&chunk.node) {
            let reason = format!("state was handed over by the unknown step {}", chunk.node);
            drop(state);
            return self.fail(SnapshotError::Bug(reason));
        }
        let part = (chunk.node, worker);
        let now = state
            .request
            .as_ref()
            .is_some_and(|it| it.missing.contains(&part));
        let file = state.filling + u64::from(!now);
        self.queued.fetch_add(chunk.bytes.len(), Ordering::Relaxed);
        state.queue.push_back((file, chunk));
        self.changed.notify_all();
    }

    pub(super) fn done(&self, part: Part) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        let place = (part.node, part.worker);
        let request = state.request.as_mut();
        let request = request.filter(|it| it.close == part.epoch && it.missing.contains(&place));
        let Some(request) = request else {
            drop(state);
            let Part {
                node,
                worker,
                epoch,
                ..
            } = part;
            return self.fail(SnapshotError::Bug(format!(
                "step {node} on worker {worker} handed over epoch {epoch}, which nobody asked it for"
            )));
        };
        let stands = (part.watermark, part.floor);
        let same = request
            .steps
            .entry(part.node)
            .or_insert_with(|| stands.clone());
        if *same != stands {
            let reason = format!(
                "step {} stands at {stands:?} on worker {} and at {same:?} on another, both at the close of epoch {}",
                part.node, part.worker, part.epoch
            );
            drop(state);
            return self.fail(SnapshotError::Bug(reason));
        }
        request.missing.remove(&place);
        if request.missing.is_empty() {
            self.wanted.store(0, Ordering::Release);
        }
        self.changed.notify_all();
    }

    /// Tells the request for an epoch something, if it is for that epoch.
    fn tell(&self, epoch: Epoch, what: impl FnOnce(&mut Request)) {
        if let Some(request) = self.lock().request.as_mut().filter(|it| it.epoch == epoch) {
            what(request);
            self.changed.notify_all();
        }
    }

    pub(super) fn sources(
        &self,
        epoch: Epoch,
        inputs: Vec<InputPlace>,
        standing: serde_json::Value,
    ) {
        self.tell(epoch, |request| request.sources = Some((inputs, standing)));
    }

    pub(super) fn committed(&self, epoch: Epoch, log: LogPlace) {
        self.tell(epoch, |request| request.log = Some(log));
    }

    pub(super) fn last(&self) -> Option<Published> {
        self.lock().last.clone()
    }

    pub(super) fn oldest(&self) -> Option<Published> {
        self.lock().oldest.clone()
    }

    /// The snapshot is published and those before `oldest` are gone; the next one may be asked for.
    pub(super) fn published(&self, last: Option<Published>, oldest: Option<Published>) {
        let mut state = self.lock();
        state.last = last;
        state.oldest = oldest;
        state.request = None;
        self.changed.notify_all();
    }

    pub(super) fn finish(&self, timeout: Duration) -> Option<Published> {
        let until = crate::clock::instant() + timeout;
        let mut state = self.lock();
        while state.request.is_some() && !state.stopped {
            let left = until.saturating_duration_since(crate::clock::instant());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.last.clone()
    }

    /// What is to do next; waits for it unless there is other work.
    pub(super) fn next(&self, other_work: bool) -> Work {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Work::Stop;
            }
            if !state.queue.is_empty() {
                return Work::Chunks(std::mem::take(&mut state.queue));
            }
            let filling = state.filling;
            if let Some(complete) = state.request.as_mut().and_then(Request::complete) {
                return Work::Publish(filling, complete);
            }
            if other_work {
                return Work::Nothing;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes do not wait any more.
    pub(super) fn written(&self, bytes: usize) {
        let less = |queued: usize| Some(queued.saturating_sub(bytes));
        // Nothing waits any more once it has stopped, though the thread may still be at what it took before.
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        _ = self.queued.fetch_update(set, fetch, less);
    }

    /// Waits; returns false if it is to stop.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let until = crate::clock::instant() + pause;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(crate::clock::instant());
            if state.stopped || left.is_zero() {
                return !state.stopped;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends all work; what waits is given up.
    pub(super) fn stop(&self) -> Option<OnFailure> {
        let mut state = self.lock();
        state.stopped = true;
        state.queue.clear();
        self.wanted.store(0, Ordering::Release);
        self.queued.store(0, Ordering::Relaxed);
        self.changed.notify_all();
        state.on_failure.take()
    }

    /// Ends all work because of an error, and tells it.
    pub(super) fn fail(&self, error: SnapshotError) {
        if let Some(tell) = self.stop() {
            tell(error);
        }
    }
}

impl Request {
    /// What the thread publishes, once everything is there.
    fn complete(&mut self) -> Option<Complete> {
        if self.publishing || !self.missing.is_empty() || self.sources.is_none() {
            return None;
        }
        let log = self.log.take()?;
        let (inputs, standing) = self.sources.take()?;
        self.publishing = true;
        Some(Complete {
            epoch: self.epoch,
            steps: std::mem::take(&mut self.steps),
            inputs,
            standing,
            log,
        })
    }
}
