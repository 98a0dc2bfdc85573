//! What a client reports of itself beside the answers to calls: errors, request time-outs, failed records.
//!
//! Filled from the client's callbacks and threads, read by the one that owns the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};

use super::errors;
use crate::connect::Records;

/// A record that the client gave up.
#[derive(Clone)]
pub(super) struct LostRecord {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) bytes: usize,
    pub(super) code: i32,
    pub(super) reason: String,
}

/// Everything reported so far, the latest or the first of a kind.
#[derive(Clone, Default)]
pub(super) struct Reported {
    /// The last error, for messages.
    pub(super) last: Option<String>,
    /// The broker refused who we are.
    pub(super) credentials: Option<String>,
    /// Since when no broker could be reached.
    pub(super) down_since: Option<Instant>,
    /// When it last said so, unless the brokers were named to it since.
    pub(super) lost_all: Option<Instant>,
    /// The first word that a request may have been lost or repeated on its way.
    pub(super) doubt: Option<String>,
    /// The first record given up.
    pub(super) lost: Option<LostRecord>,
}

/// The context of every client.
#[derive(Default)]
pub(super) struct Reports {
    reported: Mutex<Reported>,
    /// What the client may read until it is destroyed.
    held: Mutex<Vec<Arc<dyn Records>>>,
}

/// States of a connection in which no request of ours can be under way on it.
const NOT_YET_UP: [&str; 9] = [
    "INIT",
    "DOWN",
    "TRY_CONNECT",
    "CONNECT",
    "SSL_HANDSHAKE",
    "AUTH_LEGACY",
    "APIVERSION_QUERY",
    "AUTH_HANDSHAKE",
    "AUTH_REQ",
];

impl Reports {
    pub(super) fn now(&self) -> Reported {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps these as long as itself.
    pub(super) fn hold(&self, records: Vec<Arc<dyn Records>>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(records);
    }

    /// An error event of the client.
    pub(super) fn on_error(&self, code: i32, reason: &str) {
        tracing::debug!(target: "tiderace::kafka", code, reason, "client error");
        let mut reported = self.lock();
        if code == Code::AllBrokersDown as i32 {
            let now = crate::clock::instant();
            reported.down_since.get_or_insert(now);
            reported.lost_all = Some(now);
            return;
        }
        // The group is only a name for the tools: whoever needs it gets this as the answer of a call.
        if errors::is_credentials(code) && code != Code::GroupAuthorizationFailed as i32 {
            reported
                .credentials
                .get_or_insert_with(|| reason.to_owned());
        }
        if may_have_lost_a_request(code, reason) {
            reported.doubt.get_or_insert_with(|| reason.to_owned());
        }
        reported.last = Some(reason.to_owned());
    }

    /// A log line of the client.
    pub(super) fn on_log(&self, level: i32, facility: &str, line: &str) {
        if level <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(target: "tiderace::kafka", facility, "{line}");
        } else {
            tracing::debug!(target: "tiderace::kafka", facility, "{line}");
        }
        // A connection lost with at most one request under way makes no error event, only this line.
        let doubtful = match facility.trim() {
            "REQTMOUT" => true,
            "FAIL" => may_have_lost_a_request(Code::BrokerTransportFailure as i32, line),
            _ => false,
        };
        if doubtful {
            self.lock().doubt.get_or_insert_with(|| line.to_owned());
        }
    }
}

/// What the client says of connections that carry none of our requests when it closes them: one that nobody has used
/// for minutes, longer than any request may take, and the one that it asked for the list of brokers.
const UNUSED: [&str; 2] = [
    "Connection max idle time exceeded",
    "/bootstrap: Decommissioning this broker",
];

/// A connection that was never up carried no request: with one broker of several down, new clients meet that
/// all the time, and it must not cost a transaction. Nor did one that nobody used.
fn may_have_lost_a_request(code: i32, reason: &str) -> bool {
    let state = reason.rsplit_once(" in state ").map(|(_, rest)| rest);
    let state = state.and_then(|rest| rest.split([')', ',', ' ']).next());
    code != Code::Resolve as i32
        && !UNUSED.iter().any(|unused| reason.contains(unused))
        && !state.is_some_and(|state| NOT_YET_UP.contains(&state))
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.on_log(level as i32, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.on_error(errors::code_of(&error), reason);
    }
}

impl ConsumerContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = delivery {
            let lost = LostRecord {
                topic: message.topic().to_owned(),
                partition: message.partition() as u32,
                bytes: message.payload_len() + message.key_len(),
                code: errors::code_of(error),
                reason: error
                    .rdkafka_error_code()
                    .map_or_else(|| error.to_string(), |code| code.to_string()),
            };
            self.lock().lost.get_or_insert(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_never_was_up_is_no_doubt() {
        let reports = Reports::default();
        let refused = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused \
                       (after 0ms in state CONNECT, 3 identical error(s) suppressed)";
        reports.on_error(Code::BrokerTransportFailure as i32, refused);
        reports.on_error(
            Code::Resolve as i32,
            "nowhere:9092/bootstrap: Failed to resolve 'nowhere:9092'",
        );
        reports.on_error(Code::AllBrokersDown as i32, "1/1 brokers are down");
        let unused = "127.0.0.1:9092/1: Connection max idle time exceeded (240001ms since last activity) \
                      (after 300000ms in state UP) (_TRANSPORT)";
        let asked = "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap: Decommissioning this broker \
                     (after 1ms in state UP) (_DESTROY_BROKER)";
        for line in [unused, asked] {
            reports.on_log(7, "FAIL", line);
        }
        assert_eq!(reports.now().doubt, None);
        assert!(reports.now().down_since.is_some());
    }

    #[test]
    fn a_connection_lost_and_a_request_timed_out_are_doubts() {
        let lost = "127.0.0.1:9092/1: Disconnected (after 2000ms in state UP)";
        let reports = Reports::default();
        reports.on_error(Code::BrokerTransportFailure as i32, lost);
        assert_eq!(reports.now().doubt.as_deref(), Some(lost));
        let reports = Reports::default();
        reports.on_log(6, "FAIL", lost);
        assert_eq!(reports.now().doubt.as_deref(), Some(lost));
        // What the client tells of one like the one before, to those only who ask for all of it.
        let suppressed = "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Disconnected (after 9ms in state UP) \
                          (_TRANSPORT): identical to last error: error log suppressed";
        let closed = "127.0.0.1:9092/1: Closing connection due to nodename change (after 5000ms in state UP) \
                      (_TRANSPORT)";
        for line in [suppressed, closed] {
            let reports = Reports::default();
            reports.on_log(7, "FAIL", line);
            assert_eq!(reports.now().doubt.as_deref(), Some(line));
        }
        let reports = Reports::default();
        reports.on_log(
            5,
            "REQTMOUT",
            "Timed out EndTxnRequest in flight (after 9900ms, timeout #0)",
        );
        assert!(reports.now().doubt.is_some());
    }
}
