//! The canonical order of a window's results: by the bytes of their keys.
//!
//! What is sorted is the first eight bytes as a number, with where the key lies; few comparisons have to look further.

use std::cmp::Ordering;

use serde::Serialize;

use crate::keyed_table::Place;
use crate::state_codec;

/// Where a key lies, with the first of its bytes.
#[derive(Clone, Copy)]
pub(super) struct Ordered {
    prefix: u64,
    pub(super) place: Place,
}

impl Ordered {
    /// A key of these bytes at a place.
    #[inline]
    pub(super) fn new(bytes: &[u8], place: Place) -> Self {
        let prefix = match bytes.first_chunk() {
            Some(first) => u64::from_be_bytes(*first),
            None => {
                let mut first = [0; 8];
                first[..bytes.len()].copy_from_slice(bytes);
                u64::from_be_bytes(first)
            }
        };
        Ordered { prefix, place }
    }

    /// Compares two keys. Those of equal bytes, as `None` and the empty text, go by their form in a snapshot.
    #[inline]
    pub(super) fn compare(&self, other: &Ordered, keys: &impl Keys) -> Ordering {
        self.prefix
            .cmp(&other.prefix)
            .then_with(|| keys.bytes(self.place).cmp(keys.bytes(other.place)))
            .then_with(|| in_snapshot(keys, self.place).cmp(&in_snapshot(keys, other.place)))
    }
}

#[cold]
fn in_snapshot(keys: &impl Keys, place: Place) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(key) = keys.key(place) {
        // What has no form in a snapshot is reported where it is kept.
        let _ = state_codec::write(key, &mut bytes);
    }
    bytes
}

/// Keys that lie at places, with their bytes.
pub(super) trait Keys {
    type Key: Serialize;
    fn key(&self, place: Place) -> Option<&Self::Key>;
    fn bytes(&self, place: Place) -> &[u8];
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Texts(Vec<Option<String>>);

    impl Keys for Texts {
        type Key = Option<String>;
        fn key(&self, place: Place) -> Option<&Option<String>> {
            self.0.get(place as usize)
        }
        fn bytes(&self, place: Place) -> &[u8] {
            let text = self.0[place as usize].as_ref();
            text.map_or(b"", |text| text.as_bytes())
        }
    }

    #[test]
    fn keys_are_ordered_by_their_bytes_however_many_they_share() {
        let texts = [
            "\0\0",
            "b",
            "",
            "a",
            "12345678",
            "123456789",
            "1234567",
            "12345678\0",
            "\0",
            "a\0",
        ];
        let keys = texts.map(|text| Some(text.to_owned())).to_vec();
        let keys = Texts([keys, vec![None]].concat());
        let mut order: Vec<_> = (0..11)
            .map(|place| Ordered::new(keys.bytes(place), place))
            .collect();
        let by_bytes = |order: &mut Vec<Ordered>| {
            order.sort_unstable_by(|one, other| one.compare(other, &keys));
            let places = order.iter().map(|at| keys.0[at.place as usize].as_deref());
            places.collect::<Vec<_>>()
        };
        let mut expected = texts;
        expected.sort_unstable();
        let some: Vec<_> = by_bytes(&mut order).into_iter().flatten().collect();
        assert_eq!(some, expected);
        let first = by_bytes(&mut order)[..2].to_vec();
        order.reverse();
        assert_eq!(
            by_bytes(&mut order)[..2],
            first,
            "`None` beside the empty text"
        );
    }
}
