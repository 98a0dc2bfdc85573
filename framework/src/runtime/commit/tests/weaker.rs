//! The weaker guarantees: the outputs go past the transaction, and whatever fails, no more than is said becomes of them.

use super::super::delivery::PlainOutputs;
use super::*;
use crate::config::Guarantee;
use crate::connect::Writer;

const WEAKER: [Guarantee; 2] = [Guarantee::AtLeastOnce, Guarantee::AtMostOnce];

/// How often an undisturbed run of three epochs calls what a weaker guarantee changes: its transactions hold the entry
/// alone.
const STEPS: [(Step, usize); 8] = [
    (Step::Begin, 3),
    (Step::Send, 3),
    (Step::Flush, 3),
    (Step::SendOffsets, 3),
    (Step::Commit, 3),
    (Step::Confirm, 3),
    (Step::Write, 6),
    (Step::FlushWriter, 3),
];

/// Of the steps those of a transaction.
const IN_TRANSACTION: usize = 6;

fn run_as(guarantee: Guarantee, fake: &Fake) -> Result<Committed, RunError> {
    run_ahead(guarantee, fake, usize::MAX)
}

fn run_ahead(guarantee: Guarantee, fake: &Fake, bytes: usize) -> Result<Committed, RunError> {
    let of = fake.clone();
    let open = Box::new(move |_: &str| Ok(Box::new(of.writer(guarantee)) as Box<dyn Writer>));
    let outputs = PlainOutputs::open(open, &["out".to_owned()]).unwrap();
    let delivery = match guarantee {
        Guarantee::ExactlyOnce => Delivery::InTransaction,
        Guarantee::AtLeastOnce => Delivery::BeforeCommit(outputs),
        Guarantee::AtMostOnce => Delivery::BehindCommit(outputs),
    };
    run_with(fake, WAITS, delivery, bytes)
}

fn expected() -> Vec<String> {
    let outputs = |epoch: u64| (0..2).map(move |number| format!("{epoch}.{number}"));
    (1..=EPOCHS).flat_map(outputs).collect()
}

/// A fault in each call of each of these steps, alone, with one turn and with two.
fn faults(
    steps: &'static [(Step, usize)],
    kind: Kind,
) -> impl Iterator<Item = (Guarantee, usize, Fault)> {
    WEAKER.into_iter().flat_map(move |guarantee| {
        steps.iter().flat_map(move |(step, hits)| {
            (1..=*hits).flat_map(move |hit| {
                let step = *step;
                [1, 2].map(|turns| (guarantee, turns, Fault { step, hit, kind }))
            })
        })
    })
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
        for turns in [1, 2] {
            let fake = Fake::new(turns, &[]);
            let ended = run_as(guarantee, &fake);
            ended_well(&fake, guarantee, ended, "undisturbed");
            assert_eq!(fake.broker().records, expected(), "{guarantee}");
            for (step, calls) in STEPS {
                assert_eq!(fake.broker().calls[&step], calls, "{guarantee}, {step:?}");
            }
        }
    }
}

#[test]
fn outputs_are_no_further_ahead_of_their_acknowledgement_than_the_budget_has_for_it() {
    for guarantee in WEAKER {
        let fake = Fake::new(2, &[]);
        let ended = run_ahead(guarantee, &fake, 1);
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
        for (guarantee, turns, fault) in faults(&STEPS[..IN_TRANSACTION], kind) {
            for late in [false, true] {
                let case = format!("{guarantee}, {turns} turns, {fault:?}, commits late: {late}");
                let fake = with(turns, &[fault], late);
                let ended = run_as(guarantee, &fake);
                ended_well(&fake, guarantee, ended, &case);
                assert_eq!(fake.broker().records, expected(), "{case}");
                assert_eq!(fake.broker().calls[&Step::Renew], 1, "{case}");
            }
        }
    }
}

/// Where a run ends, the outputs of at least once are ahead of the log, those of at most once behind it.
#[test]
fn a_run_that_ends_leaves_outputs_on_the_side_of_the_log_that_its_guarantee_says() {
    let (mut ahead, mut behind) = (0, 0);
    for kind in [Kind::Superseded, Kind::Failed] {
        for (guarantee, turns, fault) in faults(&STEPS[..IN_TRANSACTION], kind) {
            let case = format!("{guarantee}, {turns} turns, {fault:?}");
            let fake = with(turns, &[fault], false);
            assert!(run_as(guarantee, &fake).is_err(), "{case}");
            let committed = 2 * logged(&fake, guarantee).len();
            let records = fake.broker().records.clone();
            assert!(expected().starts_with(&records), "{case}: {records:?}");
            match guarantee {
                Guarantee::AtLeastOnce => {
                    assert!(records.len() >= committed, "{case}: {records:?}");
                    assert!(
                        records.len() <= committed + 2 * turns,
                        "{case}: {records:?}"
                    );
                    ahead += usize::from(records.len() > committed);
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
        for (guarantee, turns, fault) in faults(&STEPS[IN_TRANSACTION..], kind) {
            let case = format!("{guarantee}, {turns} turns, {fault:?}");
            let fake = with(turns, &[fault], false);
            let ended = run_as(guarantee, &fake);
            ended_well(&fake, guarantee, ended, &case);
            let records = fake.broker().records.clone();
            let mut once = records.clone();
            once.sort();
            once.dedup();
            let of_epoch = |record: &String| record[..1].parse::<usize>().unwrap();
            let struck = match fault.step {
                Step::Write => fault.hit.div_ceil(2),
                _ => fault.hit,
            };
            match guarantee {
                Guarantee::AtLeastOnce => {
                    assert_eq!(once, expected(), "{case}: lost");
                    let acknowledged = fault.step == Step::FlushWriter && kind == Kind::AwayAfter;
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
