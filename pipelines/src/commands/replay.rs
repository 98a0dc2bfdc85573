//! `tiderace replay`: logged epochs run again, with their outputs printed instead of sent.

use std::io::Write;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tiderace::EpochLogView;
use tiderace::runtime::{Replay as Rerun, ReplayedEpoch};

use self::printer::Printer;
use crate::access::{Access, configure, open};
use crate::cli::{Form, Replay, Start};
use crate::commands::epochs::rfc3339;
use crate::engine;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

mod printer;

/// Runs the epochs that the options name again and prints what they wrote.
pub(crate) fn replay(options: &Replay) -> Result<(), Failure> {
    let pipeline = options.pipeline.as_deref().unwrap_or(&options.application);
    if !engine::PIPELINES.contains(&pipeline) {
        return Err(Failure::Refused(format!(
            "which pipeline `{}` runs is not known: say so with --pipeline {}",
            options.application,
            engine::PIPELINES.join("|")
        )));
    }
    let workers = options.workers.clone();
    let flags = workers.map(|of| ("--workers", "num.stream.threads", of));
    let config = configure(&options.log, flags.into_iter().collect())?;
    let log = open(&config, Access::Read)?;
    let view = EpochLogView::read(&*log, &options.application)?;
    let committed = view.committed();
    let wanted = range(options, &committed)?;
    let interrupt = Interrupt::watch()?;
    let rerun = Rerun::open(log, &config, &options.application, wanted.clone())?;
    let topology = engine::of_parameters(pipeline, rerun.parameters())?;
    eprintln!("{}", begins(&rerun));
    let printer = Printer::begin(options, rerun.snapshot(), committed);
    let printer = Arc::new(Mutex::new(printer));
    let (shown, asked) = (Arc::clone(&printer), interrupt.clone());
    let outcome = rerun.run(topology, move |epoch: &ReplayedEpoch<'_>| {
        let mut printer = shown.lock().unwrap_or_else(PoisonError::into_inner);
        match printer.print(epoch) {
            true if !asked.came() => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = outcome.is_ok() && printer.last() == Some(*wanted.end());
    printer.finish(whole)?;
    outcome?;
    if interrupt.came() && printer.last() != Some(*wanted.end()) {
        return Err(Failure::Interrupted(
            "interrupted before the last epoch wanted".into(),
        ));
    }
    Ok(())
}

fn begins(rerun: &Rerun) -> String {
    let epochs = rerun.epochs();
    let (from, to) = (epochs.start(), epochs.end());
    match rerun.snapshot() {
        Some(epoch) => {
            format!("replaying epochs {from} to {to} behind the snapshot of epoch {epoch}")
        }
        None => format!(
            "replaying epochs {from} to {to} from the first epoch on: no snapshot lies before them"
        ),
    }
}

/// The epochs that the options mean, by number or by the times of their commits.
fn range(options: &Replay, committed: &[(u64, i64)]) -> Result<RangeInclusive<u64>, Failure> {
    let none = |between: String| {
        let ends = [committed.first(), committed.last()];
        let ends =
            ends.map(|end| end.map(|(epoch, at)| format!("epoch {epoch} at {}", rfc3339(*at))));
        let there = match ends {
            [Some(first), Some(last)] => {
                format!("the first one held is {first}, the last one {last}")
            }
            _ => "none has been committed".to_owned(),
        };
        let application = &options.application;
        Err(Failure::Refused(format!(
            "no epoch of `{application}` was committed {between}: {there}"
        )))
    };
    let number = |offset: i64| u64::try_from(offset).unwrap_or_default();
    let from = match options.from {
        Start::Offset(epoch) => number(epoch),
        Start::Time(time) => match committed.iter().find(|(_, at)| *at >= time) {
            Some((epoch, _)) => *epoch,
            None => return none(format!("at or after {}", rfc3339(time))),
        },
    };
    let to = match options.to {
        Some(Start::Offset(epoch)) => number(epoch),
        Some(Start::Time(time)) => match committed.iter().rfind(|(_, at)| *at <= time) {
            Some((epoch, _)) if *epoch >= from => *epoch,
            _ => return none(format!("between --from and {}", rfc3339(time))),
        },
        None => committed
            .last()
            .map_or(from, |(epoch, _)| (*epoch).max(from)),
    };
    Ok(from..=to)
}

/// What an epoch came to, as the report has it.
struct Summary {
    epoch: u64,
    committed_at: Option<i64>,
    counts: tiderace::Counts,
    rows: u64,
    windows_closed: u64,
    /// Records by topic.
    outputs: std::collections::BTreeMap<String, u64>,
}

impl Summary {
    fn text(&self) -> String {
        let outputs = self.outputs.iter();
        let outputs: Vec<_> = outputs
            .map(|(topic, count)| format!("{count} to {topic}"))
            .collect();
        let at = self
            .committed_at
            .map(|at| format!(", committed {}", rfc3339(at)));
        let of = &self.counts;
        format!(
            "epoch {}{}: read {} = processed {} + filtered {} + late {} + skipped {} + dead-lettered {}; {} rows of \
             tables, {} windows closed; wrote {}",
            self.epoch,
            at.unwrap_or_default(),
            of.read,
            of.processed,
            of.filtered,
            of.late,
            of.skipped,
            of.dead_lettered,
            self.rows,
            self.windows_closed,
            if outputs.is_empty() {
                "nothing".to_owned()
            } else {
                outputs.join(", ")
            }
        )
    }

    fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "committed_at": self.committed_at.map(rfc3339),
            "read": self.counts.read,
            "processed": self.counts.processed,
            "filtered": self.counts.filtered,
            "late": self.counts.late,
            "skipped": self.counts.skipped,
            "dead_lettered": self.counts.dead_lettered,
            "rows": self.rows,
            "windows_closed": self.windows_closed,
            "outputs": self.outputs,
        })
    }
}

/// One object, or lines: which form the records take.
fn is_object(form: Form) -> bool {
    form == Form::Json
}

fn flush(out: &mut dyn Write) -> Result<(), Failure> {
    out.flush().map_err(Failure::Output)
}
