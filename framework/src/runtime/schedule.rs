//! When the clock closes epochs: at the end of each commit interval, and once shortly before.
//!
//! What an epoch made is sent when it has closed, and the commit waits for the acknowledgement: with Kafka about 4 ms, of
//! which the transaction's partitions take 1.5. So most of what an interval makes goes ahead in an epoch of its own. Its
//! commit waits for the epoch behind it, which has little left to send (the latency benchmark's p50 at 20 ms is 2 ms less). Where
//! nothing is read behind it, or what is does not close soon, it goes alone.

use std::time::Duration;

use tiderace_operators::dataflow::Epoch;

/// How long before the end of the interval an epoch closes ahead: about as long as Kafka takes to acknowledge the first outputs of
/// a transaction.
const AHEAD: Duration = Duration::from_millis(6);

/// An interval that is shorter than so many times that is not divided: each epoch costs requests.
const WORTH_IT: u32 = 3;

/// By how much the epochs of commits every `interval` close ahead of these, if at all.
pub(crate) fn ahead_of(interval: Duration) -> Option<Duration> {
    (interval >= AHEAD * WORTH_IT).then_some(AHEAD)
}

/// When the open epoch is closed by the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    ahead: Option<Duration>,
    /// The end of the interval, by the engine's clock.
    due: Duration,
    /// The last epoch that was closed ahead of the end of its interval.
    forerunner: Option<Epoch>,
}

impl Schedule {
    /// Epochs that close every `interval` and, if so, this long before.
    pub(crate) fn new(interval: Duration, ahead: Option<Duration>) -> Self {
        Schedule {
            interval,
            ahead,
            due: interval,
            forerunner: None,
        }
    }

    /// Begins an interval, with the epoch that opens.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.due = now + self.interval;
    }

    /// Notes that this epoch closes before the interval ends, which goes on with the next.
    pub(crate) fn close_ahead(&mut self, epoch: Epoch) {
        self.forerunner = Some(epoch);
    }

    /// Whether the interval has ended.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// Whether it is time to close the `open` epoch ahead.
    pub(crate) fn is_time_to_close_ahead(&self, open: Epoch, now: Duration) -> bool {
        !self.is_due(now) && self.ahead_at(open).is_some_and(|at| now >= at)
    }

    /// How long it is until the `open` epoch is closed, none when that is past.
    pub(crate) fn until_closed(&self, open: Epoch, now: Duration) -> Duration {
        let ahead = self.ahead_at(open).filter(|at| now < *at);
        ahead.unwrap_or(self.due).saturating_sub(now)
    }

    /// How long it is until the end of the interval, none when that is past.
    pub(crate) fn until_due(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// How long one that was closed ahead waits for the one behind it, if that holds something: as long again behind the end of the
    /// interval.
    pub(crate) fn until_late(&self, now: Duration) -> Duration {
        (self.due + self.ahead.unwrap_or_default()).saturating_sub(now)
    }

    /// Whether this epoch was closed ahead of the end of its interval, and does not go alone.
    pub(crate) fn is_forerunner(&self, epoch: Epoch) -> bool {
        self.forerunner == Some(epoch)
    }

    /// Whether the epoch before this one is such.
    pub(crate) fn is_accompanied_by(&self, open: Epoch) -> bool {
        self.forerunner.is_some_and(|before| before + 1 == open)
    }

    /// Has the epoch that was closed ahead be its interval's only one: the one behind it begins another.
    pub(crate) fn go_alone(&mut self, now: Duration) {
        self.forerunner = None;
        self.begin(now);
    }

    /// When the `open` epoch is closed ahead, unless the one before it was.
    fn ahead_at(&self, open: Epoch) -> Option<Duration> {
        let ahead = self.ahead.filter(|_| !self.is_accompanied_by(open))?;
        Some(self.due.saturating_sub(ahead))
    }
}
