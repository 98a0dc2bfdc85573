//! A log that behaves as another one does, but for its sources or its transactions.

use tiderace::connect::{
    Log, NewTopic, Source, TopicDescription, TopicPartition, Transactions, Writer,
};
use tiderace::error::LogError;

type OfSource =
    Box<dyn Fn(&[(TopicPartition, i64)], Box<dyn Source>) -> Box<dyn Source> + Send + Sync>;
type OfTransactions = Box<dyn Fn(Box<dyn Transactions>) -> Box<dyn Transactions> + Send + Sync>;
type Opening = Box<dyn Fn() -> Result<(), LogError> + Send + Sync>;

/// The log, and what is put around what it opens.
pub(crate) struct Wrapped<L> {
    pub(crate) log: L,
    pub(crate) source: OfSource,
    pub(crate) transactions: OfTransactions,
    /// Called before transactions are opened, which it may prevent.
    pub(crate) opening: Opening,
}

impl<L: Log> Wrapped<L> {
    pub(crate) fn new(log: L) -> Self {
        Wrapped {
            log,
            source: Box::new(|_, source| source),
            transactions: Box::new(|transactions| transactions),
            opening: Box::new(|| Ok(())),
        }
    }
}

impl<L: Log> Log for Wrapped<L> {
    fn location(&self) -> String {
        self.log.location()
    }

    fn topics(&self) -> Result<Vec<String>, LogError> {
        self.log.topics()
    }

    fn topic(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        self.log.topic(name)
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.log.create_topic(topic)
    }

    fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        self.log.delete_topic(name)
    }

    fn add_partitions(&self, topic: &str, total: u32) -> Result<(), LogError> {
        self.log.add_partitions(topic, total)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError> {
        self.log.delete_records(partition, before)
    }

    fn offset_for_time(
        &self,
        partition: &TopicPartition,
        timestamp: i64,
    ) -> Result<Option<i64>, LogError> {
        self.log.offset_for_time(partition, timestamp)
    }

    fn source(
        &self,
        assignment: &[(TopicPartition, i64)],
        memory: usize,
    ) -> Result<Box<dyn Source>, LogError> {
        let source = self.log.source(assignment, memory)?;
        Ok((self.source)(assignment, source))
    }

    fn transactions(
        &self,
        application_id: &str,
        outputs: &[String],
    ) -> Result<Box<dyn Transactions>, LogError> {
        (self.opening)()?;
        let transactions = self.log.transactions(application_id, outputs)?;
        Ok((self.transactions)(transactions))
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>, LogError> {
        self.log.writer(topic)
    }

    fn takes_nonpositive_timestamps(&self) -> bool {
        self.log.takes_nonpositive_timestamps()
    }
}
