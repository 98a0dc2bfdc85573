//! Records read where librdkafka keeps them: no byte of a key or value is copied.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::bindings as c;

use super::{Client, code, text};
use crate::connect::{Header, RawRecord, RecordBatch};

/// A record that belongs to the one who holds this.
pub(in crate::connect::kafka) struct RecordHandle(pub(super) NonNull<c::rd_kafka_message_t>);

// SAFETY: a record handed to the application is its own and tied to no thread; destroying it releases counted
// references, which librdkafka does atomically or under its locks.
unsafe impl Send for RecordHandle {}

impl RecordHandle {
    pub(in crate::connect::kafka) fn offset(&self) -> i64 {
        // SAFETY: the record is live.
        unsafe { self.0.as_ref() }.offset
    }
}

impl Drop for RecordHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is the record's only owner.
        unsafe { c::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Records of one partition, where librdkafka keeps them.
pub(in crate::connect::kafka) struct Batch {
    slot: usize,
    records: Vec<RecordHandle>,
    memory: usize,
    /// Parsing headers writes into the record.
    parsing: Mutex<()>,
    /// Dropped last: the records lie in its memory.
    _client: Arc<Client>,
}

// SAFETY: what `&Batch` reads of a record (`get`) is written once, before the record is handed over;
// the one call that writes (`headers`) takes the lock, and writes only fields that `get` does not read.
unsafe impl Sync for Batch {}

/// What librdkafka spends on a record beside its bytes.
const RECORD_OVERHEAD: usize = 400;

impl Batch {
    pub(super) fn new(slot: usize, records: Vec<RecordHandle>, client: Arc<Client>) -> Self {
        let size = |record: &RecordHandle| {
            // SAFETY: the record is live, and nobody else has it yet.
            let message = unsafe { record.0.as_ref() };
            message.len + message.key_len + RECORD_OVERHEAD
        };
        Batch {
            slot,
            memory: records.iter().map(size).sum(),
            records,
            parsing: Mutex::new(()),
            _client: client,
        }
    }
}

impl RecordBatch for Batch {
    fn slot(&self) -> usize {
        self.slot
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let message = self.records[index].0.as_ptr();
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the record lives as long as the batch, its fields are not written any more; key and value
        // are null or point to as many bytes as their lengths say, kept by the record.
        unsafe {
            RawRecord {
                offset: (*message).offset,
                timestamp: c::rd_kafka_message_timestamp(message, &mut kind),
                key: bytes((*message).key, (*message).key_len),
                value: bytes((*message).payload, (*message).len),
            }
        }
    }

    fn headers(&self, index: usize) -> Vec<Header> {
        let _parsing = self.parsing.lock().unwrap_or_else(PoisonError::into_inner);
        let message = self.records[index].0.as_ptr();
        let mut found = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: the record is live and, under the lock, nobody else parses its headers; they belong to the
        // record, and so do the names and values, which are copied before the lock is given up.
        unsafe {
            if code(c::rd_kafka_message_headers(message, &mut headers)).is_err() {
                return found;
            }
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            while code(c::rd_kafka_header_get_all(
                headers,
                found.len(),
                &mut name,
                &mut value,
                &mut size,
            ))
            .is_ok()
            {
                let value = bytes(value.cast_mut(), size).map(<[u8]>::to_vec);
                found.push(Header {
                    name: text(name),
                    value,
                });
            }
        }
        found
    }

    fn memory(&self) -> usize {
        self.memory
    }
}

/// # Safety
/// `start` is null or points to `length` bytes that live for `'a` and are not written.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}
