//! The commands, a file each.

mod check;
mod consume;
mod describe;
mod epochs;
mod produce;
mod replay;
mod reset;
mod run;
mod topics;

use crate::cli::Command;
use crate::failure::Failure;

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::RidesPerZone(options) => run::rides_per_zone(&options),
        Command::Topics(options) => topics::topics(&options.action),
        Command::Produce(options) => produce::produce(&options),
        Command::Consume(options) => consume::consume(&options),
        Command::Describe(options) => describe::describe(&options),
        Command::Epochs(options) => epochs::epochs(&options),
        Command::Check(options) => check::run(&options),
        Command::Replay(options) => replay::replay(&options),
        Command::Reset(options) => reset::reset(&options),
    }
}
