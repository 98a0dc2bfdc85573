//! What an error code of the client means to the engine.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error::LogError;

/// The code of an error as a number: brokers newer than the client may send codes that it has no name for.
pub(super) fn code_of(error: &KafkaError) -> i32 {
    match error {
        KafkaError::Transaction(error) => error.code() as i32,
        error => error
            .rdkafka_error_code()
            .map_or(Code::Unknown as i32, |code| code as i32),
    }
}

pub(super) fn is_credentials(code: i32) -> bool {
    [
        Code::Authentication,
        Code::SaslAuthenticationFailed,
        Code::TopicAuthorizationFailed,
        Code::GroupAuthorizationFailed,
        Code::ClusterAuthorizationFailed,
        Code::TransactionalIdAuthorizationFailed,
        Code::UnsupportedSASLMechanism,
    ]
    .iter()
    .any(|known| *known as i32 == code)
}

pub(super) fn is_fenced(code: i32) -> bool {
    [
        Code::Fenced,
        Code::ProducerFenced,
        Code::InvalidProducerEpoch,
    ]
    .iter()
    .any(|known| *known as i32 == code)
}

/// Whether a commit may have failed because of a fence: a broker that has just begun to give the `transactional.id` to another
/// producer answers with an error of no name (Kafka 4.3).
pub(super) fn is_fence_of_commit(code: i32) -> bool {
    code == Code::Unknown as i32
}

/// Whether a transaction is still being ended, behind which the same may be asked for again.
pub(super) fn is_busy(code: i32) -> bool {
    code == Code::ConcurrentTransactions as i32
}

pub(super) fn is_unknown_topic(code: i32) -> bool {
    [
        Code::UnknownTopicOrPartition,
        Code::UnknownTopic,
        Code::UnknownPartition,
    ]
    .iter()
    .any(|known| *known as i32 == code)
}

fn is_unreachable(code: i32) -> bool {
    [
        Code::BrokerTransportFailure,
        Code::AllBrokersDown,
        Code::OperationTimedOut,
        Code::RequestTimedOut,
        Code::MessageTimedOut,
        Code::TimedOutQueue,
        Code::Resolve,
        Code::SSL,
        Code::LeaderNotAvailable,
    ]
    .iter()
    .any(|known| *known as i32 == code)
}

/// Errors of a partition that the client mends by itself, by waiting or by asking for the new leader. The
/// group is never used, so a broker that forbids it is none of our concern.
pub(super) fn is_passing(code: i32) -> bool {
    is_unreachable(code)
        || [
            Code::NotLeaderForPartition,
            Code::ReplicaNotAvailable,
            Code::BrokerNotAvailable,
            Code::NetworkException,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::OffsetNotAvailable,
            Code::KafkaStorageError,
            Code::UnknownTopicId,
            Code::GroupAuthorizationFailed,
        ]
        .iter()
        .any(|known| *known as i32 == code)
}

fn is_refused(code: i32) -> bool {
    [
        Code::TopicAlreadyExists,
        Code::InvalidTopic,
        Code::InvalidPartitions,
        Code::InvalidReplicationFactor,
        Code::InvalidConfig,
        Code::InvalidRequest,
        Code::InvalidRecord,
        Code::InvalidTimestamp,
        Code::PolicyViolation,
        Code::TopicDeletionDisabled,
    ]
    .iter()
    .any(|known| *known as i32 == code)
}

/// The error for `what` (what was asked, or of what) that failed with `code` and the client's `reason`.
pub(super) fn log_error(location: &str, what: &str, code: i32, reason: &str) -> LogError {
    let location = location.to_owned();
    let reason = format!("{what}: {reason}");
    match code {
        code if is_credentials(code) => LogError::Credentials { location, reason },
        code if is_fenced(code) => LogError::Fenced(reason),
        code if is_unreachable(code) => LogError::Unreachable { location, reason },
        code if is_refused(code) => LogError::Refused(reason),
        _ => LogError::Client { location, reason },
    }
}
