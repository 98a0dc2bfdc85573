//! Where the outputs of an epoch go: into the transaction of its entry, or out by themselves.
//!
//! When they go is the order of a commit, which stands in `commit.rs` and `sending.rs`. In each case the entry and the
//! input offsets are committed in a transaction, so that state is the same fold of the input.

use std::collections::BTreeMap;
use std::sync::Arc;

use tiderace_operators::failpoint;

use crate::config::Guarantee;
use crate::connect::{Log, Records, TransactionError, Transactions, Writer};
use crate::error::LogError;

/// Opens the plain writer of a topic.
pub(crate) type OpenWriter = Box<dyn Fn(&str) -> Result<Box<dyn Writer>, LogError> + Send>;

/// Where outputs go, and so what is promised of them.
pub(crate) enum Delivery {
    /// [`Guarantee::ExactlyOnce`]: into the transaction of their epoch's entry.
    InTransaction,
    /// [`Guarantee::AtLeastOnce`]: out by themselves, acknowledged before that transaction begins.
    BeforeCommit(PlainOutputs),
    /// [`Guarantee::AtMostOnce`]: out by themselves, once that transaction's commit is confirmed.
    BehindCommit(PlainOutputs),
}

impl Delivery {
    /// Gets ready to write these topics under a guarantee.
    ///
    /// # Errors
    /// A topic is not there, or another process is its plain writer.
    pub(crate) fn open(
        guarantee: Guarantee,
        log: &Arc<dyn Log>,
        topics: &[String],
    ) -> Result<Self, LogError> {
        let plain = || {
            let log = Arc::clone(log);
            PlainOutputs::open(Box::new(move |topic| log.writer(topic)), topics)
        };
        Ok(match guarantee {
            Guarantee::ExactlyOnce => Delivery::InTransaction,
            Guarantee::AtLeastOnce => Delivery::BeforeCommit(plain()?),
            Guarantee::AtMostOnce => Delivery::BehindCommit(plain()?),
        })
    }

    /// After a doubt: throws every writer away, as [`Transactions::renew`] does with producers.
    pub(crate) fn renew(&mut self) {
        match self {
            Delivery::InTransaction => {}
            Delivery::BeforeCommit(outputs) | Delivery::BehindCommit(outputs) => {
                outputs.writers.clear();
            }
        }
    }

    /// What is promised.
    pub(crate) fn guarantee(&self) -> Guarantee {
        match self {
            Delivery::InTransaction => Guarantee::ExactlyOnce,
            Delivery::BeforeCommit(_) => Guarantee::AtLeastOnce,
            Delivery::BehindCommit(_) => Guarantee::AtMostOnce,
        }
    }
}

/// The topics that an application's transactions write beside its epoch log.
pub(crate) fn in_transaction(guarantee: Guarantee, outputs: &[String]) -> &[String] {
    match guarantee {
        Guarantee::ExactlyOnce => outputs,
        Guarantee::AtLeastOnce | Guarantee::AtMostOnce => &[],
    }
}

/// Takes the outputs of an epoch, record by record.
pub(super) trait Outlet {
    /// Sends a record of a topic, the one of these at the index.
    fn send(
        &mut self,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError>;

    /// Returns when everything sent so far is acknowledged.
    fn flush(&mut self) -> Result<(), TransactionError>;
}

/// Outputs in the open transaction of a turn.
pub(super) struct Within<'a> {
    pub(super) transactions: &'a mut dyn Transactions,
    pub(super) turn: usize,
}

impl Outlet for Within<'_> {
    fn send(
        &mut self,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        let turn = self.turn;
        self.transactions.send_of(turn, topic, records, index)
    }

    fn flush(&mut self) -> Result<(), TransactionError> {
        self.transactions.flush(self.turn)
    }
}

/// Outputs that go through a plain writer for each topic; one that was thrown away is opened again when it is needed.
pub(crate) struct PlainOutputs {
    open: OpenWriter,
    /// By topic, with whether something was sent since the last flush.
    writers: BTreeMap<String, (Box<dyn Writer>, bool)>,
}

impl PlainOutputs {
    /// Opens a writer for each of these topics.
    pub(crate) fn open(open: OpenWriter, topics: &[String]) -> Result<Self, LogError> {
        let mut outputs = PlainOutputs {
            open,
            writers: BTreeMap::new(),
        };
        for topic in topics {
            outputs.writer(topic)?;
        }
        Ok(outputs)
    }

    /// The writer of a topic, and whether it holds what is not flushed.
    fn writer(&mut self, topic: &str) -> Result<&mut (Box<dyn Writer>, bool), LogError> {
        if !self.writers.contains_key(topic) {
            let opened = (self.open)(topic)?;
            self.writers.insert(topic.to_owned(), (opened, false));
        }
        Ok(self
            .writers
            .get_mut(topic)
            .expect("it is there or was just put there"))
    }
}

impl Outlet for PlainOutputs {
    fn send(
        &mut self,
        topic: &str,
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), TransactionError> {
        let (writer, unflushed) = self.writer(topic)?;
        *unflushed = true;
        writer.send_of(topic, records, index)?;
        failpoint!(crate::failpoint::P25_OUTPUT_WRITTEN);
        Ok(())
    }

    /// Flushes every writer, whatever becomes of the others; the first failure is returned.
    fn flush(&mut self) -> Result<(), TransactionError> {
        let unflushed = self.writers.values_mut().filter(|(_, of)| *of);
        let flushed = unflushed.map(|(writer, unflushed)| {
            *unflushed = false;
            writer.flush()
        });
        Ok(flushed.fold(Ok(()), Result::and)?)
    }
}
