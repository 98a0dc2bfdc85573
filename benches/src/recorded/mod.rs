//! What was recorded, to look at: the table of the README, and plots.
//!
//! Both are made from the newest line of each benchmark in `benches/results/`, never typed. What has no line yet is said
//! to have none.

mod chart;
mod lines;
mod plots;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use self::lines::Results;
use crate::Failure;

/// Options of `table`.
#[derive(Args)]
pub(crate) struct TableOptions {
    /// Put it between the markers of the README, too
    #[arg(long)]
    write: bool,
}

/// Prints the README's table.
pub(crate) fn table(options: &TableOptions) -> Result<ExitCode, Failure> {
    let table = table::markdown(&results())?;
    print!("{table}");
    if options.write {
        let path = folder().join("../README.md");
        let readme = std::fs::read_to_string(&path)?;
        std::fs::write(&path, table::put_into(&readme, &table)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws all plots.
pub(crate) fn plot() -> Result<ExitCode, Failure> {
    plots::draw(&results(), &folder().join("results/plots"))?;
    Ok(ExitCode::SUCCESS)
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn results() -> Results {
    Results::in_folder(PathBuf::from(folder()).join("results"))
}
