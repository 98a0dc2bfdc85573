//! The engine's side, as one would write it.

use std::time::Duration;

use tiderace::{BuildError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

use crate::suite::memory::pairs::PAIRS;

/// One key in so many has its results written: state is what is measured, not output.
pub(in crate::suite::memory) const SAMPLE: u64 = 64;

pub(in crate::suite::memory) const KEPT_OUT: Topic<u64, u64> = Topic::bytes("counts");
pub(super) const TUMBLED: Topic<Windowed<u64>, u64> = Topic::bytes("tumbled");
pub(super) const HOPS: Topic<Windowed<u64>, u64> = Topic::bytes("hops");

/// A running count.
pub(in crate::suite::memory) fn count_topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("count");
    builder
        .stream(PAIRS)
        .group_by_key()
        .count()
        .to_stream()
        .filter_with_key(|key, _| key.is_multiple_of(SAMPLE))
        .to(KEPT_OUT);
    builder.build()
}

/// Counts of tumbling windows, final results.
pub(super) fn tumbling_topology(size: Duration) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("tumbling");
    builder
        .stream(PAIRS)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(size))
        .count()
        .emit_on_close()
        .to(TUMBLED);
    builder.build()
}

/// Counts of hopping windows, final results.
pub(super) fn hopping_topology(size: Duration, advance: Duration) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("hopping");
    builder
        .stream(PAIRS)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(size).advance_by(advance))
        .count()
        .emit_on_close()
        .filter_with_key(|window, _| window.key.is_multiple_of(SAMPLE))
        .to(HOPS);
    builder.build()
}
