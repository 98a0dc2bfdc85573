//! A transaction that lasts too long: the broker ends it and fences its producer, as it does for a newer instance.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tiderace::Guarantee;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{
    EpochRecord, Records, SinkRecord, TopicPartition, TransactionError, Transactions,
};
use tiderace_testing::kafka::Kafka;
use tiderace_testing::proxy::{Api, Fault};

use crate::case::{Case, strike};
use crate::input::shared;
use crate::lost::{FIRST, LAST, MIDDLE, SECOND, cases, fences_once};
use crate::wrapped::Wrapped;

/// How long a transaction of these cases may last.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(2);

/// How long a fenced instance looks for the start entry of a newer one.
const LOOKS: Duration = Duration::from_secs(5);

/// How long the broker may take to end a transaction.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(20);

/// What the calls of one run came to.
#[derive(Default)]
struct Calls {
    commits: AtomicU32,
    /// When a commit was answered with a fence.
    fences: Mutex<Vec<Instant>>,
    /// How long after the last fence producers were made anew.
    renewals: Mutex<Vec<Duration>>,
}

/// Sends one commit off only when the broker has ended its transaction.
struct Late {
    inner: Box<dyn Transactions>,
    broker: &'static Kafka,
    epochs: String,
    /// Which commit, counted from 1, start entries included.
    which: u32,
    calls: Arc<Calls>,
}

impl Late {
    /// Waits until the marker of the transaction's end follows what was sent in it.
    fn wait_for_the_end_of_the_transaction(&self) {
        let sent = end(&reader(self.broker, "read_uncommitted"), &self.epochs);
        let committed = reader(self.broker, "read_committed");
        let begun = Instant::now();
        while end(&committed, &self.epochs) <= sent {
            assert!(begun.elapsed() < PATIENCE, "the transaction stays open");
            std::thread::park_timeout(GLANCE);
        }
    }

    fn counted<T>(&self, answer: Result<T, TransactionError>) -> Result<T, TransactionError> {
        if let Err(TransactionError::Fenced(_)) = answer {
            self.calls.fences.lock().unwrap().push(Instant::now());
        }
        answer
    }
}

impl Transactions for Late {
    fn turns(&self) -> usize {
        self.inner.turns()
    }

    fn begin(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.begin(turn)
    }

    fn send(&mut self, turn: usize, record: &SinkRecord<'_>) -> Result<(), TransactionError> {
        self.inner.send(turn, record)
    }

    fn send_of(
        &mut self,
        turn: usize,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        self.inner.send_of(turn, topic, records, index)
    }

    fn flush(&mut self, turn: usize) -> Result<(), TransactionError> {
        self.inner.flush(turn)
    }

    fn send_offsets(
        &mut self,
        turn: usize,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransactionError> {
        self.inner.send_offsets(turn, offsets)
    }

    fn commit(&mut self, turn: usize) -> Result<(), TransactionError> {
        if self.calls.commits.fetch_add(1, Ordering::Relaxed) + 1 == self.which {
            self.wait_for_the_end_of_the_transaction();
        }
        let answer = self.inner.commit(turn);
        self.counted(answer)
    }

    fn confirm(&mut self, turn: usize) -> Result<(), TransactionError> {
        let answer = self.inner.confirm(turn);
        self.counted(answer)
    }

    fn is_answered(&mut self, turn: usize) -> bool {
        self.inner.is_answered(turn)
    }

    fn entry_offset(&mut self, turn: usize) -> Result<Option<i64>, TransactionError> {
        self.inner.entry_offset(turn)
    }

    fn renew(&mut self) -> Result<(), TransactionError> {
        let waited = self
            .calls
            .fences
            .lock()
            .unwrap()
            .last()
            .map(Instant::elapsed);
        self.calls.renewals.lock().unwrap().extend(waited);
        self.inner.renew()
    }

    fn read_epochs(&mut self, offset: i64) -> Result<Vec<EpochRecord>, TransactionError> {
        self.inner.read_epochs(offset)
    }
}

/// A reader of everything, or of committed records only.
fn reader(broker: &Kafka, isolation: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("isolation.level", isolation);
    config.create().unwrap()
}

/// The end of a topic's only partition, as a reader sees it.
fn end(reader: &BaseConsumer, topic: &str) -> i64 {
    reader.fetch_watermarks(topic, 0, PATIENCE).unwrap().1
}

/// No newer instance has written its start entry: the run looks for one for as long as it says, makes its producers
/// anew, and sends the epoch again.
fn times_out(broker: &'static Kafka, visits: &'static str, which: u32) {
    let calls = Arc::new(Calls::default());
    let seen = Arc::clone(&calls);
    let name = format!("commit {which} behind the end of its transaction");
    let guarantee = Guarantee::ExactlyOnce;
    let case = Case::run_over(
        broker,
        visits,
        &name,
        Vec::new(),
        guarantee,
        |bootstrap, application, properties| {
            let mut properties = properties.clone();
            let limit = TRANSACTION_LIMIT.as_millis().to_string();
            properties.insert("transaction.timeout.ms".into(), limit);
            let mut log = Wrapped::new(KafkaLog::connect(bootstrap, &properties).unwrap());
            let epochs = format!("{application}-epochs");
            log.transactions = Box::new(move |inner| {
                Box::new(Late {
                    inner,
                    broker,
                    epochs: epochs.clone(),
                    which,
                    calls: Arc::clone(&seen),
                })
            });
            Arc::new(log)
        },
    );
    assert_eq!(calls.fences.lock().unwrap().len(), 1, "{name}");
    let renewals = calls.renewals.lock().unwrap();
    assert!(
        matches!(renewals[..], [waited] if waited >= LOOKS),
        "{name}: new producers {renewals:?} behind the fence"
    );
    assert_eq!(case.report.restarts, 0, "{name}");
    fences_once(&case);
    case.verify();
}

#[test]
fn an_instance_whose_transaction_timed_out_looks_for_a_newer_one_and_goes_on_to_the_same_bytes() {
    let Some(shared) = shared() else { return };
    // The first two are those of entry 0 and of the start entry.
    std::thread::scope(|scope| {
        let runs =
            [3, 9].map(|which| scope.spawn(move || times_out(shared.broker, shared.visits, which)));
        for run in runs {
            if let Err(panic) = run.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn a_commit_that_fails_without_a_name_waits_for_a_newer_instance_before_it_makes_producers() {
    // The first two are those of entry 0 and of the start entry.
    let hits = [FIRST, SECOND, MIDDLE, LAST];
    let cases = cases("EndTxn failed", Api::END_TXN, &hits, Fault::FailEnd);
    strike(cases, |case| {
        fences_once(case);
        assert!(case.took >= LOOKS, "{}: {:?}", case.name, case.took);
    });
}
