//! The calls of librdkafka that the `rdkafka` crate does not have: consuming by batch, records that are read
//! where librdkafka keeps them, a flush that returns when the last record is acknowledged, topic ids, and naming brokers.
//!
//! One of the two homes of `unsafe` in the workspace.
#![allow(unsafe_code)]

mod batch;
mod brokers;
mod describe;
mod producer;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;

use super::reports::Reports;
pub(super) use batch::{Batch, RecordHandle};
pub(super) use brokers::name_brokers;
pub(super) use describe::topic_id;
pub(super) use producer::Producer;

/// A consumer that hands out whole batches.
pub(super) struct Consumer {
    client: Arc<Client>,
    /// Reused between calls.
    fetched: Vec<*mut c::rd_kafka_message_t>,
}

// SAFETY: `fetched` holds no pointer between calls (it is drained before `fetch` returns), so nothing ties a
// `Consumer` to a thread; `Client` is `Send + Sync`.
unsafe impl Send for Consumer {}

/// The client and its queue; batches keep it alive, because their records lie in its memory.
struct Client {
    client: NonNull<c::rd_kafka_t>,
    queue: NonNull<c::rd_kafka_queue_t>,
    /// What the callbacks point to; lives until the client is destroyed.
    reports: Arc<Reports>,
}

// SAFETY: librdkafka's client and queue handles may be used from any thread at any time (its documentation,
// "Threads and callbacks"); `Reports` is `Sync`.
unsafe impl Send for Client {}
unsafe impl Sync for Client {}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: both handles came from librdkafka and are released once, here; no batch is left, since each
        // holds an `Arc` of this. The consumer never joined a group, so there is nothing to leave.
        unsafe {
            c::rd_kafka_queue_destroy(self.queue.as_ptr());
            c::rd_kafka_destroy_flags(
                self.client.as_ptr(),
                c::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE,
            );
        }
    }
}

/// Something that a consumer fetched, with the partition that it is of.
pub(super) enum Item {
    /// A record; goes into a [`Batch`].
    Record(RecordHandle),
    /// The end of what can be read now, at this offset.
    End(i64),
    /// An error of the partition, or of the client if the partition is not known.
    Error {
        /// librdkafka's or Kafka's error code.
        code: i32,
        /// librdkafka's words.
        reason: String,
    },
}

impl Consumer {
    /// A consumer of this configuration, which must name a group; `Err` is librdkafka's reason.
    pub(super) fn new(
        config: &ClientConfig,
        reports: Arc<Reports>,
    ) -> Result<Consumer, rdkafka::error::KafkaError> {
        let native = config.create_native_config()?;
        let mut reason = [0 as c_char; 512];
        // SAFETY: the duplicate is ours until `rd_kafka_new` takes it; on failure it stays ours and is
        // destroyed. The opaque pointer is `reports`, which `Client` keeps until after `rd_kafka_destroy`; on
        // failure no client exists that could use it. `reason` outlives the call that is given its length.
        let (client, queue) = unsafe {
            let conf = c::rd_kafka_conf_dup(native.ptr());
            c::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(&reports).cast_mut().cast());
            c::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            c::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            let kind = c::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let Some(client) = NonNull::new(c::rd_kafka_new(
                kind,
                conf,
                reason.as_mut_ptr(),
                reason.len(),
            )) else {
                c::rd_kafka_conf_destroy(conf);
                let reason = CStr::from_ptr(reason.as_ptr())
                    .to_string_lossy()
                    .into_owned();
                return Err(rdkafka::error::KafkaError::ClientCreation(reason));
            };
            // Error events come through the consumer's queue, so that one call serves everything.
            c::rd_kafka_poll_set_consumer(client.as_ptr());
            (client, c::rd_kafka_queue_get_consumer(client.as_ptr()))
        };
        let queue = NonNull::new(queue).expect("a consumer with a group has a queue");
        Ok(Consumer {
            client: Arc::new(Client {
                client,
                queue,
                reports,
            }),
            fetched: Vec::new(),
        })
    }

    pub(super) fn reports(&self) -> &Reports {
        &self.client.reports
    }

    /// Reads these partitions from these offsets.
    pub(super) fn assign(&self, partitions: &TopicPartitionList) -> Result<(), i32> {
        // SAFETY: both handles are live; librdkafka copies the list.
        code(unsafe { c::rd_kafka_assign(self.client.client.as_ptr(), partitions.ptr()) })
    }

    /// Reads these partitions as well, from these offsets.
    pub(super) fn assign_more(&self, partitions: &TopicPartitionList) -> Result<(), i32> {
        let client = self.client.client.as_ptr();
        // SAFETY: both handles are live and librdkafka copies the list; the error it may return is ours to destroy.
        unsafe { owned(c::rd_kafka_incremental_assign(client, partitions.ptr())) }
    }

    /// How many partitions a topic has, as a broker says; the client knows of them from then on.
    pub(super) fn partitions(&self, topic: &str, timeout: Duration) -> Result<usize, i32> {
        let no_topic = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32;
        let name = CString::new(topic).map_err(|_| no_topic)?;
        let millis = timeout.as_millis().min(60_000) as c_int;
        let client = self.client.client.as_ptr();
        // SAFETY: the client is live and the name outlives the call that copies it. The topic's handle and the
        // metadata are ours and released once; the list of topics is read before that, as long as it says it is.
        unsafe {
            let handle = c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut());
            if handle.is_null() {
                return Err(no_topic);
            }
            let mut metadata = ptr::null();
            let answer = code(c::rd_kafka_metadata(
                client,
                0,
                handle,
                &mut metadata,
                millis,
            ));
            c::rd_kafka_topic_destroy(handle);
            answer?;
            let topics = (*metadata).topics;
            let count = match (*metadata).topic_cnt {
                0 => 0,
                _ => (*topics).partition_cnt,
            };
            c::rd_kafka_metadata_destroy(metadata);
            Ok(usize::try_from(count).unwrap_or(0))
        }
    }

    pub(super) fn pause(&self, partitions: &TopicPartitionList) -> Result<(), i32> {
        // SAFETY: as for `assign`.
        code(unsafe { c::rd_kafka_pause_partitions(self.client.client.as_ptr(), partitions.ptr()) })
    }

    /// Reads these paused partitions again, from these offsets: the client by itself would go on one record too far if
    /// the last it handed out was an end (librdkafka issue 4844, in 2.2 to 2.12). It seeks before it goes on, so that
    /// it asks for nothing from where it should not.
    pub(super) fn resume(
        &self,
        partitions: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<(), i32> {
        let millis = timeout.as_millis().min(60_000) as c_int;
        let client = self.client.client.as_ptr();
        // SAFETY: as for `assign`; the list takes each partition's own answer, and the error that the call may return
        // is ours to destroy.
        unsafe {
            owned(c::rd_kafka_seek_partitions(
                client,
                partitions.ptr(),
                millis,
            ))?;
        }
        let mut answers = partitions.elements().into_iter().map(|it| it.error());
        let failed = answers.find_map(|answer| answer.err()?.rdkafka_error_code());
        failed.map_or(Ok(()), |code| Err(code as i32))?;
        // SAFETY: as for `assign`.
        code(unsafe { c::rd_kafka_resume_partitions(client, partitions.ptr()) })
    }

    /// The high watermark of a partition as the last fetch response had it.
    pub(super) fn high_watermark(&self, topic: &str, partition: u32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the handle is live, the string and both numbers outlive the call.
        let answer = unsafe {
            let client = self.client.client.as_ptr();
            c::rd_kafka_get_watermark_offsets(
                client,
                topic.as_ptr(),
                partition as i32,
                &mut low,
                &mut high,
            )
        };
        (code(answer).is_ok() && high >= 0).then_some(high)
    }

    /// Hands what has been fetched, at most `limit` items, to `take` with a key of the topic (stable while it
    /// is assigned), the topic's name where it is asked for, and the partition. Waits for the first item.
    pub(super) fn fetch(
        &mut self,
        limit: usize,
        timeout: Duration,
        mut take: impl FnMut(Origin<'_>, Item),
    ) {
        self.fetched.resize(limit, ptr::null_mut());
        let mut count = 0;
        // The call returns only when its array is full or the time is over, so the first one asks for a single
        // record and the second one does not wait.
        for (size, wait) in [(1, timeout), (limit - 1, Duration::ZERO)] {
            let space = &mut self.fetched[count..count + size];
            let wait = wait.as_millis().min(60_000) as c_int;
            let queue = self.client.queue.as_ptr();
            // SAFETY: `space` has room for `size` pointers; the queue is live.
            let more =
                unsafe { c::rd_kafka_consume_batch_queue(queue, wait, space.as_mut_ptr(), size) };
            if more <= 0 {
                break;
            }
            count += more as usize;
        }
        for message in self.fetched.drain(..).take(count) {
            let record = RecordHandle(
                NonNull::new(message).expect("librdkafka filled the array up to its count"),
            );
            // SAFETY: the record is live until `record` is dropped, and `take` gets `origin` only for the call.
            // The error is read as a number: a broker may send one that this librdkafka has no name for.
            let (origin, code, offset) = unsafe {
                let message = record.0.as_ptr();
                let code = ptr::addr_of!((*message).err).cast::<i32>().read();
                (
                    Origin {
                        topic: (*message).rkt,
                        partition: (*message).partition,
                        lifetime: &(),
                    },
                    code,
                    (*message).offset,
                )
            };
            match code {
                0 => take(origin, Item::Record(record)),
                END => take(origin, Item::End(offset)),
                code => {
                    // SAFETY: librdkafka answers with a string that lives as long as the record, or null.
                    let reason = unsafe { text(c::rd_kafka_message_errstr(record.0.as_ptr())) };
                    take(origin, Item::Error { code, reason });
                }
            }
        }
    }

    /// Puts records of one partition together.
    pub(super) fn batch(&self, slot: usize, records: Vec<RecordHandle>) -> Batch {
        Batch::new(slot, records, self.client.clone())
    }
}

const END: i32 = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;

/// The partition that an item is of.
pub(super) struct Origin<'a> {
    topic: *mut c::rd_kafka_topic_t,
    partition: i32,
    lifetime: &'a (),
}

impl<'a> Origin<'a> {
    /// Equal for items of one partition, different for others, while both are assigned.
    pub(super) fn key(&self) -> (usize, i32) {
        (self.topic as usize, self.partition)
    }

    /// The topic's name; `None` for an error of the client itself.
    pub(super) fn topic(&self) -> Option<&'a str> {
        let _ = self.lifetime;
        if self.topic.is_null() {
            return None;
        }
        // SAFETY: the handle is the record's, which is live; its name is a string that lives as long.
        unsafe { CStr::from_ptr(c::rd_kafka_topic_name(self.topic)) }
            .to_str()
            .ok()
    }

    pub(super) fn partition(&self) -> u32 {
        self.partition as u32
    }
}

fn code(answer: c::rd_kafka_resp_err_t) -> Result<(), i32> {
    if answer as i32 == 0 {
        Ok(())
    } else {
        Err(answer as i32)
    }
}

/// # Safety
/// `error` is null or an error of librdkafka that nobody else destroys.
unsafe fn owned(error: *mut c::rd_kafka_error_t) -> Result<(), i32> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: promised by the caller; it is not used behind this.
    unsafe {
        let answer = c::rd_kafka_error_code(error);
        c::rd_kafka_error_destroy(error);
        code(answer)
    }
}

/// # Safety
/// `start` is null or a C string.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(start) }
        .to_string_lossy()
        .into_owned()
}

unsafe extern "C" fn on_error(
    _: *mut c::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: `opaque` is the `Reports` set in `Consumer::new`, alive while the client is; `reason` is a C string.
    unsafe { (*opaque.cast::<Reports>()).on_error(code, &text(reason)) }
}

unsafe extern "C" fn on_log(
    client: *const c::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    if client.is_null() {
        return;
    }
    // SAFETY: the client's opaque pointer is the `Reports` set in `Consumer::new`, alive while the client is,
    // and `Sync`, as this runs on librdkafka's threads; both strings are C strings.
    unsafe {
        (*c::rd_kafka_opaque(client).cast::<Reports>()).on_log(level, &text(facility), &text(line))
    }
}
