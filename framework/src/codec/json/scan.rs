//! Where JSON strings stop being plain text: at their ends, at escapes, and at control characters, which JSON forbids.
//!
//! The stops of 64 bytes are found at once and kept as bits, to be taken one after the other. Where a string ends is then
//! known before the processor knows where it begins, and it does not wait at each for the one before. What is not ASCII
//! is plain text: the whole value was found to be UTF-8 before.

use wide::u8x16;

/// Bytes of a vector.
const VECTOR: usize = 16;
/// Bytes of a block, a bit of a word each.
const BLOCK: usize = u64::BITS as usize;

/// The stops of a text, from first to last.
pub(super) struct Stops {
    /// Where the block begins.
    begin: usize,
    /// A bit for each byte of the block that is a stop and was not taken, the first in the lowest.
    rest: u64,
}

impl Stops {
    #[inline]
    pub(super) fn new(text: &[u8]) -> Self {
        let mut stops = Stops { begin: 0, rest: 0 };
        stops.begin_at(text, 0);
        stops
    }

    /// Goes on from another place, before or behind.
    #[inline]
    pub(super) fn begin_at(&mut self, text: &[u8], begin: usize) {
        self.begin = begin;
        self.rest = stops_of_block(text, begin);
    }

    /// Takes the place of the next stop that is at or behind `at`; the text's length where there is none.
    #[inline(always)]
    pub(super) fn next(&mut self, text: &[u8], at: usize) -> usize {
        let mut rest = self.rest;
        loop {
            if rest == 0 {
                if self.begin >= text.len() {
                    self.rest = 0;
                    return text.len();
                }
                self.begin += BLOCK;
                rest = stops_of_block(text, self.begin);
                continue;
            }
            let stop = self.begin + rest.trailing_zeros() as usize;
            rest &= rest - 1;
            if stop >= at {
                self.rest = rest;
                return stop;
            }
        }
    }
}

/// The stops of the 64 bytes that begin at a place; the text's end is one.
#[inline(never)]
fn stops_of_block(text: &[u8], begin: usize) -> u64 {
    let rest = text.get(begin..).unwrap_or_default();
    match rest.first_chunk() {
        Some(block) => stops_of_whole(block),
        None => stops_of_last(rest),
    }
}

#[cold]
fn stops_of_last(rest: &[u8]) -> u64 {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    stops_of_whole(&block)
}

#[inline(always)]
fn stops_of_whole(block: &[u8; BLOCK]) -> u64 {
    let mut stops = 0;
    for (nth, vector) in block.as_chunks().0.iter().enumerate() {
        stops |= u64::from(stops_of(*vector)) << (nth * VECTOR);
    }
    stops
}

/// A bit for each byte of a vector that is a quote, a backslash or a control character.
#[inline(always)]
fn stops_of(vector: [u8; VECTOR]) -> u32 {
    let bytes = u8x16::new(vector);
    // With its second bit turned a quote is the one byte behind the control characters, which stay among themselves.
    let turned = bytes ^ u8x16::splat(b'"' ^ 0x20);
    let quote_or_control = turned.min(u8x16::splat(0x20)).simd_eq(turned);
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    (quote_or_control | backslash).to_bitmask()
}
