//! Bytes that are appended piece by piece and stay where they are.
//!
//! A single vector that grows copies all that it holds each time, and asks the system for ever new memory: with large
//! epochs that was 2 % of what a record cost from topic to topic. Chunks are of one size, below what the allocator gives
//! back to the system, so those of one epoch are those of the next; only a piece that is longer makes its chunk longer.

/// Bytes of a chunk that is full.
const CHUNK: usize = 64 << 10;

/// Room that a chunk has at least for another piece: as much as the longest piece so far took, within these bounds. A
/// longer one may find its chunk too small, which is then copied; more room would be wasted at the end of every chunk.
const LEAST_ROOM: usize = 1 << 10;
const MOST_ROOM: usize = CHUNK / 8;

/// Where a piece begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u32,
    offset: u32,
}

/// Pieces of bytes, each in one chunk.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: Vec<Vec<u8>>,
    /// Bytes of memory that all chunks but the last take.
    behind: usize,
    /// Where the last piece begins.
    begun: usize,
    /// Length of the longest piece.
    longest: usize,
}

impl Chunks {
    /// Begins a piece: what is appended to the vector until the next call belongs to it.
    pub(super) fn begin(&mut self) -> (Place, &mut Vec<u8>) {
        if let Some(last) = self.chunks.last() {
            self.longest = self.longest.max(last.len() - self.begun);
            let room = last.capacity() - last.len();
            if last.capacity() >= CHUNK && room < self.longest.clamp(LEAST_ROOM, MOST_ROOM) {
                self.behind += last.capacity();
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
        } else {
            self.chunks.push(Vec::new());
        }
        let chunk = self.chunks.len() - 1;
        let last = &mut self.chunks[chunk];
        self.begun = last.len();
        let counted = |of: usize| u32::try_from(of).expect("no chunk, nor epoch, holds 2^32 of it");
        let place = Place {
            chunk: counted(chunk),
            offset: counted(self.begun),
        };
        (place, last)
    }

    /// So many bytes from a place on.
    pub(super) fn get(&self, from: Place, length: usize) -> &[u8] {
        let offset = from.offset as usize;
        &self.chunks[from.chunk as usize][offset..offset + length]
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        self.behind + self.chunks.last().map_or(0, Vec::capacity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_found_again_and_chunks_stay_where_they_are(
            lengths in prop::collection::vec(
                prop_oneof![8 => 0..600_usize, 2 => 0..5_000_usize, 1 => 60_000..200_000_usize],
                0..300,
            ),
        ) {
            let mut chunks = Chunks::default();
            let mut pieces = Vec::new();
            for (nth, length) in (0_u8..=255).cycle().zip(&lengths) {
                let (place, bytes) = chunks.begin();
                let full = bytes.capacity() >= CHUNK && *length <= LEAST_ROOM;
                let lies = bytes.as_ptr();
                bytes.extend(std::iter::repeat_n(nth, *length));
                prop_assert!(!full || bytes.as_ptr() == lies, "a full-grown chunk moved");
                pieces.push((place, nth));
            }
            let bytes = lengths.iter().sum::<usize>();
            let memory: usize = chunks.chunks.iter().map(Vec::capacity).sum();
            prop_assert_eq!(chunks.memory(), memory);
            prop_assert!(memory >= bytes && memory <= bytes * 2 + CHUNK, "{memory} for {bytes}");
            for ((place, nth), length) in pieces.into_iter().zip(lengths) {
                let piece = chunks.get(place, length);
                prop_assert!(piece.iter().all(|byte| *byte == nth));
            }
        }
    }
}
