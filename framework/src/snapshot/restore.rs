//! Taking entries back: those that lie in the shards of one worker, however many workers wrote them.

use std::path::Path;

use tiderace_operators::failpoint;
use tiderace_operators::handover::{LANES, TakeEntry};
use tiderace_operators::record::EventTime;
use tiderace_operators::shard::Shards;

use super::data_file::entries;
use super::error::SnapshotError;
use super::format::Block;
use super::snapshots::Loaded;
use super::store::SnapshotStore;

/// Who owns the shards of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Others, all of them.
    Foreign,
    /// This worker and others.
    Shared,
    /// This worker, all of them.
    Own,
}

/// What a worker owns.
struct Owned {
    worker: usize,
    shards: Shards,
    count: u32,
    lanes: [Lane; LANES as usize],
}

impl Owned {
    fn new(count: u32, workers: usize, worker: usize) -> Self {
        let shards = Shards::new(count, workers);
        let lanes = std::array::from_fn(|lane| {
            let of = |shard: &u32| lane_of(*shard, count) == lane as u64;
            let mut own = (0..count)
                .filter(of)
                .map(|shard| shards.owner(shard) == worker);
            match own.next() {
                Some(first) if own.any(|it| it != first) => Lane::Shared,
                Some(true) => Lane::Own,
                _ => Lane::Foreign,
            }
        });
        Owned {
            worker,
            shards,
            count,
            lanes,
        }
    }
}

/// The lane of a shard, as operators sort entries.
fn lane_of(shard: u32, shards: u32) -> u64 {
    u64::from(shard) * u64::from(LANES) / u64::from(shards)
}

/// The most entries of a step that one file holds for a worker: those of the others are mostly of the same keys.
pub(super) fn most_entries(
    loaded: &Loaded,
    step: &str,
    (workers, worker): (usize, usize),
) -> usize {
    let owned = Owned::new(loaded.manifest.shards, workers, worker);
    let share = |block: &Block| match owned.lanes.get(block.lane as usize) {
        Some(Lane::Own) => block.entries as usize,
        Some(Lane::Shared) => block.entries as usize / workers,
        Some(Lane::Foreign) | None => 0,
    };
    let entries = loaded.chain.links.iter().filter_map(|link| {
        let number = link.step(step)?;
        let blocks = link.file.blocks.iter().filter(|it| it.step == number);
        Some(blocks.map(share).sum())
    });
    entries.max().unwrap_or(0)
}

/// Gives `take` the entries of a step that a worker owns, and returns the step's watermark; `None` if the snapshot
/// does not know the step.
pub(super) fn restore(
    store: &dyn SnapshotStore,
    loaded: &Loaded,
    step: &str,
    (workers, worker): (usize, usize),
    take: &mut TakeEntry<'_>,
) -> Result<Option<EventTime>, SnapshotError> {
    let Some(state) = loaded.manifest.step(step) else {
        return Ok(None);
    };
    let owned = Owned::new(loaded.manifest.shards, workers, worker);
    let floors = loaded.chain.floors(step);
    for (link, floor) in loaded.chain.links.iter().zip(&floors) {
        let Some(number) = link.step(step) else {
            continue;
        };
        let path = Path::new(&store.location()).join(&link.file.name);
        let lane = |of: u32| owned.lanes.get(of as usize).copied();
        let wanted = |it: &Block| it.step == number && lane(it.lane) != Some(Lane::Foreign);
        link.file.read(store, wanted, &mut |block, payload| {
            failpoint!(super::points::P18_RESTORING, |_| Err(
                super::data_file::unreadable(&path, block.at, super::points::broken())
            ));
            let shared = lane(block.lane) != Some(Lane::Own);
            entries(block, payload, &mut |entry| {
                if lane_of(entry.shard, owned.count) != u64::from(block.lane) {
                    return Err(SnapshotError::Bug(format!(
                        "{}: an entry of step `{step}` with shard {} is in lane {}",
                        path.display(),
                        entry.shard,
                        block.lane
                    )));
                }
                let own = !shared || owned.shards.owner(entry.shard) == owned.worker;
                if !own || !floor.is_empty() && entry.key < floor.as_slice() {
                    return Ok(());
                }
                take(entry.key, entry.value).map_err(|error| refused(&path, step, &error.0))
            })
        })?;
    }
    Ok(Some(state.watermark))
}

fn refused(path: &Path, step: &str, reason: &str) -> SnapshotError {
    SnapshotError::Refused(format!(
        "step `{step}` cannot take its state back from {}: {reason}. The file is as it was written, so the program \
         has changed: run the one that wrote it, or use another --data-dir or --application-id to begin anew",
        path.display()
    ))
}
