//! The client's properties: what the engine sets, what it owns, what the user may add.
//!
//! Holds secrets, so nothing here is `Debug` and no message quotes the value of a secret.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::error::LogError;

/// Properties that carry the engine's promises, and why a user's value is refused.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is set by the list of brokers"),
    ("metadata.broker.list", "it is set by the list of brokers"),
    ("client.id", "it is the application's name"),
    ("group.id", "partitions are assigned by the engine"),
    ("group.instance.id", "partitions are assigned by the engine"),
    ("group.protocol", "partitions are assigned by the engine"),
    (
        "enable.auto.commit",
        "the epoch log alone decides where to resume",
    ),
    (
        "enable.auto.offset.store",
        "the epoch log alone decides where to resume",
    ),
    (
        "auto.offset.reset",
        "an offset that is gone must be an error, never a skip",
    ),
    ("isolation.level", "only committed records are read"),
    (
        "enable.partition.eof",
        "the end of a bounded input is found by it",
    ),
    ("check.crcs", "damaged records must not pass"),
    ("transactional.id", "it is derived from the application id"),
    (
        "enable.idempotence",
        "records would be repeated or reordered without",
    ),
    ("enable.gapless.guarantee", "it is experimental"),
    ("acks", "a record must be safe before an epoch is committed"),
    (
        "request.required.acks",
        "a record must be safe before an epoch is committed",
    ),
    ("message.timeout.ms", "a record must not expire by itself"),
    ("delivery.timeout.ms", "a record must not expire by itself"),
    (
        "delivery.report.only.error",
        "the engine counts acknowledgements itself",
    ),
    ("queued.max.messages.kbytes", "it is set by `memory_budget`"),
    ("queue.buffering.max.kbytes", "it is set by the engine"),
    ("queue.buffering.max.messages", "it is set by the engine"),
    (
        "log.connection.close",
        "a lost connection is known by its log line alone",
    ),
    (
        "log_level",
        "a lost connection is known by its log line alone",
    ),
    (
        "log.queue",
        "a lost connection is known by its log line alone",
    ),
    (
        "message.max.bytes",
        "it is set by the topics' `max.message.bytes`",
    ),
];

/// Brokers and the user's properties, checked.
pub(super) struct Properties {
    brokers: String,
    user: BTreeMap<String, String>,
}

impl Properties {
    /// Takes the user's properties, names without the `kafka.` prefix.
    pub(super) fn new(brokers: &str, user: &BTreeMap<String, String>) -> Result<Self, LogError> {
        for server in brokers.split(',') {
            let port = server.trim().rsplit_once(':').and_then(|(host, port)| {
                port.parse::<u16>()
                    .ok()
                    .filter(|port| *port != 0 && !host.is_empty())
            });
            if port.is_none() {
                return Err(LogError::Refused(format!(
                    "brokers `{brokers}`: expected HOST:PORT,..."
                )));
            }
        }
        for (name, reason) in OWNED {
            if user.contains_key(*name) {
                return Err(LogError::Refused(format!(
                    "client property `{name}` cannot be set: {reason}"
                )));
            }
        }
        if let Some((name, _)) = user
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            return Err(LogError::Refused(format!(
                "client property `{}` holds a zero character",
                name.escape_default()
            )));
        }
        let properties = Properties {
            brokers: brokers.to_owned(),
            user: user.clone(),
        };
        properties.base().create_native_config().map_err(refused)?;
        Ok(properties)
    }

    /// `HOST:PORT,...` of the brokers that a client asks first.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Where the log is, for messages.
    pub(super) fn location(&self) -> String {
        format!("Kafka at {}", self.brokers)
    }

    /// Whether records and passwords travel in the clear to another machine.
    pub(super) fn is_exposed(&self) -> bool {
        is_exposed(&self.brokers, self.user.get("security.protocol"))
    }

    /// What every client starts from: the user's properties under the engine's own.
    pub(super) fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // A broker that comes back is found again within a second, not within ten. Half of the first pause is also what a new
        // client lets pass between the broker that it asks for the list of brokers and the first of these.
        config
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "1000");
        config.extend(self.user.clone());
        config.set("bootstrap.servers", &self.brokers);
        // Lost connections and request time-outs are reported as log lines of this level only.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// Sets a property unless the user has.
    pub(super) fn suggest(&self, config: &mut ClientConfig, name: &str, value: &str) {
        if !self.user.contains_key(name) {
            config.set(name, value);
        }
    }
}

/// The error for a configuration that the client does not take; never quotes a secret.
pub(super) fn refused(error: KafkaError) -> LogError {
    const NO_TLS: &str = "OpenSSL not available";
    LogError::Refused(match error {
        KafkaError::ClientConfig(_, reason, ..) | KafkaError::ClientCreation(reason)
            if reason.contains(NO_TLS) =>
        {
            "this build has no TLS: build with `--features tls`".to_owned()
        }
        KafkaError::ClientConfig(_, _, name, _) if is_secret(&name) => {
            format!("client property `{name}` has a value that the client does not take")
        }
        KafkaError::ClientConfig(_, reason, name, _) => {
            format!("client property `{name}`: {reason}")
        }
        KafkaError::ClientCreation(reason) => {
            format!("the client does not take its properties: {reason}")
        }
        _ => "the client does not take its properties".to_owned(),
    })
}

fn is_exposed(brokers: &str, protocol: Option<&String>) -> bool {
    let encrypted = protocol.is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    !encrypted && !brokers.split(',').all(|server| is_loopback(server.trim()))
}

fn is_secret(name: &str) -> bool {
    [
        "password",
        "secret",
        "key",
        "jaas",
        "token",
        "oauthbearer",
        "pem",
        "username",
    ]
    .iter()
    .any(|part| name.contains(part))
}

fn is_loopback(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The client properties that `CLUSTER_API_KEY` and `CLUSTER_API_SECRET` stand for: SASL_SSL with PLAIN, where
/// both are set and a broker is not loopback. `environment` looks a variable up.
pub fn cluster_properties(
    brokers: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let (Some(key), Some(secret)) = (set("CLUSTER_API_KEY"), set("CLUSTER_API_SECRET")) else {
        return BTreeMap::new();
    };
    if brokers.split(',').all(|server| is_loopback(server.trim())) {
        return BTreeMap::new();
    }
    [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanisms", "PLAIN".to_owned()),
        ("sasl.username", key),
        ("sasl.password", secret),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    fn refusal(user: &BTreeMap<String, String>) -> String {
        Properties::new("127.0.0.1:9092", user)
            .err()
            .expect("must be refused")
            .to_string()
    }

    #[test]
    fn a_property_that_the_engine_owns_is_refused_by_name() {
        for name in [
            "enable.auto.commit",
            "transactional.id",
            "isolation.level",
            "enable.idempotence",
        ] {
            assert!(refusal(&user(name, "true")).contains(&format!("`{name}`")));
        }
    }

    #[test]
    fn an_unknown_property_is_refused_by_name() {
        assert!(refusal(&user("linger.msec", "5")).contains("linger.msec"));
    }

    #[test]
    fn a_wrong_value_is_quoted_unless_the_property_is_a_secret() {
        let text = refusal(&user("security.protocol", "carrier-pigeon"));
        assert!(
            text.contains("security.protocol") && text.contains("carrier-pigeon"),
            "{text}"
        );
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value \"secret-bytes\"".to_owned(),
            "ssl.key.pem".to_owned(),
            "secret-bytes".to_owned(),
        );
        let text = refused(error).to_string();
        assert!(
            text.contains("ssl.key.pem") && !text.contains("secret-bytes"),
            "{text}"
        );
        let text = refusal(&user("sasl.password", "secret\0bytes"));
        assert!(
            text.contains("sasl.password") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn brokers_without_a_port_are_refused() {
        assert!(Properties::new("localhost", &BTreeMap::new()).is_err());
        assert!(Properties::new("localhost:kafka", &BTreeMap::new()).is_err());
        assert!(Properties::new("a:9092, b:9092", &BTreeMap::new()).is_ok());
    }

    #[test]
    fn only_plaintext_to_another_machine_is_exposed() {
        let exposed = |brokers, protocol: &str| is_exposed(brokers, Some(&protocol.to_owned()));
        assert!(is_exposed("kafka.example:9092", None));
        assert!(exposed("127.0.0.1:9092,10.0.0.7:9092", "sasl_plaintext"));
        assert!(!is_exposed("localhost:9092,127.0.0.1:1,[::1]:9", None));
        assert!(!exposed("kafka.example:9092", "SASL_SSL"));
    }

    #[test]
    fn cluster_keys_mean_sasl_ssl_unless_the_brokers_are_loopback() {
        let both = |name: &str| Some(format!("value of {name}"));
        let found = cluster_properties("broker.example:9092", both);
        assert_eq!(found["security.protocol"], "SASL_SSL");
        assert_eq!(found["sasl.mechanisms"], "PLAIN");
        assert_eq!(found["sasl.username"], "value of CLUSTER_API_KEY");
        assert_eq!(found["sasl.password"], "value of CLUSTER_API_SECRET");
        assert!(cluster_properties("127.0.0.1:9092", both).is_empty());
        let only_key = |name: &str| (name == "CLUSTER_API_KEY").then(|| "key".to_owned());
        assert!(cluster_properties("broker.example:9092", only_key).is_empty());
    }
}
