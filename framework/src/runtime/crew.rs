//! The worker threads of a run: stepping until their dataflows end, and what becomes of a panic.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tiderace_operators::current;

use super::fetch::Fetcher;
use super::queue::Queues;
use super::slot::Slot;
use super::worker::{Plan, ToCommitter, Watch, build};
use crate::connect::Source;
use crate::error::RunError;

/// How long a worker parks at most before it looks whether the run has failed.
const PARK: Duration = Duration::from_millis(50);

/// Runs the workers until their dataflows end, or `halt` is set. A panic of one stops all.
pub(super) fn run_workers(
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
    let (step, position) = current::culprit();
    let node = step.and_then(|step| plan.topology.nodes.get(step as usize));
    let node = node.map_or_else(|| "(engine)".to_owned(), |node| node.name.clone());
    let record = position
        .filter(|(_, position)| !position.is_result())
        .and_then(|(epoch, position)| {
            let (source, number) = (position.source(), position.partition());
            let offset = plan
                .epochs
                .locate_in(epoch, source, number, position.offset())?;
            let is = |slot: &&Slot| slot.source == source && slot.partition.partition == number;
            let slot = plan.slots.iter().find(is)?;
            Some(format!("{}, offset {offset}", slot.partition))
        });
    RunError::Panicked {
        node,
        record,
        message: message(panic),
    }
}

/// The text of a panic.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
