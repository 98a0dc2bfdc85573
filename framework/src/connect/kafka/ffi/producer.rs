//! A producer that reads records where they are, and is waited for without librdkafka's detours.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::code;
use crate::connect::kafka::reports::Reports;
use crate::connect::{Records, SinkRecord};

/// A producer, and the records that its client reads in place.
pub(in crate::connect::kafka) struct Producer {
    producer: Arc<BaseProducer<Reports>>,
    /// What the client was pointed to and may not have acknowledged yet.
    held: Vec<Arc<dyn Records>>,
    /// By the caller's number, the client's handles of topics.
    topics: Vec<Option<NonNull<c::rd_kafka_topic_t>>>,
}

// SAFETY: handles of topics may be used and given back on any thread (librdkafka, "Threads and callbacks"); everything else
// is `Send` by itself.
unsafe impl Send for Producer {}

impl Deref for Producer {
    type Target = Arc<BaseProducer<Reports>>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for topic in self.topics.drain(..).flatten() {
            // SAFETY: the handle is this one's, given back once, while the client is there.
            unsafe { c::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
        // Others may have the client, too. It is destroyed before its context is dropped, to which this belongs from here.
        self.producer.context().hold(std::mem::take(&mut self.held));
    }
}

impl Producer {
    pub(in crate::connect::kafka) fn new(producer: BaseProducer<Reports>) -> Self {
        Producer {
            producer: Arc::new(producer),
            held: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// The handle of a topic that the caller has this number for.
    fn topic(
        &mut self,
        number: usize,
        name: &CStr,
    ) -> Result<NonNull<c::rd_kafka_topic_t>, KafkaError> {
        if let Some(Some(topic)) = self.topics.get(number) {
            return Ok(*topic);
        }
        // SAFETY: the client is there and copies the name; without a configuration it takes its own.
        let topic = unsafe {
            let client = self.producer.client().native_ptr();
            c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut())
        };
        let refused = KafkaError::MessageProduction(RDKafkaErrorCode::UnknownTopic);
        let topic = NonNull::new(topic).ok_or(refused)?;
        if self.topics.len() <= number {
            self.topics.resize(number + 1, None);
        }
        self.topics[number] = Some(topic);
        Ok(topic)
    }

    /// Queues a record whose value is read where it is. Its key is copied. It has no headers. The caller has a number for each
    /// topic, few of them.
    pub(in crate::connect::kafka) fn send_of(
        &mut self,
        (number, topic): (usize, &CStr),
        records: &Arc<dyn Records>,
        index: usize,
    ) -> Result<(), KafkaError> {
        let topic = self.topic(number, topic)?;
        let holds = |held: &Arc<dyn Records>| ptr::addr_eq(Arc::as_ptr(held), Arc::as_ptr(records));
        // The last ones are asked first, and of them the records are.
        if !self.held.iter().rev().any(holds) {
            self.held.push(Arc::clone(records));
        }
        let SinkRecord {
            partition,
            timestamp,
            key,
            value,
            ..
        } = records.get(index, "");
        let (key, key_length) = start(key);
        let (value, value_length) = start(value);
        // SAFETY: the client lives as long as the producer, and the topic's handle as long as this.
        // The key is copied. The value is read until its record is acknowledged or given up. Until then `records` is held:
        // `flush` lets it go when no record is left, and otherwise the client is destroyed first (see `drop`). What is shared
        // does not change nor move, as nobody has it alone.
        // The list of arguments is as librdkafka wants it: kinds with the values that belong to them, and the end.
        let answer = unsafe {
            use c::rd_kafka_vtype_t as kind;
            c::rd_kafka_producev(
                self.producer.client().native_ptr(),
                kind::RD_KAFKA_VTYPE_RKT,
                topic.as_ptr(),
                kind::RD_KAFKA_VTYPE_PARTITION,
                partition as i32,
                kind::RD_KAFKA_VTYPE_MSGFLAGS,
                0 as c_int,
                kind::RD_KAFKA_VTYPE_VALUE,
                value,
                value_length,
                kind::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                kind::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                kind::RD_KAFKA_VTYPE_END,
            )
        };
        code(answer).map_err(|_| KafkaError::MessageProduction(answer.into()))
    }

    /// Waits until every record of the producer is acknowledged or given up, sending at once what lingers.
    /// `false` if `timeout` passed before. The records given up still have to be polled for.
    pub(in crate::connect::kafka) fn flush(&mut self, timeout: Duration) -> bool {
        let wait = timeout.as_millis().min(60_000) as c_int;
        // SAFETY: the client lives as long as the producer.
        let flushed =
            code(unsafe { c::rd_kafka_flush(self.producer.client().native_ptr(), wait) }).is_ok();
        if flushed {
            self.held.clear();
        }
        flushed
    }

    /// Takes every event that waits: errors, log lines, records given up.
    pub(in crate::connect::kafka) fn serve(&self) {
        loop {
            // SAFETY: the client lives as long as the producer; the queue's handle is released at once.
            let waiting = unsafe {
                let queue = c::rd_kafka_queue_get_main(self.producer.client().native_ptr());
                let waiting = c::rd_kafka_queue_length(queue);
                c::rd_kafka_queue_destroy(queue);
                waiting
            };
            if waiting == 0 {
                return;
            }
            self.producer.poll(Duration::ZERO);
        }
    }
}

/// Where bytes begin, null for none, and how many there are.
fn start(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}
