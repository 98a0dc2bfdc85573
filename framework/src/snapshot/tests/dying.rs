//! A store that dies at its n-th operation, for every n, and one that is full for a while.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiderace_operators::handover::Keeper;

use super::application::{
    Application, Failures, PATIENCE, State, newest, restored, start, start_with,
};
use super::memory::Memory;
use super::{back_ends, directory};
use crate::snapshot::store::{Draft, ReadAt, SnapshotStore, Stored};
use crate::snapshot::{LocalSnapshots, Published, SnapshotError};

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Done,
    /// Not done, and an error.
    Refused,
    /// Done, and an error all the same.
    Unanswered,
}

type Rule = Arc<dyn Fn(usize) -> Fate + Send + Sync>;

/// A store whose operations, counted from 0, have their fates.
struct Fated {
    inner: Arc<dyn SnapshotStore>,
    operations: Arc<AtomicUsize>,
    rule: Rule,
}

fn full() -> io::Error {
    rustix::io::Errno::NOSPC.into()
}

fn decide<T>(
    operations: &AtomicUsize,
    rule: &Rule,
    operation: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match rule(operations.fetch_add(1, Ordering::SeqCst)) {
        Fate::Done => operation(),
        Fate::Refused => Err(full()),
        Fate::Unanswered => operation().and_then(|_| Err(full())),
    }
}

impl Fated {
    fn decide<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        decide(&self.operations, &self.rule, operation)
    }
}

impl SnapshotStore for Fated {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list(&self) -> io::Result<Vec<Stored>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        // Only a merge reads while the application runs; what a start reads is not counted.
        match std::thread::current().name() {
            Some("tiderace-snapshot") => self.decide(|| self.inner.open(name)),
            _ => self.inner.open(name),
        }
    }

    fn create(&self) -> io::Result<Box<dyn Draft>> {
        let draft = self.decide(|| self.inner.create())?;
        Ok(Box::new(FatedDraft {
            inner: Some(draft),
            operations: Arc::clone(&self.operations),
            rule: Arc::clone(&self.rule),
            dead: false,
        }))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.decide(|| self.inner.delete(name))
    }
}

struct FatedDraft {
    inner: Option<Box<dyn Draft>>,
    operations: Arc<AtomicUsize>,
    rule: Rule,
    dead: bool,
}

impl FatedDraft {
    fn decide(
        &mut self,
        operation: impl FnOnce(&mut dyn Draft) -> io::Result<()>,
    ) -> io::Result<()> {
        let inner = self.inner.as_mut().unwrap();
        let result = decide(&self.operations, &self.rule, || operation(&mut **inner));
        self.dead = result.is_err();
        result
    }
}

impl Draft for FatedDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decide(|draft| draft.append(bytes))
    }

    fn publish(&mut self, name: &str) -> io::Result<()> {
        self.decide(|draft| draft.publish(name))
    }
}

impl Drop for FatedDraft {
    fn drop(&mut self) {
        // One that died leaves what it has written, as a kill does.
        let inner = self.inner.take();
        if self.dead {
            std::mem::forget(inner);
        }
    }
}

/// What an application left behind when its process ended.
struct Left {
    /// The state at each epoch that it closed.
    states: Vec<State>,
    published: Option<Published>,
    failures: Failures,
}

/// One life: starts on what is there, which must be a state that once was, and takes snapshots until it is over or
/// the store has died.
fn live(store: &Arc<dyn SnapshotStore>, mut states: Vec<State>, snapshots: usize) -> Left {
    let mut application = Application::new(2, &["windows", "totals"]);
    let (opened, found) = newest(store);
    let epoch = found.loaded.as_ref().map_or(0, |it| it.manifest().epoch);
    states.truncate(epoch as usize + 1);
    application.state.clone_from(&states[epoch as usize]);
    application.may_die = true;
    let (keeper, failures) = start_with(opened, found.loaded, &application);
    assert_eq!(
        restored(&keeper, &application),
        application.state,
        "epoch {epoch}"
    );
    for epoch in epoch + 1..=epoch + snapshots as u64 {
        for number in 0..6u64 {
            let key = (epoch * 5 + number * 3) % 23;
            let value = (number != 4).then_some([epoch as u8; 40]);
            let step = ["windows", "totals"][number as usize % 2];
            application.put(step, &key.to_be_bytes(), value.as_ref().map(|it| &it[..]));
        }
        application.close(&keeper, epoch, |_| {});
        states.push(application.state.clone());
        keeper.finish(PATIENCE);
        if !failures.lock().unwrap().is_empty() {
            assert!(!keeper.is_full(), "nobody is to wait for it");
            break;
        }
    }
    Left {
        states,
        published: keeper.last(),
        failures,
    }
}

fn fated(inner: &Arc<dyn SnapshotStore>, rule: Rule) -> (Arc<dyn SnapshotStore>, Arc<AtomicUsize>) {
    let operations = Arc::new(AtomicUsize::new(0));
    let fated = Fated {
        inner: Arc::clone(inner),
        operations: Arc::clone(&operations),
        rule,
    };
    (Arc::new(fated), operations)
}

/// Kills the second of three lives at its n-th operation; returns whether that came.
fn die(
    n: usize,
    last: Fate,
    store: &Arc<dyn SnapshotStore>,
    reopen: &dyn Fn() -> Arc<dyn SnapshotStore>,
) -> bool {
    let at = format!("dying at operation {n}, {last:?}");
    let empty = Application::new(1, &["windows", "totals"]).state;
    let first = live(store, vec![empty], 2);
    assert_eq!(first.published.as_ref().unwrap().epoch, 2);

    let rule = move |operation: usize| match operation.cmp(&n) {
        std::cmp::Ordering::Less => Fate::Done,
        std::cmp::Ordering::Equal => last,
        std::cmp::Ordering::Greater => Fate::Refused,
    };
    let (dying, operations) = fated(store, Arc::new(rule));
    let second = live(&dying, first.states, 9);
    let died = operations.load(Ordering::SeqCst) > n;
    for failure in &*second.failures.lock().unwrap() {
        let unwritable = matches!(failure, SnapshotError::Unwritable { failures: 10, .. });
        assert!(unwritable, "{at}: {failure}");
    }

    let store = reopen();
    let (_, found) = newest(&store);
    assert!(found.warnings.is_empty(), "{at}: {:?}", found.warnings);
    let epoch = found.loaded.unwrap().manifest().epoch;
    let told = second.published.unwrap().epoch;
    assert!(
        epoch == told || epoch == told + 1,
        "{at}: {epoch} is there, {told} was published"
    );
    let third = live(&store, second.states, 3);
    assert!(third.failures.lock().unwrap().is_empty(), "{at}");
    assert_eq!(third.published.unwrap().epoch, epoch + 3, "{at}");
    died
}

/// Opens a store again, as the next process does.
type Reopen = Box<dyn Fn() -> Arc<dyn SnapshotStore>>;

fn die_everywhere(make: &dyn Fn() -> (Arc<dyn SnapshotStore>, Reopen)) -> usize {
    for n in 0.. {
        for last in [Fate::Refused, Fate::Unanswered] {
            let (store, reopen) = make();
            if !die(n, last, &store, &reopen) {
                return n;
            }
        }
    }
    unreachable!("a life has an end")
}

#[test]
fn wherever_the_store_dies_a_whole_snapshot_remains_in_memory() {
    let points = die_everywhere(&|| {
        let store: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
        let same = Arc::clone(&store);
        (store, Box::new(move || Arc::clone(&same)))
    });
    println!("died at each of {points} operations, in memory");
    assert!(points > 60);
}

#[test]
fn wherever_the_process_dies_a_whole_snapshot_remains_in_the_directory() {
    // Synced thousands of times: in memory, where the system has such a place.
    let directory = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| directory());
    let count = AtomicUsize::new(0);
    let points = die_everywhere(&|| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let path = directory.path().join(number.to_string());
        let store: Arc<dyn SnapshotStore> = Arc::new(LocalSnapshots::open(&path).unwrap());
        let reopen = move || -> Arc<dyn SnapshotStore> {
            let store = Arc::new(LocalSnapshots::open(&path).unwrap());
            for entry in std::fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with('+'), "{name} is left of a crash");
            }
            store
        };
        (store, Box::new(reopen))
    });
    println!("died at each of {points} operations, in a directory");
    assert!(points > 60);
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing() {
    let directory = directory();
    for (name, inner) in back_ends(directory.path()) {
        let mut states = vec![Application::new(1, &["windows", "totals"]).state];
        for from in (0..60).step_by(7) {
            let rule = move |at| {
                if (from..from + 8).contains(&at) {
                    Fate::Refused
                } else {
                    Fate::Done
                }
            };
            let (store, operations) = fated(&inner, Arc::new(rule));
            let begin = states.len() as u64 - 1;
            let left = live(&store, states, 8);
            assert!(
                operations.load(Ordering::SeqCst) > from,
                "it was never full"
            );
            assert!(left.failures.lock().unwrap().is_empty(), "{name}");
            assert_eq!(left.published.unwrap().epoch, begin + 8, "{name}");
            states = left.states;
        }
    }
}

#[test]
fn a_disk_that_stays_full_ends_the_run_and_keeps_what_was_there() {
    let directory = directory();
    for (name, inner) in back_ends(directory.path()) {
        let empty = Application::new(1, &["windows", "totals"]).state;
        let first = live(&inner, vec![empty], 2);
        let (store, operations) = fated(&inner, Arc::new(|_| Fate::Refused));
        let second = live(&store, first.states, 5);
        let failures = second.failures.lock().unwrap();
        let [failure @ SnapshotError::Unwritable { failures: 10, .. }] = &failures[..] else {
            panic!("{name}: {failures:?}");
        };
        assert_eq!(failure.exit_code(), 73);
        assert!(
            failure.to_string().contains("are safe. Make room"),
            "{name}: {failure}"
        );
        assert_eq!(operations.load(Ordering::SeqCst), 10, "{name}");
        assert_eq!(second.published.unwrap().epoch, 2, "{name}");
        assert_eq!(
            newest(&inner).1.loaded.unwrap().manifest().epoch,
            2,
            "{name}"
        );
    }
}

/// Operators are told to wait, and what they hand over all the same is not lost.
#[test]
fn while_the_disk_is_full_what_waits_is_bounded_and_kept() {
    let inner: Arc<dyn SnapshotStore> = Arc::new(Memory::default());
    let open = Arc::new(AtomicUsize::new(0));
    let heal = Arc::clone(&open);
    // Blocks, rather than fails, so that the keeper does not give up.
    let rule = move |_| {
        while open.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        Fate::Done
    };
    let (store, _) = fated(&inner, Arc::new(rule));
    let mut application = Application::new(1, &["windows"]);
    let (keeper, _) = start(&store, &application);
    let mut key = 0u32;
    while !keeper.is_full() {
        application.put("windows", &key.to_be_bytes(), Some(&[7; 100_000]));
        application.hand_early(&keeper, "windows", &key.to_be_bytes());
        key += 1;
    }
    assert!(
        (160..=200).contains(&key),
        "full after {key} entries of 100 kB"
    );
    heal.store(1, Ordering::SeqCst);
    application.snapshot(&keeper, 1);
    assert!(!keeper.is_full());
    drop(keeper);
    let (keeper, _) = start(&inner, &application);
    assert!(restored(&keeper, &application) == application.state);
}
