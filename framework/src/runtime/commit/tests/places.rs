//! The place in the epoch log that a snapshot names: at or before the end of its epoch's entry, never behind it, and
//! known from time to time.

use super::*;
use crate::runtime::keeping::Keeping;
use crate::snapshot::{
    InputPlace, InputStatus, LocalSnapshots, LogPlace, Settings, SnapshotKeeper, SnapshotStore,
    Snapshots,
};

/// Keeps snapshots of an application without state.
fn keeper(directory: &std::path::Path) -> Arc<SnapshotKeeper> {
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open(directory).unwrap());
    let snapshots = Snapshots::open(store, "app").unwrap();
    let settings = Settings {
        application_id: "app".into(),
        topology: String::new(),
        origin: serde_json::Value::Null,
        shards: 1,
        workers: 1,
        steps: Vec::new(),
    };
    let started = SnapshotKeeper::start(snapshots, None, settings, Box::new(|_| {}));
    Arc::new(started.unwrap())
}

/// Commits these epochs together, of which the state of `kept` is kept; the place that its snapshot names.
fn place_of(
    kept: Epoch,
    group: std::ops::RangeInclusive<Epoch>,
    committer: &mut Committer,
    (workers, keeper): (&Sender<ToCommitter>, &SnapshotKeeper),
) -> LogPlace {
    let epochs = committer.parts.epochs.clone();
    for epoch in group.clone() {
        hand_over(epoch, &committer.parts);
    }
    let now = Duration::from_secs(kept);
    if let Some(keeping) = &mut epochs.state().keeping {
        keeping.closing(kept, true, 1, now);
    }
    assert!(epochs.keeps_state_of(kept), "{kept}");
    let input = InputPlace {
        topic: "in".into(),
        topic_id: None,
        partition: 0,
        table: false,
        offset: 10,
        largest: EventTime::MIN,
        status: InputStatus::Active,
    };
    epochs.keep(0, input, (None, EventTime::MIN));
    workers.send(ToCommitter::Passed(group.end() + 1)).unwrap();
    committer.advance().unwrap();
    let published = keeper.finish(Duration::from_secs(60)).unwrap();
    assert_eq!(published.epoch, kept);
    published.log
}

#[test]
fn a_snapshot_of_an_epoch_within_a_group_names_a_place_before_its_entry() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper(directory.path());
    let fake = Fake::new(2, &[]);
    let (workers, parts) = parts(&fake, 0);
    let committed = (0, None);
    let keeping = Keeping::new(
        Arc::clone(&keeper),
        Duration::ZERO,
        Vec::new(),
        0,
        committed,
    );
    parts.epochs.set_keeping(keeping);
    let mut committer = Committer::new(parts);
    // Epochs pass behind the last one of the basis; then the run is live.
    workers.send(ToCommitter::Passed(1)).unwrap();
    committer.advance().unwrap();
    // The start entry lies at 0, the entry of each epoch at its number. Behind a group its end is known.
    for (group, kept, offset) in [
        (1..=3, 2, 0),
        (4..=6, 4, 4),
        (7..=9, 9, 10),
        (10..=10, 10, 11),
    ] {
        let place = place_of(kept, group, &mut committer, (&workers, &keeper));
        let entry = fake.broker().entries[kept as usize].clone();
        assert_eq!(entry.epoch, kept);
        assert_eq!(place.hash, hash(&entry.value), "epoch {kept}");
        assert!(place.offset <= entry.offset + 1, "epoch {kept}: {place:?}");
        assert_eq!(place.offset, offset, "epoch {kept}");
    }
    assert_eq!(
        fake.broker().groups,
        [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10]]
    );
}
