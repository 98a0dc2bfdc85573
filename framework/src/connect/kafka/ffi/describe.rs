//! Asking for a topic's id, which the `rdkafka` crate cannot.

use std::ffi::{CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::Client;

use super::text;
use crate::connect::kafka::reports::Reports;

/// An object of librdkafka with the function that releases it.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// # Safety
    /// `object` is null or nobody else's, and `destroy` is what releases its kind.
    unsafe fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(object).map(|object| Owned(object, destroy))
    }

    fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: promised to `new`; nothing that was borrowed of the object outlives `topic_id`.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// The id that the cluster gave a topic at its creation, as Kafka's tools print it; `None` from brokers before 2.8,
/// which give none. `Err` is a code with librdkafka's words.
pub(in crate::connect::kafka) fn topic_id(
    client: &Client<Reports>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, (i32, String)> {
    let failed = |reason: &str| (-1, reason.to_owned());
    let name = CString::new(topic).map_err(|_| failed("a topic's name holds no zero byte"))?;
    let millis = timeout.as_millis().min(60_000) as c_int;
    let event = {
        let mut names = [name.as_ptr().cast::<c_char>()];
        let client = client.native_ptr();
        // SAFETY: the client lives as long as `client` is borrowed; the collection copies the names; the options,
        // the collection and the queue are ours until they are dropped at the end of this block, and the request
        // has copied what it needs of the first two when the call returns. The queue is counted by librdkafka, so
        // an answer that comes too late has where to go.
        unsafe {
            let out_of_memory = || failed("librdkafka has no memory");
            let options = c::rd_kafka_AdminOptions_new(
                client,
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            );
            let options =
                Owned::new(options, c::rd_kafka_AdminOptions_destroy).ok_or_else(out_of_memory)?;
            c::rd_kafka_AdminOptions_set_request_timeout(
                options.as_ptr(),
                millis,
                ptr::null_mut(),
                0,
            );
            let topics =
                c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let topics = Owned::new(topics, c::rd_kafka_TopicCollection_destroy)
                .ok_or_else(out_of_memory)?;
            let queue = Owned::new(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy)
                .ok_or_else(out_of_memory)?;
            c::rd_kafka_DescribeTopics(client, topics.as_ptr(), options.as_ptr(), queue.as_ptr());
            // The client answers by itself when the time is over; a little later it is asked no more.
            let event = c::rd_kafka_queue_poll(queue.as_ptr(), millis.saturating_add(1_000));
            Owned::new(event, c::rd_kafka_event_destroy)
        }
    };
    let event = event.ok_or_else(|| failed("the client does not answer"))?;
    // SAFETY: the event is live; everything read here is a part of it, copied before it is dropped. The array has
    // `count` elements, and an error is null or live.
    unsafe {
        let code = c::rd_kafka_event_error(event.as_ptr()) as i32;
        if code != 0 {
            return Err((code, text(c::rd_kafka_event_error_string(event.as_ptr()))));
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            return Err(failed("the client answers another question"));
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count != 1 {
            return Err(failed("the answer is not about one topic"));
        }
        let error = c::rd_kafka_TopicDescription_error(*topics);
        if !error.is_null() && c::rd_kafka_error_code(error) as i32 != 0 {
            let reason = text(c::rd_kafka_error_string(error));
            return Err((c::rd_kafka_error_code(error) as i32, reason));
        }
        let id = c::rd_kafka_TopicDescription_topic_id(*topics);
        let is_none = id.is_null()
            || (c::rd_kafka_Uuid_most_significant_bits(id) == 0
                && c::rd_kafka_Uuid_least_significant_bits(id) == 0);
        Ok((!is_none).then(|| text(c::rd_kafka_Uuid_base64str(id))))
    }
}
