//! A log in memory with scripted faults, as strict with the committer as a broker is.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::config::Guarantee;
use crate::connect::{
    EpochRecord, SinkRecord, TopicPartition, TransactionError, Transactions, Writer,
};
use crate::error::LogError;
use crate::runtime::entry::{Entry, Start, hash};

/// A call of the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Begin,
    Send,
    Flush,
    SendOffsets,
    Commit,
    Confirm,
    Renew,
    ReadEpochs,
    /// Of a plain writer.
    Write,
    /// Of a plain writer.
    FlushWriter,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It does nothing and leaves a doubt.
    DoubtBefore,
    /// It does what it should and leaves a doubt all the same.
    DoubtAfter,
    /// The broker has ended every transaction, because they took too long.
    TimedOut,
    /// Another instance has fenced this one and has written its start entry.
    Superseded,
    /// It cannot be done, now or ever.
    Failed,
    /// The log does not answer, and the call has done nothing.
    AwayBefore,
    /// The log does not answer, and the call has done what it should.
    AwayAfter,
}

/// The `hit`th call of a step, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) step: Step,
    pub(crate) hit: usize,
    pub(crate) kind: Kind,
}

/// The incarnation that supersedes the one under test.
pub(crate) const NEWER: &str = "newer";

#[derive(Default)]
struct Open {
    records: Vec<String>,
    entries: Vec<(u64, Vec<u8>)>,
    offsets: Vec<(TopicPartition, i64)>,
    flushed: bool,
    /// Sent off to be committed.
    committing: bool,
}

#[derive(Default)]
pub(crate) struct Broker {
    open: Vec<Option<Open>>,
    pub(crate) records: Vec<String>,
    pub(crate) entries: Vec<EpochRecord>,
    /// The offset that each partition was committed at last.
    pub(crate) offsets: std::collections::BTreeMap<TopicPartition, i64>,
    script: Vec<Fault>,
    pub(crate) calls: std::collections::BTreeMap<Step, usize>,
    /// After a doubt nothing may be asked of the producers any more.
    unusable: bool,
    /// What a commit that is under way comes to when its producer is renewed.
    pub(crate) commits_on_renew: bool,
    /// Before this reading of the epoch log (from 1) another instance writes its start entry.
    pub(crate) newer_at_read: Option<usize>,
    /// An instance has written its start entry: any `renew` from now on would fence it.
    pub(crate) superseded: bool,
    pub(crate) renewed_over_newer: bool,
    /// Whether a commit that was sent off has no answer yet; who confirms it waits until it has.
    pub(crate) unanswered: bool,
    /// How many commits are answered all the same.
    pub(crate) answers: usize,
    /// The epochs of each transaction that was committed with any.
    pub(crate) groups: Vec<Vec<u64>>,
    /// Of a transaction that is committed when its producer is renewed, only what stands up to its first entry is seen:
    /// no broker does that.
    pub(crate) tears: bool,
    /// Where each reading of the epoch log began.
    pub(crate) read_from: Vec<i64>,
}

/// Clones share the broker.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<Broker>>);

impl Fake {
    pub(crate) fn new(turns: usize, script: &[Fault]) -> Self {
        let open = (0..turns).map(|_| None).collect();
        Fake(Arc::new(Mutex::new(Broker {
            open,
            script: script.to_vec(),
            ..Broker::default()
        })))
    }

    pub(crate) fn broker(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().expect("no test panics in here and goes on")
    }

    /// Counts a call, and does it as the script says.
    fn call<T: Default>(
        &mut self,
        step: Step,
        apply: impl FnOnce(&mut Broker) -> Result<T, TransactionError>,
    ) -> Result<T, TransactionError> {
        let broker = &mut *self.broker();
        let hit = broker.calls.entry(step).or_default();
        *hit += 1;
        let hit = *hit;
        let asks_producer = !matches!(step, Step::Renew | Step::ReadEpochs);
        assert!(
            !(asks_producer && broker.unusable),
            "{step:?} of a producer that is in doubt or fenced"
        );
        let fault = |fault: &Fault| fault.step == step && fault.hit == hit;
        let Some(at) = broker.script.iter().position(fault) else {
            return apply(broker);
        };
        let kind = broker.script.remove(at).kind;
        let reason = format!("{step:?} {hit}: {kind:?}");
        broker.unusable |= step != Step::ReadEpochs;
        match kind {
            Kind::DoubtBefore => Err(TransactionError::Doubt(reason)),
            Kind::DoubtAfter => {
                apply(broker)?;
                // Whoever waits for the answer never gets one, yet it has taken effect.
                if step == Step::Commit {
                    broker.end_under_way(true);
                }
                broker.unusable = true;
                Err(TransactionError::Doubt(reason))
            }
            Kind::TimedOut => {
                broker.end_under_way(false);
                Err(TransactionError::Fenced(reason))
            }
            Kind::Superseded => {
                broker.end_under_way(false);
                broker.supersede();
                Err(TransactionError::Fenced(reason))
            }
            Kind::Failed => Err(LogError::Refused(reason).into()),
            Kind::AwayBefore | Kind::AwayAfter => panic!("{reason}: for writers only"),
        }
    }
}

impl Broker {
    fn turn(&mut self, turn: usize) -> &mut Open {
        self.open[turn].as_mut().expect("the transaction is open")
    }

    /// Ends every transaction; one whose commit is under way is committed if `commit`.
    fn end_under_way(&mut self, commit: bool) {
        for open in std::mem::take(&mut self.open) {
            self.open.push(None);
            if let Some(mut open) = open.filter(|open| commit && open.committing) {
                if self.tears {
                    open.entries.truncate(1);
                    open.records.truncate(2);
                }
                self.make_visible(open);
            }
        }
    }

    fn make_visible(&mut self, open: Open) {
        self.records.extend(open.records);
        self.offsets.extend(open.offsets);
        let epochs: Vec<_> = open.entries.iter().map(|(epoch, _)| *epoch).collect();
        if !epochs.is_empty() {
            self.groups.push(epochs);
        }
        for (epoch, value) in open.entries {
            self.append(epoch, value);
        }
    }

    /// At least once, outputs are there before their entry is committed.
    fn check_written(&self, epoch: u64, value: &[u8]) {
        let entry = serde_json::from_slice(value).expect("an entry");
        if let Entry::Epoch(entry) = entry
            && entry.guarantee == Guarantee::AtLeastOnce
        {
            let prefix = format!("{epoch}.");
            let written = self.records.iter().filter(|of| of.starts_with(&prefix));
            assert!(written.count() > 1, "epoch {epoch} is not written");
        }
    }

    pub(crate) fn append(&mut self, epoch: u64, value: Vec<u8>) {
        let offset = self.entries.len() as i64;
        self.entries.push(EpochRecord {
            offset,
            epoch,
            value,
        });
    }

    /// Another instance starts.
    pub(crate) fn supersede(&mut self) {
        let last = self.entries.last();
        let after = last.map_or(0, |last| last.epoch);
        let previous = last.map_or(String::new(), |last| hash(&last.value));
        let start = Entry::Start(Start::of(NEWER, after, previous));
        let epoch = last.map_or(0, |last| last.epoch);
        self.append(epoch, start.to_bytes());
        self.superseded = true;
    }
}

impl Transactions for Fake {
    fn turns(&self) -> usize {
        self.broker().open.len()
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.call(Step::Begin, |broker| {
            assert!(broker.open[turn].is_none(), "turn {turn} is open already");
            broker.open[turn] = Some(Open {
                flushed: true,
                ..Open::default()
            });
            Ok(())
        })
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        let value = record.value.unwrap_or_default().to_vec();
        let epoch = record.key.and_then(|key| key.try_into().ok());
        let is_entry = record.topic.ends_with("-epochs");
        self.call(Step::Send, move |broker| {
            let other_sends = |(of, open): (usize, &Option<Open>)| {
                of != turn && open.as_ref().is_some_and(|open| !open.committing)
            };
            assert!(
                !broker.open.iter().enumerate().any(other_sends),
                "what the other turn has sent is not acknowledged"
            );
            let open = broker.turn(turn);
            assert!(!open.committing, "sent behind its commit");
            open.flushed = false;
            match epoch.map(u64::from_be_bytes) {
                Some(epoch) if is_entry => open.entries.push((epoch, value)),
                _ => open.records.push(String::from_utf8_lossy(&value).into()),
            }
            Ok(())
        })
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.call(Step::Flush, |broker| {
            broker.turn(turn).flushed = true;
            Ok(())
        })
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.call(Step::SendOffsets, |broker| {
            broker.turn(turn).offsets.extend_from_slice(offsets);
            Ok(())
        })
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.call(Step::Commit, |broker| {
            let mut under_way = broker.open.iter().flatten();
            assert!(
                !under_way.any(|open| open.committing),
                "the commit before is not confirmed"
            );
            let open = broker.turn(turn);
            assert!(open.flushed, "committed before all is acknowledged");
            open.committing = true;
            for (epoch, value) in open.entries.clone() {
                broker.check_written(epoch, &value);
            }
            Ok(())
        })
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.call(Step::Confirm, |broker| {
            let open = broker.open[turn].take().expect("the transaction is open");
            assert!(open.committing, "nothing was sent off");
            broker.make_visible(open);
            Ok(())
        })
    }

    fn is_answered(&mut self, _: usize) -> bool {
        let broker = &mut *self.broker();
        let answered = broker.answers > 0;
        broker.answers = broker.answers.saturating_sub(1);
        answered || !broker.unanswered
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        let broker = self.broker();
        assert!(broker.open[turn].is_none(), "asked before it is confirmed");
        Ok(broker.entries.last().map(|entry| entry.offset))
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        self.call(Step::Renew, |broker| {
            broker.end_under_way(broker.commits_on_renew);
            broker.renewed_over_newer |= broker.superseded;
            broker.unusable = false;
            Ok(())
        })
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        self.call(Step::ReadEpochs, |broker| {
            if broker.newer_at_read == broker.calls.get(&Step::ReadEpochs).copied() {
                broker.supersede();
            }
            broker.read_from.push(offset);
            let from = |record: &&EpochRecord| record.offset >= offset;
            Ok(broker.entries.iter().filter(from).cloned().collect())
        })
    }
}

/// A plain writer to the fake's broker.
pub(crate) struct FakeWriter {
    fake: Fake,
    guarantee: Guarantee,
    queued: Vec<String>,
    failed: bool,
}

impl Fake {
    /// A writer as a delivery under this guarantee opens it.
    pub(crate) fn writer(&self, guarantee: Guarantee) -> FakeWriter {
        FakeWriter {
            fake: self.clone(),
            guarantee,
            queued: Vec::new(),
            failed: false,
        }
    }
}

impl FakeWriter {
    /// Counts a call, and does it as the script says.
    fn call(&mut self, step: Step, apply: impl FnOnce(&mut Self)) -> Result<(), LogError> {
        let away = || LogError::Unreachable {
            location: "the fake".into(),
            reason: format!("{step:?}"),
        };
        if self.failed {
            assert_eq!(step, Step::FlushWriter, "sent to a writer that has failed");
            return Err(away());
        }
        let kind = {
            let broker = &mut *self.fake.broker();
            let hit = broker.calls.entry(step).or_default();
            *hit += 1;
            let hit = *hit;
            let fault = |fault: &Fault| fault.step == step && fault.hit == hit;
            let at = broker.script.iter().position(fault);
            at.map(|at| broker.script.remove(at).kind)
        };
        if kind != Some(Kind::AwayBefore) {
            apply(self);
        }
        self.failed = kind.is_some();
        kind.map_or(Ok(()), |_| Err(away()))
    }
}

impl Writer for FakeWriter {
    fn send(&mut self, record: &SinkRecord<'_>) -> Result<(), LogError> {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        self.call(Step::Write, |writer| {
            if writer.guarantee == Guarantee::AtMostOnce {
                let (epoch, _) = value.split_once('.').expect("the values of the tests");
                let epoch: u64 = epoch.parse().expect("a number");
                let broker = writer.fake.broker();
                let committed = broker.entries.iter().any(|entry| entry.epoch == epoch);
                assert!(committed, "epoch {epoch} is written before its commit");
            }
            writer.queued.push(value);
        })
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.call(Step::FlushWriter, |writer| {
            let queued = std::mem::take(&mut writer.queued);
            writer.fake.broker().records.extend(queued);
        })
    }
}
