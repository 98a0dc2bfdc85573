//! The weaker guarantees: the outputs go past the transaction, and whatever fails, no more than is said becomes of them.

use super::groups::delivery;
use super::*;
use crate::config::Guarantee;

const WEAKER: [Guarantee; 2] = [Guarantee::AtLeastOnce, Guarantee::AtMostOnce];

/// How often an undisturbed run of three epochs calls what a weaker guarantee changes: its transactions hold entries
/// alone, at most once one each.
fn steps(guarantee: Guarantee, pace: Pace) -> [(Step, usize); 8] {
    // Where commits are answered at once, no entry waits for another one.
    let transactions = match (guarantee, pace) {
        (Guarantee::AtLeastOnce, Pace::Behind) => 2,
        _ => 3,
    };
    [
        (Step::Begin, transactions),
        (Step::Send, 3),
        (Step::Flush, transactions),
        (Step::SendOffsets, transactions),
        (Step::Commit, transactions),
        (Step::Confirm, transactions),
        (Step::Write, 6),
        (Step::FlushWriter, 3),
    ]
}

/// Of the steps those of a transaction.
const IN_TRANSACTION: usize = 6;

fn run_as(guarantee: Guarantee, pace: Pace, fake: &Fake) -> Result<Committed, RunError> {
    run_ahead(guarantee, pace, fake, usize::MAX)
}

fn run_ahead(
    guarantee: Guarantee,
    pace: Pace,
    fake: &Fake,
    bytes: usize,
) -> Result<Committed, RunError> {
    run_with(pace, fake, WAITS, delivery(guarantee, fake), bytes)
}

fn expected() -> Vec<String> {
    let outputs = |epoch: u64| (0..2).map(move |number| format!("{epoch}.{number}"));
    (1..=EPOCHS).flat_map(outputs).collect()
}

/// A run under a weaker guarantee with a fault in one call of a step.
struct Case {
    guarantee: Guarantee,
    pace: Pace,
    turns: usize,
    fault: Fault,
}

impl Case {
    /// The fake, and what becomes of the run.
    fn run(&self, commits_late: bool) -> (Fake, Result<Committed, RunError>) {
        let fake = with(self.turns, &[self.fault], commits_late);
        let outcome = run_as(self.guarantee, self.pace, &fake);
        (fake, outcome)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            guarantee,
            pace,
            turns,
            fault,
        } = self;
        write!(f, "{guarantee}, {pace:?}, {turns} turns, {fault:?}")
    }
}

/// A fault in each call of each of these steps, alone.
fn faults(of: std::ops::Range<usize>, paces: &[Pace], kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for (guarantee, pace) in WEAKER
        .into_iter()
        .flat_map(|of| paces.iter().map(move |pace| (of, *pace)))
    {
        for (step, hits) in steps(guarantee, pace)[of.clone()].iter().copied() {
            for (hit, turns) in (1..=hits).flat_map(|hit| [(hit, 1), (hit, 2)]) {
                let fault = Fault { step, hit, kind };
                cases.push(Case {
                    guarantee,
                    pace,
                    turns,
                    fault,
                });
            }
        }
    }
    cases
}

/// The epochs of the log, each of which says under which guarantee it was made.
fn logged(fake: &Fake, guarantee: Guarantee) -> Vec<u64> {
    let broker = fake.broker();
    let epoch = |record: &crate::connect::EpochRecord| match serde_json::from_slice(&record.value)
        .unwrap()
    {
        Entry::Epoch(entry) => {
            assert_eq!(entry.guarantee, guarantee);
            Some(entry.epoch)
        }
        _ => None,
    };
    broker.entries.iter().filter_map(epoch).collect()
}

fn ended_well(fake: &Fake, guarantee: Guarantee, ended: Result<Committed, RunError>, case: &str) {
    let done = ended.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(done.last_epoch, EPOCHS, "{case}");
    assert_eq!(logged(fake, guarantee), [1, 2, 3], "{case}");
    let offsets = &fake.broker().offsets;
    assert_eq!(offsets[&TopicPartition::new("in", 0)], 30, "{case}");
}

#[test]
fn an_undisturbed_run_writes_every_output_once_and_outside_its_transaction() {
    for guarantee in WEAKER {
        for (pace, turns) in PACES.into_iter().flat_map(|pace| [(pace, 1), (pace, 2)]) {
            let fake = Fake::new(turns, &[]);
            let ended = run_as(guarantee, pace, &fake);
            ended_well(&fake, guarantee, ended, "undisturbed");
            assert_eq!(fake.broker().records, expected(), "{guarantee}");
            for (step, calls) in steps(guarantee, pace) {
                let called = fake.broker().calls[&step];
                assert_eq!(called, calls, "{guarantee}, {pace:?}, {step:?}");
            }
        }
    }
}

#[test]
fn outputs_are_no_further_ahead_of_their_acknowledgement_than_the_budget_has_for_it() {
    for guarantee in WEAKER {
        let fake = Fake::new(2, &[]);
        let ended = run_ahead(guarantee, Pace::Apart, &fake, 1);
        ended_well(&fake, guarantee, ended, "a byte ahead");
        assert_eq!(fake.broker().records, expected(), "{guarantee}");
        let calls = &fake.broker().calls;
        assert_eq!(
            calls[&Step::FlushWriter],
            calls[&Step::Write],
            "{guarantee}"
        );
    }
}

/// What is in doubt is the entry; the outputs are known to be there, or to be still due.
#[test]
fn a_doubt_about_a_commit_neither_doubles_nor_loses_outputs() {
    for kind in [Kind::DoubtBefore, Kind::DoubtAfter, Kind::TimedOut] {
        for case in faults(0..IN_TRANSACTION, &PACES, kind) {
            for late in [false, true] {
                let (fake, ended) = case.run(late);
                let told = format!("{case}, commits late: {late}");
                ended_well(&fake, case.guarantee, ended, &told);
                assert_eq!(fake.broker().records, expected(), "{told}");
                assert_eq!(fake.broker().calls[&Step::Renew], 1, "{told}");
            }
        }
    }
}

/// Where a run ends, the outputs of at least once are ahead of the log, those of at most once behind it.
#[test]
fn a_run_that_ends_leaves_outputs_on_the_side_of_the_log_that_its_guarantee_says() {
    let (mut ahead, mut behind) = (0, 0);
    for kind in [Kind::Superseded, Kind::Failed] {
        for case in faults(0..IN_TRANSACTION, &PACES, kind) {
            let (fake, ended) = case.run(false);
            assert!(ended.is_err(), "{case}");
            let committed = 2 * logged(&fake, case.guarantee).len();
            let records = fake.broker().records.clone();
            assert!(expected().starts_with(&records), "{case}: {records:?}");
            match case.guarantee {
                Guarantee::AtLeastOnce => {
                    assert!(records.len() >= committed, "{case}: {records:?}");
                    // What passes while a commit is under way is written all the same.
                    let most = match case.pace {
                        Pace::Apart | Pace::Together | Pace::Soon | Pace::Ahead => 1,
                        Pace::Behind => 3,
                    };
                    assert!(records.len() <= committed + 2 * most, "{case}: {records:?}");
                    ahead += usize::from(records.len() > committed + 2);
                }
                _ => {
                    assert!(records.len() <= committed, "{case}: {records:?}");
                    assert!(records.len() + 2 >= committed, "{case}: {records:?}");
                    behind += usize::from(records.len() < committed);
                }
            }
        }
    }
    assert!(ahead > 0);
    // Every commit that a life has heard of has its outputs: to lose some takes a crash, or a writer that fails.
    assert_eq!(behind, 0);
}

#[test]
fn outputs_that_are_not_acknowledged_are_written_again_or_lost() {
    for kind in [Kind::AwayBefore, Kind::AwayAfter] {
        for case in faults(IN_TRANSACTION..8, &[Pace::Apart, Pace::Behind], kind) {
            let (fake, ended) = case.run(false);
            ended_well(&fake, case.guarantee, ended, &case.to_string());
            let records = fake.broker().records.clone();
            let mut once = records.clone();
            once.sort();
            once.dedup();
            let of_epoch = |record: &String| record[..1].parse::<usize>().unwrap();
            let Fault { step, hit, .. } = case.fault;
            let struck = match step {
                Step::Write => hit.div_ceil(2),
                _ => hit,
            };
            match case.guarantee {
                Guarantee::AtLeastOnce => {
                    assert_eq!(once, expected(), "{case}: lost");
                    let acknowledged = step == Step::FlushWriter && kind == Kind::AwayAfter;
                    let doubled = if acknowledged { 2 } else { 0 };
                    assert_eq!(records.len(), 6 + doubled, "{case}: {records:?}");
                }
                _ => {
                    assert_eq!(once.len(), records.len(), "{case}: doubled: {records:?}");
                    let others = |of: &&String| of_epoch(of) != struck;
                    assert_eq!(records.iter().filter(others).count(), 4, "{case}");
                }
            }
        }
    }
}
