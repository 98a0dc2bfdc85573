//! Temporary.
use std::sync::Arc;
use std::time::Instant;
use tiderace_operators::handover::{Chunk, Entry, Keeper, LANES};
use tiderace_operators::shard::Shards;
use super::application::*;
use crate::snapshot::store::SnapshotStore;
#[test]
fn speed() {
    let directory = super::directory();
    let store: Arc<dyn SnapshotStore> = Arc::new(crate::snapshot::LocalSnapshots::open(&directory.path().join("s")).unwrap());
    let mut application = Application::new(2, &["windows"]);
    application.shards = 256;
    let (keeper, _) = start(&store, &application);
    let at = Instant::now();
    let shards = Shards::new(256, 2);
    let mut chunks: Vec<Chunk> = (0..LANES).map(|lane| Chunk { node: 7, lane, entries: 0, bytes: vec![] }).collect();
    for n in 0..10_000_000u64 {
        let key = [n.to_be_bytes(), n.to_le_bytes()].concat();
        let shard = shards.shard_of_bytes(&key);
        let chunk = &mut chunks[(shard * LANES / 256) as usize];
        Entry { shard, key: &key, value: Some(&[7; 31]) }.write(&mut chunk.bytes);
        chunk.entries += 1;
        if chunk.bytes.len() > 64 << 10 {
            while keeper.is_full() { std::thread::yield_now(); }
            keeper.chunk(0, chunk.clone());
            chunk.bytes.clear(); chunk.entries = 0;
        }
    }
    application.snapshot(&keeper, 1);
    println!("written in {:?}", at.elapsed());
    drop(keeper);
    let at = Instant::now();
    let (snapshots, found) = newest(&store);
    println!("verified {} bytes in {:?}", found.loaded.as_ref().unwrap().bytes(), at.elapsed());
    let (keeper, _) = start_with(snapshots, found.loaded, &application);
    let at = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let keeper = &keeper;
            scope.spawn(move || {
                let (mut count, mut sum) = (0u64, 0u64);
                keeper.restore(7, worker, &mut |key, value| { count += 1; sum += u64::from(key[7]) + value.unwrap().len() as u64; Ok(()) });
                println!("worker {worker}: {count} entries {sum} in {:?}", at.elapsed());
            });
        }
    });
}
