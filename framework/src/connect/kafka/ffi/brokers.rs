//! Naming the configured brokers to a client that has lost all that it knew.
//!
//! A broker that the controller has lost sight of for a moment answers that the cluster has none. librdkafka then forgets every
//! broker, those of its configuration too, and has nobody left to ask (its issue 5301, in 2.10 to 2.13): it says that all of
//! them are down, and reads and writes nothing any more.

use std::ffi::CString;

use rdkafka::bindings as c;
use rdkafka::client::Client;

use super::Consumer;
use crate::connect::kafka::reports::Reports;

impl Consumer {
    /// As the function of this name.
    pub(in crate::connect::kafka) fn name_brokers(&self, brokers: &str) {
        // SAFETY: the client lives as long as `self`.
        unsafe { add(self.client.client.as_ptr(), brokers) }
    }
}

/// Names brokers (`HOST:PORT,...`) to a client that says that it can reach none. One that knows them already does nothing, or
/// asks one of them once more.
pub(in crate::connect::kafka) fn name_brokers(client: &Client<Reports>, brokers: &str) {
    // SAFETY: the client lives as long as it is borrowed.
    unsafe { add(client.native_ptr(), brokers) }
}

/// # Safety
/// The client is live.
unsafe fn add(client: *mut c::rd_kafka_t, brokers: &str) {
    // The client took the same list when it was made.
    let brokers = CString::new(brokers).expect("brokers have no zero byte in their names");
    // SAFETY: promised by the caller; the list is copied.
    unsafe { c::rd_kafka_brokers_add(client, brokers.as_ptr()) };
}
