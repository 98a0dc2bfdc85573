use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::resolve::resolve_for;
use super::*;

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn set(assignments: &[&str]) -> Result<Config, ConfigError> {
    let assignments: Vec<String> = assignments.iter().map(|text| text.to_string()).collect();
    resolve(&Layers {
        assignments: &assignments,
        ..Layers::default()
    })
}

fn refusal(assignment: &str) -> String {
    let error = set(&[assignment]).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    error.to_string()
}

#[test]
fn the_tables_defaults_are_those_of_the_struct() {
    let mut config = Config {
        workers: 99,
        shards: 1,
        data_dir: "elsewhere".into(),
        ..Config::default()
    };
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            (setting.apply)(&mut config, default).unwrap();
        }
    }
    assert_eq!(config, Config::default());
}

#[test]
fn each_layer_overrides_the_one_before() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "commit.interval.ms=1\nepoch.records=1\nshards=1\nnum.stream.threads=1"
    )
    .unwrap();
    let variables = environment(&[
        ("TIDERACE_EPOCH_RECORDS", "2"),
        ("TIDERACE_SHARDS", "2"),
        ("TIDERACE_NUM_STREAM_THREADS", "2"),
        ("PATH", "/bin"),
    ]);
    let assignments = ["shards=3".to_owned(), "num.stream.threads=3".to_owned()];
    let config = resolve(&Layers {
        properties: Some(file.path()),
        environment: variables,
        assignments: &assignments,
        flags: vec![("--workers", "num.stream.threads", "4".to_owned())],
    })
    .unwrap();
    assert_eq!(config.commit_interval, Duration::from_millis(1));
    assert_eq!(
        (config.epoch_records, config.shards, config.workers),
        (2, 3, 4)
    );
    assert_eq!(config.epochs_in_flight, Config::default().epochs_in_flight);
}

#[test]
fn durations_take_a_unit_or_plain_milliseconds() {
    for (text, milliseconds) in [
        ("250", 250),
        ("100ms", 100),
        ("10s", 10_000),
        ("10m", 600_000),
        ("1h", 3_600_000),
    ] {
        let config = set(&[&format!("commit.interval.ms={text}")]).unwrap();
        assert_eq!(
            config.commit_interval,
            Duration::from_millis(milliseconds),
            "{text}"
        );
    }
    assert_eq!(parse_duration("7d").unwrap(), Config::default().max_skew);
    assert!(parse_duration("10").unwrap_err().contains("100ms"));
    assert!(parse_duration("-1s").is_err());
    assert!(parse_duration("99999999999999999d").is_err());
    assert!(
        parse_duration("213503982334d")
            .unwrap_err()
            .contains("longer")
    );
}

#[test]
fn sizes_take_a_unit() {
    assert_eq!(
        set(&["memory.budget.bytes=128MiB"]).unwrap().memory_budget,
        128 << 20
    );
    assert_eq!(
        set(&["memory.budget.bytes=8388608"]).unwrap().memory_budget,
        8 << 20
    );
    assert!(refusal("memory.budget.bytes=1KiB").contains("4MiB"));
    assert!(refusal("memory.budget.bytes=99999999999GiB").contains("more than there can be"));
}

#[test]
fn client_properties_pass_through_from_every_layer() {
    let assignments = ["kafka.linger.ms=5".to_owned()];
    let config = resolve(&Layers {
        environment: environment(&[("TIDERACE_KAFKA_SASL_USERNAME", "ann")]),
        assignments: &assignments,
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(config.kafka["sasl.username"], "ann");
    assert_eq!(config.kafka["linger.ms"], "5");
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    assert_eq!(
        refusal("comit.interval.ms=5"),
        "there is no setting `comit.interval.ms` (given with --set); did you mean `commit.interval.ms`?"
    );
    assert!(refusal("num.threads=5").contains("`num.stream.threads`"));
    assert!(refusal("security.protocol=SSL").contains("`kafka.security.protocol`"));
    assert!(refusal("consumer.fetch.min.bytes=1").contains("`kafka.fetch.min.bytes`"));
    assert!(refusal("kafka.=1").contains("there is no setting"));
    assert!(refusal("zzz=1").contains("docs/configuration.md"));
}

#[test]
fn an_unknown_variable_suggests_a_variable() {
    let layers = Layers {
        environment: environment(&[("TIDERACE_COMIT_INTERVAL_MS", "5")]),
        ..Layers::default()
    };
    let message = resolve(&layers).unwrap_err().to_string();
    assert!(message.contains("TIDERACE_COMIT_INTERVAL_MS"), "{message}");
    assert!(
        message.contains("did you mean `TIDERACE_COMMIT_INTERVAL_MS`?"),
        "{message}"
    );
}

#[test]
fn values_out_of_range_say_what_is_taken() {
    assert!(refusal("commit.interval.ms=soon").contains("100ms"));
    assert!(refusal("commit.interval.ms=0").contains("least is 1 ms"));
    assert!(refusal("num.stream.threads=0").contains("least is 1"));
    assert!(refusal("max.records.per.second=0").contains("least is 1"));
    assert!(refusal("epochs.in.flight=1").contains("least is 2"));
    assert!(refusal("shards=two").contains("whole number"));
    assert!(refusal("max.restarts=often").contains("whole number"));
    assert!(refusal("restart.backoff.ms=0").contains("least is 1 ms"));
    assert!(refusal("application.id=a/b").contains("letters"));
    assert!(refusal("bootstrap.servers=localhost").contains("HOST:PORT"));
    assert!(refusal("state.dir=").contains("needs a value"));
    assert!(refusal("commit.interval.ms").contains("NAME=VALUE"));
}

#[test]
fn the_guarantee_is_one_of_three_and_exactly_once_unless_set() {
    assert_eq!(Config::default().guarantee, Guarantee::ExactlyOnce);
    for (text, expected) in [
        ("exactly_once_v2", Guarantee::ExactlyOnce),
        ("at_least_once", Guarantee::AtLeastOnce),
        ("at_most_once", Guarantee::AtMostOnce),
    ] {
        let config = set(&[&format!("processing.guarantee={text}")]).unwrap();
        assert_eq!(config.guarantee, expected);
        assert_eq!(config.guarantee.to_string(), text);
        // As entries of the epoch log have it.
        assert_eq!(serde_json::to_value(expected).unwrap(), text);
    }
}

#[test]
fn a_guarantee_that_there_is_not_is_refused_with_the_nearest() {
    let of = |text: &str| refusal(&format!("processing.guarantee={text}"));
    assert!(of("exactly_once").contains("old name that Kafka removed; write exactly_once_v2"));
    assert!(of("at-least-once").contains("did you mean `at_least_once`?"));
    assert!(of("AtMostOnce").contains("there is no guarantee `AtMostOnce`"));
    assert!(of("atmost_once").contains("did you mean `at_most_once`?"));
    let far = of("best_effort");
    assert!(
        far.contains("take exactly_once_v2, at_least_once or at_most_once"),
        "{far}"
    );
}

#[test]
fn a_missing_properties_file_is_named() {
    let layers = Layers {
        properties: Some(Path::new("no/such.properties")),
        ..Layers::default()
    };
    assert!(
        resolve(&layers)
            .unwrap_err()
            .to_string()
            .contains("no/such.properties")
    );
}

fn cluster(
    variables: &[(&str, &str)],
    assignments: &[&str],
    tls: bool,
) -> Result<Config, ConfigError> {
    let assignments: Vec<String> = assignments.iter().map(|text| text.to_string()).collect();
    let layers = Layers {
        environment: environment(variables),
        assignments: &assignments,
        ..Layers::default()
    };
    resolve_for(&layers, tls)
}

const KEYS: [(&str, &str); 2] = [("CLUSTER_API_KEY", "ann"), ("CLUSTER_API_SECRET", "hush")];

#[test]
fn a_clusters_key_and_secret_mean_sasl_over_tls() {
    let config = cluster(&KEYS, &["bootstrap.servers=pkc-1.example.com:9092"], true).unwrap();
    assert_eq!(config.kafka["security.protocol"], "SASL_SSL");
    assert_eq!(config.kafka["sasl.mechanism"], "PLAIN");
    assert_eq!(config.kafka["sasl.username"], "ann");
    assert_eq!(config.kafka["sasl.password"], "hush");
}

#[test]
fn what_the_client_was_told_stands_above_the_clusters_key() {
    let told = [
        "bootstrap.servers=a.example.com:1",
        "kafka.sasl.mechanisms=SCRAM-SHA-512",
        "kafka.sasl.username=bob",
    ];
    let config = cluster(&KEYS, &told, true).unwrap();
    assert_eq!(config.kafka["sasl.username"], "bob");
    assert!(!config.kafka.contains_key("sasl.mechanism"));
}

#[test]
fn loopback_brokers_get_no_credentials() {
    for brokers in [
        "127.0.0.1:9092",
        "localhost:1,[::1]:2",
        "127.8.8.8:9",
        "PLAINTEXT://localhost:9092",
    ] {
        let config = cluster(&KEYS, &[&format!("bootstrap.servers={brokers}")], false).unwrap();
        assert!(config.kafka.is_empty(), "{brokers}");
    }
    assert!(cluster(&KEYS, &[], false).unwrap().kafka.is_empty());
    assert!(
        cluster(&KEYS, &["bootstrap.servers=localhost:1,10.0.0.1:1"], true)
            .unwrap()
            .kafka
            .len()
            == 4
    );
}

#[test]
fn half_of_the_credentials_is_refused() {
    let error = cluster(&KEYS[..1], &["bootstrap.servers=a.example.com:1"], true)
        .unwrap_err()
        .to_string();
    assert!(error.contains("CLUSTER_API_SECRET is not"), "{error}");
}

#[test]
fn a_build_without_tls_says_how_to_get_it() {
    let error = cluster(&KEYS, &["bootstrap.servers=a.example.com:1"], false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("--features tls"), "{error}");
    assert!(cluster(&[], &["kafka.security.protocol=ssl"], false).is_err());
    assert!(cluster(&[], &["kafka.security.protocol=SASL_PLAINTEXT"], false).is_ok());
}

#[test]
fn secrets_are_never_printed() {
    for name in [
        "sasl.password",
        "ssl.key.pem",
        "sasl.jaas.config",
        "sasl.oauthbearer.client.secret",
        "SASL.PASSWORD",
    ] {
        let config = set(&[&format!("kafka.{name}=hush")]).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{name}");
    }
    assert!(is_secret("delegation.token"));
    assert!(!is_secret("client.id"));
    assert!(!refusal("sasl.password=hush").contains("hush"));
    assert!(!refusal("hush").contains("hush"));
}

#[test]
fn properties_are_read_as_java_reads_them() {
    let text = "# comment\n! comment\n\n  a = 1\nb:2\nc 3\nd=a=b:c\nlong=one,\\\n    two\ntab=a\\tb\\u0041\\\\\n\
                spaced\\ name = v \nempty=\nonly\npair=\\ud83d\\ude80\n#not\\\ne=5\r\n";
    let settings = properties::parse(text).unwrap();
    let expected = [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("d", "a=b:c"),
        ("long", "one,two"),
        ("tab", "a\tbA\\"),
        ("spaced name", "v "),
        ("empty", ""),
        ("only", ""),
        ("pair", "🚀"),
        ("e", "5"),
    ];
    let expected: Vec<_> = expected
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(settings, expected);
}

#[test]
fn a_malformed_properties_line_is_named() {
    let malformed = properties::parse("a=1\n\nb=\\u12").unwrap_err();
    assert_eq!(malformed.line, 3);
    assert_eq!(properties::parse("=1").unwrap_err().line, 1);
    assert!(properties::parse("a=\\ud83d").is_err());
    assert!(properties::parse("a=\\ud83d\\n").is_err());
}

#[test]
fn a_commit_interval_that_a_transaction_does_not_outlast_is_refused() {
    let kafka = "bootstrap.servers=127.0.0.1:9092";
    let refused = |assignments: &[&str]| set(assignments).unwrap_err().to_string();
    let text = refused(&[kafka, "commit.interval.ms=6000"]);
    for part in [
        "`commit.interval.ms` is 6000",
        "`transaction.timeout.ms` is 10000",
        "`kafka.transaction.timeout.ms` to at least 12000",
        "`commit.interval.ms` to at most 5000",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let text = refused(&[kafka, "kafka.transaction.timeout.ms=199"]);
    assert!(text.contains("at least 200"), "{text}");
    assert!(set(&[kafka, "commit.interval.ms=5000"]).is_ok());
    let both = [
        "commit.interval.ms=6000",
        "kafka.transaction.timeout.ms=12000",
    ];
    assert!(set(&[&[kafka][..], &both].concat()).is_ok());
    // The embedded log aborts nothing.
    assert!(set(&["commit.interval.ms=6000"]).is_ok());
}
