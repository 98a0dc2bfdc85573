//! The worker threads of a run: stepping until their dataflows end, and what becomes of a panic.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tiderace_operators::current::{self, Culprit};

use super::fetch::Fetcher;
use super::queue::Queues;
use super::watchdog::{Places, Watchdog};
use super::worker::{Plan, ToCommitter, Watch, build};
use crate::connect::Source;
use crate::error::{Blame, PoisonRecord, RunError};

/// How long a worker parks at most before it looks whether the run has failed.
const PARK: Duration = Duration::from_millis(50);

/// Runs a worker for each of `sources` until their dataflows end, or `halt` is set. A panic of one stops all; one
/// that does not go on for `stall_timeout` is reported.
pub(super) fn run_workers(
    plan: Plan,
    sources: Vec<(Queues, Box<dyn Source>)>,
    stall_timeout: Duration,
    halt: &Arc<AtomicBool>,
) -> Result<(), RunError> {
    let workers = sources.len();
    let places = Places::default();
    let watchdog = Watchdog::start(plan.clone(), places.clone(), stall_timeout);
    let _watchdog =
        watchdog.map_err(|e| RunError::Bug(format!("no thread could be started: {e}")))?;
    let sources = Mutex::new(sources.into_iter().map(Some).collect::<Vec<_>>());
    let (halt, first) = (Arc::clone(halt), plan.to_committer.clone());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let taken = sources.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()].take();
        let (queues, source) = taken.expect("each worker starts once");
        places.add(worker.index(), current::place());
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
    if let Some(error) = plan.keeper.as_ref().and_then(|keeper| keeper.failure()) {
        // Nothing has been processed, nor can be while this worker takes no part.
        halt.store(true, Ordering::SeqCst);
        let _ = plan.to_committer.send(ToCommitter::Failed(error.into()));
        return;
    }
    let failed: Sender<ToCommitter> = plan.to_committer.clone();
    let fetcher = Fetcher::start(source, queues, dataflow.rouse, move |error| {
        // If the committer is gone the run has failed already, for an earlier reason.
        let _ = failed.send(ToCommitter::Failed(error));
    });
    let _fetcher = match fetcher {
        Ok(fetcher) => fetcher,
        Err(error) => panic!("no thread could be started: {error}"),
    };
    let mut watch = (worker.index() == 0)
        .then(|| Watch::new(dataflow.passed.clone(), plan.to_committer.clone()));
    while !halt.load(Ordering::Relaxed) {
        worker.step_or_park(Some(PARK));
        current::turn();
        let ended = match &mut watch {
            Some(watch) => watch.look(),
            None => dataflow.passed.done(),
        };
        if ended {
            break;
        }
    }
}

/// Says which step and record a worker's panic is to be blamed on.
fn blame(plan: &Plan, panic: &(dyn std::any::Any + Send)) -> RunError {
    let culprit = current::culprit();
    RunError::Panicked {
        node: node_of(plan, culprit),
        record: poison_record(plan, culprit).map(Box::new),
        message: message(panic),
    }
}

/// The name of a step, or of the engine where none was being run.
pub(super) fn node_of(plan: &Plan, culprit: Culprit) -> String {
    let step = culprit.step;
    let node = step.and_then(|step| plan.topology.nodes.get(step as usize));
    node.map_or_else(|| "(engine)".to_owned(), |node| node.name.clone())
}

/// The record that was being processed, unless it was a window's result; its key is not known here.
pub(super) fn poison_record(plan: &Plan, culprit: Culprit) -> Option<PoisonRecord> {
    let (epoch, position) = culprit
        .record
        .filter(|(_, position)| !position.is_result())?;
    let (source, number) = (position.source(), position.partition());
    let (partition, offset) = plan
        .epochs
        .locate_in(epoch, source, number, position.offset())?;
    Some(PoisonRecord {
        partition,
        offset,
        key: None,
        blame: match plan.epochs.logged(epoch) {
            Some(_) => Blame::Replayed,
            None if culprit.alone => Blame::Alone,
            None => Blame::LastOfSeveral,
        },
    })
}

/// The text of a panic.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
