//! `tiderace-benches NAME`: campaigns and measurements that run for long and leave a line in `benches/results/`.

mod counts;
mod recorded;
mod suite;
mod torture;
#[path = "transfers_command.rs"]
mod transfers;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tiderace_benches::results::note_commit;

/// What a campaign or measurement fails of before it has a verdict.
type Failure = Box<dyn std::error::Error>;

/// Campaigns and measurements of Tiderace; each leaves a line in benches/results.
#[derive(Parser)]
#[command(
    name = "tiderace-benches",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List what there is
    List,
    /// Run the benchmarks of the suite, one after the other
    All(suite::Options),
    #[command(flatten)]
    Benchmark(suite::Benchmark),
    /// Print the README's table, of the newest recorded lines
    Table(recorded::TableOptions),
    /// Draw the newest recorded lines into benches/results/plots
    Plot,
    /// A side of a benchmark, which starts it
    #[command(hide = true)]
    Side(suite::Side),
    /// A part of a benchmark that has a process of its own
    #[command(hide = true)]
    Part(suite::PartOptions),
    /// The process between a benchmark and a side, which says what the side cost
    #[command(hide = true)]
    Measured {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        side: Vec<String>,
    },
    /// Kill a run with SIGKILL, again and again, and compare what it wrote with an undisturbed run's
    Torture(torture::Options),
    /// Kill a count over a million and more keys with SIGKILL, and time its way back
    Recovery(counts::recovery::Options),
    /// What keeping snapshots costs a count over a million keys, and how long it holds commits up
    Snapshots(counts::snapshots::Options),
    /// The process that `recovery` and `snapshots` start
    #[command(hide = true)]
    RecoveryJob(counts::JobOptions),
    /// Move money between accounts through crashes; in every epoch it must add up to nothing
    Transfers(transfers::Options),
}

impl Command {
    /// Whether it leaves a line in `benches/results/`.
    fn is_recorded(&self) -> bool {
        matches!(
            self,
            Command::All(_)
                | Command::Benchmark(_)
                | Command::Torture(_)
                | Command::Recovery(_)
                | Command::Snapshots(_)
                | Command::Transfers(_)
        )
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if command.is_recorded() {
        note_commit();
    }
    let done = match command {
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::All(options) => suite::all(&options),
        Command::Benchmark(benchmark) => suite::run(&benchmark),
        Command::Table(options) => recorded::table(&options),
        Command::Plot => recorded::plot(),
        Command::Side(side) => suite::run_side(&side),
        Command::Part(part) => suite::run_part(&part),
        Command::Measured { side } => measured(&side),
        Command::Recovery(options) => counts::recovery::run(&options),
        Command::Snapshots(options) => counts::snapshots::run(&options),
        Command::RecoveryJob(options) => counts::run_job(&options),
        Command::Torture(options) => torture::run(&options),
        Command::Transfers(options) => transfers::run(&options),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::FAILURE
    })
}

fn measured(side: &[String]) -> Result<ExitCode, Failure> {
    let succeeded = tiderace_benches::child::measured(side)?;
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list() {
    for command in Cli::command()
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
    {
        let about = command.get_about().map(ToString::to_string);
        println!("{:<12} {}", command.get_name(), about.unwrap_or_default());
    }
    println!("\ncargo bench -p tiderace-benches --bench NAME:");
    println!(
        "{:<12} What should streams carry between operators?",
        "containers"
    );
    println!(
        "{:<12} What does the engine cost against a loop written by hand?",
        "rides"
    );
}
