//! A data file that is whole: its index, how it is verified before anything of it is used, and how blocks are read.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tiderace_operators::handover::Entry;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::error::SnapshotError;
use super::format::{self, BLOCK, BLOCK_TAG, Block, END, END_TAG, HEADER, u32_at, u64_at};
use super::store::{ReadAt, SnapshotStore};

/// How much is read at once to verify a file: little enough for the cache, much enough for a network.
const VERIFY_BYTES: usize = 4 << 20;

/// How much is read at once of the blocks that are wanted.
const READ_BYTES: u64 = 4 << 20;

/// Up to how many bytes that are not wanted are read to save a call.
const READ_OVER: u64 = 256 << 10;

/// What is called with each block and its payload.
type EachBlock<'a> = dyn FnMut(&Block, &[u8]) -> Result<(), SnapshotError> + 'a;

/// A published data file and where its blocks lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    pub(super) name: String,
    /// Length in bytes.
    pub(super) bytes: u64,
    /// Checksum of the whole.
    pub(super) checksum: u64,
    /// The steps by their numbers in this file.
    pub(super) steps: BTreeMap<u32, String>,
    pub(super) blocks: Vec<Block>,
}

impl DataFile {
    /// The number that a step has in this file.
    pub(super) fn step(&self, name: &str) -> Option<u32> {
        let mut steps = self.steps.iter();
        steps.find_map(|(number, of)| (of == name).then_some(*number))
    }

    /// Reads a file to its end and checks every byte of it.
    pub(super) fn verify(
        store: &dyn SnapshotStore,
        name: &str,
        application_id: &str,
    ) -> Result<Self, SnapshotError> {
        let path = Path::new(&store.location()).join(name);
        let file = store
            .open(name)
            .map_err(|source| unreadable(&path, 0, source))?;
        let bytes = file.bytes();
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let cursor = Cursor {
            file: &*file,
            at: 0,
        };
        let verifier = Verifier {
            path,
            bytes,
            at: 0,
            input: BufReader::with_capacity(VERIFY_BYTES.min(length), cursor),
        };
        verifier.run(name, application_id)
    }

    /// Calls `each` with the blocks that are wanted and the entries in them, in the order of the file.
    pub(super) fn read(
        &self,
        store: &dyn SnapshotStore,
        wanted: impl Fn(&Block) -> bool,
        each: &mut EachBlock<'_>,
    ) -> Result<(), SnapshotError> {
        let path = Path::new(&store.location()).join(&self.name);
        let mut blocks = self.blocks.iter().filter(|it| wanted(it)).peekable();
        let mut opened = None;
        let mut buffer = Vec::new();
        let mut run = Vec::new();
        while let Some(first) = blocks.next() {
            run.clear();
            run.push(first);
            let mut end = first.end();
            while let Some(next) =
                blocks.next_if(|it| it.at - end <= READ_OVER && it.end() - first.at <= READ_BYTES)
            {
                end = next.end();
                run.push(next);
            }
            let failed = |source| unreadable(&path, first.at, source);
            let file = match &opened {
                Some(file) => file,
                None => opened.insert(store.open(&self.name).map_err(failed)?),
            };
            let length = usize::try_from(end - first.at).expect("verified blocks fit in memory");
            buffer.resize(length, 0);
            file.read_at(first.at, &mut buffer).map_err(failed)?;
            for block in &run {
                let at = usize::try_from(block.at - first.at).expect("within the buffer");
                each(block, payload(block, &buffer[at..], &path)?)?;
            }
        }
        Ok(())
    }
}

/// The payload of a block that bytes begin with; they may have changed since they were verified.
fn payload<'a>(block: &Block, bytes: &'a [u8], path: &Path) -> Result<&'a [u8], SnapshotError> {
    let length = usize::try_from(block.length).expect("verified blocks fit in memory");
    let (head, behind) = bytes.split_first_chunk().expect("the whole block was read");
    let payload = &behind[..length];
    let (found, checksum) = Block::read(head, block.at);
    let mut sum = found.checksum();
    sum.update(payload);
    if found != *block || sum.digest() != checksum {
        let reason = "a block has changed since the file was verified";
        return Err(damaged(path, block.at, reason));
    }
    Ok(payload)
}

/// Calls `each` with the entries of a block.
pub(super) fn entries<'a>(
    block: &Block,
    mut payload: &'a [u8],
    each: &mut dyn FnMut(Entry<'a>) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let bug = |reason: String| {
        let (step, lane) = (block.step, block.lane);
        SnapshotError::Bug(format!("step {step}, lane {lane} of a snapshot: {reason}"))
    };
    for _ in 0..block.entries {
        each(Entry::take(&mut payload).map_err(|error| bug(error.to_string()))?)?;
    }
    if !payload.is_empty() {
        let reason = format!("{} bytes behind its last entry", payload.len());
        return Err(bug(reason));
    }
    Ok(())
}

fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged {
        object: path.to_owned(),
        offset,
        reason: reason.into(),
    }
}

/// The error for bytes that cannot be had: damage if they are not there or the disk has lost them.
pub(super) fn unreadable(path: &Path, offset: u64, source: io::Error) -> SnapshotError {
    let lost = source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    match source.kind() {
        io::ErrorKind::NotFound => damaged(path, offset, "it is missing"),
        io::ErrorKind::UnexpectedEof => damaged(path, offset, "it ends too early"),
        _ if lost => damaged(path, offset, format!("the disk cannot read it: {source}")),
        _ => SnapshotError::Unreadable {
            object: path.to_owned(),
            source,
        },
    }
}

struct Cursor<'a> {
    file: &'a dyn ReadAt,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.bytes() - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        self.file.read_at(self.at, &mut buffer[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

struct Verifier<'a> {
    path: PathBuf,
    bytes: u64,
    /// Offset of what is being read.
    at: u64,
    input: BufReader<Cursor<'a>>,
}

impl Verifier<'_> {
    fn run(mut self, name: &str, application_id: &str) -> Result<DataFile, SnapshotError> {
        let (mut sum, steps) = self.header(application_id)?;
        let mut blocks = Vec::new();
        while self.tag()? == BLOCK_TAG {
            let (block, checksum) = self.block()?;
            if !steps.contains_key(&block.step) {
                return Err(self.damaged("a block is of a step that the header does not name"));
            }
            sum.update(&checksum.to_le_bytes());
            self.at = block.end();
            blocks.push(block);
        }
        let end: [u8; END] = self.take()?;
        let (expected, checksum) = format::end(blocks.len() as u64, sum);
        if end != expected {
            let reason = "the number of blocks or the checksum of the whole differs";
            return Err(self.damaged(reason));
        }
        self.at += END as u64;
        if self.at != self.bytes {
            return Err(self.damaged("there are bytes behind the end"));
        }
        Ok(DataFile {
            name: name.to_owned(),
            bytes: self.bytes,
            checksum,
            steps,
            blocks,
        })
    }

    fn header(
        &mut self,
        application_id: &str,
    ) -> Result<(Xxh3, BTreeMap<u32, String>), SnapshotError> {
        let mut header = self.take::<HEADER>()?.to_vec();
        if header[..8] != format::MAGIC {
            return Err(self.damaged("it does not begin as a data file of a snapshot"));
        }
        let length = u64_at(&header, 12);
        self.fits(length)?;
        let length = usize::try_from(length).map_err(|_| self.damaged("the header is too long"))?;
        header.resize(HEADER + length, 0);
        self.fill(&mut header[HEADER..])?;
        let checksum: [u8; 8] = self.take()?;
        if xxh3_64(&header).to_le_bytes() != checksum {
            return Err(self.damaged("the checksum of the header differs"));
        }
        let version = u32_at(&header, 8);
        if version != format::VERSION {
            return Err(newer(&self.path, version, format::VERSION));
        }
        let (of, steps) = format::read_body(&header[HEADER..])
            .ok_or_else(|| self.damaged("the header cannot be read"))?;
        if of != application_id {
            let reason = format!("it is of application `{of}`, not of `{application_id}`");
            return Err(self.damaged(reason));
        }
        self.at = (header.len() + checksum.len()) as u64;
        let mut sum = Xxh3::new();
        sum.update(&checksum);
        Ok((sum, steps))
    }

    /// What comes next: a block or the end. Takes nothing.
    fn tag(&mut self) -> Result<u32, SnapshotError> {
        // The buffer may end within the number, so it is looked up by its first byte: the tags differ in it, and
        // the checksums cover the rest.
        let next = self.input.fill_buf();
        let first = next.map(|bytes| bytes.first().copied());
        match first.map_err(|source| unreadable(&self.path, self.at, source))? {
            Some(1) => Ok(BLOCK_TAG),
            Some(2) => Ok(END_TAG),
            Some(_) => Err(self.damaged("neither a block nor the end begins here")),
            None => Err(self.damaged("it ends too early")),
        }
    }

    fn block(&mut self) -> Result<(Block, u64), SnapshotError> {
        let head: [u8; BLOCK] = self.take()?;
        let (block, checksum) = Block::read(&head, self.at);
        self.fits(block.length)?;
        let mut sum = block.checksum();
        let mut left = block.length;
        while left > 0 {
            let bytes = self.input.fill_buf();
            let bytes = bytes.map_err(|source| unreadable(&self.path, self.at, source))?;
            if bytes.is_empty() {
                return Err(self.damaged("it ends too early"));
            }
            let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sum.update(&bytes[..length]);
            self.input.consume(length);
            left -= length as u64;
        }
        if u32_at(&head, 0) != BLOCK_TAG || sum.digest() != checksum {
            return Err(self.damaged("the checksum of a block differs"));
        }
        Ok((block, checksum))
    }

    fn fits(&self, length: u64) -> Result<(), SnapshotError> {
        if length > self.bytes - self.at.min(self.bytes) {
            return Err(self.damaged("it ends too early, or a length in it is wrong"));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        let filled = self.input.read_exact(bytes);
        filled.map_err(|source| unreadable(&self.path, self.at, source))
    }

    fn damaged(&self, reason: impl Into<String>) -> SnapshotError {
        damaged(&self.path, self.at, reason)
    }
}

/// The error for what a newer version has written.
pub(super) fn newer(path: &Path, found: u32, known: u32) -> SnapshotError {
    SnapshotError::Refused(format!(
        "{} has version {found}; this program reads up to {known}. Run the version that wrote it, or use another \
         --data-dir or --application-id to begin anew",
        path.display()
    ))
}
