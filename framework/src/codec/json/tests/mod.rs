//! The reader beside serde_json, which shares no code with it: the same values, and nothing accepted that it refuses.

mod edges;
mod mutated;
mod numbers;
mod shapes;
mod values;

use std::fmt::Debug;

use serde::Deserialize;

use super::{decode, read};

/// How often serde_json accepted a text as a type, and how often the reader was sure of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    read: usize,
    accepted: usize,
    sure: usize,
}

impl Tally {
    /// Reads a text as a type both ways. Values are compared as `Debug` shows them, which tells 0.0 from -0.0.
    #[track_caller]
    fn compare<'de, V: Deserialize<'de> + Debug>(&mut self, text: &'de str) {
        self.read += 1;
        let expected = serde_json::from_str::<V>(text);
        self.accepted += usize::from(expected.is_ok());
        if let Some(value) = read::<V>(text) {
            self.sure += 1;
            let value = format!("{value:?}");
            match expected {
                Ok(expected) => assert_eq!(value, format!("{expected:?}"), "of {text}"),
                Err(error) => panic!("{value} was read, where serde_json says: {error}; of {text}"),
            }
        }
    }
}

/// What a text becomes, if the reader is sure of it and serde_json agrees.
#[track_caller]
fn sure<'de, V: Deserialize<'de> + Debug>(text: &'de str) -> Option<V> {
    Tally::default().compare::<V>(text);
    read(text)
}
