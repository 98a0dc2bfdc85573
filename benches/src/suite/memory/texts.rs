//! Records of bytes of any length.

use std::ops::Range;

use tiderace::connect::RawRecord;

use super::records::Records;

/// Values of any length, one behind the other, without keys.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each ends, and its timestamp.
    places: Vec<(usize, i64)>,
}

impl Texts {
    /// Appends what `write` writes.
    pub(super) fn push<E>(
        &mut self,
        timestamp: i64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write(&mut self.bytes)?;
        self.places.push((self.bytes.len(), timestamp));
        Ok(())
    }

    /// Bytes of all values.
    pub(super) fn total(&self) -> usize {
        self.bytes.len()
    }

    fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .map_or(0, |before| self.places[before].0)
    }

    /// The value at `index` with its timestamp.
    #[inline]
    pub(super) fn value(&self, index: usize) -> (&[u8], i64) {
        let (end, timestamp) = self.places[index];
        (&self.bytes[self.start(index)..end], timestamp)
    }
}

impl Records for Texts {
    fn count(&self) -> usize {
        self.places.len()
    }

    #[inline]
    fn get(&self, index: usize) -> RawRecord<'_> {
        let (value, timestamp) = self.value(index);
        RawRecord {
            offset: index as i64,
            timestamp,
            key: None,
            value: Some(value),
        }
    }

    fn bytes(&self, range: &Range<usize>) -> usize {
        self.start(range.end) - self.start(range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::memory::records::partition;
    use std::sync::Arc;

    #[test]
    fn texts_come_back_as_they_were_written() {
        let mut texts = Texts::default();
        for (text, at) in [("a", 5), ("", 6), ("bcd", 7)] {
            let write = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(text.as_bytes());
                Ok::<_, ()>(())
            };
            texts.push(at, write).unwrap();
        }
        assert_eq!((texts.count(), texts.total()), (3, 4));
        let batch = partition(&Arc::new(texts)).batch(0, 1..3);
        assert_eq!((batch.len(), batch.memory()), (2, 3));
        let (empty, last) = (batch.get(0), batch.get(1));
        assert_eq!((empty.key, empty.value), (None, Some(&b""[..])));
        assert_eq!((last.offset, last.timestamp), (2, 7));
        assert_eq!(last.value, Some(&b"bcd"[..]));
    }
}
