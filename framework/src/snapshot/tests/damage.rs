//! Every truncation and bit flip is found, said, and passed over for the snapshot before; nothing loads partly.

use std::path::Path;
use std::sync::Arc;

use super::application::{Application, newest, restored, start, start_with};
use super::kept::manifests;
use super::memory::Memory;
use crate::snapshot::data_file::DataFile;
use crate::snapshot::manifest::Manifest;
use crate::snapshot::store::SnapshotStore;
use crate::snapshot::{SnapshotError, Snapshots};

/// How many flips of a data file are tried.
const FLIPS: u64 = 100_000;

/// Two snapshots; the second one's file holds about 40 KiB.
fn two() -> (Memory, Application, Application) {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(2, &["windows", "totals"]);
    let (keeper, _) = start(&store, &application);
    for number in 0..800u32 {
        application.put(
            "windows",
            &number.to_be_bytes(),
            Some(&number.to_le_bytes()),
        );
    }
    application.snapshot(&keeper, 1);
    let first = application.clone();
    for number in 0..1_200u32 {
        let step = if number % 2 == 0 { "windows" } else { "totals" };
        application.put(step, &number.to_be_bytes(), Some(&[number as u8; 12]));
    }
    application.snapshot(&keeper, 2);
    (memory, first, application)
}

/// The last file of the newest snapshot.
fn newest_file(memory: &Memory) -> String {
    let manifest = manifests(memory).pop().unwrap();
    manifest.files.last().unwrap().name.clone()
}

#[test]
fn every_truncation_and_every_flip_of_a_data_file_is_found() {
    let (memory, ..) = two();
    let name = newest_file(&memory);
    let whole = memory.get(&name);
    let verified = DataFile::verify(&memory, &name, "app").unwrap();
    assert_eq!(verified.bytes, whole.len() as u64);
    assert!(whole.len() > 30_000 && whole.len() < 64 << 10);
    let found = |bytes: Vec<u8>, what: &str| {
        memory.put(&name, bytes);
        match DataFile::verify(&memory, &name, "app") {
            Err(SnapshotError::Damaged { object, .. }) => {
                assert_eq!(object, Path::new("memory").join(&name));
            }
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what} was not found"),
        }
    };
    for length in 0..whole.len() {
        found(whole[..length].to_vec(), &format!("cut at {length}"));
    }
    for more in 1..40 {
        let longer = [&whole[..], &vec![2; more]].concat();
        found(longer, &format!("{more} more bytes"));
    }
    let bits = whole.len() as u64 * 8;
    // Spread over the file, and every bit of the header, the first blocks and the end.
    let dense = (0..4_000).chain(bits - 4_000..bits);
    let sampled = (0..FLIPS).map(|at| at * 7_919_993 % bits);
    let mut flips = 0;
    for bit in dense.chain(sampled) {
        let mut bytes = whole.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        found(bytes, &format!("flip of bit {bit}"));
        flips += 1;
    }
    println!(
        "data file of {} bytes: {} truncations and {flips} flips, all found",
        whole.len(),
        whole.len()
    );
}

#[test]
fn every_truncation_and_every_flip_of_a_manifest_is_found() {
    let (memory, ..) = two();
    let name = memory.names(".manifest").pop().unwrap();
    let whole = memory.get(&name);
    assert!(Manifest::from_bytes(&whole, name.as_ref(), "app").is_ok());
    let found = |bytes: &[u8], what: &str| match Manifest::from_bytes(bytes, name.as_ref(), "app") {
        Err(SnapshotError::Damaged { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} was not found"),
    };
    for length in 0..whole.len() {
        found(&whole[..length], &format!("cut at {length}"));
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        found(&bytes, &format!("flip of bit {bit}"));
    }
    found(&[&whole[..], b" "].concat(), "a byte more");
    println!(
        "manifest of {} bytes: {} truncations and {} flips, all found",
        whole.len(),
        whole.len(),
        whole.len() * 8
    );
}

/// What each kind of damage does to a store: its name, what is changed, and what the warning says.
type Damage = (&'static str, fn(&Memory), &'static str);

const DAMAGE: [Damage; 8] = [
    (
        "a flip in the file",
        |memory| change(memory, &newest_file(memory), |it| it[9_000] ^= 4),
        "checksum of a block",
    ),
    (
        "the file cut",
        |memory| change(memory, &newest_file(memory), |it| it.truncate(20_000)),
        "ends too early",
    ),
    (
        "the file empty",
        |memory| change(memory, &newest_file(memory), Vec::clear),
        "ends too early",
    ),
    (
        "the file zeroed",
        |memory| change(memory, &newest_file(memory), |it| it.fill(0)),
        "does not begin",
    ),
    (
        "the file missing",
        |memory| _ = memory.delete(&newest_file(memory)),
        "missing",
    ),
    (
        "the files swapped",
        swap,
        "not the file that the manifest names",
    ),
    (
        "a flip in the manifest",
        |memory| change(memory, &newest_manifest(memory), |it| it[200] ^= 1),
        "checksum differs",
    ),
    (
        "the manifest empty",
        |memory| change(memory, &newest_manifest(memory), Vec::clear),
        "no manifest",
    ),
];

fn newest_manifest(memory: &Memory) -> String {
    memory.names(".manifest").pop().unwrap()
}

fn change(memory: &Memory, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = memory.get(name);
    change(&mut bytes);
    memory.put(name, bytes);
}

/// The newest file in the place of which the first one stands: whole, but another one.
fn swap(memory: &Memory) {
    let first = manifests(memory)[0].files[0].name.clone();
    memory.put(&newest_file(memory), memory.get(&first));
}

#[test]
fn a_damaged_snapshot_is_said_and_the_one_before_is_taken() {
    for (what, damage, says) in DAMAGE {
        let (memory, mut first, _) = two();
        let second = newest_manifest(&memory);
        damage(&memory);
        let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
        let (snapshots, found) = newest(&store);
        let loaded = found.loaded.unwrap();
        assert_eq!(loaded.manifest().epoch, 1, "{what}");
        let [warning] = &found.warnings[..] else {
            panic!("{what}: {:?}", found.warnings);
        };
        assert!(
            warning.contains("epoch 2") && warning.contains(says),
            "{what}: {warning}"
        );
        let checked = snapshots.check().unwrap();
        let [damaged, whole] = &checked[..] else {
            panic!("{what}: {checked:?}");
        };
        let reason = damaged.outcome.as_ref().unwrap_err();
        assert!(reason.contains(says), "{what}: {reason}");
        assert_eq!((damaged.epoch, whole.epoch), (2, 1), "{what}");
        assert!(whole.outcome.is_ok(), "{what}");

        // The next snapshot stands on the first one, and what was damaged goes.
        let (keeper, _) = start_with(snapshots, Some(loaded), &first);
        assert_eq!(restored(&keeper, &first), first.state, "{what}");
        first.put("totals", b"more", Some(b"value"));
        first.snapshot(&keeper, 3);
        assert!(!memory.names("").contains(&second), "{what}");
        drop(keeper);
        let (snapshots, found) = newest(&store);
        assert!(found.warnings.is_empty(), "{what}: {:?}", found.warnings);
        let (keeper, _) = start_with(snapshots, found.loaded, &first);
        assert_eq!(restored(&keeper, &first), first.state, "{what}");
    }
}

#[test]
fn with_the_base_damaged_nothing_that_stands_on_it_is_taken() {
    let (memory, ..) = two();
    let base = manifests(&memory)[0].files[0].name.clone();
    change(&memory, &base, |bytes| bytes[5_000] ^= 0x80);
    let store: Arc<dyn SnapshotStore> = Arc::new(memory);
    let (_, found) = newest(&store);
    assert!(found.loaded.is_none());
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
}

/// Damage that comes after the verification: the step gets entries, but the start fails.
#[test]
fn a_block_that_changes_while_it_is_read_fails_the_start() {
    let (memory, _, application) = two();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let (keeper, _) = start(&store, &application);
    change(&memory, &newest_file(&memory), |bytes| bytes[9_000] ^= 4);
    for worker in 0..2 {
        for step in ["windows", "totals"] {
            use tiderace_operators::handover::Keeper;
            keeper.restore(application.node(step), worker, &mut |_, _| Ok(()));
        }
    }
    let failure = keeper.failure();
    assert!(
        matches!(failure, Some(SnapshotError::Damaged { .. })),
        "{failure:?}"
    );
}

/// A merge would carry the damage into the new base.
#[test]
fn a_merge_of_damaged_files_stops_the_application() {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(1, &["windows"]);
    let (keeper, failures) = start(&store, &application);
    application.put("windows", b"key", Some(&[1; 1_000]));
    application.snapshot(&keeper, 1);
    application.put("windows", b"other", Some(&[2; 900]));
    application.snapshot(&keeper, 2);
    change(&memory, &newest_file(&memory), |bytes| bytes[200] ^= 4);
    application.put("windows", b"other", Some(&[3; 900]));
    application.close(&keeper, 3, |_| {});
    keeper.finish(super::application::PATIENCE);
    // The merge comes behind the snapshot.
    let begun = crate::clock::instant();
    while failures.lock().unwrap().is_empty() {
        assert!(
            begun.elapsed() < super::application::PATIENCE,
            "the merge went on"
        );
        std::thread::yield_now();
    }
    let failure = failures.lock().unwrap().pop().unwrap();
    assert!(
        matches!(failure, SnapshotError::Damaged { .. }),
        "{failure:?}"
    );
    assert!(!keeper.want(4, 4));
    drop(keeper);
    let found = Snapshots::open(store, "app")
        .unwrap()
        .newest(u64::MAX)
        .unwrap();
    assert_eq!(found.loaded.unwrap().manifest().epoch, 1);
}
