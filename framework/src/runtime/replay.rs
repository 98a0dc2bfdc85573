//! Whether a replayed epoch came to what was committed.

use std::collections::BTreeMap;

use serde::Serialize;
use tiderace_operators::failpoint;

use super::committed::Came;
use super::entry::{Digest, EpochEntry, StepDigest};
use crate::error::RunError;

/// What a replay is compared by, beside the entry.
pub(crate) struct Program<'a> {
    /// Names of the steps, in their order.
    pub(crate) steps: &'a [String],
    /// The topics that are written now.
    pub(crate) sinks: &'a [String],
    /// That of the dead letters among them.
    pub(crate) dead_letters: Option<&'a str>,
}

/// Compares what came of an epoch with its entry.
///
/// # Errors
/// Names the first step that did something else, and the topic whose records differ, or the counts.
pub(crate) fn verify(logged: &EpochEntry, came: &Came, program: &Program) -> Result<(), RunError> {
    let epoch = logged.epoch;
    failpoint!(crate::failpoint::P18_REPLAYED, |_| Err(
        crate::failpoint::broken().into()
    ));
    let step = Differing::first(logged, came, program.steps);
    let result = differing_topic(logged, came, program).or_else(|| {
        (came.counts != logged.counts).then(|| {
            let [now, then] = [&came.counts, &logged.counts].map(text);
            format!("its records count as {now}, not as {then}")
        })
    });
    let reason = match (step, result) {
        (None, None) => return Ok(()),
        // A result that holds a `HashMap` has other bytes each time: what is written is what must be the same.
        (Some(Differing::InResults(_)), None) => return Ok(()),
        (Some(Differing::InCounts(step)), None) => step,
        (None, Some(result)) => format!(
            "{result}; every step did what it did then, so one whose single results are not compared has other ones"
        ),
        (Some(Differing::InCounts(step) | Differing::InResults(step)), Some(result)) => {
            format!("{step}; {result}")
        }
    };
    let reason = format!(
        "replayed, {reason}: a step is not deterministic, or the program has changed. What is committed is safe"
    );
    Err(RunError::Replay { epoch, reason })
}

/// The first step that did something else than the entry says, and what.
enum Differing {
    InCounts(String),
    /// Its counts are the same.
    InResults(String),
}

impl Differing {
    fn first(logged: &EpochEntry, came: &Came, names: &[String]) -> Option<Self> {
        let then = logged.steps.as_ref()?;
        let now = came.steps(names);
        let nothing = StepDigest::default();
        let counts = |steps: &BTreeMap<String, StepDigest>, name: &String| {
            steps.get(name).unwrap_or(&nothing).counts
        };
        let in_counts = |name: &&String| counts(then, name) != counts(&now, name);
        let in_results = |name: &&String| then.get(*name) != now.get(*name);
        let first = names.iter().find(in_results)?;
        let [before, after] = [then, &now].map(|steps| steps.get(first).unwrap_or(&nothing));
        let named = format!("the first step that differs is `{first}`, by its");
        if before.counts != after.counts {
            let [now, then] = [&after.counts, &before.counts].map(text);
            return Some(Differing::InCounts(format!(
                "{named} counts: {now} instead of {then}"
            )));
        }
        let [before, after] = [before, after].map(|step| {
            step.results.as_ref().map_or("none".into(), |results| {
                format!("{} with digest {}", results.records, results.hash)
            })
        });
        let named = format!(
            "{named} results: {after} instead of {before}; it or a step without state before it"
        );
        let other = names.iter().any(|name| in_counts(&name));
        Some(if other {
            Differing::InCounts(named)
        } else {
            Differing::InResults(named)
        })
    }
}

/// The first topic that gets other records than the entry says, and which.
fn differing_topic(logged: &EpochEntry, came: &Came, program: &Program) -> Option<String> {
    let topics = logged.outputs.keys().chain(came.outputs.keys());
    let differs = |topic: &&String| {
        let (then, now) = (logged.outputs.get(*topic), came.outputs.get(*topic));
        // Under another policy dead letters went elsewhere, or there were none; the counts tell the same.
        let now_elsewhere = !program.sinks.contains(topic);
        let then_elsewhere = then.is_none() && program.dead_letters == Some(topic.as_str());
        let same = match (then, now) {
            (Some(then), Some(now)) => then.is_same(now),
            _ => false,
        };
        !same && !now_elsewhere && !then_elsewhere
    };
    let topic = topics.into_iter().find(differs)?;
    let (now, then) = (came.outputs.get(topic), logged.outputs.get(topic));
    let (now, then) = (tell(now), tell(then));
    Some(format!(
        "topic `{topic}` gets {now} where {then} were committed"
    ))
}

/// Counts as the log has them.
fn text(counts: &impl Serialize) -> String {
    serde_json::to_string(counts).expect("counts are numbers")
}

fn tell(digest: Option<&Digest>) -> String {
    digest.map_or("nothing".into(), |digest| {
        format!("{} records with digest {}", digest.records, digest.hash)
    })
}
