//! Secrets stay unsaid, whoever prints what.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tiderace::Config;
use tiderace::config::{Layers, resolve};
use tiderace::connect::kafka::KafkaLog;

const CANARY: &str = "canary-7301";

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A loopback port that nobody listens at.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_configuration_prints_its_properties_and_hides_secrets() {
    let config = Config {
        kafka: properties(&[
            ("sasl.password", CANARY),
            ("ssl.key.password", CANARY),
            ("ssl.keystore.password", CANARY),
            ("ssl.keystore.key", CANARY),
            ("ssl.key.pem", CANARY),
            ("sasl.oauthbearer.client.secret", CANARY),
            ("sasl.oauthbearer.config", CANARY),
            ("sasl.jaas.config", CANARY),
            ("client.rack", "eu-1"),
        ]),
        ..Config::default()
    };
    let text = format!("{config:?} {config:#?}");
    assert!(!text.contains(CANARY), "{text}");
    assert!(
        text.contains("eu-1") && text.contains("sasl.password"),
        "{text}"
    );
}

#[test]
fn a_refused_setting_names_itself_and_not_its_value() {
    let settings = [
        format!("sasl.pasword={CANARY}"),
        format!("sasl.jaas.config={CANARY}"),
        format!("commit.interval.ms={CANARY}"),
    ];
    for setting in &settings[..2] {
        let layers = Layers {
            assignments: std::slice::from_ref(setting),
            ..Layers::default()
        };
        let text = resolve(&layers).unwrap_err().to_string();
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains(setting.split('=').next().unwrap()), "{text}");
    }
    let layers = Layers {
        assignments: &[CANARY.to_owned()],
        ..Layers::default()
    };
    let text = resolve(&layers).unwrap_err().to_string();
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn a_client_that_is_refused_or_not_answered_says_no_secret() {
    let broker = format!("127.0.0.1:{}", closed_port());
    let refused = [
        properties(&[("sasl.password", CANARY), ("no.such.property", "x")]),
        properties(&[("sasl.password", CANARY), ("security.protocol", "nonsense")]),
        properties(&[("ssl.key.pem", CANARY), ("ssl.ca.pem", CANARY)]),
        properties(&[("sasl.passwordd", CANARY)]),
        properties(&[("sasl.oauthbearer.client.secret", CANARY)]),
        properties(&[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "alice"),
            ("sasl.password", CANARY),
        ]),
    ];
    std::thread::scope(|scope| {
        for properties in &refused {
            let broker = &broker;
            scope.spawn(move || {
                if let Err(error) = KafkaLog::connect(broker, properties) {
                    let text = format!("{error} {error:?}");
                    assert!(!text.contains(CANARY), "{text}");
                }
            });
        }
    });
}

#[test]
fn a_broker_that_is_not_there_is_named_within_ten_seconds() {
    // Nobody listens; somebody listens and says nothing; no such host.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let places = [
        format!("127.0.0.1:{}", closed_port()),
        silent.local_addr().unwrap().to_string(),
        "no-such-host.invalid:9092".to_owned(),
    ];
    std::thread::scope(|scope| {
        for place in &places {
            scope.spawn(move || {
                let started = Instant::now();
                let error = KafkaLog::connect(place, &BTreeMap::new()).unwrap_err();
                let took = started.elapsed();
                assert!(took < Duration::from_secs(10), "{place}: {took:?}");
                assert_eq!(error.exit_code(), 69, "{error}");
                let text = error.to_string();
                assert!(
                    text.contains(&format!("cannot reach Kafka at {place}")),
                    "{text}"
                );
            });
        }
    });
}
