//! Commits that wait for further epochs, and what does not let them wait.

use super::*;
use crate::runtime::commit::between_commits;
use crate::runtime::schedule::Schedule;

const INTERVAL: Duration = Duration::from_millis(100);
const AHEAD: Duration = Duration::from_millis(6);

/// Longer than any test takes.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Has the epochs of a run pass one by one, each when the committer has done what it can; how many commits there were
/// before the input ended.
fn commits(prepare: impl FnOnce(&mut CommitParts)) -> usize {
    let fake = with(2, &[], false);
    let (to_committer, mut parts) = parts(&fake, 0);
    for epoch in 1..=EPOCHS {
        hand_over(epoch, &parts);
    }
    parts.waits.commits = LONG;
    prepare(&mut parts);
    let mut committer = Committer::new(parts);
    for passed in 2..=EPOCHS + 1 {
        to_committer.send(ToCommitter::Passed(passed)).unwrap();
        assert!(!committer.advance().unwrap());
    }
    let calls = fake.broker().calls.clone();
    let flushes = calls[&Step::Flush];
    assert!(
        flushes >= 3,
        "what passes is acknowledged at once: {flushes}"
    );
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    committer.run().unwrap();
    all_is_well(&fake, Ok(committer.done()), "undisturbed");
    calls[&Step::Commit]
}

#[test]
fn epochs_that_pass_soon_behind_a_commit_go_with_the_next() {
    assert_eq!(commits(|_| ()), 1);
}

#[test]
fn an_epoch_that_holds_as_many_records_as_it_may_does_not_wait() {
    assert_eq!(commits(|parts| parts.epochs.state().limits.records = 0), 3);
}

#[test]
fn a_transaction_that_holds_as_much_as_it_may_does_not_wait() {
    assert_eq!(commits(|parts| parts.send_ahead = 1), 3);
}

#[test]
fn a_commit_is_sent_off_when_its_time_has_come_though_nothing_else_passes() {
    let fake = with(2, &[], false);
    let (to_committer, mut parts) = parts(&fake, 0);
    for epoch in 1..=EPOCHS {
        hand_over(epoch, &parts);
    }
    let settled = Arc::clone(&parts.settled);
    parts.waits.commits = Duration::from_millis(20);
    let mut committer = Committer::new(parts);
    to_committer.send(ToCommitter::Passed(2)).unwrap();
    assert!(!committer.advance().unwrap());
    to_committer.send(ToCommitter::Passed(EPOCHS + 1)).unwrap();
    let run = std::thread::spawn(move || committer.run());
    while settled.load(std::sync::atomic::Ordering::Relaxed) < EPOCHS {
        assert!(!run.is_finished());
        std::thread::yield_now();
    }
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    run.join().unwrap().unwrap();
}

/// Those that close by the clock never wait, and nobody waits for long.
#[test]
fn less_than_the_interval_lies_between_two_commits() {
    let millis = |interval| between_commits(Duration::from_millis(interval)).as_millis();
    assert_eq!([4, 20, 100, 4_000].map(millis), [3, 15, 75, 75]);
}

/// A committer that was told that the first epoch, which closed ahead of the end of its interval, has passed.
fn behind_one_closed_ahead(fake: &Fake) -> (Sender<ToCommitter>, Epochs, Committer) {
    let (to_committer, parts) = parts(fake, 0);
    hand_over(1, &parts);
    let epochs = parts.epochs.clone();
    epochs.state().schedule = Schedule::new(INTERVAL, Some(AHEAD));
    epochs.state().schedule.close_ahead(1);
    to_committer.send(ToCommitter::Passed(2)).unwrap();
    let mut committer = Committer::new(parts);
    assert!(!committer.advance().unwrap());
    assert_eq!(fake.broker().calls[&Step::Flush], 1);
    assert!(!fake.broker().calls.contains_key(&Step::Commit));
    (to_committer, epochs, committer)
}

fn commits_of(fake: &Fake) -> usize {
    let broker = fake.broker();
    broker.calls.get(&Step::Commit).copied().unwrap_or_default()
}

#[test]
fn an_epoch_that_closed_ahead_is_sent_and_committed_with_the_one_behind_it() {
    let fake = with(2, &[], false);
    let (to_committer, epochs, mut committer) = behind_one_closed_ahead(&fake);
    // That is read until the interval is over, and passes some time behind its end.
    epochs.state().clean = false;
    epochs.clock().advance(INTERVAL);
    assert!(!committer.advance().unwrap());
    hand_over(2, &committer.parts);
    epochs.state().schedule.begin(INTERVAL);
    assert!(!committer.advance().unwrap());
    assert_eq!(commits_of(&fake), 0);
    to_committer.send(ToCommitter::Passed(3)).unwrap();
    assert!(!committer.advance().unwrap());
    assert_eq!((commits_of(&fake), committed(&fake)), (1, vec![1, 2]));
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    committer.run().unwrap();
}

#[test]
fn an_epoch_that_closed_ahead_waits_no_longer_than_for_the_end_of_its_interval() {
    let fake = with(2, &[], false);
    let (to_committer, epochs, mut committer) = behind_one_closed_ahead(&fake);
    epochs.clock().advance(INTERVAL);
    assert!(!committer.advance().unwrap());
    assert_eq!((commits_of(&fake), committed(&fake)), (1, vec![1]));
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    committer.run().unwrap();
}

/// Such as one whose worker is busy with a record for long.
#[test]
fn an_epoch_that_closed_ahead_does_not_wait_for_one_that_does_not_close() {
    let fake = with(2, &[], false);
    let (to_committer, epochs, mut committer) = behind_one_closed_ahead(&fake);
    epochs.state().clean = false;
    epochs.clock().advance(INTERVAL);
    assert!(!committer.advance().unwrap());
    assert_eq!(commits_of(&fake), 0);
    epochs.clock().advance(AHEAD);
    assert!(!committer.advance().unwrap());
    assert_eq!(commits_of(&fake), 1);
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    hand_over(2, &committer.parts);
    committer.run().unwrap();
    assert_eq!(committed(&fake), [1, 2]);
}
