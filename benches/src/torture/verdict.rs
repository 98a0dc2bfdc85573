//! The verdict: what was lost, doubled or torn, and how long recoveries took.

use std::collections::HashMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::site::Checked;
use super::state::{Identity, State};
use super::witness::{Prints, Witness, count};

/// What a campaign found, and what it measured: its line in `benches/results/`.
#[derive(Serialize)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    identity: Identity,
    kills_done: usize,
    kills_between_first_and_last_output: usize,
    kills_in_recovery: usize,
    broker_kills: usize,
    broker_pauses: usize,
    gave_up_without_broker: usize,
    starts: u64,
    epochs: u64,
    results: u64,
    late: u64,
    /// Rides that the epochs read.
    read: u64,
    lost: u64,
    doubled: u64,
    torn: u64,
    equal_bytes: bool,
    /// Input records, rows of tables among them, that a check has counted where the epochs read.
    input_records: u64,
    /// What the epoch log says that it must not, and what a check found wrong.
    wrong: Vec<String>,
    recovery_ms: Times,
    life_ms: Times,
    undisturbed_seconds: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(micros: &[u64]) -> Self {
        let mut histogram = Histogram::<u64>::new(3).expect("3 digits are possible");
        for micros in micros {
            histogram.record(*micros).expect("it grows as it must");
        }
        let millis = |micros: u64| micros as f64 / 1e3;
        Times {
            count: histogram.len(),
            p50: millis(histogram.value_at_quantile(0.5)),
            p99: millis(histogram.value_at_quantile(0.99)),
            max: millis(histogram.max()),
        }
    }
}

impl Verdict {
    pub(super) fn new(
        state: &State,
        expected: &[Prints],
        witness: &Witness,
        checked: Checked,
    ) -> Self {
        let (mut lost, mut doubled) = (0, 0);
        for (found, expected) in witness.outputs.iter().zip(expected) {
            for (found, expected) in found.iter().zip(expected) {
                let (missing, more) = differences(found, expected);
                lost += missing;
                doubled += more;
            }
        }
        let (tally, epochs) = (&state.tally, &witness.epochs);
        Verdict {
            identity: state.identity.clone(),
            kills_done: tally.kills,
            kills_between_first_and_last_output: tally.hits,
            kills_in_recovery: tally.in_recovery,
            broker_kills: tally.broker_kills,
            broker_pauses: tally.broker_pauses,
            gave_up_without_broker: tally.gave_up,
            starts: epochs.starts,
            epochs: epochs.epochs,
            results: witness.results(),
            late: count(&witness.outputs[1]),
            read: epochs.read,
            lost,
            doubled,
            torn: tally.torn as u64 + u64::from(!witness.is_whole()),
            equal_bytes: witness.outputs[..] == *expected,
            input_records: checked.input_records,
            wrong: [epochs.wrong.clone(), checked.faults].concat(),
            recovery_ms: Times::of(&tally.recovery_micros),
            life_ms: Times::of(&tally.life_micros),
            undisturbed_seconds: state.undisturbed.unwrap_or_default(),
            seconds: tally.ran.as_secs_f64(),
        }
    }

    /// Whether every kill was done and nothing came of it.
    pub(super) fn is_spotless(&self) -> bool {
        self.equal_bytes
            && (self.lost, self.doubled, self.torn) == (0, 0, 0)
            && self.wrong.is_empty()
            && self.read == self.identity.records
            && self.input_records >= self.identity.records
            && self.kills_done == self.identity.kills
    }
}

/// How many records of a partition are missing, and how many are there that should not be.
fn differences(found: &[u64], expected: &[u64]) -> (u64, u64) {
    let mut balance: HashMap<u64, i64> = HashMap::new();
    for print in expected {
        *balance.entry(*print).or_default() += 1;
    }
    for print in found {
        *balance.entry(*print).or_default() -= 1;
    }
    let sum = |sign: i64| {
        balance
            .values()
            .map(|count| u64::try_from(count * sign).unwrap_or(0))
            .sum()
    };
    (sum(1), sum(-1))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.identity;
        writeln!(
            f,
            "{}: {} kills of {} planned ({}), {} between first and last output, {} in a recovery",
            if self.is_spotless() {
                "SPOTLESS"
            } else {
                "FAILED"
            },
            self.kills_done,
            of.kills,
            of.log,
            self.kills_between_first_and_last_output,
            self.kills_in_recovery,
        )?;
        if self.broker_kills + self.broker_pauses > 0 {
            writeln!(
                f,
                "broker: {} kills and restarts, {} freezes; {} lives gave up without it",
                self.broker_kills, self.broker_pauses, self.gave_up_without_broker
            )?;
        }
        writeln!(
            f,
            "lost {}, doubled {}, torn {}; outputs byte-equal to the undisturbed run's: {}",
            self.lost,
            self.doubled,
            self.torn,
            if self.equal_bytes { "yes" } else { "NO" },
        )?;
        writeln!(
            f,
            "{} of {} rides ({} records counted) in {} epochs, {} results, {} late; sound by a check, epochs consecutive and \
             offsets rising: {}",
            self.read,
            of.records,
            self.input_records,
            self.epochs,
            self.results,
            self.late,
            if self.wrong.is_empty() { "yes" } else { "NO" },
        )?;
        for wrong in &self.wrong {
            writeln!(f, "  {wrong}")?;
        }
        let times = |times: &Times| {
            format!(
                "p50 {:.0}, p99 {:.0}, max {:.0} ms of {}",
                times.p50, times.p99, times.max, times.count
            )
        };
        writeln!(f, "exec to first new output: {}", times(&self.recovery_ms))?;
        write!(
            f,
            "a life: {}; {:.0} s in all, at {} records/s with {} workers, seed {}",
            times(&self.life_ms),
            self.seconds,
            of.rate,
            of.workers,
            of.seed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_lost_and_what_is_too_much_is_doubled() {
        assert_eq!(differences(&[1, 2, 2, 3], &[3, 2, 2, 1]), (0, 0));
        assert_eq!(differences(&[1, 2], &[1, 2, 2, 4]), (2, 0));
        assert_eq!(differences(&[1, 1, 1, 5], &[1, 7]), (1, 3));
    }
}
