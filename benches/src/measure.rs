//! What a piece of work cost, and what several repetitions say together.
//!
//! CPU time is that of the whole process, all threads; wall time is what a user waits.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::fmt;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU and wall time of one piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Time that passed.
    pub wall: Duration,
}

/// Does `work` and says what it cost this process.
pub fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let made = work();
    (
        made,
        Cost {
            cpu: process_cpu() - cpu,
            wall: wall.elapsed(),
        },
    )
}

/// CPU time that this process has used since it began, user and system, of all its threads.
pub fn process_cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Time per record, in nanoseconds.
pub fn nanoseconds_each(time: Duration, records: u64) -> f64 {
    time.as_secs_f64() * 1e9 / records as f64
}

/// Median, smallest and largest of several repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle; of an even number, the mean of the two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of at least one sample.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let (min, max) = match samples[..] {
            [] => panic!("a spread needs at least one sample"),
            [only] => (only, only),
            [min, .., max] => (min, max),
        };
        let middle = samples.len() / 2;
        let median = if samples.len() % 2 == 1 {
            samples[middle]
        } else {
            (samples[middle - 1] + samples[middle]) / 2.0
        };
        Spread { median, min, max }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(
            f,
            "{:.digits$} ({:.digits$}-{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_least_and_most() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([1.0, 2.0]).to_string(), "1.5 (1.0-2.0)");
    }

    #[test]
    fn work_costs_cpu_time_and_waiting_does_not() {
        let (_, busy) = cost(|| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(20) {}
        });
        assert!(
            busy.cpu > Duration::from_millis(1) && busy.wall >= Duration::from_millis(20),
            "{busy:?}"
        );
    }
}
