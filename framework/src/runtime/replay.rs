//! Whether a replayed epoch came to what was committed.

use tiderace_operators::failpoint;

use super::committed::Came;
use super::entry::{Digest, EpochEntry};
use crate::error::RunError;

/// Compares what came of an epoch with its entry, given the topics that are written now, and that of the dead
/// letters among them.
///
/// # Errors
/// Names the topic whose records differ, or the counts.
pub(crate) fn verify(
    logged: &EpochEntry,
    came: &Came,
    sinks: &[String],
    dead_letters: Option<&str>,
) -> Result<(), RunError> {
    let epoch = logged.epoch;
    failpoint!(crate::failpoint::P18_REPLAYED, |_| Err(
        crate::failpoint::broken().into()
    ));
    for topic in logged.outputs.keys().chain(came.outputs.keys()) {
        let (then, now) = (logged.outputs.get(topic), came.outputs.get(topic));
        // Under another policy dead letters went elsewhere, or there were none; the counts tell the same.
        let now_elsewhere = !sinks.contains(topic);
        let then_elsewhere = then.is_none() && dead_letters == Some(topic.as_str());
        let same = match (then, now) {
            (Some(then), Some(now)) => then.is_same(now),
            _ => false,
        };
        if !same && !now_elsewhere && !then_elsewhere {
            let (now, then) = (tell(now), tell(then));
            let reason = format!(
                "replayed, topic `{topic}` gets {now} where {then} were committed: a step that writes to it is \
                 not deterministic, or the program has changed"
            );
            return Err(RunError::Replay { epoch, reason });
        }
    }
    if came.counts != logged.counts {
        let reason = format!(
            "replayed, its records count as {:?}, not as {:?}",
            came.counts, logged.counts
        );
        return Err(RunError::Replay { epoch, reason });
    }
    Ok(())
}

fn tell(digest: Option<&Digest>) -> String {
    digest.map_or("nothing".into(), |digest| {
        format!("{} records with digest {}", digest.records, digest.hash)
    })
}
