//! What a long run shows on stderr: a line that changes on a terminal, else a plain line every few seconds.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The line of progress.
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .expect("the template is well formed");
            ProgressBar::new_spinner().with_style(style)
        });
        Progress { bar, shown: None }
    }
}

impl Progress {
    /// Shows a line, if it is time for one.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let interval = Duration::from_millis(if self.bar.is_some() { 100 } else { 5_000 });
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        match &self.bar {
            Some(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            None => eprintln!("{}", line()),
        }
    }

    /// Says something that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
