//! Topics of tables that are compacted: rows that a replay has to read again may be gone by then.
//!
//! A replay reads the rows of the epochs behind a snapshot. One that a newer row of its key has replaced may be compacted
//! away meanwhile, and the replay then stops and says so. The topic's `min.compaction.lag.ms` keeps rows for as long as
//! any kept snapshot may need them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::Clock;
use super::inputs::describe;
use crate::connect::Log;
use crate::error::RunError;
use crate::snapshot::SnapshotKeeper;
use crate::topology::Topology;

/// Warns of each table's topic that may lose rows before no kept snapshot needs them any more; snapshots are taken
/// `interval` so often.
pub(super) fn warn(
    topology: &Topology,
    log: &dyn Log,
    keeper: &SnapshotKeeper,
    interval: Duration,
) -> Result<(), RunError> {
    let age = keeper.oldest().map_or(0, |oldest| {
        Clock::system().wall_millis().saturating_sub(oldest.written)
    });
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    let needed = age.max(interval);
    for (step, topic) in topology.global_tables() {
        let Some(lag) = short_lag(&describe(log, &topic)?.config, needed) else {
            continue;
        };
        tracing::warn!(
            step,
            topic,
            "the topic is compacted after {lag:?} (min.compaction.lag.ms), and the oldest snapshot is {age:?} old: rows \
             that a replay needs may be gone by then, and it would be refused. Set min.compaction.lag.ms to more than \
             {needed:?}"
        );
    }
    Ok(())
}

/// Whether records of a topic of this configuration vanish once newer ones of their keys have come.
pub(super) fn is_compacted(config: &BTreeMap<String, String>) -> bool {
    let policy = config.get("cleanup.policy");
    policy.is_some_and(|policy| policy.split(',').any(|policy| policy.trim() == "compact"))
}

/// How long a topic of this configuration keeps every row, if that is less than needed.
fn short_lag(config: &BTreeMap<String, String>, needed: Duration) -> Option<Duration> {
    if !is_compacted(config) {
        return None;
    }
    let lag = config.get("min.compaction.lag.ms");
    let lag = lag.and_then(|millis| millis.trim().parse().ok());
    let lag = Duration::from_millis(lag.unwrap_or(0));
    (lag < needed).then_some(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_compacted_topic_that_keeps_rows_for_too_short_is_warned_of() {
        let needed = Duration::from_secs(10);
        let short = |config: &[(&str, &str)]| {
            let config = config.iter();
            let config = config.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            short_lag(&config.collect(), needed)
        };
        let (policy, lag) = ("cleanup.policy", "min.compaction.lag.ms");
        assert_eq!(short(&[]), None);
        assert_eq!(short(&[(policy, "delete")]), None);
        assert_eq!(short(&[(policy, "compact")]), Some(Duration::ZERO));
        assert_eq!(short(&[(policy, "delete, compact")]), Some(Duration::ZERO));
        let with = |millis| short(&[(policy, "compact"), (lag, millis)]);
        assert_eq!(with("9999"), Some(Duration::from_millis(9_999)));
        assert_eq!(with("10000"), None);
    }
}
