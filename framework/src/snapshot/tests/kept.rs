//! What is kept and what is deleted; when files are merged.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::application::{Application, newest, restored, start, start_with, stored};
use super::memory::Memory;
use crate::snapshot::manifest::{FileKind, Manifest};
use crate::snapshot::store::{Draft, ReadAt, SnapshotStore, Stored};

pub(super) fn manifests(memory: &Memory) -> Vec<Manifest> {
    let read = |name: &String| Manifest::from_bytes(&memory.get(name), name.as_ref(), "app");
    let names = memory.names(".manifest");
    names.iter().map(|name| read(name).unwrap()).collect()
}

/// Every file that a manifest names is there, and no other; two chains are there if there were two.
fn check_kept(memory: &Memory, merging: &BTreeSet<String>) -> usize {
    let manifests = manifests(memory);
    let named: BTreeSet<String> = manifests
        .iter()
        .flat_map(|it| it.files.iter().map(|file| file.name.clone()))
        .collect();
    let there: BTreeSet<String> = memory.names(".data").into_iter().collect();
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "deleted, but named: {missing:?}");
    let more: Vec<_> = there
        .difference(&named)
        .filter(|it| !merging.contains(*it))
        .collect();
    assert!(more.len() <= 1, "left, but not named: {more:?}");
    let bases: BTreeSet<String> = manifests
        .iter()
        .map(|it| it.files[0].name.clone())
        .collect();
    assert!(bases.len() <= 2, "{bases:?}");
    bases.len()
}

#[test]
fn two_chains_are_kept_whole_and_nothing_else() {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(2, &["windows"]);
    for number in 0..200u32 {
        application.put("windows", &number.to_be_bytes(), Some(&[0; 100]));
    }
    let mut chains = BTreeSet::new();
    let mut bases = BTreeSet::new();
    for life in 0..4u64 {
        let (keeper, _) = start(&store, &application);
        for epoch in life * 40 + 1..=life * 40 + 40 {
            let key = (epoch as u32 * 31 % 200).to_be_bytes();
            application.put("windows", &key, Some(&[epoch as u8; 100]));
            application.snapshot(&keeper, epoch);
            chains.insert(check_kept(&memory, &BTreeSet::new()));
            let oldest = manifests(&memory)[0].epoch;
            assert_eq!(keeper.oldest().unwrap().epoch, oldest);
            let last = manifests(&memory).pop().unwrap();
            // Those written while a new base is being made stand on the old one.
            assert!(last.files.len() <= 24, "{} files", last.files.len());
            let kinds: Vec<_> = last.files.iter().map(|it| it.kind).collect();
            assert_eq!(kinds[0], FileKind::Base);
            assert!(!kinds[1..].contains(&FileKind::Base));
            bases.insert(last.files[0].name.clone());
        }
        let (_, state) = stored(&store, &application).unwrap();
        assert_eq!(state, application.state);
    }
    assert_eq!(chains, BTreeSet::from([1, 2]));
    assert!(bases.len() > 5, "merged {} times", bases.len() - 1);
}

/// A store in memory that does not delete manifests as long as it is told so.
struct Stubborn {
    inner: Memory,
    keeps: Arc<AtomicBool>,
}

impl SnapshotStore for Stubborn {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list(&self) -> io::Result<Vec<Stored>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        self.inner.open(name)
    }

    fn create(&self) -> io::Result<Box<dyn Draft>> {
        self.inner.create()
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        if name.ends_with(".manifest") && self.keeps.load(Ordering::SeqCst) {
            return Err(io::Error::other("it is kept"));
        }
        self.inner.delete(name)
    }
}

/// A check would call it damaged.
#[test]
fn a_manifest_that_cannot_be_deleted_keeps_its_files_until_it_can() {
    let memory = Memory::default();
    let keeps = Arc::new(AtomicBool::new(true));
    let store: Arc<dyn SnapshotStore> = Arc::new(Stubborn {
        inner: memory.clone(),
        keeps: Arc::clone(&keeps),
    });
    let mut application = Application::new(1, &["windows"]);
    let (keeper, _) = start(&store, &application);
    for epoch in 1..=40u64 {
        keeps.store(epoch < 40, Ordering::SeqCst);
        application.put("windows", b"key", Some(&epoch.to_be_bytes()));
        application.snapshot(&keeper, epoch);
        let there: BTreeSet<String> = memory.names(".data").into_iter().collect();
        for manifest in manifests(&memory) {
            let missing = manifest.files.iter().find(|it| !there.contains(&it.name));
            assert!(missing.is_none(), "epoch {}", manifest.epoch);
        }
    }
    check_kept(&memory, &BTreeSet::new());
}

/// A table that was read long ago would otherwise leave a manifest an interval, for ever.
#[test]
fn of_snapshots_that_stand_on_the_same_files_two_are_kept() {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(2, &["rows"]);
    application.put("rows", b"row", Some(b"of a table"));
    let (keeper, _) = start(&store, &application);
    for epoch in 1..=50 {
        application.snapshot(&keeper, epoch);
        let kept: Vec<_> = manifests(&memory).iter().map(|it| it.epoch).collect();
        let newest: Vec<_> = (epoch.max(2) - 1..=epoch).collect();
        assert!(kept.ends_with(&newest) && kept.len() <= 2, "{kept:?}");
        assert_eq!(keeper.oldest().unwrap().epoch, kept[0]);
    }
    drop(keeper);
    // With the newest one damaged the other has all that there is.
    let newest_name = memory.names(".manifest").pop().unwrap();
    memory.put(&newest_name, Vec::new());
    let (_, found) = newest(&store);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert_eq!(found.loaded.unwrap().manifest().epoch, 49);
    let (_, state) = stored(&store, &application).unwrap();
    assert_eq!(state, application.state);
}

#[test]
fn what_was_deleted_or_lies_below_the_floor_is_in_no_new_base() {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(1, &["windows"]);
    let (keeper, _) = start(&store, &application);
    let canary = b"a canary of the deleted";
    application.put("windows", b"k-deleted", Some(canary));
    application.put("windows", b"b-below", Some(canary));
    application.put("windows", b"z-stays", Some(b"this stays"));
    application.snapshot(&keeper, 1);
    application.put("windows", b"k-deleted", None);
    application
        .floors
        .insert("windows".to_owned(), b"c".to_vec());
    for epoch in 2..40u64 {
        application.put("windows", b"z-more", Some(&epoch.to_be_bytes()));
        application.snapshot(&keeper, epoch);
    }
    let holds = |what: &[u8]| {
        let names = memory.names(".data").into_iter();
        let mut files = names.map(|name| memory.get(&name));
        files.any(|bytes| bytes.windows(what.len()).any(|of| of == what))
    };
    assert!(holds(b"this stays") && !holds(canary));
    assert!(!holds(b"k-deleted"), "nor that it was deleted");
    drop(keeper);
    let (_, state) = stored(&store, &application).unwrap();
    assert_eq!(state, application.state);
}

#[test]
fn what_a_crash_left_between_file_and_manifest_goes_behind_the_next_snapshot() {
    let memory = Memory::default();
    let store: Arc<dyn SnapshotStore> = Arc::new(memory.clone());
    let mut application = Application::new(1, &["windows"]);
    application.put("windows", b"key", Some(b"value"));
    let (keeper, _) = start(&store, &application);
    application.snapshot(&keeper, 1);
    drop(keeper);
    let orphan = "00000000000000000002-0badf00d.data";
    memory.put(orphan, b"whatever".to_vec());
    memory.put("notes of the operator", b"not ours".to_vec());
    let (keeper, _) = start(&store, &application);
    // Another instance, which this one knows nothing of.
    let foreign = "00000000000000000009-0badf00d.data";
    memory.put(foreign, b"whatever".to_vec());
    assert_eq!(restored(&keeper, &application), application.state);
    assert!(memory.names("").contains(&orphan.to_owned()));
    application.snapshot(&keeper, 2);
    let names = memory.names("");
    assert!(!names.contains(&orphan.to_owned()));
    assert!(names.contains(&foreign.to_owned()));
    assert!(names.contains(&"notes of the operator".to_owned()));
}

#[test]
fn a_start_at_an_older_snapshot_goes_on_from_there() {
    let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let mut application = Application::new(1, &["windows"]);
    let (keeper, _) = start(&store, &application);
    let mut states = Vec::new();
    for epoch in [10, 20, 30] {
        application.put("windows", &[1], Some(&[epoch as u8; 9]));
        application.snapshot(&keeper, epoch);
        states.push(application.state.clone());
    }
    drop(keeper);
    let (snapshots, _) = newest(&store);
    assert!(snapshots.newest(9).unwrap().loaded.is_none());
    for (until, state) in [(10, &states[0]), (29, &states[1]), (30, &states[2])] {
        let found = snapshots.newest(until).unwrap();
        assert!(found.warnings.is_empty());
        let (snapshots, _) = newest(&store);
        let (keeper, _) = start_with(snapshots, found.loaded, &application);
        assert_eq!(&restored(&keeper, &application), state);
    }
    let found = snapshots.newest(29).unwrap();
    application.state = states[1].clone();
    let (keeper, _) = start_with(snapshots, found.loaded, &application);
    application.put("windows", &[2], Some(b"new"));
    application.snapshot(&keeper, 40);
    drop(keeper);
    assert_eq!(
        stored(&store, &application),
        Some((40, application.state.clone()))
    );
}
