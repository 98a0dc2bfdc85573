//! What a run shows on stderr while it works: one line that changes on a terminal, else a plain line a second. Logs
//! are written above the line, which is drawn anew below them.

#![expect(
    clippy::disallowed_methods,
    reason = "what is shown follows the clock, never what is computed"
)]

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::DateTime;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tiderace::runtime::Progress;

/// The line on the terminal, while there is one. There is one stderr, and logs come from any thread. A line that was
/// taken away is never shown again, so what comes next gets its own.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn line() -> MutexGuard<'static, Option<ProgressBar>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what writes to stderr while the line is away: written over it, a log would be erased with it.
fn above<T>(write: impl FnOnce() -> T) -> T {
    match &*line() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Stderr for logs, above the line.
pub(crate) struct Logs;

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Opens the terminal that the line is shown on.
type Terminal = Box<dyn Fn() -> ProgressDrawTarget>;

/// The line of progress.
pub(crate) struct ProgressLine {
    /// `None` where plain lines are printed.
    terminal: Option<Terminal>,
    shown: Instant,
    records: u64,
}

impl ProgressLine {
    /// Begins; nothing is shown before the first figures.
    pub(crate) fn new() -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self::over(on_terminal.then(|| Box::new(ProgressDrawTarget::stderr) as Terminal))
    }

    fn over(terminal: Option<Terminal>) -> Self {
        ProgressLine {
            terminal,
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
        above(|| eprintln!("{text}"));
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = line().take() {
            bar.finish_and_clear();
        }
    }

    /// Records a second since the last line, `None` if it is too early for another.
    fn due(&mut self, records: u64) -> Option<f64> {
        let interval = Duration::from_millis(if self.terminal.is_some() { 100 } else { 1_000 });
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
        let Some(terminal) = &self.terminal else {
            eprintln!("{text}");
            return;
        };
        let mut line = line();
        let bar = line.get_or_insert_with(|| bar(terminal()));
        bar.set_message(text);
        bar.tick();
    }
}

fn bar(terminal: ProgressDrawTarget) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {msg}").expect("the template is well formed");
    ProgressBar::with_draw_target(None, terminal).with_style(style)
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
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;

    /// A terminal of one line.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn write(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn line(&self) -> String {
            self.0.lock().unwrap().trim().to_owned()
        }

        /// A line of progress on it.
        fn progress(&self) -> ProgressLine {
            let screen = self.clone();
            let open = move || ProgressDrawTarget::term_like(Box::new(screen.clone()));
            ProgressLine::over(Some(Box::new(open)))
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Makes the next figures due, as if time had passed.
    fn wait(line: &mut ProgressLine) {
        line.shown = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    }

    /// The line of loading was the last that a terminal ever showed: one that is taken away does not come back. One
    /// test, because there is one line in a process.
    #[test]
    fn a_terminal_shows_how_a_run_gets_on_when_loading_is_over_and_logs_above_it() {
        let screen = Screen::default();
        let mut line = screen.progress();
        line.loading(10, 100);
        assert_eq!(screen.line(), "", "it is too early");
        wait(&mut line);
        line.loading(50, 100);
        assert!(screen.line().contains("loading rides: 50 of 100"));
        line.finish();
        assert_eq!(screen.line(), "", "loading is over");
        line.restart();
        let progress = Progress::default();
        progress.read.store(7, Ordering::Relaxed);
        wait(&mut line);
        line.running(&progress);
        assert!(screen.line().contains("read 7, "), "{}", screen.line());
        above(|| assert_eq!(screen.line(), "", "a log would be erased"));
        assert!(screen.line().contains("read 7, "), "it is drawn anew");
        line.finish();
        assert_eq!(screen.line(), "", "the report follows");
    }

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
