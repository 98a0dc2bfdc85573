//! The options of `tiderace replay`.

use clap::Args;

use super::{Form, LogOptions, Start};

#[derive(Args)]
#[command(after_help = "\
Examples:
  tiderace replay rides-per-zone --from 120 --to 124
  tiderace replay rides-per-zone --from 2026-07-01T03:12:00Z --to 2026-07-01T03:13:00Z
  tiderace replay nightly --pipeline rides-per-zone --from 7 --format json

What did the job see, and what did it say? Loads the nearest snapshot before the epochs, or begins with the first
epoch, runs the logged epochs behind it again, and prints what those that are wanted wrote, as JSON lines on stdout:
as `consume` has them, with the epoch and the topic. Each epoch must come to its digest in the epoch log before it is
printed. What the epochs read and wrote in all is said on stderr at the end. With --format json stdout holds one
object with both.

Times are those of the commits, as `tiderace epochs` lists them. The parameters of the pipeline are taken from the
epoch log. Only reads: the application may run meanwhile and is not disturbed. Input that is no longer held ends the
command with exit code 66 and is named with its topic, partition and offsets; an epoch that comes to something else
than was committed ends it with 65.")]
pub(crate) struct Replay {
    /// The application id, as a pipeline's name
    #[arg(value_name = "APP")]
    pub(crate) application: String,
    /// The first epoch to print, or the first one committed at or after this time (RFC 3339, or a date)
    #[arg(long, value_name = "EPOCH|TIME", value_parser = super::start)]
    pub(crate) from: Start,
    /// The last epoch to print, or the last one committed at or before this time [default: the last one]
    #[arg(long, value_name = "EPOCH|TIME", value_parser = super::start)]
    pub(crate) to: Option<Start>,
    /// The pipeline that the application runs [default: the one called APP]
    #[arg(long, value_parser = ["rides-per-zone"])]
    pub(crate) pipeline: Option<String>,
    /// Worker threads [default: 1]
    #[arg(long, value_name = "W")]
    pub(crate) workers: Option<String>,
    /// Form of what goes to stdout: JSON lines, or one object
    #[arg(long, default_value = "text")]
    pub(crate) format: Form,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}
