//! The calls of a transactional producer that wait for brokers, one after the other in a thread of their own.
//!
//! The client keeps to none of the limits that it is given while it looks for a group's coordinator: input offsets wait
//! for a broker that is away until it is back. So it is the caller here who stops waiting; the thread ends with the call.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use super::reports::Reports;

/// A call that is to be made.
pub(super) enum Call {
    /// Adds input offsets of a group to the transaction.
    SendOffsets(TopicPartitionList, Arc<ConsumerGroupMetadata>),
    /// Commits it.
    Commit,
}

/// What a call came to.
pub(super) type Answer = Result<(), KafkaError>;

/// No answer came, or none will.
#[derive(Debug)]
pub(super) struct Unanswered;

/// The calls of one producer.
pub(super) struct Calls {
    calls: Sender<Call>,
    answers: Receiver<Answer>,
    patience: Duration,
    /// When the last call was made.
    made: Instant,
    /// What it came to, if that is known and was not taken.
    answer: Option<Answer>,
}

impl Calls {
    /// Starts the thread; the client is given `patience` for each call.
    pub(super) fn start(
        producer: Arc<BaseProducer<Reports>>,
        patience: Duration,
    ) -> io::Result<Calls> {
        let (calls, work) = channel();
        let (done, answers) = channel();
        let make = move |call| match call {
            Call::SendOffsets(offsets, group) => {
                producer.send_offsets_to_transaction(&offsets, &group, patience)
            }
            Call::Commit => producer.commit_transaction(patience),
        };
        std::thread::Builder::new()
            .name("tiderace-commit".to_owned())
            .spawn(move || while work.recv().is_ok_and(|call| done.send(make(call)).is_ok()) {})?;
        Ok(Calls {
            calls,
            answers,
            patience,
            made: crate::clock::instant(),
            answer: None,
        })
    }

    /// Makes a call. The one before is answered: behind one that was not, the producer is thrown away.
    pub(super) fn make(&mut self, call: Call) -> Result<(), Unanswered> {
        self.answer = None;
        self.made = crate::clock::instant();
        self.calls.send(call).map_err(|_| Unanswered)
    }

    /// Whether [`answer`](Self::answer) has nothing to wait for: an answer is there, or will not come.
    pub(super) fn is_answered(&mut self) -> bool {
        if self.answer.is_none() {
            self.answer = match self.answers.try_recv() {
                Ok(answer) => Some(answer),
                Err(TryRecvError::Empty) => return self.left().is_zero(),
                Err(TryRecvError::Disconnected) => return true,
            };
        }
        true
    }

    /// Waits for the answer of the last call.
    pub(super) fn answer(&mut self) -> Result<Answer, Unanswered> {
        match self.answer.take() {
            Some(answer) => Ok(answer),
            None => self
                .answers
                .recv_timeout(self.left())
                .map_err(|_| Unanswered),
        }
    }

    /// How long the call may still take: the client should end it within `patience`, twice that means that it hangs.
    fn left(&self) -> Duration {
        (self.patience * 2).saturating_sub(self.made.elapsed())
    }
}
