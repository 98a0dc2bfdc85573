//! A broker that was just started is run in before anything is measured on it.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark waits and gives up by the clock"
)]

use std::time::{Duration, Instant};

use super::compare::COMMIT_MS;
use super::input::Input;
use super::place::Place;
use super::side::{By, Job};
use super::workload::Workload;
use crate::Failure;
use crate::suite::{Context, Effort, Options};

/// A broker's JVM compiles for about a minute, in which the input is written, too. It takes 1.4 CPU seconds for five million
/// records of windows in its first dozen runs and 1.0 afterwards: two workers of the engine, which use both of two cores, then take
/// 2.4 s instead of 2.8, a loop of one thread, which leaves a core idle, hardly less.
const WARM_UP: Duration = Duration::from_secs(40);

/// How long that takes; nothing where the broker was there before, where there is none, and where figures mean nothing.
pub(super) fn warm_up_time(options: &Options) -> Duration {
    let is_started = options.brokers.is_none() && !options.embedded();
    match options.effort() {
        Effort::Usual | Effort::Full if is_started => WARM_UP,
        _ => Duration::ZERO,
    }
}

/// What a load's description says of it, if it is done.
pub(super) fn in_words(options: &Options) -> String {
    match warm_up_time(options) {
        Duration::ZERO => String::new(),
        time => format!(
            "; the broker was started for this and warmed up by the engine, two workers on all cores, for {} s",
            time.as_secs()
        ),
    }
}

/// Runs the engine with two workers on all cores, again and again until it is time; what it writes is thrown away.
pub(super) fn warm_up(
    with: &Context<'_>,
    place: &Place,
    (workload, input): (Workload, &Input),
    prefix: &str,
) -> Result<(), Failure> {
    let time = warm_up_time(with.options);
    if time.is_zero() {
        return Ok(());
    }
    with.progress.say(&format!(
        "warming the broker up for {} s ...",
        time.as_secs()
    ));
    let begun = Instant::now();
    let mut runs = 0;
    while begun.elapsed() < time {
        runs += 1;
        let output = format!("{prefix}-warm-up-{runs}");
        let job = Job {
            workload,
            place: place.clone(),
            input: input.topic.clone(),
            output: output.clone(),
            commit_ms: COMMIT_MS,
            follow: None,
            by: By::Engine {
                workers: 2,
                exactly_once: true,
            },
        };
        job.run(usize::MAX)?;
        place.delete(&output)?;
    }
    Ok(())
}
