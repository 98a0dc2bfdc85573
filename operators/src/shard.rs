//! Which worker owns a key: `shard = xxh3_64(bytes of the key) mod shards`, `owner = shard * workers / shards`.
//! Of a windowed key the inner key counts.
//!
//! The hash is part of the storage format: it never changes, and neither does an application's number of
//! shards. The number of workers may change at a restart.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::key;

/// The worker that reads a partition of a source.
pub fn reader(source: usize, partition: u32, workers: usize) -> usize {
    (source + partition as usize) % workers
}

/// The shards of an application and the workers that own them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    shards: u32,
    workers: usize,
}

impl Shards {
    /// `shards` shards over `workers` workers, both at least one.
    pub fn new(shards: u32, workers: usize) -> Self {
        assert!(
            shards >= 1 && workers >= 1,
            "there is at least one shard and one worker"
        );
        Shards { shards, workers }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How many shards there are.
    pub fn count(&self) -> u32 {
        self.shards
    }

    /// The shard of a key, a windowed one's by its inner key; `bytes` is memory for the key's. A key that has no
    /// bytes belongs to shard 0, which worker 0 owns; the step that needs its bytes reports it.
    pub fn shard_of<K: Serialize + 'static>(&self, key: &K, bytes: &mut Vec<u8>) -> u32 {
        bytes.clear();
        match key::encode(key, bytes) {
            Ok(layout) => self.shard_of_bytes(&bytes[..layout.inner]),
            Err(_) => 0,
        }
    }

    /// The shard of a key, given its bytes.
    pub fn shard_of_bytes(&self, key: &[u8]) -> u32 {
        (xxh3_64(key) % u64::from(self.shards)) as u32
    }

    /// The worker that owns a shard.
    pub fn owner(&self, shard: u32) -> usize {
        (u64::from(shard) * self.workers as u64 / u64::from(self.shards)) as usize
    }

    /// A function from keys to the worker that owns each; see [`shard_of`](Self::shard_of).
    pub fn router<K: Serialize + 'static>(self) -> impl FnMut(&K) -> usize {
        let mut bytes = Vec::new();
        move |key| self.owner(self.shard_of(key, &mut bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fixed() {
        let shards = Shards::new(256, 1);
        assert_eq!(
            shards.shard_of_bytes(&7u32.to_be_bytes()),
            (xxh3_64(&[0, 0, 0, 7]) % 256) as u32
        );
        // The first is the published test vector of XXH3 for no input.
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(xxh3_64(b"tiderace"), 6_444_025_047_109_940_215);
    }

    #[test]
    fn every_worker_owns_about_as_many_shards() {
        for workers in 1..=9 {
            let shards = Shards::new(256, workers);
            let mut owned = vec![0; workers];
            for shard in 0..256 {
                owned[shards.owner(shard)] += 1;
            }
            assert!(
                owned.iter().max().unwrap() - owned.iter().min().unwrap() <= 1,
                "{owned:?}"
            );
        }
    }
}
