//! The `tiderace` command: ready-made pipelines and the tools around their topics.
//!
//! It reads the command line, runs one command and ends with the exit code that `docs/contract.md` lists.
//! Reports go to stdout; progress, logs and errors to stderr.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

mod access;
mod base64;
mod busiest_zones;
mod cli;
mod commands;
mod engine;
mod failure;
mod formats;
mod interrupt;
mod json_lines;
mod progress;
mod report;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(|| progress::Logs)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match commands::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("tiderace: {message}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
