//! Round trips on every back end, with another number of workers each time.

use std::sync::Arc;

use tiderace_operators::handover::Keeper;
use tiderace_operators::record::EventTime;

use super::application::{Application, input, newest, place, restored, start, start_with, stored};
use super::memory::Memory;
use super::{back_ends, directory};
use crate::snapshot::store::SnapshotStore;

/// Changes about as many keys as `keys`, in a way that depends on the epoch.
fn change(application: &mut Application, epoch: u64, keys: u32) {
    for number in 0..keys {
        let key = ((u64::from(number) * 7 + epoch * 13) % 5_000).to_be_bytes();
        let value = [epoch.to_be_bytes(), key].concat();
        let step = if number % 3 == 0 { "windows" } else { "totals" };
        let value = (number % 11 != 0).then_some(&*value);
        application.put(step, &key, value);
    }
}

#[test]
fn state_comes_back_with_one_worker_then_four_then_two() {
    let directory = directory();
    for (name, store) in back_ends(directory.path()) {
        let mut application = Application::new(1, &["windows", "totals"]);
        let mut epoch = 0;
        for workers in [1, 4, 2, 1] {
            application.workers = workers;
            let (keeper, _) = start(&store, &application);
            assert_eq!(restored(&keeper, &application), application.state, "{name}");
            for _ in 0..4 {
                epoch += 1;
                change(&mut application, epoch, 2_000);
                application.snapshot(&keeper, epoch);
            }
        }
        let (read, state) = stored(&store, &application).unwrap();
        assert_eq!((read, state), (epoch, application.state), "{name}");
    }
}

#[test]
fn many_blocks_and_large_entries_come_back() {
    let directory = directory();
    for (name, store) in back_ends(directory.path()) {
        let mut application = Application::new(3, &["windows"]);
        // The file is larger than what is uploaded, read or appended at once.
        for number in 0..900u32 {
            let value = vec![number as u8; if number == 5 { 5 << 20 } else { 10_000 }];
            application.put("windows", &number.to_be_bytes(), Some(&value));
        }
        let (keeper, _) = start(&store, &application);
        application.snapshot(&keeper, 1);
        // Merged: what was deleted is in no block of the new base.
        for epoch in 2..30 {
            application.put("windows", &5u32.to_be_bytes(), Some(&[epoch as u8; 1_000]));
            application.snapshot(&keeper, epoch);
        }
        let (_, state) = stored(&store, &application).unwrap();
        assert!(state == application.state, "{name}");
    }
}

#[test]
fn without_state_there_are_the_inputs() {
    let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let mut application = Application::new(2, &[]);
    let (keeper, _) = start(&store, &application);
    for epoch in 1..=5 {
        application.snapshot(&keeper, epoch);
    }
    assert_eq!(keeper.oldest().unwrap().epoch, 4);
    let (_, found) = newest(&store);
    let manifest = found.loaded.unwrap().manifest().clone();
    assert_eq!(manifest.epoch, 5);
    assert_eq!(manifest.inputs, [input(5)]);
    assert_eq!(manifest.standing, serde_json::json!({"epoch": 5}));
    assert_eq!(manifest.origin, serde_json::json!({"inputs": []}));
    assert_eq!((manifest.log, manifest.workers), (place(5), 2));
}

#[test]
fn a_step_gets_its_watermark_and_a_new_step_nothing() {
    let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let mut application = Application::new(2, &["windows"]);
    let (keeper, _) = start(&store, &application);
    assert_eq!(
        keeper.restore(7, 0, &mut |_, _| panic!("nothing is there")),
        None
    );
    application.put("windows", b"key", Some(b"value"));
    application.snapshot(&keeper, 4);
    drop(keeper);
    let application = Application::new(2, &["another", "windows"]);
    let (keeper, _) = start(&store, &application);
    assert_eq!(keeper.restore(7, 0, &mut |_, _| panic!("it is new")), None);
    let watermark = keeper.restore(8, 0, &mut |_, _| Ok(()));
    assert_eq!(watermark, Some(EventTime::from_millis(40)));
}

/// Otherwise a later step would begin with what an earlier one of its name has left.
#[test]
fn a_step_that_was_dropped_does_not_come_back_with_its_old_state() {
    let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let mut with = Application::new(2, &["kept", "dropped"]);
    with.put("kept", b"key", Some(&[1; 500]));
    with.put("dropped", b"old", Some(&[2; 500]));
    let (keeper, _) = start(&store, &with);
    with.snapshot(&keeper, 1);
    drop(keeper);

    let mut without = Application::new(2, &["kept"]);
    let (snapshots, found) = newest(&store);
    let (keeper, _) = start_with(snapshots, found.loaded, &without);
    without.put("kept", b"key", Some(b"changed"));
    without.snapshot(&keeper, 2);
    drop(keeper);

    let (keeper, _) = start(&store, &with);
    with.state = restored(&keeper, &with);
    assert!(with.state["dropped"].is_empty());
    with.dirty.clear();
    with.put("dropped", b"new", Some(b"value"));
    with.snapshot(&keeper, 3);
    drop(keeper);
    let (_, state) = stored(&store, &with).unwrap();
    assert_eq!(state["kept"][&b"key"[..]], b"changed");
    assert_eq!(state["dropped"].keys().collect::<Vec<_>>(), [b"new"]);
}
