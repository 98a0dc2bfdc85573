//! How fast a run may take records in: `max.records.per.second`.

use std::num::NonZeroU64;
use std::time::Duration;

/// What is not used for this long is lost, so that no burst follows a lull. Longer than a source waits before it
/// asks again.
const SAVED: Duration = Duration::from_millis(20);

/// Hands out records at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_second: Option<NonZeroU64>,
    /// The moment up to which everything that was taken is paid for.
    paid: Duration,
}

impl Pace {
    /// At most so many records a second; `None` is as fast as it goes.
    pub(crate) fn new(per_second: Option<NonZeroU64>) -> Self {
        Pace {
            per_second,
            paid: Duration::ZERO,
        }
    }

    /// How many records may be taken now.
    pub(crate) fn room(&self, now: impl FnOnce() -> Duration) -> u64 {
        let Some(rate) = self.per_second else {
            return u64::MAX;
        };
        let saved = now().saturating_sub(self.paid).min(saved(rate));
        let records = saved.as_nanos().saturating_mul(u128::from(rate.get())) / 1_000_000_000;
        u64::try_from(records).unwrap_or(u64::MAX)
    }

    /// Notes that so many were taken.
    pub(crate) fn take(&mut self, now: impl FnOnce() -> Duration, records: u64) {
        if let Some(rate) = self.per_second {
            self.paid = self.paid.max(now().saturating_sub(saved(rate))) + time_of(records, rate);
        }
    }
}

/// What is saved at most: the record that is due next, and what piled up while nobody asked.
fn saved(rate: NonZeroU64) -> Duration {
    SAVED + time_of(1, rate)
}

/// The time that so many records take, rounded up.
fn time_of(records: u64, rate: NonZeroU64) -> Duration {
    let nanos = (u128::from(records) * 1_000_000_000).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all there is, every `step`, for ten seconds.
    fn taken(rate: u64, step: Duration) -> u64 {
        let mut pace = Pace::new(NonZeroU64::new(rate));
        let (mut now, mut taken) = (Duration::from_secs(1), 0);
        while now < Duration::from_secs(11) {
            let room = pace.room(|| now);
            pace.take(|| now, room);
            taken += room;
            now += step;
        }
        taken
    }

    #[test]
    fn as_many_are_handed_out_as_the_rate_says() {
        for rate in [1, 7, 1_000, 20_000, 1_000_000] {
            for step in [1, 5, 17] {
                let taken = taken(rate, Duration::from_millis(step));
                let wanted = rate * 10;
                let apart = wanted.abs_diff(taken);
                assert!(
                    apart <= 1 + wanted / 100,
                    "{taken} at {rate} every {step} ms"
                );
            }
        }
    }

    #[test]
    fn a_lull_is_not_made_up_for() {
        let mut pace = Pace::new(NonZeroU64::new(1_000));
        assert_eq!(pace.room(|| Duration::from_secs(3600)), 21);
        pace.take(|| Duration::from_secs(3600), 21);
        assert_eq!(pace.room(|| Duration::from_secs(3600)), 0);
    }

    #[test]
    fn without_a_rate_there_is_no_end() {
        let mut pace = Pace::new(None);
        pace.take(|| Duration::ZERO, u64::MAX);
        assert_eq!(pace.room(|| Duration::ZERO), u64::MAX);
    }
}
