//! Any sequence of changes, floors, early entries, snapshots and restarts, against maps.

use std::sync::Arc;

use proptest::prelude::*;

use super::application::{Application, restored, start};
use super::memory::Memory;
use crate::snapshot::store::SnapshotStore;

#[derive(Clone, Debug)]
enum Action {
    Put(usize, u8, Option<u8>),
    /// Handed over before a snapshot is wanted.
    Early(usize, u8, Option<u8>),
    Floor(usize, u8),
    Snapshot,
    /// A snapshot in whose midst worker 0 already hands over something for the next one.
    Overtaken(usize, u8, u8),
    /// With so many workers.
    Restart(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let value = prop::option::weighted(0.8, any::<u8>());
    prop_oneof![
        10 => (0..2usize, 0..40u8, value.clone()).prop_map(|(s, k, v)| Action::Put(s, k, v)),
        2 => (0..2usize, 0..40u8, value).prop_map(|(s, k, v)| Action::Early(s, k, v)),
        1 => (0..2usize, 0..40u8).prop_map(|(s, k)| Action::Floor(s, k)),
        5 => Just(Action::Snapshot),
        1 => (0..2usize, 0..40u8, any::<u8>()).prop_map(|(s, k, v)| Action::Overtaken(s, k, v)),
        1 => (1..5usize).prop_map(Action::Restart),
    ]
}

const STEPS: [&str; 2] = ["windows", "totals"];

fn value(byte: u8) -> Vec<u8> {
    vec![byte; usize::from(byte)]
}

fn run(actions: &[Action]) {
    let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let mut application = Application::new(2, &STEPS);
    let mut keeper = start(&store, &application).0;
    let mut kept = application.clone();
    let mut epoch = 0;
    for action in actions {
        match action {
            Action::Put(step, key, to) => {
                let to = to.map(value);
                application.put(STEPS[*step], &[*key], to.as_deref());
            }
            Action::Early(step, key, to) => {
                let to = to.map(value);
                application.put(STEPS[*step], &[*key], to.as_deref());
                application.hand_early(&keeper, STEPS[*step], &[*key]);
            }
            Action::Floor(step, key) => {
                application
                    .floors
                    .insert(STEPS[*step].to_owned(), vec![*key]);
            }
            Action::Snapshot => {
                epoch += 1;
                application.snapshot(&keeper, epoch);
                kept = application.clone();
            }
            Action::Overtaken(step, key, to) => {
                epoch += 1;
                application.close(&keeper, epoch, |application| {
                    kept = application.clone();
                    if application.owner(&[*key]) == 0 {
                        application.put(STEPS[*step], &[*key], Some(&value(*to)));
                        application.hand_early(&keeper, STEPS[*step], &[*key]);
                    }
                });
                keeper.finish(super::application::PATIENCE).unwrap();
            }
            Action::Restart(workers) => {
                drop(keeper);
                application = kept.clone();
                application.workers = *workers;
                kept.workers = *workers;
                keeper = start(&store, &application).0;
                assert_eq!(
                    restored(&keeper, &application),
                    application.state,
                    "epoch {epoch}"
                );
            }
        }
    }
    drop(keeper);
    let keeper = start(&store, &kept).0;
    assert_eq!(restored(&keeper, &kept), kept.state, "epoch {epoch}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_comes_back_is_what_stood_at_the_epoch(
        actions in prop::collection::vec(action(), 1..150)
    ) {
        run(&actions);
    }
}
