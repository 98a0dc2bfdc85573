//! Waiting for a producer without librdkafka's detours.

use std::ffi::c_int;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::producer::{BaseProducer, Producer};

use super::code;
use crate::connect::kafka::reports::Reports;

/// Waits until every record of the producer is acknowledged or given up, sending at once what lingers.
/// `false` if `timeout` passed before. The records given up still have to be polled for.
pub(in crate::connect::kafka) fn flush(
    producer: &BaseProducer<Reports>,
    timeout: Duration,
) -> bool {
    let wait = timeout.as_millis().min(60_000) as c_int;
    // SAFETY: the client lives as long as the producer.
    code(unsafe { c::rd_kafka_flush(producer.client().native_ptr(), wait) }).is_ok()
}

/// Takes every event that waits: errors, log lines, records given up.
pub(in crate::connect::kafka) fn serve(producer: &BaseProducer<Reports>) {
    loop {
        // SAFETY: the client lives as long as the producer; the queue's handle is released at once.
        let waiting = unsafe {
            let queue = c::rd_kafka_queue_get_main(producer.client().native_ptr());
            let waiting = c::rd_kafka_queue_length(queue);
            c::rd_kafka_queue_destroy(queue);
            waiting
        };
        if waiting == 0 {
            return;
        }
        producer.poll(Duration::ZERO);
    }
}
