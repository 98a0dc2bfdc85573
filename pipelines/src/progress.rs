//! What a run shows on stderr while it works: one line that changes on a terminal, else a plain line a second.

#![expect(
    clippy::disallowed_methods,
    reason = "what is shown follows the clock, never what is computed"
)]

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::DateTime;
use indicatif::{ProgressBar, ProgressStyle};
use tiderace::runtime::Progress;

/// The line of progress.
pub(crate) struct ProgressLine {
    /// The line on a terminal.
    bar: Option<ProgressBar>,
    shown: Instant,
    records: u64,
}

impl ProgressLine {
    /// Begins; nothing is shown before the first figures.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .expect("the template is well formed");
            ProgressBar::new_spinner().with_style(style)
        });
        ProgressLine {
            bar,
            shown: Instant::now(),
            records: 0,
        }
    }

    /// Shows how far loading is, if it is time for it.
    pub(crate) fn loading(&mut self, done: u64, in_all: u64) {
        if let Some(rate) = self.due(done) {
            self.show(format!(
                "loading rides: {done} of {in_all}, {rate:.0} records/s"
            ));
        }
    }

    /// Shows a run's figures, if it is time for it.
    pub(crate) fn running(&mut self, progress: &Progress) {
        let read = progress.read.load(Ordering::Relaxed);
        if let Some(rate) = self.due(read) {
            self.show(figures(progress, read, rate));
        }
    }

    /// Forgets the records counted so far: the next figures count something else.
    pub(crate) fn restart(&mut self) {
        self.shown = Instant::now();
        self.records = 0;
    }

    /// Says something once, above the line.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Records a second since the last line, `None` if it is too early for another.
    fn due(&mut self, records: u64) -> Option<f64> {
        let interval = Duration::from_millis(if self.bar.is_some() { 100 } else { 1_000 });
        let passed = self.shown.elapsed();
        if passed < interval {
            return None;
        }
        let rate = records.saturating_sub(self.records) as f64 / passed.as_secs_f64();
        self.shown = Instant::now();
        self.records = records;
        Some(rate)
    }

    fn show(&self, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => eprintln!("{text}"),
        }
    }
}

fn figures(progress: &Progress, read: u64, rate: f64) -> String {
    let watermark = progress.watermark().map_or("none".to_owned(), time);
    format!(
        "read {read}, {rate:.0} records/s, watermark {watermark}, late {}, windows closed {}, open epochs {}",
        progress.late.load(Ordering::Relaxed),
        progress.windows_closed.load(Ordering::Relaxed),
        progress.open_epochs.load(Ordering::Relaxed),
    )
}

/// A time as RFC 3339 to the second, or as plain milliseconds where the calendar ends.
pub(crate) fn time(millis: i64) -> String {
    match DateTime::from_timestamp_millis(millis) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_has_every_figure() {
        let progress = Progress::default();
        assert_eq!(
            figures(&progress, 0, 0.0),
            "read 0, 0 records/s, watermark none, late 0, windows closed 0, open epochs 0"
        );
        progress.late.store(3, Ordering::Relaxed);
        progress
            .watermark
            .store(1_593_562_200_000, Ordering::Relaxed);
        assert_eq!(
            figures(&progress, 266, 1234.5),
            "read 266, 1234 records/s, watermark 2020-07-01T00:10:00Z, late 3, windows closed 0, open epochs 0"
        );
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
    }
}
