//! One of the two producers that take turns: a transaction from its begin to its confirmed commit.
//!
//! Fences on doubt: librdkafka sends an EndTxn again by itself when a connection breaks or a request times
//! out, and then answers success, while the first one may still be on its way and end a later transaction.
//! So any such report, whenever it comes, makes every later step fail with [`TransactionError::Doubt`]; the
//! producer is then thrown away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::backlog::{self, Backlog};
use super::calls::{Call, Calls, Unanswered};
use super::errors::{code_of, is_busy, is_credentials, is_fence_of_commit, is_fenced};
use super::ffi::Producer;
use super::properties;
use super::reports::Reports;
use super::writer::{BATCH, Limits, Outgoing, Refusal, enqueue, introduce, lost_record};
use crate::connect::TransactionError;
use crate::error::LogError;

/// Records that the client puts into a batch at most unless told otherwise.
const BATCH_RECORDS: usize = 10_000;

/// Records after which the client's reports are looked at.
const SERVE_EVERY: u32 = 1_000;

/// The step whose answer the commit of a transaction is.
const COMMIT: &str = "commit";

/// After which the client asks again for a producer id that it was refused.
pub(super) const ASKS_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct Turn {
    producer: Producer,
    limits: Arc<Limits>,
    /// How long a commit, or the acknowledgement of its records, may take; below the client's own limit for
    /// a request, so that a request that is sent again is always noticed.
    patience: Duration,
    location: String,
    sent: u32,
    /// Whether it knows of its topics.
    introduced: bool,
    backlog: Backlog,
    calls: Calls,
}

impl Turn {
    /// Makes the producer and has it connect. Older ones with its `transactional.id` go on until it [fences](Self::fence) them.
    pub(super) fn connect(
        config: &rdkafka::ClientConfig,
        limits: Arc<Limits>,
        location: String,
    ) -> Result<Turn, TransactionError> {
        let producer: BaseProducer<Reports> = config
            .create_with_context(Reports::default())
            .map_err(properties::refused)?;
        let introduced = introduce(&producer, limits.topics());
        let producer = Producer::new(producer);
        let patience = request_limit(config)? * 9 / 10;
        let calls = Calls::start(Arc::clone(&producer), patience)
            .map_err(|error| LogError::Refused(format!("cannot start a thread: {error}")))?;
        Ok(Turn {
            producer,
            limits,
            patience,
            location,
            sent: 0,
            introduced,
            backlog: backlog_of(config),
            calls,
        })
    }

    /// Fences every older producer with its `transactional.id`, whose transaction is ended. False if the broker was still
    /// ending it after this `wait`: this client asks again half a second after it asked last, another one at once.
    pub(super) fn fence(&mut self, wait: Duration) -> Result<bool, TransactionError> {
        const LOOK: Duration = Duration::from_millis(10);
        const LIMIT: Duration = Duration::from_secs(30);
        let begun = crate::clock::instant();
        let answer = loop {
            let answer = self.producer.init_transactions(LOOK);
            let took = begun.elapsed();
            match &answer {
                Err(error) if is_busy(code_of(error)) && (wait..ASKS_AGAIN).contains(&took) => {
                    return Ok(false);
                }
                // It goes on in the background.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && took < LIMIT => {
                    std::thread::park_timeout(LOOK / 10);
                }
                _ => break answer,
            }
        };
        self.producer.serve();
        // What went wrong on the way to the first transaction cannot have touched one.
        let reported = std::mem::take(&mut *self.producer.context().lock());
        let Err(error) = answer else {
            // A broker that was away when it connected is back.
            if !self.introduced {
                self.introduced = introduce(&self.producer, self.limits.topics());
            }
            return Ok(true);
        };
        let location = self.location.clone();
        let code = code_of(&error);
        let reason = reported
            .credentials
            .or(reported.last)
            .unwrap_or_else(|| error.to_string());
        Err(match code {
            code if is_fenced(code) => TransactionError::Fenced(error.to_string()),
            code if is_credentials(code) => LogError::Credentials { location, reason }.into(),
            code if code == Code::InvalidTransactionTimeout as i32 => LogError::Refused(format!(
                "transaction.timeout.ms is more than {location} allows"
            ))
            .into(),
            _ => LogError::Unreachable { location, reason }.into(),
        })
    }

    pub(super) fn begin(&mut self) -> Result<(), TransactionError> {
        self.check()?;
        self.sent = 0;
        self.producer
            .begin_transaction()
            .map_err(|error| self.failed("begin", &error))
    }

    pub(super) fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), TransactionError> {
        self.sent += 1;
        if self.sent.is_multiple_of(SERVE_EVERY) {
            self.check()?;
        }
        let mut full = None;
        loop {
            match enqueue(&mut self.producer, outgoing, &self.limits) {
                Ok((topic, partition, bytes)) => {
                    self.backlog.add(topic, partition, bytes);
                    return Ok(());
                }
                Err(Refusal::Full) => {
                    if !self.waits(Backlog::goes_down) {
                        self.producer.flush(Duration::from_millis(5));
                    }
                    self.check()?;
                    let since = *full.get_or_insert_with(crate::clock::instant);
                    if since.elapsed() >= self.patience {
                        return Err(TransactionError::Doubt(format!(
                            "topic `{}`: the queue stays full",
                            outgoing.record().topic
                        )));
                    }
                }
                Err(Refusal::Record(error)) => return Err(error.into()),
                Err(Refusal::Client(error)) => return Err(self.failed("send", &error)),
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), TransactionError> {
        let started = crate::clock::instant();
        while self.waits(Backlog::goes_down)
            || self.waits(Backlog::comes_to_its_end)
            || !self.producer.flush(Duration::from_millis(10))
        {
            self.check()?;
            if started.elapsed() >= self.patience {
                return Err(TransactionError::Doubt(
                    "records stay unacknowledged".to_owned(),
                ));
            }
        }
        self.backlog.clear();
        self.check()
    }

    /// Waits a moment for what is under way, unless it is time to have it flushed.
    fn waits(&mut self, is_worth_it: fn(&mut Backlog, u64, Instant) -> bool) -> bool {
        let left = u64::try_from(self.producer.in_flight_count()).unwrap_or(0);
        let now = crate::clock::instant();
        let waits = is_worth_it(&mut self.backlog, left, now);
        if waits {
            std::thread::park_timeout(backlog::LOOK);
        }
        waits
    }

    pub(super) fn send_offsets(
        &mut self,
        offsets: TopicPartitionList,
        group: Arc<ConsumerGroupMetadata>,
    ) -> Result<(), TransactionError> {
        let made = self.calls.make(Call::SendOffsets(offsets, group));
        self.answered(made, "send offsets")
    }

    /// Sends the commit off; every record is acknowledged before, because librdkafka would otherwise wait in
    /// steps of 100 ms.
    pub(super) fn commit(&mut self) -> Result<(), TransactionError> {
        self.flush()?;
        let made = self.calls.make(Call::Commit);
        made.map_err(|Unanswered| TransactionError::Doubt("the thread of calls has ended".into()))
    }

    /// Whether [`confirm`](Self::confirm) has nothing to wait for.
    pub(super) fn is_answered(&mut self) -> bool {
        self.calls.is_answered()
    }

    pub(super) fn confirm(&mut self) -> Result<(), TransactionError> {
        self.answered(Ok(()), COMMIT)
    }

    /// Waits for the answer of a call that was made.
    fn answered(
        &mut self,
        made: Result<(), Unanswered>,
        step: &str,
    ) -> Result<(), TransactionError> {
        let answer = made.and_then(|()| self.calls.answer());
        let answer = answer
            .map_err(|Unanswered| TransactionError::Doubt(format!("{step}: it is not answered")))?;
        answer.map_err(|error| self.failed(step, &error))?;
        self.check()
    }

    /// Looks at what the client has reported since the last look.
    fn check(&self) -> Result<(), TransactionError> {
        self.producer.serve();
        let reported = self.producer.context().now();
        let fatal = self.producer.client().fatal_error();
        if reported.credentials.is_none()
            && reported.doubt.is_none()
            && reported.lost.is_none()
            && fatal.is_none()
        {
            return Ok(());
        }
        if let Some((code, reason)) = &fatal
            && is_fenced(*code as i32)
        {
            return Err(TransactionError::Fenced(reason.clone()));
        }
        if let Some(lost) = reported.lost {
            return Err(match lost_record(&lost, &self.limits, &self.location) {
                LogError::Fenced(reason) => TransactionError::Fenced(reason),
                error @ (LogError::Unreachable { .. } | LogError::Client { .. }) => {
                    TransactionError::Doubt(error.to_string())
                }
                error => error.into(),
            });
        }
        if let Some(reason) = reported.credentials {
            return Err(LogError::Credentials {
                location: self.location.clone(),
                reason,
            }
            .into());
        }
        let fatal = fatal.map(|(_, reason)| reason);
        Err(TransactionError::Doubt(
            reported.doubt.or(fatal).expect("one of the four is there"),
        ))
    }

    /// What a failed call means; a report that explains it goes first.
    fn failed(&self, step: &str, error: &KafkaError) -> TransactionError {
        if let Err(explained) = self.check() {
            return explained;
        }
        let reason = format!("{step}: {error}");
        match code_of(error) {
            code if is_fenced(code) => TransactionError::Fenced(reason),
            // New producers, which a doubt asks for, would fence whoever it is in turn.
            code if step == COMMIT && is_fence_of_commit(code) => TransactionError::Fenced(reason),
            code if is_credentials(code) => LogError::Credentials {
                location: self.location.clone(),
                reason,
            }
            .into(),
            _ => TransactionError::Doubt(reason),
        }
    }
}

/// A backlog of nothing, for batches as they are set.
fn backlog_of(config: &rdkafka::ClientConfig) -> Backlog {
    let set = |name| config.get(name).and_then(|set| set.parse().ok());
    Backlog::new(
        set("batch.size").unwrap_or(BATCH),
        set("batch.num.messages").unwrap_or(BATCH_RECORDS),
    )
}

/// The client's own limit for a request: `socket.timeout.ms`, which it lowers to just below
/// `transaction.timeout.ms` where nobody has set it.
fn request_limit(config: &rdkafka::ClientConfig) -> Result<Duration, LogError> {
    let native = config.create_native_config().map_err(properties::refused)?;
    let millis = |name| {
        native
            .get(name)
            .ok()
            .and_then(|value| value.trim().parse::<u64>().ok())
    };
    let transaction = millis("transaction.timeout.ms")
        .unwrap_or(10_000)
        .saturating_sub(100)
        .max(900);
    let request = config
        .get("socket.timeout.ms")
        .and_then(|value| value.trim().parse::<u64>().ok());
    Ok(Duration::from_millis(
        request.unwrap_or(transaction).min(transaction),
    ))
}
