//! Windows by time, as pure arithmetic: which windows a timestamp belongs to, when one is late, when one is final.
//!
//! Bounds follow Kafka Streams: aligned to the epoch, start inclusive, end exclusive, and no window of a
//! timestamp >= 0 starts below 0. Below 0, where Kafka has no timestamps, division is by floor.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::EventTime;

/// A window: start inclusive, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first moment that belongs to it.
    pub start: EventTime,
    /// The first moment behind it.
    pub end: EventTime,
}

/// Windows that follow each other, by the starts of the last and the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Spans are ordered by when all of their windows are final.
    pub(crate) last: EventTime,
    pub(crate) first: EventTime,
}

impl Span {
    /// A window alone.
    pub(crate) fn of(start: EventTime) -> Self {
        Span {
            last: start,
            first: start,
        }
    }
}

/// Tumbling or hopping windows of a fixed size, with the grace that late records are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    size: i64,
    advance: i64,
    grace: i64,
}

fn starts(first: i64, last: i64, advance: i64) -> impl Iterator<Item = EventTime> {
    std::iter::successors(Some(first), move |start| start.checked_add(advance))
        .take_while(move |start| *start <= last)
        .map(EventTime::from_millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl TimeWindows {
    /// Tumbling windows of `size` (whole milliseconds, at least one), without grace.
    pub fn of_size(size: Duration) -> Self {
        TimeWindows {
            size: millis(size),
            advance: millis(size),
            grace: 0,
        }
    }

    /// Hopping windows: one begins every `advance`, which is at most the size.
    pub fn advance_by(self, advance: Duration) -> Self {
        TimeWindows {
            advance: millis(advance),
            ..self
        }
    }

    /// How long behind a window's end, in stream time, its records are still taken in. Default 0.
    pub fn grace(self, grace: Duration) -> Self {
        TimeWindows {
            grace: millis(grace),
            ..self
        }
    }

    /// What is wrong with the sizes, if anything: reported by `build()`.
    pub fn check(&self) -> Result<(), String> {
        if self.size < 1 {
            return Err("a window's size is at least one millisecond".into());
        }
        if self.advance < 1 || self.advance > self.size {
            return Err(format!(
                "windows of {} ms advance by 1 to {} ms, not by {} ms: a larger step would leave records out",
                self.size, self.size, self.advance
            ));
        }
        if self
            .size
            .checked_add(self.grace)
            .is_none_or(|hold| hold > 1 << 53)
        {
            return Err("size and grace together are longer than any stream".into());
        }
        Ok(())
    }

    /// Size in milliseconds.
    pub fn size_millis(&self) -> i64 {
        self.size
    }

    /// Distance between the starts of two windows in milliseconds.
    pub fn advance_millis(&self) -> i64 {
        self.advance
    }

    /// Grace in milliseconds.
    pub fn grace_millis(&self) -> i64 {
        self.grace
    }

    /// By how much results trail the watermark: size and grace, in milliseconds.
    pub fn held_back(&self) -> i64 {
        self.size + self.grace
    }

    /// The window that starts at `start`.
    pub fn window(&self, start: EventTime) -> Window {
        Window {
            start,
            end: start.saturating_add(self.size),
        }
    }

    /// When the window that starts at `start` is final: its end plus grace.
    pub fn closing(&self, start: EventTime) -> EventTime {
        start.saturating_add(self.size).saturating_add(self.grace)
    }

    /// The first start of a window that is not final when the watermark is `now`: all before are.
    pub fn first_open(&self, now: EventTime) -> EventTime {
        now.saturating_sub(self.held_back()).saturating_add(1)
    }

    /// Starts of the first and of the last window that `timestamp` belongs to; of none, at the end of time, if the first
    /// is the greater one.
    #[inline]
    fn bounds(&self, timestamp: EventTime) -> (i64, i64) {
        let at = timestamp.as_millis();
        let last = at.div_euclid(self.advance).saturating_mul(self.advance);
        let first = if at >= 0 {
            let earliest = (at.saturating_sub(self.size).saturating_add(self.advance)).max(0);
            earliest / self.advance * self.advance
        } else {
            let earliest = at.saturating_sub(self.size);
            earliest
                .div_euclid(self.advance)
                .saturating_add(1)
                .saturating_mul(self.advance)
        };
        (first, last)
    }

    /// Starts of the windows that `timestamp` belongs to, in ascending order.
    pub fn starts(&self, timestamp: EventTime) -> impl Iterator<Item = EventTime> + use<> {
        let (first, last) = self.bounds(timestamp);
        starts(first, last, self.advance)
    }

    /// Starts of the windows of a span, in ascending order.
    pub(crate) fn starts_of(&self, span: Span) -> impl Iterator<Item = EventTime> + use<> {
        starts(span.first.as_millis(), span.last.as_millis(), self.advance)
    }

    /// Of the windows that `timestamp` belongs to, those that it is in time for at `time`, see
    /// [`is_late`](Self::is_late); `None` if it is too late for all.
    pub(crate) fn in_time(&self, timestamp: EventTime, time: EventTime) -> Option<Span> {
        let (first, last) = self.bounds(timestamp);
        let of = EventTime::from_millis;
        let span = Span {
            last: of(last),
            first: of(first),
        };
        (first <= last).then(|| self.open_at(span, time)).flatten()
    }

    /// What is left of a span when those of its windows are gone that are final at `time`.
    pub(crate) fn open_at(&self, span: Span, time: EventTime) -> Option<Span> {
        if !self.is_late(span.first, time) {
            return Some(span);
        }
        // No window is final before one that starts earlier.
        let start = |nth: i64| EventTime::from_millis(span.first.as_millis() + nth * self.advance);
        let windows = self.windows_in(span);
        let (mut late, mut open) = (0, windows);
        while open - late > 1 {
            let middle = late + (open - late) / 2;
            if self.is_late(start(middle), time) {
                late = middle;
            } else {
                open = middle;
            }
        }
        (open < windows).then(|| Span {
            first: start(open),
            ..span
        })
    }

    /// How many windows a span has.
    pub(crate) fn windows_in(&self, span: Span) -> i64 {
        (span.last.as_millis() - span.first.as_millis()) / self.advance + 1
    }

    /// The timestamps around one that belong to the same windows as it does: the first of them, and the first behind
    /// them. `None` at the ends of time.
    pub(crate) fn pane(&self, timestamp: EventTime) -> Option<Range<i64>> {
        let (first, last) = self.bounds(timestamp);
        let at = timestamp.as_millis();
        let begin = if first == 0 && at >= 0 {
            last
        } else {
            last.max(first.checked_add(self.size - self.advance)?)
        };
        let end = last
            .checked_add(self.advance)?
            .min(first.checked_add(self.size)?);
        (begin..end).contains(&at).then_some(begin..end)
    }

    /// Whether a timestamp may belong to several windows.
    pub fn overlap(&self) -> bool {
        self.advance < self.size
    }

    /// In how many windows a timestamp may lie at most.
    pub(crate) fn most_over_one(&self) -> i64 {
        (self.size - 1) / self.advance + 1
    }

    /// Whether a record is late for the window that starts at `start`, judged at `time`, the later of its
    /// partition's stream time and the operator's watermark: end + grace <= time.
    pub fn is_late(&self, start: EventTime, time: EventTime) -> bool {
        self.closing(start) <= time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(windows: TimeWindows, at: i64) -> Vec<i64> {
        windows
            .starts(EventTime::from_millis(at))
            .map(EventTime::as_millis)
            .collect()
    }

    #[test]
    fn a_tumbling_window_takes_its_start_and_not_its_end() {
        let tumbling = TimeWindows::of_size(Duration::from_millis(10));
        assert_eq!(starts(tumbling, 0), [0]);
        assert_eq!(starts(tumbling, 9), [0]);
        assert_eq!(starts(tumbling, 10), [10]);
        assert_eq!(starts(tumbling, -1), [-10]);
        assert_eq!(starts(tumbling, -10), [-10]);
        assert_eq!(starts(tumbling, -11), [-20]);
    }

    #[test]
    fn a_hopping_window_of_a_time_from_zero_on_never_starts_below_zero() {
        let hopping =
            TimeWindows::of_size(Duration::from_millis(10)).advance_by(Duration::from_millis(4));
        assert_eq!(starts(hopping, 0), [0]);
        assert_eq!(starts(hopping, 3), [0]);
        assert_eq!(starts(hopping, 9), [0, 4, 8]);
        assert_eq!(starts(hopping, 10), [4, 8]);
        assert_eq!(starts(hopping, 13), [4, 8, 12]);
        assert_eq!(starts(hopping, -1), [-8, -4]);
        assert_eq!(starts(hopping, -4), [-12, -8, -4]);
    }

    /// Sizes with advances that divide them and ones that do not.
    fn shapes() -> impl Iterator<Item = TimeWindows> {
        let shapes = [(10, 10), (10, 5), (10, 4), (10, 7), (9, 2), (12, 1), (1, 1)];
        shapes.into_iter().flat_map(|(size, advance)| {
            [0, 3].map(|grace| {
                TimeWindows::of_size(Duration::from_millis(size))
                    .advance_by(Duration::from_millis(advance))
                    .grace(Duration::from_millis(grace))
            })
        })
    }

    const ENDS: [i64; 6] = [
        i64::MIN,
        i64::MIN + 13,
        i64::MIN + 25,
        i64::MAX - 25,
        i64::MAX - 9,
        i64::MAX,
    ];

    #[test]
    fn what_a_record_is_in_time_for_is_what_it_is_not_late_for() {
        let at = EventTime::from_millis;
        for windows in shapes() {
            for timestamp in (-30..40).chain(ENDS) {
                let times = (-25..25).map(|by| timestamp.saturating_add(by));
                for time in times.chain(ENDS) {
                    let all = windows.starts(at(timestamp));
                    let expected: Vec<_> = all
                        .filter(|start| !windows.is_late(*start, at(time)))
                        .collect();
                    let span = windows.in_time(at(timestamp), at(time));
                    let found = span.map(|span| windows.starts_of(span).collect());
                    assert_eq!(
                        found.unwrap_or_else(Vec::new),
                        expected,
                        "{windows:?} {timestamp} at {time}"
                    );
                    if let Some(span) = span {
                        assert_eq!(windows.windows_in(span), expected.len() as i64);
                        assert!(windows.windows_in(span) <= windows.most_over_one());
                    }
                }
            }
        }
    }

    #[test]
    fn a_pane_holds_the_timestamps_that_belong_to_the_same_windows_and_no_others() {
        for windows in shapes() {
            let same = |one, other| starts(windows, one) == starts(windows, other);
            for at in -40..40 {
                let pane = windows.pane(EventTime::from_millis(at)).unwrap();
                assert!(pane.contains(&at), "{windows:?} {at}: {pane:?}");
                for other in -70..70 {
                    assert_eq!(pane.contains(&other), same(at, other), "{at} {other}");
                }
            }
            for at in ENDS {
                for other in windows
                    .pane(EventTime::from_millis(at))
                    .into_iter()
                    .flatten()
                {
                    assert!(same(at, other), "{windows:?} {at} {other}");
                }
            }
        }
    }

    #[test]
    fn late_begins_at_end_plus_grace() {
        let windows = TimeWindows::of_size(Duration::from_secs(10)).grace(Duration::from_secs(5));
        let start = EventTime::from_millis(0);
        assert!(!windows.is_late(start, EventTime::from_millis(14_999)));
        assert!(windows.is_late(start, EventTime::from_millis(15_000)));
    }

    #[test]
    fn no_window_that_may_be_open_starts_before_the_first_open_one() {
        let windows =
            TimeWindows::of_size(Duration::from_millis(10)).grace(Duration::from_millis(5));
        let at = EventTime::from_millis;
        assert_eq!(windows.first_open(at(100)), at(86));
        assert_eq!(windows.first_open(EventTime::MIN), EventTime::MIN);
        let ends = [
            i64::MIN,
            i64::MIN + 1,
            i64::MIN + 20,
            -15,
            0,
            i64::MAX - 20,
            i64::MAX,
        ];
        for now in ends.map(at) {
            for start in ends
                .iter()
                .flat_map(|end| (-17..17).map(|by| at(end.saturating_add(by))))
            {
                let open = windows.closing(start) > now;
                assert!(
                    !open || start >= windows.first_open(now),
                    "{start:?} {now:?}"
                );
            }
        }
    }

    #[test]
    fn extreme_timestamps_do_not_wrap() {
        let windows = TimeWindows::of_size(Duration::from_secs(600)).grace(Duration::from_secs(60));
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let starts: Vec<_> = windows.starts(EventTime::from_millis(at)).collect();
            assert!(starts.len() <= 2, "{at}: {starts:?}");
        }
    }

    #[test]
    fn sizes_that_leave_records_out_are_refused() {
        let ten = TimeWindows::of_size(Duration::from_millis(10));
        assert!(ten.check().is_ok());
        assert!(ten.advance_by(Duration::from_millis(11)).check().is_err());
        assert!(ten.advance_by(Duration::ZERO).check().is_err());
        assert!(TimeWindows::of_size(Duration::ZERO).check().is_err());
        assert!(TimeWindows::of_size(Duration::MAX).check().is_err());
    }
}
