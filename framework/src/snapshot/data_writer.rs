//! Writing a data file: blocks are gathered, appended to a draft, and indexed for the merge that will read them.

use std::collections::BTreeMap;
use std::io;

use tiderace_operators::handover::Chunk;
use xxhash_rust::xxh3::Xxh3;

use super::data_file::DataFile;
use super::format::{self, Block};
use super::store::{Draft, SnapshotStore};

/// From how many bytes on they are appended to the draft: enough that a call is nothing beside its bytes.
const APPEND_FROM: usize = 1 << 20;

/// A data file on its way. What could not be appended stays here, to be tried again.
pub(super) struct DataWriter {
    steps: BTreeMap<u32, String>,
    draft: Option<Box<dyn Draft>>,
    pending: Vec<u8>,
    /// Length of the file with what is pending.
    bytes: u64,
    sum: Xxh3,
    blocks: Vec<Block>,
    /// Checksum of the whole, once the end is written.
    ended: Option<u64>,
}

impl DataWriter {
    /// Begins a file of an application, whose steps have these numbers and names.
    pub(super) fn new(application_id: &str, steps: BTreeMap<u32, String>) -> Self {
        let pending = format::header(application_id, &steps);
        let mut sum = Xxh3::new();
        sum.update(&pending[pending.len() - 8..]);
        DataWriter {
            steps,
            draft: None,
            bytes: pending.len() as u64,
            pending,
            sum,
            blocks: Vec::new(),
            ended: None,
        }
    }

    /// Adds a block of entries. Fails never; [`flush`](Self::flush) writes it.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        let block = Block {
            step: chunk.node,
            lane: chunk.lane,
            entries: chunk.entries,
            length: chunk.bytes.len() as u64,
            at: self.bytes,
        };
        let sum = block.write(&chunk.bytes, &mut self.pending);
        self.sum.update(&sum.to_le_bytes());
        self.bytes = block.end();
        self.blocks.push(block);
    }

    /// Whether enough is pending to be flushed.
    pub(super) fn is_due(&self) -> bool {
        self.pending.len() >= APPEND_FROM
    }

    /// Appends what is pending to the draft.
    pub(super) fn flush(&mut self, store: &dyn SnapshotStore) -> io::Result<()> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            None => self.draft.insert(store.create()?),
        };
        if !self.pending.is_empty() {
            draft.append(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Ends the file and publishes it. May be tried again when it fails.
    pub(super) fn publish(
        &mut self,
        store: &dyn SnapshotStore,
        name: &str,
    ) -> io::Result<DataFile> {
        let checksum = match self.ended {
            Some(checksum) => checksum,
            None => {
                let (end, checksum) = format::end(self.blocks.len() as u64, self.sum.clone());
                self.pending.extend_from_slice(&end);
                self.bytes += end.len() as u64;
                *self.ended.insert(checksum)
            }
        };
        self.flush(store)?;
        let draft = self.draft.as_mut().expect("flushing makes the draft");
        draft.publish(name)?;
        Ok(DataFile {
            name: name.to_owned(),
            bytes: self.bytes,
            checksum,
            steps: self.steps.clone(),
            blocks: std::mem::take(&mut self.blocks),
        })
    }
}
