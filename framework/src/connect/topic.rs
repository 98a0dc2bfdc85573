//! The typed constant that describes a topic once: its name, its types, their formats, its clock.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use tiderace_operators::key::{Data, Key};
use tiderace_operators::record::EventTime;

use crate::codec::{bytes, json};

/// A topic of keys `K` and values `V`, shared by whoever produces, processes, tests and consumes it.
///
/// Keys are in the formats of Kafka's own serdes, by type: `String` as UTF-8, `u32` and `i32` as 4 bytes, `u64`
/// and `i64` as 8 bytes big-endian, `f64` as 8 bytes, `Vec<u8>` as it is, [`Windowed`](crate::Windowed) as the
/// key followed by the window's start, anything else as JSON. To see null keys, declare `Option<K>`.
///
/// ```
/// # use tiderace::{Topic, EventTime};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Ride { picked_up: i64 }
/// const RIDES: Topic<String, Ride> = Topic::json("rides").timestamp(|ride| EventTime::from_millis(ride.picked_up));
/// assert_eq!(RIDES.name(), "rides");
/// ```
pub struct Topic<K, V> {
    name: &'static str,
    pub(crate) decode: fn(&[u8]) -> Result<V, String>,
    pub(crate) encode: fn(&V, &mut Vec<u8>) -> Result<(), String>,
    pub(crate) format: &'static str,
    pub(crate) timestamp: Option<fn(&V) -> EventTime>,
    pub(crate) out_of_orderness: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    keys: PhantomData<fn() -> K>,
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Topic<K, V> {}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Topic<{}, {}>({:?})",
            std::any::type_name::<K>(),
            std::any::type_name::<V>(),
            self.name
        )
    }
}

impl<K: Key, V: Data> Topic<K, V> {
    /// A topic whose values are JSON.
    pub const fn json(name: &'static str) -> Self {
        Self::new(name, "json", json::decode::<V>, json::encode::<V>)
    }

    /// A topic whose values are in the formats of Kafka's own serdes, by type, as its keys are.
    pub const fn bytes(name: &'static str) -> Self {
        Self::new(name, "bytes", bytes::decode::<V>, bytes::encode::<V>)
    }

    const fn new(
        name: &'static str,
        format: &'static str,
        decode: fn(&[u8]) -> Result<V, String>,
        encode: fn(&V, &mut Vec<u8>) -> Result<(), String>,
    ) -> Self {
        Topic {
            name,
            decode,
            encode,
            format,
            timestamp: None,
            out_of_orderness: Duration::ZERO,
            idle_timeout: None,
            keys: PhantomData,
        }
    }

    /// Takes event time from the value; without this it is the record's timestamp.
    pub const fn timestamp(self, of: fn(&V) -> EventTime) -> Self {
        Topic {
            timestamp: Some(of),
            ..self
        }
    }

    /// By how much records of a partition may come out of order without being judged late: the partition's
    /// stream time trails its largest timestamp by this. Default 0.
    pub const fn out_of_orderness(self, bound: Duration) -> Self {
        Topic {
            out_of_orderness: bound,
            ..self
        }
    }

    /// How long a caught-up partition of this topic is silent before it is left out of the watermark; the
    /// configuration's `idle_timeout` without this.
    pub const fn idle_timeout(self, timeout: Duration) -> Self {
        Topic {
            idle_timeout: Some(timeout),
            ..self
        }
    }

    /// The topic's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<K, V> Topic<K, V> {
    /// The topic's name, whatever its types.
    pub(crate) const fn name_of(&self) -> &'static str {
        self.name
    }
}

/// Where records of keys `K` and values `V` can be sent.
///
/// A topic of other types does not compile:
/// ```compile_fail
/// # use tiderace::{StreamsBuilder, Topic};
/// const WORDS: Topic<String, String> = Topic::bytes("words");
/// const COUNTS: Topic<String, u64> = Topic::bytes("counts");
/// StreamsBuilder::new("wrong").stream(WORDS).to(COUNTS);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take records with key `{K}` and value `{V}`",
    label = "declare the topic with the key and value types of the stream, or map the stream to the topic's"
)]
pub trait Takes<K, V> {
    /// The topic as such.
    fn topic(self) -> Topic<K, V>;
}

impl<K, V> Takes<K, V> for Topic<K, V> {
    fn topic(self) -> Topic<K, V> {
        self
    }
}
