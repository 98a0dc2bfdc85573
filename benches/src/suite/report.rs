//! What a benchmark found: tables to read, and the figures that are judged.

use serde::{Deserialize, Serialize};
use tiderace_benches::measure::Spread;

/// What a figure has to be, by its median.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure with what it has to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What it is, with its unit: `CPU to the loop's`, `p99, ms`.
    pub(crate) name: String,
    pub(crate) samples: Vec<f64>,
    pub(crate) goal: Option<Goal>,
}

impl Figure {
    /// The ratio of two sides' samples, pair by pair.
    pub(crate) fn ratio(
        name: impl Into<String>,
        of: &[f64],
        to: &[f64],
        goal: Option<Goal>,
    ) -> Self {
        Figure {
            name: name.into(),
            samples: of.iter().zip(to).map(|(of, to)| of / to).collect(),
            goal,
        }
    }

    fn spread(&self) -> Spread {
        Spread::of(self.samples.iter().copied())
    }

    pub(crate) fn is_met(&self) -> bool {
        let median = self.spread().median;
        match self.goal {
            Some(Goal::AtMost(most)) => median <= most,
            Some(Goal::AtLeast(least)) => median >= least,
            None => true,
        }
    }
}

/// A table of samples, as it is printed and as a run is recorded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// Heads of the columns behind the first, with their units.
    pub(crate) columns: Vec<String>,
    /// The first cell of each row, and the samples of the others.
    pub(crate) rows: Vec<(String, Vec<Vec<f64>>)>,
}

/// What a benchmark found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was done, with which data, on what.
    pub(crate) load: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) figures: Vec<Figure>,
    /// Why ratios to a loop say nothing, if they do not: it is slower than a loop has been shown to be.
    pub(crate) void: Option<String>,
}

impl Report {
    /// Prints it, with verdicts if the run is long enough for them.
    pub(crate) fn print(&self, judged: bool) {
        println!("\n{}", self.load);
        for table in &self.tables {
            let columns = table.columns.join(" | ");
            println!("\n| {} | {columns} |", table.title);
            println!("|{}", "---|".repeat(table.columns.len() + 1));
            for (name, cells) in &table.rows {
                let cells: Vec<String> = cells.iter().map(|samples| cell(samples)).collect();
                println!("| {name} | {} |", cells.join(" | "));
            }
        }
        println!();
        for figure in &self.figures {
            let verdict = match figure.goal {
                _ if !judged => String::new(),
                None => String::new(),
                Some(goal) => {
                    let (word, bound) = match goal {
                        Goal::AtMost(most) => ("at most", most),
                        Goal::AtLeast(least) => ("at least", least),
                    };
                    let met = if figure.is_met() { "met" } else { "MISSED" };
                    format!(" (goal {word} {bound}: {met})")
                }
            };
            println!("{}: {}{verdict}", figure.name, cell(&figure.samples));
        }
        if let Some(void) = &self.void {
            println!("VOID: {void}");
        }
    }

    pub(crate) fn is_met(&self) -> bool {
        self.void.is_none() && self.figures.iter().all(Figure::is_met)
    }
}

/// Median and range, with as many digits as mean something.
fn cell(samples: &[f64]) -> String {
    if samples.is_empty() {
        return "-".to_owned();
    }
    let spread = Spread::of(samples.iter().copied());
    match spread.median.abs() {
        median if median >= 100.0 => format!("{spread:.0}"),
        median if median >= 10.0 => format!("{spread:.1}"),
        _ => format!("{spread:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_median() {
        let figure = |goal| Figure::ratio("cpu", &[1.0, 2.0, 9.0], &[1.0, 2.0, 3.0], Some(goal));
        assert!(figure(Goal::AtMost(1.0)).is_met());
        assert!(!figure(Goal::AtMost(0.9)).is_met());
        assert!(figure(Goal::AtLeast(1.0)).is_met());
        assert!(!figure(Goal::AtLeast(1.1)).is_met());
    }

    #[test]
    fn a_cell_has_the_digits_that_mean_something() {
        assert_eq!(cell(&[1.234]), "1.23 (1.23-1.23)");
        assert_eq!(cell(&[12.34, 12.34]), "12.3 (12.3-12.3)");
        assert_eq!(cell(&[1234.5]), "1234 (1234-1234)");
        assert_eq!(cell(&[]), "-");
    }
}
