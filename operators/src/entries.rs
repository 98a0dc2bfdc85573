//! Writing entries of a step into chunks, sorted by the shard of their key.

use std::sync::Arc;

use serde::Serialize;

use crate::handover::{Chunk, Entry, Handover, Keeper, LANES, StateError};
use crate::shard::Shards;
use crate::state_codec;

/// Bytes of a lane after which they are handed over.
const CHUNK: usize = 64 << 10;

/// Entries of one step on one worker, on their way to the keeper.
pub struct Entries {
    keeper: Arc<dyn Keeper>,
    node: u32,
    worker: usize,
    shards: Shards,
    lanes: [Lane; LANES as usize],
    written: usize,
    /// Memory for the key and the value of an entry.
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Default)]
struct Lane {
    entries: u32,
    bytes: Vec<u8>,
}

impl Entries {
    /// The way of a step's entries to its keeper; `None` if no snapshots are kept.
    pub fn new(handover: &Handover) -> Option<Self> {
        Some(Entries {
            keeper: Arc::clone(handover.keeper.as_ref()?),
            node: handover.node,
            worker: handover.worker,
            shards: handover.shards,
            lanes: Default::default(),
            written: 0,
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Who takes them.
    pub fn keeper(&self) -> &dyn Keeper {
        &*self.keeper
    }

    /// The step.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The worker.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Bytes of all entries written so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes the entry of `key`, its bytes behind `prefix`, with the value that `write` appends.
    ///
    /// # Errors
    /// Key or value cannot be written as state; nothing of the entry is handed over.
    pub fn put<K: Serialize + 'static>(
        &mut self,
        prefix: &[u8],
        key: &K,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.value.clear();
        write(&mut self.value)?;
        self.add(prefix, key, true)
    }

    /// Writes that the entry of `key` is gone.
    ///
    /// # Errors
    /// The key cannot be written as state.
    pub fn delete<K: Serialize + 'static>(&mut self, key: &K) -> Result<(), StateError> {
        self.add(&[], key, false)
    }

    fn add<K: Serialize + 'static>(
        &mut self,
        prefix: &[u8],
        key: &K,
        puts: bool,
    ) -> Result<(), StateError> {
        let shard = self.shards.shard_of(key, &mut self.key);
        self.key.clear();
        self.key.extend_from_slice(prefix);
        state_codec::write(key, &mut self.key)?;
        let lane = u64::from(shard) * u64::from(LANES) / u64::from(self.shards.count());
        let at = &mut self.lanes[lane as usize];
        if at.bytes.capacity() == 0 {
            at.bytes.reserve(CHUNK + CHUNK / 8);
        }
        let before = at.bytes.len();
        let value = puts.then_some(&self.value[..]);
        let key = &self.key[..];
        Entry { shard, key, value }.write(&mut at.bytes);
        at.entries += 1;
        self.written += at.bytes.len() - before;
        if at.bytes.len() >= CHUNK {
            self.send(lane as usize);
        }
        Ok(())
    }

    /// Hands over what has not been handed over yet.
    pub fn flush(&mut self) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].entries > 0 {
                self.send(lane);
            }
        }
    }

    fn send(&mut self, lane: usize) {
        let Lane { entries, bytes } = std::mem::take(&mut self.lanes[lane]);
        let chunk = Chunk {
            node: self.node,
            lane: lane as u32,
            entries,
            bytes,
        };
        self.keeper.chunk(self.worker, chunk);
    }
}
