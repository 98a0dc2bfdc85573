//! Merging a base and the deltas on it into a new base, a lane of a step at a time.
//!
//! In memory is one lane of one step of all files; between two lanes the thread does what else is to do.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use hashbrown::HashSet;
use tiderace_operators::dataflow::Epoch;
use tiderace_operators::handover::{Chunk, Entry};

use super::chain::{Chain, Link};
use super::data_file::{DataFile, entries};
use super::data_writer::DataWriter;
use super::error::SnapshotError;
use super::manifest::FileKind;
use super::store::SnapshotStore;

/// More deltas than this are merged: each is a file to open and a chance of damage at the start.
const MOST_DELTAS: usize = 10;

/// Size from which on a block of a base is ended, in bytes: a reader gets little that it did not ask for.
const BLOCK_BYTES: usize = 256 << 10;

/// A merge under way.
pub(super) struct Merge {
    chain: Chain,
    numbers: BTreeMap<String, u32>,
    writer: DataWriter,
    due: VecDeque<(String, u32)>,
}

/// Whether a chain is to be merged: reading its deltas costs more than its base, or there are too many.
pub(super) fn is_due(chain: &Chain) -> bool {
    let deltas = chain.links.len().saturating_sub(1);
    let (base, of_deltas) = chain.bytes();
    deltas > MOST_DELTAS || deltas > 0 && of_deltas > base
}

impl Merge {
    /// Begins to merge what a chain has now; `steps` are the program's steps.
    pub(super) fn begin(
        chain: &Chain,
        application_id: &str,
        steps: &BTreeMap<u32, String>,
    ) -> Self {
        let of = |name: &String| {
            let links = chain.links.iter().flat_map(|link| link.lanes(name));
            links.collect::<std::collections::BTreeSet<_>>()
        };
        let due = steps
            .values()
            .flat_map(|name| of(name).into_iter().map(|lane| (name.clone(), lane)));
        Merge {
            due: due.collect(),
            chain: chain.clone(),
            numbers: steps
                .iter()
                .map(|(number, name)| (name.clone(), *number))
                .collect(),
            writer: DataWriter::new(application_id, steps.clone()),
        }
    }

    /// Merges the next lane and returns whether there was one. What cannot be read may be tried again.
    pub(super) fn advance(&mut self, store: &dyn SnapshotStore) -> Result<bool, SnapshotError> {
        let Some((step, lane)) = self.due.front() else {
            return Ok(false);
        };
        let chunks = merge_lane(store, &self.chain, step, self.numbers[step], *lane)?;
        for chunk in chunks {
            self.writer.add(&chunk);
        }
        self.due.pop_front();
        Ok(true)
    }

    /// Writes what was merged so far.
    pub(super) fn flush(&mut self, store: &dyn SnapshotStore) -> io::Result<()> {
        self.writer.flush(store)
    }

    /// The epoch up to which the new base brings the state.
    pub(super) fn epoch(&self) -> Epoch {
        self.chain.links.last().map_or(0, |link| link.named.epoch)
    }

    /// Publishes the new base. May be tried again when it fails.
    pub(super) fn publish(
        &mut self,
        store: &dyn SnapshotStore,
        name: &str,
    ) -> io::Result<DataFile> {
        self.writer.publish(store, name)
    }

    /// Puts the new base into a chain in the place of what was merged.
    pub(super) fn replace(self, base: DataFile, chain: &mut Chain) {
        let merged = self.chain.links.len();
        let mut base = Link::new(base, FileKind::Base, self.epoch(), &[]);
        let last = &chain.links[merged - 1].named;
        base.named.floors.clone_from(&last.floors);
        base.named.after.clone_from(&last.after);
        chain.links.splice(..merged, [base]);
    }
}

/// The entries of a lane of a step that are left of all files.
fn merge_lane(
    store: &dyn SnapshotStore,
    chain: &Chain,
    step: &str,
    number: u32,
    lane: u32,
) -> Result<Vec<Chunk>, SnapshotError> {
    let floors = chain.floors(step);
    let mut blocks = Vec::new();
    for (link, floor) in chain.links.iter().zip(&floors) {
        let of = link.step(step);
        let wanted = |it: &super::format::Block| Some(it.step) == of && it.lane == lane;
        link.file.read(store, wanted, &mut |block, payload| {
            blocks.push((*block, payload.to_vec(), floor.as_slice()));
            Ok(())
        })?;
    }
    let mut all: Vec<Entry<'_>> = Vec::new();
    for (block, payload, floor) in &blocks {
        entries(block, payload, &mut |entry| {
            if entry.key >= *floor {
                all.push(entry);
            }
            Ok(())
        })?;
    }
    let mut seen: HashSet<&[u8], foldhash::fast::RandomState> =
        HashSet::with_capacity_and_hasher(all.len(), Default::default());
    let last_of_key = all.iter().rev().filter(|entry| seen.insert(entry.key));
    let left = last_of_key.filter(|entry| entry.value.is_some());
    Ok(chunks(left, number, lane))
}

fn chunks<'a>(left: impl Iterator<Item = &'a Entry<'a>>, node: u32, lane: u32) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut open: Option<Chunk> = None;
    for entry in left {
        let chunk = open.get_or_insert_with(|| Chunk {
            node,
            lane,
            entries: 0,
            bytes: Vec::new(),
        });
        entry.write(&mut chunk.bytes);
        chunk.entries += 1;
        if chunk.bytes.len() >= BLOCK_BYTES {
            chunks.extend(open.take());
        }
    }
    chunks.extend(open);
    chunks
}
