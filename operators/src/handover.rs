//! Handing an operator's state over for a snapshot, and taking it back: what operators and the keeper of
//! snapshots say to each other.
//!
//! State is a table of entries, bytes to bytes. At the close of an epoch that a snapshot is wanted of, an operator
//! hands over the entries that changed since the last one, in chunks, while records go on flowing; what it hands over
//! is the state as it was at that close. Entries are placed by the shard of their key, so that another number of
//! workers can take them back.

use std::sync::Arc;

use crate::dataflow::Epoch;
use crate::record::EventTime;
use crate::shard::Shards;

/// Into how many lanes the entries of a step are sorted: `lane = shard * LANES / shards`.
pub const LANES: u32 = 16;

/// Entries of one lane of one step, each as [`Entry::write`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The step, by its number in the topology.
    pub node: u32,
    /// The lane.
    pub lane: u32,
    /// How many entries.
    pub entries: u32,
    /// The entries, one behind the other; of one key the last counts.
    pub bytes: Vec<u8>,
}

/// One entry of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The shard of the key.
    pub shard: u32,
    /// The key within the step, not longer than 4 GiB.
    pub key: &'a [u8],
    /// The value; `None` deletes what an earlier entry of the key put there.
    pub value: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// Appends the entry: its kind (1 puts, 0 deletes), the shard and the lengths as 4 bytes little-endian each, the
    /// bytes behind them.
    ///
    /// # Panics
    /// Key or value is longer than 4 GiB.
    pub fn write(&self, to: &mut Vec<u8>) {
        let length = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).expect("an entry is far shorter than 4 GiB");
            length.to_le_bytes()
        };
        to.push(u8::from(self.value.is_some()));
        to.extend_from_slice(&self.shard.to_le_bytes());
        to.extend_from_slice(&length(self.key));
        to.extend_from_slice(self.key);
        if let Some(value) = self.value {
            to.extend_from_slice(&length(value));
            to.extend_from_slice(value);
        }
    }

    /// Takes the first entry off `bytes`.
    ///
    /// # Errors
    /// The bytes are no entry.
    #[inline]
    pub fn take(bytes: &mut &'a [u8]) -> Result<Self, StateError> {
        let short = || StateError("an entry of a snapshot ends too early".into());
        let (head, mut rest) = bytes.split_first_chunk::<5>().ok_or_else(short)?;
        let [kind, shard @ ..] = *head;
        if kind > 1 {
            let reason = format!("an entry of a snapshot is of the unknown kind {kind}");
            return Err(StateError(reason));
        }
        let mut take = || {
            let (length, behind) = rest.split_first_chunk().ok_or_else(short)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (taken, behind) = behind.split_at_checked(length).ok_or_else(short)?;
            rest = behind;
            Ok(taken)
        };
        let shard = u32::from_le_bytes(shard);
        let key = take()?;
        let value = if kind == 1 { Some(take()?) } else { None };
        *bytes = rest;
        Ok(Entry { shard, key, value })
    }
}

/// Says that a step on one worker has handed over all of its state of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The step, by its number in the topology.
    pub node: u32,
    /// The worker.
    pub worker: usize,
    /// The epoch at whose close the state was this.
    pub epoch: Epoch,
    /// The step's watermark then; the same on every worker.
    pub watermark: EventTime,
    /// Entries of earlier snapshots whose keys are less than these bytes are gone; the same on every worker.
    pub floor: Vec<u8>,
}

/// Why entries cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateError(pub String);

/// What is told an entry, key and value, in the order of the chain: of one key the last one counts; `None` deletes.
pub type TakeEntry<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), StateError> + 'a;

/// Who keeps snapshots. Called from all workers.
pub trait Keeper: Send + Sync {
    /// The epoch at whose close state is to be handed over; 0 if none is. It stays until every part of it is done.
    fn wanted(&self) -> Epoch;
    /// Whether operators had better wait before they hand over more. What must be handed over at once, because it
    /// is about to change, is taken all the same.
    fn is_full(&self) -> bool;
    /// Takes entries of the snapshot that is wanted; from a step and worker whose part of it is done, and while none
    /// is wanted, of the next one.
    fn chunk(&self, worker: usize, chunk: Chunk);
    /// A step has handed over everything of the epoch that is wanted.
    fn done(&self, part: Part);
    /// A step cannot write an entry: its type's `Serialize` refused. The step hands over nothing more, so no later
    /// snapshot can be whole either; the run had better end with this error.
    fn fail(&self, node: u32, worker: usize, error: StateError);
    /// About how many entries [`restore`](Self::restore) will give a step on a worker, so that room can be made for
    /// them at once; 0 if that is not known.
    fn entries(&self, _node: u32, _worker: usize) -> usize {
        0
    }

    /// Gives a step on a worker the entries that lie in the shards it owns, and returns the step's watermark; `None`
    /// if there is no snapshot to begin with. An error of `take` fails the start; the keeper reports it.
    ///
    /// Entries of one key may come from two workers where a table's topic holds it in two partitions: of one lane and
    /// snapshot the chunk that was taken last is the last one in the chain.
    fn restore(&self, node: u32, worker: usize, take: &mut TakeEntry<'_>) -> Option<EventTime>;

    /// A step on a worker has put all that [`restore`](Self::restore) gave it into its state.
    fn restored(&self, _node: u32, _worker: usize) {}
}

/// A step's way to the keeper, on one worker.
#[derive(Clone)]
pub struct Handover {
    /// The keeper, if snapshots are kept at all.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// The step, by its number in the topology.
    pub node: u32,
    /// The worker.
    pub worker: usize,
    /// Where keys belong.
    pub shards: Shards,
}

impl Handover {
    /// A step whose state nobody keeps.
    pub fn none(shards: Shards) -> Self {
        Handover {
            keeper: None,
            node: 0,
            worker: 0,
            shards,
        }
    }

    /// About how many entries [`restore`](Self::restore) will bring.
    pub fn entries(&self) -> usize {
        let keeper = self.keeper.as_ref();
        keeper.map_or(0, |keeper| keeper.entries(self.node, self.worker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written_and_nothing_shorter_is_one() {
        let entries = [
            Entry {
                shard: 7,
                key: b"key",
                value: Some(b"value"),
            },
            Entry {
                shard: 300,
                key: b"",
                value: Some(b""),
            },
            Entry {
                shard: 0,
                key: b"gone",
                value: None,
            },
        ];
        for entry in entries {
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            for end in 0..bytes.len() {
                assert!(
                    Entry::take(&mut &bytes[..end]).is_err(),
                    "{entry:?} cut at {end}"
                );
            }
            bytes.push(9);
            let mut rest = &bytes[..];
            assert_eq!(Entry::take(&mut rest), Ok(entry));
            assert_eq!(rest, [9]);
        }
        assert!(Entry::take(&mut &[2, 0, 0, 0, 0, 0, 0, 0, 0][..]).is_err());
    }
}
