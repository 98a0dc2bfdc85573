//! Entries that are committed by themselves: entry 0 and start entries.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::commit::fake::{Fake, Fault, Kind, NEWER, Step};
use crate::runtime::entry::{Reset, Start};

fn start(incarnation: &str, previous: String) -> Vec<u8> {
    Entry::Start(Start::of(incarnation, 7, previous)).to_bytes()
}

/// A log with one entry, behind which `mine` writes its start.
fn begun(script: &[Fault]) -> (Fake, Vec<u8>) {
    let fake = Fake::new(2, script);
    let before = start("before", String::new());
    fake.broker().append(7, before.clone());
    (fake, start("mine", hash(&before)))
}

fn write(fake: &Fake, entry: &[u8]) -> Result<(), RunError> {
    let mut log = EpochLog {
        transactions: &mut fake.clone(),
        application_id: "app",
        incarnation: "mine",
        end: 1,
        newer_instance: Duration::ZERO,
    };
    log.write(7, entry)
}

fn incarnations(fake: &Fake) -> Vec<String> {
    let of = |record: &EpochRecord| match serde_json::from_slice(&record.value).unwrap() {
        Entry::Start(start) => start.incarnation,
        other => panic!("{other:?}"),
    };
    fake.broker().entries.iter().map(of).collect()
}

const STEPS: [Step; 5] = [
    Step::Begin,
    Step::Send,
    Step::Flush,
    Step::Commit,
    Step::Confirm,
];

#[test]
fn an_entry_in_doubt_is_there_once() {
    for step in STEPS {
        for kind in [Kind::DoubtBefore, Kind::DoubtAfter] {
            for late in [false, true] {
                let first = Fault { step, hit: 1, kind };
                let again = [Step::Renew, Step::ReadEpochs, Step::Confirm].map(|step| Fault {
                    step,
                    hit: 2,
                    kind: Kind::DoubtAfter,
                });
                for second in again {
                    let (fake, entry) = begun(&[first, second]);
                    fake.broker().commits_on_renew = late;
                    write(&fake, &entry).unwrap();
                    assert_eq!(
                        incarnations(&fake),
                        ["before", "mine"],
                        "{first:?}, {second:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_newer_instance_or_a_failure_ends_the_writing_and_nothing_is_there() {
    for step in STEPS {
        for kind in [Kind::Superseded, Kind::Failed] {
            let (fake, entry) = begun(&[Fault { step, hit: 1, kind }]);
            let error = write(&fake, &entry).unwrap_err();
            let fenced = matches!(error, RunError::Fenced(_));
            assert_eq!(fenced, kind != Kind::Failed, "{error}");
            assert!(!incarnations(&fake).contains(&"mine".to_owned()));
            assert!(!fake.broker().renewed_over_newer);
        }
    }
}

#[test]
fn an_entry_is_written_again_behind_a_fence_of_nobody_but_once() {
    for step in STEPS {
        let timed_out = |hit| Fault {
            step,
            hit,
            kind: Kind::TimedOut,
        };
        let (fake, entry) = begun(&[timed_out(1)]);
        write(&fake, &entry).unwrap();
        assert_eq!(incarnations(&fake), ["before", "mine"], "{step:?}");
        let (fake, entry) = begun(&[timed_out(1), timed_out(2)]);
        let error = write(&fake, &entry).unwrap_err();
        assert!(matches!(error, RunError::Fenced(_)), "{step:?}: {error}");
        assert_eq!(incarnations(&fake), ["before"], "{step:?}");
    }
}

/// Two start at once: while one is in doubt about its entry, the other reads the log and announces itself. Were
/// the first to write behind that, each would go on from what it had read, and both would write the next epoch.
#[test]
fn an_entry_in_doubt_is_not_written_behind_another_instances() {
    for kind in [Kind::DoubtBefore, Kind::DoubtAfter] {
        let doubt = Fault {
            step: Step::Confirm,
            hit: 1,
            kind,
        };
        let (fake, entry) = begun(&[doubt]);
        fake.broker().newer_at_read = Some(1);
        let error = write(&fake, &entry).unwrap_err();
        assert!(matches!(error, RunError::Fenced(_)), "{error}");
        assert_eq!(incarnations(&fake).last().unwrap(), NEWER);
    }
}

#[test]
fn doubts_without_end_end_the_writing() {
    let doubts: Vec<_> = (1..=10)
        .map(|hit| Fault {
            step: Step::Begin,
            hit,
            kind: Kind::DoubtBefore,
        })
        .collect();
    let (fake, entry) = begun(&doubts);
    let error = write(&fake, &entry).unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert_eq!(incarnations(&fake), ["before"]);
}

/// A reset writes no start entry; the instance that it has fenced would otherwise take the fence for a time-out.
#[test]
fn an_instance_whose_application_was_reset_ends_as_behind_a_newer_one() {
    let (fake, mine) = begun(&[]);
    write(&fake, &mine).unwrap();
    let reset = Reset {
        application_id: "app".to_owned(),
        forgets: 7,
        begins: Vec::new(),
        from_time: None,
        previous: hash(&mine),
    };
    let mut transactions = fake.clone();
    let mut log = EpochLog {
        transactions: &mut transactions,
        application_id: "app",
        incarnation: "mine",
        end: 1,
        newer_instance: Duration::ZERO,
    };
    log.superseded().unwrap();
    let reset = Entry::Reset(reset).to_bytes();
    fake.broker().append(0, reset);
    let error = log.superseded().unwrap_err();
    assert!(error.to_string().contains("has been reset"), "{error}");
    assert!(matches!(error, RunError::Fenced(_)), "{error}");
}
