//! Which epochs a transaction commits together: those that pass while a commit is under way, and no epoch waits for
//! another one to pass.

use super::super::delivery::PlainOutputs;
use super::super::group::MOST_EPOCHS;
use super::*;
use crate::config::Guarantee;
use crate::connect::Writer;
use crate::runtime::in_flight::Part;

/// A committer whose log takes its time to answer, and whose epochs pass when a test says so.
struct Slow {
    fake: Fake,
    workers: Sender<ToCommitter>,
    committer: Committer,
}

impl Slow {
    fn new(guarantee: Guarantee, turns: usize) -> Slow {
        let fake = Fake::new(turns, &[]);
        fake.broker().unanswered = true;
        let (workers, mut parts) = parts(&fake, 0);
        parts.delivery = delivery(guarantee, &fake);
        Slow {
            fake,
            workers,
            committer: Committer::new(parts),
        }
    }

    /// Every operator passes these epochs at once, which the committer is told of.
    fn pass(&mut self, epochs: impl IntoIterator<Item = Epoch>) -> &mut Self {
        for epoch in epochs {
            hand_over(epoch, &self.committer.parts);
            self.workers.send(ToCommitter::Passed(epoch + 1)).unwrap();
        }
        let is_over = self.committer.advance().unwrap();
        assert!(!is_over, "the input has no end");
        self
    }

    /// The log answers the commit that is under way, and takes its time with the next.
    fn answer(&mut self) -> &mut Self {
        self.fake.broker().answers = 1;
        self.pass([])
    }

    /// The input ends.
    fn end(&mut self) {
        self.workers.send(ToCommitter::Passed(NEVER)).unwrap();
        assert!(self.committer.advance().unwrap());
    }

    /// How often a step was called.
    fn calls(&self, step: Step) -> usize {
        self.fake.broker().calls.get(&step).copied().unwrap_or(0)
    }

    /// The epochs of each transaction that is committed.
    fn groups(&self) -> Vec<Vec<Epoch>> {
        self.fake.broker().groups.clone()
    }

    /// The epochs of which the log holds outputs, each once and whole.
    fn written(&self) -> Vec<Epoch> {
        let records = self.fake.broker().records.clone();
        let outputs = |epoch: &Epoch| [format!("{epoch}.0"), format!("{epoch}.1")];
        let epochs: Vec<Epoch> = (1..=records.len() as Epoch / 2).collect();
        assert_eq!(records, epochs.iter().flat_map(outputs).collect::<Vec<_>>());
        epochs
    }

    /// The last epochs that are acknowledged and committed, as the clock sees them.
    fn told(&self) -> (Epoch, Epoch) {
        let state = self.committer.parts.epochs.state();
        (state.acknowledged, state.committed)
    }

    fn bytes_of_outputs(&self) -> usize {
        self.committer.parts.epochs.in_flight().of(Part::Outputs)
    }
}

pub(super) fn delivery(guarantee: Guarantee, fake: &Fake) -> Delivery {
    let of = fake.clone();
    let open = Box::new(move |_: &str| Ok(Box::new(of.writer(guarantee)) as Box<dyn Writer>));
    let outputs = || PlainOutputs::open(open, &["out".to_owned()]).unwrap();
    match guarantee {
        Guarantee::ExactlyOnce => Delivery::InTransaction,
        Guarantee::AtLeastOnce => Delivery::BeforeCommit(outputs()),
        Guarantee::AtMostOnce => Delivery::BehindCommit(outputs()),
    }
}

#[test]
fn exactly_once_the_other_turn_takes_in_what_passes_while_a_commit_is_under_way() {
    let mut slow = Slow::new(Guarantee::ExactlyOnce, 2);
    slow.pass([1]);
    assert_eq!(slow.calls(Step::Commit), 1, "nothing is waited for");
    // Each is acknowledged as soon as it has passed.
    slow.pass([2]);
    assert_eq!((slow.calls(Step::Flush), slow.told()), (2, (2, 0)));
    slow.pass([3, 4]);
    assert_eq!((slow.calls(Step::Flush), slow.told()), (3, (4, 0)));
    assert_eq!(slow.calls(Step::Begin), 2);
    assert_eq!(
        (slow.calls(Step::Commit), slow.calls(Step::Confirm)),
        (1, 0)
    );
    slow.answer();
    assert_eq!(slow.told(), (4, 1));
    assert_eq!(slow.calls(Step::Commit), 2, "at once behind the one before");
    slow.pass([5]).answer();
    assert_eq!(slow.groups(), [vec![1], vec![2, 3, 4]]);
    slow.answer();
    assert_eq!(slow.groups(), [vec![1], vec![2, 3, 4], vec![5]]);
    assert_eq!(slow.told(), (5, 5));
    assert_eq!(slow.bytes_of_outputs(), 0);
    assert_eq!(committed(&slow.fake), [1, 2, 3, 4, 5]);
}

#[test]
fn exactly_once_with_one_turn_what_passed_meanwhile_goes_together_when_the_commit_is_answered() {
    let mut slow = Slow::new(Guarantee::ExactlyOnce, 1);
    slow.pass([1]).pass([2]).pass([3]);
    assert_eq!((slow.calls(Step::Begin), slow.told()), (1, (1, 0)));
    slow.answer();
    assert_eq!((slow.calls(Step::Begin), slow.told()), (2, (3, 1)));
    slow.end();
    assert_eq!(slow.groups(), [vec![1], vec![2, 3]]);
    assert_eq!(committed(&slow.fake), [1, 2, 3]);
}

#[test]
fn at_least_once_outputs_are_acknowledged_whatever_becomes_of_a_commit_before() {
    for turns in [1, 2] {
        let mut slow = Slow::new(Guarantee::AtLeastOnce, turns);
        slow.pass([1]);
        assert_eq!((slow.written(), slow.told()), (vec![1], (1, 0)));
        assert_eq!(slow.calls(Step::Commit), 1);
        slow.pass([2]);
        assert_eq!((slow.written(), slow.told()), (vec![1, 2], (2, 0)));
        slow.pass([3]);
        assert_eq!((slow.written(), slow.told()), (vec![1, 2, 3], (3, 0)));
        // What is written for good is not kept.
        assert_eq!(slow.bytes_of_outputs(), 0);
        let calls = (slow.calls(Step::Begin), slow.calls(Step::Confirm));
        assert_eq!(calls, (1, 0), "no entry is sent ahead, nothing waited for");
        slow.answer();
        assert_eq!((slow.groups(), slow.told()), (vec![vec![1]], (3, 1)));
        slow.pass([4]).end();
        assert_eq!(slow.groups(), [vec![1], vec![2, 3], vec![4]]);
        assert_eq!(slow.written(), [1, 2, 3, 4]);
        assert_eq!(slow.told(), (4, 4));
    }
}

/// However many pass without end, the first entry is on its way before the second epoch's outputs.
#[test]
fn at_least_once_outputs_do_not_keep_entries_from_being_committed() {
    let mut slow = Slow::new(Guarantee::AtLeastOnce, 2);
    slow.pass(1..=5);
    assert_eq!(slow.written(), [1, 2, 3, 4, 5]);
    slow.end();
    assert_eq!(slow.groups(), [vec![1], vec![2, 3, 4, 5]]);
}

/// Nobody sees entries, and outputs do not wait for them.
#[test]
fn at_least_once_entries_wait_for_further_ones_to_go_with_them() {
    let mut slow = Slow::new(Guarantee::AtLeastOnce, 2);
    slow.committer.parts.waits.entries = Duration::from_secs(3600);
    slow.pass([1]).answer();
    assert_eq!(slow.groups(), [[1]], "the first goes at once");
    slow.pass([2]).pass([3]).pass([4]);
    assert_eq!((slow.written(), slow.told()), (vec![1, 2, 3, 4], (4, 1)));
    assert_eq!(slow.calls(Step::Begin), 1);
    let full = 1 + MOST_EPOCHS as Epoch / 2;
    slow.pass(5..full);
    assert_eq!(slow.calls(Step::Begin), 1);
    slow.pass([full, full + 1]).answer();
    assert_eq!(slow.calls(Step::Begin), 2, "there are enough of them");
    assert_eq!(slow.told(), (full + 1, full));
    slow.end();
    let sizes: Vec<_> = slow.groups().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, MOST_EPOCHS / 2, 1], "the end waits for none");
    // Whoever has waited long enough goes.
    let mut slow = Slow::new(Guarantee::AtLeastOnce, 2);
    slow.committer.parts.waits.entries = Duration::from_millis(1);
    slow.pass([1]).answer();
    slow.pass([2]);
    while slow.calls(Step::Begin) < 2 {
        std::thread::yield_now();
        slow.pass([]);
    }
    slow.end();
    assert_eq!(slow.groups(), [[1], [2]]);
}

#[test]
fn at_most_once_a_transaction_holds_one_epoch_and_none_is_open_while_outputs_are_written() {
    for turns in [1, 2] {
        let mut slow = Slow::new(Guarantee::AtMostOnce, turns);
        slow.pass([1, 2]).pass([3]);
        assert_eq!((slow.calls(Step::Begin), slow.written()), (1, vec![]));
        slow.answer();
        assert_eq!((slow.calls(Step::Begin), slow.written()), (2, vec![1]));
        assert_eq!(slow.told(), (1, 1));
        slow.end();
        assert_eq!(slow.groups(), [[1], [2], [3]]);
        assert_eq!(slow.written(), [1, 2, 3]);
    }
}

#[test]
fn a_transaction_commits_so_many_epochs_at_most() {
    let all = MOST_EPOCHS as Epoch + 6;
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mut slow = Slow::new(guarantee, 2);
        slow.pass([1]).pass(2..=all).end();
        let groups = slow.groups();
        let sizes: Vec<_> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, MOST_EPOCHS, 5], "{guarantee}");
        assert_eq!(groups.concat(), (1..=all).collect::<Vec<_>>());
    }
}

#[test]
fn a_transaction_takes_no_epoch_in_whose_outputs_would_be_too_many_bytes() {
    let bytes = output(1).memory();
    for (send_ahead, sizes) in [
        (2 * bytes, vec![1, 2, 2]),
        (2 * bytes - 1, vec![1; 5]),
        (1, vec![1; 5]),
    ] {
        let mut slow = Slow::new(Guarantee::ExactlyOnce, 2);
        slow.committer.parts.send_ahead = send_ahead;
        slow.pass([1]).pass([2]).pass([3]).pass([4, 5]);
        // What stands in line behind a full transaction is not acknowledged.
        let sent = 1 + sizes[1] as Epoch;
        assert_eq!(slow.told(), (sent, 0));
        slow.end();
        let groups = slow.groups();
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert_eq!(committed(&slow.fake), [1, 2, 3, 4, 5]);
    }
}

/// A transaction is there as a whole or not at all; nothing here relies on it.
#[test]
fn in_doubt_the_epoch_log_alone_says_what_of_a_group_is_there() {
    for turns in [1, 2] {
        let doubt = Fault {
            step: Step::Confirm,
            hit: 1,
            kind: Kind::DoubtBefore,
        };
        let fake = with(turns, &[doubt], true);
        fake.broker().tears = true;
        let outcome = run_at(Pace::Together, &fake, WAITS);
        all_is_well(&fake, outcome, "a part of a group");
        assert_eq!(fake.broker().groups, [vec![1], vec![2, 3]], "{turns} turns");
    }
}
