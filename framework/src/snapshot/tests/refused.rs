//! What is whole but not for this program is refused, whatever older snapshots there are.

use std::sync::Arc;

use tiderace_operators::handover::{Chunk, Keeper, Part};
use tiderace_operators::record::EventTime;
use xxhash_rust::xxh3::xxh3_64;

use super::application::{Application, newest, start};
use super::kept::manifests;
use super::memory::Memory;
use crate::snapshot::store::SnapshotStore;
use crate::snapshot::{SnapshotError, SnapshotKeeper, Snapshots};

fn one() -> (Memory, Arc<dyn SnapshotStore>, Application) {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(1, &["windows"]);
    let (keeper, _) = start(&store, &application);
    for epoch in 1..=2 {
        application.put("windows", &[epoch as u8], Some(b"value"));
        application.snapshot(&keeper, epoch);
    }
    drop(keeper);
    (memory, store, application)
}

fn refusal<T>(result: Result<T, SnapshotError>) -> String {
    match result {
        Err(SnapshotError::Refused(reason)) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn another_applications_snapshot_is_refused() {
    let (_, store, _) = one();
    let reason = refusal(Snapshots::open(store, "other"));
    assert!(
        reason.contains("`app`") && reason.contains("--data-dir"),
        "{reason}"
    );
}

/// The bytes of a manifest with another version, and a checksum that fits.
fn of_version(bytes: &[u8], version: u32) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let rest = text[31..].replacen("\"version\":1", &format!("\"version\":{version}"), 1);
    let sum = xxh3_64(rest.as_bytes());
    format!("{}{sum:016x}\",{rest}", &text[..13]).into_bytes()
}

#[test]
fn a_newer_manifest_is_refused_even_if_an_older_one_is_there() {
    let (memory, store, _) = one();
    let name = memory.names(".manifest").pop().unwrap();
    let bytes = memory.get(&name);
    assert!(of_version(&bytes, 1) == bytes);
    memory.put(&name, of_version(&bytes, 2));
    let reason = refusal(Snapshots::open(store, "app"));
    assert!(
        reason.contains("version 2") && reason.contains(&name),
        "{reason}"
    );
}

#[test]
fn a_newer_data_file_is_refused() {
    let (memory, store, _) = one();
    let name = manifests(&memory)[1].files[1].name.clone();
    let mut bytes = memory.get(&name);
    bytes[8] = 2;
    let body = 20 + u64::from_le_bytes(bytes[12..20].try_into().unwrap()) as usize;
    let sum = xxh3_64(&bytes[..body]).to_le_bytes();
    bytes[body..body + 8].copy_from_slice(&sum);
    memory.put(&name, bytes);
    let snapshots = Snapshots::open(store, "app").unwrap();
    let reason = refusal(snapshots.newest(u64::MAX));
    assert!(
        reason.contains("version 2") && reason.contains(&name),
        "{reason}"
    );
}

#[test]
fn another_number_of_shards_is_refused() {
    let (_, store, mut application) = one();
    application.shards = 32;
    let (snapshots, found) = newest(&store);
    let settings = application.settings();
    let started = SnapshotKeeper::start(snapshots, found.loaded, settings, Box::new(|_| {}));
    let reason = refusal(started);
    assert!(
        reason.contains("64 shards") && reason.contains("32"),
        "{reason}"
    );
}

#[test]
fn a_step_that_does_not_take_its_entries_fails_the_start() {
    let (_, store, application) = one();
    let (keeper, _) = start(&store, &application);
    let refuse = |key: &[u8]| tiderace_operators::handover::StateError(format!("no {key:?}"));
    let watermark = keeper.restore(7, 0, &mut |key, _| Err(refuse(key)));
    assert_eq!(watermark, None);
    let reason = refusal(keeper.failure().map_or(Ok(()), Err));
    assert!(
        reason.contains("`windows`") && reason.contains("no [1]"),
        "{reason}"
    );
}

#[test]
fn a_step_that_cannot_write_its_state_ends_the_run_and_publishes_nothing() {
    let (_, store, mut application) = one();
    let (keeper, failures) = start(&store, &application);
    application.put("windows", b"key", Some(b"value"));
    application.hand_early(&keeper, "windows", b"key");
    let error = tiderace_operators::handover::StateError("no map as a key".to_owned());
    keeper.fail(7, 0, error);
    let reason = refusal(failures.lock().unwrap().pop().map_or(Ok(()), Err));
    assert!(
        reason.contains("`windows`") && reason.contains("no map as a key"),
        "{reason}"
    );
    assert!(!keeper.want(3, 3));
    assert_eq!(newest(&store).1.loaded.unwrap().manifest().epoch, 2);
}

#[test]
fn what_operators_must_not_do_is_told_and_publishes_nothing() {
    type Wrong = fn(&SnapshotKeeper);
    let part = |node, worker, epoch, watermark| Part {
        node,
        worker,
        epoch,
        watermark: EventTime::from_millis(watermark),
        floor: Vec::new(),
    };
    let wrongs: [(&str, Wrong, Vec<Part>); 4] = [
        (
            "the unknown step 9",
            |keeper| {
                let bytes = Vec::new();
                let (node, lane, entries) = (9, 0, 0);
                keeper.chunk(
                    0,
                    Chunk {
                        node,
                        lane,
                        entries,
                        bytes,
                    },
                );
            },
            vec![],
        ),
        ("step 9 on worker 0", |_| {}, vec![part(9, 0, 1, 0)]),
        ("epoch 2", |_| {}, vec![part(7, 0, 2, 0)]),
        (
            "on another",
            |_| {},
            vec![part(7, 0, 1, 0), part(7, 1, 1, 5)],
        ),
    ];
    for (says, wrong, parts) in wrongs {
        let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
        let (keeper, failures) = start(&store, &Application::new(2, &["windows"]));
        assert!(keeper.want(1, 1));
        wrong(&keeper);
        for part in parts {
            keeper.done(part);
        }
        let failures = failures.lock().unwrap();
        let [SnapshotError::Bug(reason)] = &failures[..] else {
            panic!("{says}: {failures:?}");
        };
        assert!(reason.contains(says), "{reason}");
        assert_eq!(keeper.finish(super::application::PATIENCE), None);
        assert!(store.list().unwrap().is_empty());
    }
}
