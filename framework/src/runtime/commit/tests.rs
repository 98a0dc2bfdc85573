//! Fence on doubt: every step, whatever becomes of it, in every epoch of a run.

#![allow(clippy::unwrap_used)]

mod due;
pub(crate) mod fake;
mod groups;
mod live;
mod patience;
mod places;
mod weaker;

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tiderace_operators::record::{EventTime, Position};

use super::doubt::MAX_DOUBTS;
use super::*;
use crate::connect::TopicPartition;
use crate::runtime::basis::Basis;
use crate::runtime::clock::Clock;
use crate::runtime::entry::{Entry, Share, Start, hash};
use crate::runtime::lead::Told;
use crate::runtime::limits::Limits;
use crate::runtime::slot::{Slot, Status};
use crate::topology::SinkRun;
use crate::{StreamsBuilder, Topic};
use fake::{Fake, Fault, Kind, NEWER, Step};

const EPOCHS: u64 = 3;
const IN: Topic<String, String> = Topic::bytes("in");
const OUT: Topic<String, String> = Topic::bytes("out");

/// Waits that no test has to sit through.
const WAITS: Waits = Waits {
    newer_instance: Duration::ZERO,
    offsets: Duration::ZERO,
    commits: Duration::ZERO,
    entries: Duration::ZERO,
    again: (Duration::ZERO, Duration::ZERO),
};

fn input() -> Slot {
    Slot {
        source: 0,
        partition: TopicPartition::new("in", 0),
        table: false,
        after: 0,
        start: 0,
        largest: EventTime::MIN,
        status: Status::Active,
        table_end: 0,
        end: None,
        windows: Arc::default(),
        idle_timeout: Duration::from_secs(5),
    }
}

/// The output of an epoch: two records that name it.
fn output(epoch: u64) -> SinkRun {
    let mut run = SinkRun::default();
    for number in 0..2 {
        let value = format!("{epoch}.{number}");
        let record = crate::connect::SinkRecord {
            topic: "out",
            partition: 0,
            timestamp: 1,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        run.push_raw(Position::read(0, 0, number).unwrap(), &record);
    }
    run
}

fn start_entry(incarnation: &str) -> Vec<u8> {
    Entry::Start(Start::of(incarnation, 0, String::new())).to_bytes()
}

/// When epochs pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Each when the one before is committed: a transaction each.
    Apart,
    /// The first, and the others while its commit is under way: a transaction for it, and one for them.
    Behind,
    /// All at once: in one transaction.
    Together,
    /// As [`Apart`](Self::Apart), too soon for a commit each: a transaction for the first, and one for the others.
    Soon,
    /// As [`Apart`](Self::Apart), the first closed ahead of the end of its interval: a transaction for it and the second, and one for
    /// the last.
    Ahead,
}

const PACES: [Pace; 5] = [
    Pace::Apart,
    Pace::Behind,
    Pace::Together,
    Pace::Soon,
    Pace::Ahead,
];

/// Commits all epochs of a run over a fake that has heard of its start, an epoch after the other.
fn run(fake: &Fake, waits: Waits) -> Result<Committed, RunError> {
    run_at(Pace::Apart, fake, waits)
}

/// As [`run`], with epochs that pass otherwise.
fn run_at(pace: Pace, fake: &Fake, waits: Waits) -> Result<Committed, RunError> {
    run_with(pace, fake, waits, Delivery::InTransaction, usize::MAX)
}

/// As [`run_at`], with the outputs delivered in another way, so many bytes ahead of their acknowledgement.
fn run_with(
    pace: Pace,
    fake: &Fake,
    waits: Waits,
    delivery: Delivery,
    send_ahead: usize,
) -> Result<Committed, RunError> {
    let (to_committer, mut parts) = parts(fake, 0);
    for epoch in 1..=EPOCHS {
        hand_over(epoch, &parts);
    }
    parts.delivery = delivery;
    parts.waits = waits;
    if pace == Pace::Soon {
        parts.waits.commits = due::LONG;
    }
    if pace == Pace::Ahead {
        parts.epochs.state().schedule.close_ahead(1);
    }
    parts.send_ahead = send_ahead;
    let mut committer = Committer::new(parts);
    fake.broker().unanswered = pace == Pace::Behind;
    for passed in 1..EPOCHS {
        if pace != Pace::Together {
            to_committer.send(ToCommitter::Passed(passed + 1)).unwrap();
            committer.advance()?;
        }
    }
    to_committer.send(ToCommitter::Passed(NEVER)).unwrap();
    committer.run().map(|()| committer.done())
}

/// What sources and sinks say of an epoch before every operator has passed it. It is closed, and the last one so far.
fn hand_over(epoch: Epoch, parts: &CommitParts) {
    let epochs = &parts.epochs;
    let share = Share {
        topic: "in".into(),
        partition: 0,
        end: i64::try_from(epoch).unwrap() * 10,
        records: 10,
        skipped: Vec::new(),
        dead_lettered: Vec::new(),
    };
    let told = Told {
        stream_time: EventTime::MIN,
        taken: epoch * 10,
        has_more: false,
    };
    epochs.publish(epoch, 0, told, Some(share));
    let run = output(epoch);
    epochs.outputs(run.memory(), 0);
    parts.outbox.put(epoch, 0, 0, run);
    epochs.state().open = epoch + 1;
}

/// What a committer needs behind epoch `basis`, over a fake that has heard of its start, and what its workers speak
/// through.
fn parts(fake: &Fake, basis: Epoch) -> (Sender<ToCommitter>, CommitParts) {
    let start = start_entry("mine");
    fake.broker().append(0, start.clone());
    let builder = StreamsBuilder::new("app");
    builder.stream(IN).to(OUT);
    let (to_committer, from_workers) = channel();
    let behind = Basis {
        epoch: basis,
        ..Basis::default()
    };
    let parts = CommitParts {
        application_id: "app".into(),
        incarnation: "mine".into(),
        fingerprint: builder.build().unwrap().fingerprint(),
        sinks: vec!["out".into()],
        nodes: Vec::new(),
        dead_letters: None,
        transactions: Box::new(fake.clone()),
        delivery: Delivery::InTransaction,
        basis,
        recovery: Recovering::begin(),
        log_end: 0,
        last_hash: hash(&start),
        logged: BTreeMap::new(),
        epochs: Epochs::new(
            vec![input()],
            &behind,
            Vec::new(),
            Limits::by_hand(),
            Clock::manual(Duration::ZERO),
        ),
        ledger: Ledger::default(),
        settled: Arc::default(),
        progress: SharedProgress::default(),
        from_workers,
        outbox: Outbox::default(),
        waits: WAITS,
        send_ahead: usize::MAX,
        shown: None,
    };
    (to_committer, parts)
}

/// Numbers of the epochs that the log holds, checked: each names the entry before it, and its outputs are there.
fn committed(fake: &Fake) -> Vec<u64> {
    let broker = fake.broker();
    let mut previous = String::new();
    let mut numbers = Vec::new();
    for record in &broker.entries {
        let entry: Entry = serde_json::from_slice(&record.value).unwrap();
        assert_eq!(entry.previous(), previous, "the chain is broken");
        previous = hash(&record.value);
        if let Entry::Epoch(entry) = entry {
            numbers.push(entry.epoch);
        }
    }
    let outputs = |epoch: u64| (0..2).map(move |number| format!("{epoch}.{number}"));
    let expected: Vec<String> = numbers.iter().copied().flat_map(outputs).collect();
    assert_eq!(
        broker.records, expected,
        "outputs are not those of the epochs"
    );
    numbers
}

/// Every epoch is there once, in order, and Kafka's tools see the end of the input.
fn all_is_well(fake: &Fake, outcome: Result<Committed, RunError>, case: &str) {
    let done = outcome.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(done.last_epoch, EPOCHS, "{case}");
    assert_eq!(committed(fake), [1, 2, 3], "{case}");
    let offsets = &fake.broker().offsets;
    assert_eq!(offsets[&TopicPartition::new("in", 0)], 30, "{case}");
}

/// What is there is a beginning of what should be there.
fn is_a_prefix(fake: &Fake, case: &str) {
    let there = committed(fake);
    assert!([1, 2, 3].starts_with(&there), "{case}: {there:?}");
}

/// Every step of a commit; how often an undisturbed run of three epochs calls it.
fn steps(pace: Pace, turns: usize) -> [(Step, usize); 6] {
    // Of two turns the second takes in what passes while the first commits, epoch by epoch.
    let (transactions, flushes) = match (pace, turns) {
        (Pace::Apart, _) => (3, 3),
        (Pace::Behind, 1) => (2, 2),
        (Pace::Behind, _) => (2, 3),
        (Pace::Together, _) => (1, 1),
        (Pace::Soon | Pace::Ahead, _) => (2, 3),
    };
    [
        (Step::Begin, transactions),
        (Step::Send, 9),
        (Step::Flush, flushes),
        (Step::SendOffsets, flushes),
        (Step::Commit, transactions),
        (Step::Confirm, transactions),
    ]
}

/// A run with a fault in one call of a step.
struct Case {
    pace: Pace,
    turns: usize,
    fault: Fault,
    /// Whether commits that are under way take effect when their producer is renewed.
    late: bool,
}

impl Case {
    fn fake(&self) -> Fake {
        with(self.turns, &[self.fault], self.late)
    }

    /// The fake, and what becomes of the run.
    fn run(&self) -> (Fake, Result<Committed, RunError>) {
        let fake = self.fake();
        let outcome = run_at(self.pace, &fake, WAITS);
        (fake, outcome)
    }

    /// As [`run`](Self::run), with a second fault.
    fn run_with(&self, second: Fault) -> (Fake, Result<Committed, RunError>) {
        let fake = with(self.turns, &[self.fault, second], self.late);
        let outcome = run_at(self.pace, &fake, WAITS);
        (fake, outcome)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            pace,
            turns,
            fault,
            late,
        } = self;
        write!(
            f,
            "{pace:?}, {turns} turns, {fault:?}, commits late: {late}"
        )
    }
}

/// All cases: a fault in each call of each step, alone.
fn single_faults(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for (pace, turns) in PACES.into_iter().flat_map(|pace| [(pace, 1), (pace, 2)]) {
        for (step, hits) in steps(pace, turns) {
            for (hit, late) in (1..=hits).flat_map(|hit| [(hit, false), (hit, true)]) {
                let fault = Fault { step, hit, kind };
                cases.push(Case {
                    pace,
                    turns,
                    fault,
                    late,
                });
            }
        }
    }
    cases
}

fn with(turns: usize, script: &[Fault], commits_on_renew: bool) -> Fake {
    let fake = Fake::new(turns, script);
    fake.broker().commits_on_renew = commits_on_renew;
    fake
}

#[test]
fn an_undisturbed_run_calls_each_step_as_often_as_the_cases_say() {
    for (pace, turns) in PACES.into_iter().flat_map(|pace| [(pace, 1), (pace, 2)]) {
        let fake = Fake::new(turns, &[]);
        let outcome = run_at(pace, &fake, WAITS);
        all_is_well(&fake, outcome, "undisturbed");
        for (step, calls) in steps(pace, turns) {
            let called = fake.broker().calls[&step];
            assert_eq!(called, calls, "{pace:?}, {turns} turns, {step:?}");
        }
        assert!(!fake.broker().calls.contains_key(&Step::Renew));
    }
}

#[test]
fn whatever_step_is_in_doubt_every_epoch_is_there_once_and_in_order() {
    let mut cases = 0;
    for kind in [Kind::DoubtBefore, Kind::DoubtAfter] {
        for case in single_faults(kind) {
            let (fake, outcome) = case.run();
            all_is_well(&fake, outcome, &case.to_string());
            assert_eq!(fake.broker().calls[&Step::Renew], 1, "{case}");
            cases += 1;
        }
    }
    // Of each pace the calls with one turn and with two.
    assert_eq!(
        cases,
        2 * 2 * ((24 + 24) + (19 + 21) + (14 + 14) + 2 * (21 + 21))
    );
}

#[test]
fn a_transaction_that_timed_out_is_sent_again_once() {
    for case in single_faults(Kind::TimedOut) {
        let (fake, outcome) = case.run();
        all_is_well(&fake, outcome, &case.to_string());
    }
}

#[test]
fn a_superseded_run_names_the_newer_instance_and_leaves_it_alone() {
    for case in single_faults(Kind::Superseded) {
        let (fake, outcome) = case.run();
        let error = outcome.err().unwrap();
        assert!(
            matches!(&error, RunError::Fenced(text) if text.contains(NEWER)),
            "{case}: {error}"
        );
        is_a_prefix(&fake, &case.to_string());
        let broker = fake.broker();
        assert!(
            !broker.renewed_over_newer,
            "{case}: the newer one was fenced"
        );
        let last: Entry = serde_json::from_slice(&broker.entries.last().unwrap().value).unwrap();
        assert!(
            matches!(last, Entry::Start(_)),
            "{case}: written behind the newer one's start"
        );
    }
}

#[test]
fn what_cannot_be_done_ends_the_run_with_its_reason() {
    for case in single_faults(Kind::Failed) {
        let (fake, outcome) = case.run();
        let error = outcome.err().unwrap();
        let expected = format!("{:?} {}: Failed", case.fault.step, case.fault.hit);
        assert!(matches!(&error, RunError::Log(_)), "{case}: {error}");
        assert_eq!(error.to_string(), expected);
        is_a_prefix(&fake, &case.to_string());
    }
}

/// Faults of the steps that resolve a doubt, behind the doubt itself.
#[test]
fn a_doubt_about_resolving_a_doubt_is_resolved_too() {
    let doubts = [Kind::DoubtBefore, Kind::DoubtAfter];
    for case in single_faults(Kind::DoubtBefore) {
        for step in [Step::Renew, Step::ReadEpochs] {
            for kind in doubts.into_iter().chain([Kind::TimedOut]) {
                let second = Fault { step, hit: 1, kind };
                let (fake, outcome) = case.run_with(second);
                all_is_well(&fake, outcome, &format!("{case}, then {second:?}"));
            }
            let second = Fault {
                step,
                hit: 1,
                kind: Kind::Failed,
            };
            let (fake, outcome) = case.run_with(second);
            let error = outcome.err().unwrap();
            assert!(
                matches!(error, RunError::Log(_)),
                "{case}, {second:?}: {error}"
            );
            is_a_prefix(&fake, "a failure while a doubt is resolved");
        }
    }
}

/// The step that sends again what the log did not hold fails in its turn.
#[test]
fn a_doubt_about_what_is_sent_again_is_resolved_too() {
    for case in single_faults(Kind::DoubtBefore) {
        let first = case.fault;
        for (step, calls) in steps(case.pace, case.turns) {
            // The first call behind the doubt: nothing but sending again, or the rest of the run.
            for hit in (1..=calls + 2).filter(|hit| step != first.step || *hit > first.hit) {
                let second = Fault {
                    step,
                    hit,
                    kind: Kind::DoubtAfter,
                };
                let (fake, outcome) = case.run_with(second);
                all_is_well(&fake, outcome, &format!("{case}, then {second:?}"));
            }
        }
    }
}

#[test]
fn a_second_fence_without_a_commit_between_ends_the_run() {
    let timed_out = |step, hit| Fault {
        step,
        hit,
        kind: Kind::TimedOut,
    };
    // The second begin is that of sending again.
    let script = [timed_out(Step::Confirm, 1), timed_out(Step::Renew, 1)];
    let fake = with(1, &script, false);
    let error = run(&fake, WAITS).err().unwrap();
    let RunError::Fenced(text) = &error else {
        panic!("{error}");
    };
    assert!(
        text.contains("fenced again, without a newer instance"),
        "{text}"
    );
    assert_eq!(committed(&fake), Vec::<u64>::new());
}

#[test]
fn a_second_fence_with_a_commit_between_is_forgiven() {
    let timed_out = |hit| Fault {
        step: Step::Confirm,
        hit,
        kind: Kind::TimedOut,
    };
    // Of one turn: the first confirm is fenced, the second is that of sending again, the third the next epoch's.
    let fake = with(1, &[timed_out(1), timed_out(3)], false);
    let outcome = run(&fake, WAITS);
    all_is_well(&fake, outcome, "two time-outs with a commit between");
}

#[test]
fn doubts_without_end_end_the_run() {
    let doubt = |hit| Fault {
        step: Step::Renew,
        hit,
        kind: Kind::DoubtBefore,
    };
    let first = Fault {
        step: Step::Begin,
        hit: 1,
        kind: Kind::DoubtBefore,
    };
    let script = |renews: usize| {
        let renews = (1..=renews).map(doubt);
        [first].into_iter().chain(renews).collect::<Vec<_>>()
    };
    let bearable = MAX_DOUBTS as usize - 1;
    let fake = with(2, &script(bearable), false);
    let outcome = run(&fake, WAITS);
    all_is_well(&fake, outcome, "as many doubts as are borne");
    let fake = with(2, &script(bearable + 1), false);
    let error = run(&fake, WAITS).err().unwrap();
    assert!(
        matches!(&error, RunError::InDoubt(text) if !text.is_empty()),
        "{error}"
    );
    assert_eq!(committed(&fake), Vec::<u64>::new());
}

#[test]
fn a_start_entry_that_appears_while_it_is_waited_for_is_found() {
    let fenced = Fault {
        step: Step::Commit,
        hit: 2,
        kind: Kind::TimedOut,
    };
    let fake = with(2, &[fenced], false);
    fake.broker().newer_at_read = Some(2);
    let began = crate::clock::instant();
    let patient = Waits {
        newer_instance: Duration::from_secs(600),
        ..WAITS
    };
    let error = run(&fake, patient).err().unwrap();
    assert!(
        matches!(&error, RunError::Fenced(text) if text.contains(NEWER)),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(60), "it waited on");
    assert!(!fake.broker().renewed_over_newer);
    assert_eq!(fake.broker().calls[&Step::ReadEpochs], 2);
}

#[test]
fn redo_stops_at_the_start_entry_of_another_instance() {
    for case in single_faults(Kind::DoubtBefore) {
        let fake = case.fake();
        // The doubt makes new producers; by then the other one is there.
        fake.broker().newer_at_read = Some(1);
        let error = run_at(case.pace, &fake, WAITS).err().unwrap();
        assert!(
            matches!(&error, RunError::Fenced(text) if text.contains(NEWER)),
            "{case}: {error}"
        );
        is_a_prefix(&fake, &case.to_string());
        let last = fake.broker().entries.last().unwrap().clone();
        let last: Entry = serde_json::from_slice(&last.value).unwrap();
        assert!(
            matches!(last, Entry::Start(_)),
            "{case}: it went on behind another's start"
        );
    }
}

#[test]
fn redo_stops_at_an_epoch_that_another_instance_has_committed() {
    let doubt = Fault {
        step: Step::Begin,
        hit: 1,
        kind: Kind::DoubtBefore,
    };
    let fake = with(2, &[doubt], false);
    // The first epoch's number, and not its bytes.
    fake.broker().append(1, b"{}".to_vec());
    let error = run(&fake, WAITS).err().unwrap();
    assert!(
        matches!(&error, RunError::Fenced(text) if text.contains("another instance")),
        "{error}"
    );
    assert_eq!(fake.broker().records, Vec::<String>::new());
}

#[test]
fn a_doubt_after_a_doubt_reads_the_log_from_where_it_knows_it() {
    let doubt = |hit| Fault {
        step: Step::Confirm,
        hit,
        kind: Kind::DoubtAfter,
    };
    let fake = with(1, &[doubt(1), doubt(3)], false);
    let outcome = run(&fake, WAITS);
    all_is_well(&fake, outcome, "two doubts");
    assert_eq!(fake.broker().read_from, [0, 2]);
}

/// What no epoch's transaction takes along goes in one of its own at the end.
#[test]
fn a_doubt_about_the_last_offsets_does_not_lose_them() {
    let rarely = Waits {
        offsets: Duration::from_secs(3600),
        ..WAITS
    };
    let steps = [
        (Step::Begin, 4),
        (Step::SendOffsets, 2),
        (Step::Commit, 4),
        (Step::Confirm, 4),
    ];
    for (step, hit) in steps {
        for kind in [Kind::DoubtBefore, Kind::DoubtAfter, Kind::TimedOut] {
            let fault = Fault { step, hit, kind };
            let fake = with(2, &[fault], false);
            let outcome = run(&fake, rarely);
            all_is_well(&fake, outcome, &format!("{fault:?}"));
            assert_eq!(
                fake.broker().calls[&Step::Renew],
                1,
                "{fault:?} was not met"
            );
        }
    }
}
