//! How long after they were due records were answered, by the second in which they were due.

use std::time::Duration;

use hdrhistogram::Histogram;
use tiderace_benches::measure::Spread;

use super::schedule::Load;
use crate::Failure;

/// The longest that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What a side took to answer.
pub(in crate::suite) struct Lags {
    load: Load,
    /// In microseconds, of the seconds behind those that are dropped.
    seconds: Vec<Histogram<u64>>,
    /// Records that were answered within those seconds, whenever they were due.
    answered: u64,
}

/// What is shown of a run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::suite) struct Figures {
    /// Medians over the seconds of each second's median and 99th percentile.
    pub(in crate::suite) p50: f64,
    pub(in crate::suite) p99: f64,
    /// Over all records.
    pub(in crate::suite) all_p50: f64,
    pub(in crate::suite) all_p99: f64,
    pub(in crate::suite) all_p999: f64,
    pub(in crate::suite) most: f64,
    /// Percent of the rate that was kept up with; below 99.5 the side is saturated.
    pub(in crate::suite) kept_up: f64,
}

impl Lags {
    pub(in crate::suite) fn new(load: &Load) -> Result<Self, Failure> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3);
        let seconds = load.dropped..load.seconds;
        Ok(Lags {
            load: *load,
            seconds: seconds.map(|_| histogram()).collect::<Result<_, _>>()?,
            answered: 0,
        })
    }

    /// Takes in a record that was due then and answered `at`, both behind the start of the load.
    pub(in crate::suite) fn add(&mut self, due: Duration, at: Duration) {
        let measured =
            Duration::from_secs(self.load.dropped)..Duration::from_secs(self.load.seconds);
        self.answered += u64::from(measured.contains(&at));
        let second = due.as_secs().checked_sub(self.load.dropped);
        let histogram = second.and_then(|second| self.seconds.get_mut(second as usize));
        if let Some(histogram) = histogram {
            let micros = at.saturating_sub(due).as_micros();
            histogram.saturating_record(u64::try_from(micros).unwrap_or(LONGEST));
        }
    }

    pub(in crate::suite) fn figures(&self) -> Result<Figures, Failure> {
        let mut all = Histogram::new_with_bounds(1, LONGEST, 3)?;
        for second in &self.seconds {
            all.add(second)?;
        }
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let of = |quantile: f64| millis(all.value_at_quantile(quantile));
        let median = |quantile: f64| {
            let each = self.seconds.iter();
            Spread::of(each.map(|second| millis(second.value_at_quantile(quantile)))).median
        };
        let offered = self.load.rate * self.seconds.len() as u64;
        Ok(Figures {
            p50: median(0.5),
            p99: median(0.99),
            all_p50: of(0.5),
            all_p99: of(0.99),
            all_p999: of(0.999),
            most: millis(all.max()),
            kept_up: 100.0 * self.answered as f64 / offered as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        warm_up: 0,
        rate: 100,
        seconds: 4,
        dropped: 1,
    };

    fn figures(lag: impl Fn(u64) -> u64) -> Figures {
        let mut lags = Lags::new(&LOAD).unwrap();
        for nth in 0..LOAD.records() {
            let due = LOAD.due(nth).unwrap();
            lags.add(due, due + Duration::from_millis(lag(nth)));
        }
        lags.figures().unwrap()
    }

    #[test]
    fn a_second_that_stalls_shows_over_all_and_not_in_the_median_of_the_seconds() {
        let figures = figures(|nth| match nth / 100 {
            0 => 10_000,
            2 => 500,
            _ => 5,
        });
        let near = |of: f64, to: f64| (of - to).abs() <= to / 500.0;
        assert!(
            near(figures.p50, 5.0) && near(figures.p99, 5.0),
            "{figures:?}"
        );
        assert!(near(figures.all_p50, 5.0), "{figures:?}");
        assert!(near(figures.all_p99, 500.0), "{figures:?}");
        assert!(near(figures.most, 500.0), "{figures:?}");
    }

    #[test]
    fn who_falls_behind_does_not_keep_up() {
        assert_eq!(figures(|_| 0).kept_up, 100.0);
        // Each record a tenth later than the one before: in the end a tenth of them is not answered in time.
        let behind = figures(|nth| nth);
        assert!(behind.kept_up < 95.0, "{behind:?}");
    }
}
