//! The bytes of a data file. Integers are little-endian; a *text* is its length (u32) and UTF-8.
//!
//! ```text
//! file    header, blocks, end
//! header  magic (8 bytes: `TIDEsnap`), version u32, length of the body u64, body, checksum u64 of all before
//! body    application id text, count u32, per step: number u32, name text
//! block   1u32, step u32, lane u32, entries u32, length of the payload u64, checksum u64 of the 24 bytes before and
//!         of the payload, payload: entries as `Entry::write` writes them
//! end     2u32, number of blocks u64, checksum u64
//! ```
//!
//! Checksums are XXH3-64. That of the end is over the header's, those of all blocks, and the 12 bytes before it:
//! it stands for the whole file, and the manifest repeats it. Magic, version and length stay where they are
//! in every later version, so that an older program can tell a newer file from a damaged one.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

/// Version of the data files written, and the newest read.
pub(super) const VERSION: u32 = 1;

/// How every data file begins.
pub(super) const MAGIC: [u8; 8] = *b"TIDEsnap";

/// Length of the header before its body, in bytes.
pub(super) const HEADER: usize = 20;

/// Length of a block before its payload, in bytes.
pub(super) const BLOCK: usize = 32;

/// Length of the end, in bytes.
pub(super) const END: usize = 20;

/// The first number of a block.
pub(super) const BLOCK_TAG: u32 = 1;

/// The first number of the end.
pub(super) const END_TAG: u32 = 2;

/// A block and where it lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) step: u32,
    pub(super) lane: u32,
    pub(super) entries: u32,
    /// Length of the payload in bytes.
    pub(super) length: u64,
    /// Offset of the block in the file.
    pub(super) at: u64,
}

impl Block {
    /// Offset behind the block.
    pub(super) fn end(&self) -> u64 {
        self.at + BLOCK as u64 + self.length
    }

    /// What the checksum covers of the block's head.
    fn head(&self) -> [u8; BLOCK - 8] {
        let mut head = [0; BLOCK - 8];
        head[..4].copy_from_slice(&BLOCK_TAG.to_le_bytes());
        head[4..8].copy_from_slice(&self.step.to_le_bytes());
        head[8..12].copy_from_slice(&self.lane.to_le_bytes());
        head[12..16].copy_from_slice(&self.entries.to_le_bytes());
        head[16..].copy_from_slice(&self.length.to_le_bytes());
        head
    }

    /// Begins the checksum of this block; the payload is still to be added.
    pub(super) fn checksum(&self) -> Xxh3 {
        let mut sum = Xxh3::new();
        sum.update(&self.head());
        sum
    }

    /// Appends the block and returns its checksum.
    pub(super) fn write(&self, payload: &[u8], to: &mut Vec<u8>) -> u64 {
        let mut sum = self.checksum();
        sum.update(payload);
        let sum = sum.digest();
        to.extend_from_slice(&self.head());
        to.extend_from_slice(&sum.to_le_bytes());
        to.extend_from_slice(payload);
        sum
    }

    /// Reads the head of the block at an offset, and the checksum it bears.
    pub(super) fn read(head: &[u8; BLOCK], at: u64) -> (Self, u64) {
        let block = Block {
            step: u32_at(head, 4),
            lane: u32_at(head, 8),
            entries: u32_at(head, 12),
            length: u64_at(head, 16),
            at,
        };
        (block, u64_at(head, 24))
    }
}

/// The header of an application's file.
pub(super) fn header(application_id: &str, steps: &BTreeMap<u32, String>) -> Vec<u8> {
    let mut body = Vec::new();
    text(application_id, &mut body);
    body.extend_from_slice(&length(steps.len()));
    for (number, name) in steps {
        body.extend_from_slice(&number.to_le_bytes());
        text(name, &mut body);
    }
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(body.len() as u64).to_le_bytes());
    header.extend_from_slice(&body);
    let sum = xxhash_rust::xxh3::xxh3_64(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    header
}

/// Reads the body of a header: application id and steps; `None` if it is not one.
pub(super) fn read_body(mut body: &[u8]) -> Option<(String, BTreeMap<u32, String>)> {
    let application_id = take_text(&mut body)?;
    let count = take_u32(&mut body)?;
    let mut steps = BTreeMap::new();
    for _ in 0..count {
        let number = take_u32(&mut body)?;
        steps.insert(number, take_text(&mut body)?);
    }
    body.is_empty().then_some((application_id, steps))
}

/// The end of a file, whose checksum so far is `sum`, and the checksum of the whole.
pub(super) fn end(blocks: u64, mut sum: Xxh3) -> ([u8; END], u64) {
    let mut end = [0; END];
    end[..4].copy_from_slice(&END_TAG.to_le_bytes());
    end[4..12].copy_from_slice(&blocks.to_le_bytes());
    sum.update(&end[..12]);
    let sum = sum.digest();
    end[12..].copy_from_slice(&sum.to_le_bytes());
    (end, sum)
}

/// The number at an offset of bytes that reach so far.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// The number at an offset of bytes that reach so far.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn length(length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("names and their number are far below 4 GiB");
    length.to_le_bytes()
}

fn text(text: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(&length(text.len()));
    to.extend_from_slice(text.as_bytes());
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = take_u32(bytes)? as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}
