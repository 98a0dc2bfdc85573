//! Reads whole topics with a plain consumer.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(30);

/// A record as it lies in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset in its partition; control records leave gaps.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// `None` is a null key.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values in order; `None` is a null value.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Record {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
        };
        Record {
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message
                .headers()
                .map(|all| all.iter().map(header).collect())
                .unwrap_or_default(),
        }
    }
}

/// A reader of committed records that stays at the end of a topic and counts. It waits while the broker is away.
pub struct Tail {
    consumer: BaseConsumer,
    seen: u64,
}

impl Tail {
    /// Follows a topic of the broker at `bootstrap` from its start.
    ///
    /// # Panics
    /// The topic does not exist, or the broker does not answer.
    pub fn follow(bootstrap: &str, topic: &str) -> Tail {
        let starts: Vec<i64> = offsets(bootstrap, topic, "read_committed")
            .into_iter()
            .map(|(first, _)| first)
            .collect();
        Tail {
            consumer: assigned(bootstrap, topic, &starts, "read_committed"),
            seen: 0,
        }
    }

    /// The committed records that have come so far; waits a moment for more.
    ///
    /// # Panics
    /// The broker reports an error.
    pub fn seen(&mut self) -> u64 {
        self.take(&mut |_, _| ());
        self.seen
    }

    /// Hands over the committed records that have come since the last call, each with its partition; waits a
    /// moment for the first.
    ///
    /// # Panics
    /// The broker reports an error.
    pub fn take(&mut self, each: &mut dyn FnMut(i32, Record)) {
        let mut patience = Duration::from_millis(5);
        loop {
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    self.seen += 1;
                    each(message.partition(), Record::of(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if is_away(&error) => {}
                Some(Err(error)) => panic!("following a topic: {error}"),
                None => return,
            }
            patience = Duration::ZERO;
        }
    }
}

/// Whether an error says no more than that the broker does not answer now.
fn is_away(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}

/// Where a read ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Until {
    /// The high watermark, records of aborted transactions included.
    Everything,
    HighWatermark,
    LastStableOffset,
}

pub(super) fn read(bootstrap: &str, topic: &str, until: Until) -> Vec<Vec<Record>> {
    let ends = offsets(bootstrap, topic, "read_uncommitted");
    if until == Until::HighWatermark {
        wait_for_transactions(bootstrap, topic, &ends);
    }
    // With no transaction open below `ends`, the end of a partition that the broker reports lies at or
    // behind them.
    let starts: Vec<i64> = ends.iter().map(|(first, _)| *first).collect();
    let isolation = match until {
        Until::Everything => "read_uncommitted",
        Until::HighWatermark | Until::LastStableOffset => "read_committed",
    };
    let consumer = assigned(bootstrap, topic, &starts, isolation);
    let mut records = vec![Vec::new(); ends.len()];
    let mut open: HashSet<i32> = (0..ends.len() as i32).collect();
    let started = Instant::now();
    while !open.is_empty() {
        assert!(
            started.elapsed() < LIMIT,
            "topic `{topic}`: the end of partitions {open:?} is not reached"
        );
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records[message.partition() as usize].push(Record::of(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => panic!("topic `{topic}`: {error}"),
            None => {}
        }
    }
    records
}

/// A reader at these offsets.
fn assigned(bootstrap: &str, topic: &str, starts: &[i64], isolation: &str) -> BaseConsumer {
    let consumer = client(bootstrap, isolation);
    let mut assignment = TopicPartitionList::new();
    for (partition, start) in starts.iter().enumerate() {
        assignment
            .add_partition_offset(topic, partition as i32, Offset::Offset(*start))
            .expect("a valid offset");
    }
    consumer.assign(&assignment).expect("a valid assignment");
    consumer
}

/// Returns when the last stable offset of every partition has reached its end in `ends`.
fn wait_for_transactions(bootstrap: &str, topic: &str, ends: &[(i64, i64)]) {
    let started = Instant::now();
    loop {
        let stable = offsets(bootstrap, topic, "read_committed");
        if stable
            .iter()
            .zip(ends)
            .all(|((_, stable), (_, end))| stable >= end)
        {
            return;
        }
        assert!(
            started.elapsed() < LIMIT,
            "topic `{topic}`: a transaction stays open: {stable:?} of {ends:?}"
        );
    }
}

/// First offset and end of each partition: the high watermark, or the last stable offset for `read_committed`.
fn offsets(bootstrap: &str, topic: &str, isolation: &str) -> Vec<(i64, i64)> {
    let client = client(bootstrap, isolation);
    let metadata = client
        .fetch_metadata(Some(topic), LIMIT)
        .expect("the broker answers");
    let partitions = metadata.topics()[0].partitions().len();
    assert!(partitions > 0, "topic `{topic}` does not exist");
    let watermarks = |partition| {
        client
            .fetch_watermarks(topic, partition, LIMIT)
            .expect("the broker answers")
    };
    (0..partitions as i32).map(watermarks).collect()
}

fn client(bootstrap: &str, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "tiderace-testing")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("the properties are valid")
}
