//! The engine's side: the workloads as one would write them.

use std::fmt;
use std::time::Duration;

use compact_str::CompactString;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use tiderace::codec::json;
use tiderace::{BuildError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};
use tiderace_pipelines::taxi::LocalTime;

use super::workload::{WINDOW, Workload};

#[derive(Clone, Serialize, Deserialize)]
struct Driven {
    trip_distance: f64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Begun {
    tpep_pickup_datetime: LocalTime,
}

/// The zone of a ride, its key: decimal text, read as the number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Zone(u32);

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Zone;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a zone's number in decimal")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Zone, E> {
                text.parse().map(Zone).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A workload from topic to topic.
pub(super) fn topology(
    workload: Workload,
    application: &str,
    input: &'static str,
    output: &'static str,
) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new(application);
    match workload {
        Workload::Filter => builder
            .stream(Topic::<Vec<u8>, Vec<u8>>::bytes(input))
            .filter(|ride| json::decode(ride).is_ok_and(|ride: Driven| ride.trip_distance > 0.0))
            .to(Topic::<Vec<u8>, Vec<u8>>::bytes(output)),
        Workload::Windows => {
            let rides = Topic::<Zone, Begun>::json(input)
                .timestamp(|ride| ride.tpep_pickup_datetime.into());
            builder
                .stream(rides)
                .group_by_key()
                .windowed_by(TimeWindows::of_size(Duration::from_millis(WINDOW as u64)))
                .count()
                .emit_on_close()
                .map(|zone, rides| {
                    let window = zone.window;
                    let key = zone.key.0;
                    (Windowed { key, window }, rides)
                })
                .to(Topic::<Windowed<u32>, u64>::bytes(output));
        }
        Workload::Counts | Workload::WideCounts | Workload::Keyed(_) => builder
            .stream(Topic::<String, Driven>::json(input))
            .group_by_key()
            .count()
            .to(Topic::<String, u64>::bytes(output)),
        Workload::Words => builder
            .stream(Topic::<Option<String>, String>::bytes(input))
            // The word becomes the key, and with it the worker that counts it; it lies in its record, not in memory of its
            // own.
            .flat_map(|_, line| {
                let mut words = Vec::with_capacity(16);
                let words_of = line.split_ascii_whitespace().map(CompactString::from);
                words.extend(words_of.map(|word| (word, ())));
                words
            })
            .group_by_key()
            .count()
            .to(Topic::<CompactString, u64>::bytes(output)),
    }
    builder.build()
}
