//! The options of the commands that look at what an application has left: `epochs` and `check`.

use clap::Args;

use super::{Form, LogOptions};

#[derive(Args)]
#[command(after_help = "\
Examples:
  tiderace epochs rides-per-zone --limit 5
  tiderace epochs rides-per-zone --from 120 --format json

Epoch 0 is what was fixed before any input was read; a start stands under the epoch behind which it began. Offsets
are those of the epoch log's topic, APP-epochs. With --format json each element is the entry as it was written, with
its offset and the time of its commit. A running application is not disturbed.")]
pub(crate) struct Epochs {
    /// The application id, as a pipeline's name
    #[arg(value_name = "APP")]
    pub(crate) application: String,
    /// Begin at this epoch
    #[arg(long, value_name = "E", default_value_t = 0)]
    pub(crate) from: u64,
    /// End after this many entries
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Form of the list
    #[arg(long, default_value = "text")]
    pub(crate) format: Form,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Args)]
#[command(after_help = "\
Checks that the entries' hashes chain, that epochs are consecutive, offsets grow and counts add up; then reads the
output topics and computes each epoch's digest again, and every byte of the snapshots in the data directory, also
with --brokers; that there are none is no fault. What is no longer held is named and left out. A running application
is not disturbed: its epochs up to now are checked. Nothing is changed.

With --inputs it also reads the input topics again, as far as the epochs did, and counts: each epoch must have read as
many records of each partition as are committed between where it began and where it ended. More are records that were
skipped, and are wrong always. Fewer are wrong unless records were deleted or the topic is compacted; that is named.
Inputs may be far larger than outputs, and all that is held is read, so this may take long.

Examples:
  tiderace check rides-per-zone
  tiderace check rides-per-zone --inputs
  tiderace check rides-per-zone --brokers 127.0.0.1:9092 --data-dir /var/lib/rides --format json

Exit code 0 when nothing is wrong, 65 with a list of what is.")]
pub(crate) struct Check {
    /// The application id, as a pipeline's name
    #[arg(value_name = "APP")]
    pub(crate) application: String,
    /// Read the inputs too, and count the records that each epoch should have read
    #[arg(long)]
    pub(crate) inputs: bool,
    /// Form of the verdict
    #[arg(long, default_value = "text")]
    pub(crate) format: Form,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}
