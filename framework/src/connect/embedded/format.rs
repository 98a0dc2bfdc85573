//! What all files of the log have in common: the preamble with magic number and version, frames with
//! checksums, and the reading of integers without a panic. The module doc of the log draws the layout.

use std::path::Path;

use crc32c::crc32c;

use super::disk::damaged;
use crate::error::LogError;

/// Length of the preamble in bytes; the same in every version.
pub(super) const PREAMBLE: usize = 16;
/// Length of a frame's head in bytes.
pub(super) const FRAME_HEAD: usize = 12;

/// A kind of file.
pub(super) struct Format {
    /// The first eight bytes.
    pub(super) magic: [u8; 8],
    /// The newest version known, and the one written.
    pub(super) version: u32,
}

impl Format {
    /// The bytes that every file of this kind begins with.
    pub(super) fn preamble(&self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..8].copy_from_slice(&self.magic);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        let checksum = crc32c(&bytes[..12]);
        bytes[12..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Refuses a file that is not of this kind, or is newer than this program.
    pub(super) fn check(&self, bytes: &[u8], file: &Path) -> Result<(), LogError> {
        let Some(preamble) = bytes.get(..PREAMBLE) else {
            return Err(damaged(
                file,
                bytes.len() as u64,
                "the file ends within its preamble",
            ));
        };
        if preamble[..8] != self.magic {
            let magic = String::from_utf8_lossy(&self.magic);
            return Err(damaged(
                file,
                0,
                format!("it does not begin with the magic number `{magic}`"),
            ));
        }
        if u32_at(preamble, 12) != crc32c(&preamble[..12]) {
            return Err(damaged(
                file,
                8,
                "the checksum of the preamble does not match",
            ));
        }
        let version = u32_at(preamble, 8);
        if version == 0 || version > self.version {
            return Err(LogError::Refused(format!(
                "{} has format version {version}, this program reads up to {}: use the program that wrote it, or a newer one",
                file.display(),
                self.version
            )));
        }
        Ok(())
    }
}

/// A payload with its length and checksums in front.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame holds a description, never data");
    let mut bytes = Vec::with_capacity(FRAME_HEAD + payload.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32c(payload).to_le_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The payload of the frame that begins at byte `at` of a file, with `bytes` all that follows there.
/// `None` if the file ends before the frame does.
pub(super) fn unframe<'a>(
    bytes: &'a [u8],
    file: &Path,
    at: u64,
) -> Result<Option<&'a [u8]>, LogError> {
    let Some(head) = bytes.get(..FRAME_HEAD) else {
        return Ok(None);
    };
    if u32_at(head, 8) != crc32c(&head[..8]) {
        return Err(damaged(
            file,
            at,
            "the checksum of a record's head does not match",
        ));
    }
    let Some(payload) = bytes[FRAME_HEAD..].get(..u32_at(head, 0) as usize) else {
        return Ok(None);
    };
    if u32_at(head, 4) != crc32c(payload) {
        return Err(damaged(
            file,
            at + FRAME_HEAD as u64,
            "the checksum of a record does not match",
        ));
    }
    Ok(Some(payload))
}

/// The integer at `at` of bytes that are known to reach so far.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The integer at `at` of bytes that are known to reach so far.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The integer at `at` of bytes that are known to reach so far.
pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at) as i64
}

/// Takes fields off the front of bytes that may be too short.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32_at(self.bytes(4)?, 0))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64_at(self.bytes(8)?, 0))
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        Some(i64_at(self.bytes(8)?, 0))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}
