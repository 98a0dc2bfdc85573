//! Brokers that are not there, refuse, vanish and come back.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Fetched, Log, RecordBatch, TopicPartition, TransactionError};
use tiderace::error::LogError;
use tiderace_testing::kafka::{Kafka, PASSWORD, USER};
use tiderace_testing::proxy::{Api, Fault, Proxy, Rule, When};

use crate::support::{
    LIMIT, MEMORY, broker, connect, entry, from_start, poll_until, record, texts, topic, transact,
    values, write,
};

#[test]
fn a_port_where_nobody_listens_is_named_within_ten_seconds() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    is_unreachable_in_time(&format!("127.0.0.1:{port}"));
}

#[test]
fn a_port_where_nobody_answers_is_named_within_ten_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    is_unreachable_in_time(&format!(
        "127.0.0.1:{}",
        silent.local_addr().unwrap().port()
    ));
}

fn is_unreachable_in_time(brokers: &str) {
    let started = Instant::now();
    let error = KafkaLog::connect(brokers, &BTreeMap::new()).unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(matches!(error, LogError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(brokers), "{error}");
    assert_eq!(error.exit_code(), 69);
}

fn sasl(user: &str, password: &str) -> BTreeMap<String, String> {
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn a_wrong_password_is_a_matter_of_credentials_and_is_not_printed() {
    let (broker, _) = broker!();
    let started = Instant::now();
    let error =
        KafkaLog::connect(broker.sasl_bootstrap(), &sasl(USER, "queen-of-hearts-55")).unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "retried for {:?}",
        started.elapsed()
    );
    assert!(matches!(error, LogError::Credentials { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 77);
    assert!(!format!("{error} {error:?}").contains("queen-of-hearts-55"));
}

#[test]
fn the_right_password_opens_every_door_and_is_not_printed() {
    let (broker, plain) = broker!();
    let log = KafkaLog::connect(broker.sasl_bootstrap(), &sasl(USER, PASSWORD)).unwrap();
    assert!(!format!("{log:?} {}", log.location()).contains(PASSWORD));
    let name = topic(broker, &plain, 1);
    write(&log, &name, 0, ["written".to_owned()]);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transact(transactions.as_mut(), 0, &[record(&name, 0, "committed")]);
    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    let mut read = Vec::new();
    poll_until(source.as_mut(), |fetched| {
        if let Fetched::Batch(batch) = fetched {
            read.extend(texts(batch.as_ref()));
        }
        read.len() == 2
    });
    assert_eq!(read, ["written", "committed"]);
}

/// The broker that tests here stop and kill, one test at a time.
fn mortal() -> Option<MutexGuard<'static, Kafka>> {
    static MORTAL: OnceLock<Option<Mutex<Kafka>>> = OnceLock::new();
    let broker = MORTAL
        .get_or_init(|| Kafka::start().map(Mutex::new))
        .as_ref()?;
    // A test that failed leaves a broker that may be down; the next one would only repeat that.
    Some(
        broker
            .lock()
            .expect("the tests before have left the broker in good order"),
    )
}

#[test]
fn a_source_goes_on_after_the_broker_was_away() {
    let Some(broker) = mortal() else { return };
    let log = connect(&broker);
    let name = topic(&broker, &log, 1);
    write(&log, &name, 0, ["before".to_owned()]);
    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    let mut read = Vec::new();
    let mut collect = |wanted: usize| {
        poll_until(source.as_mut(), |fetched| {
            if let Fetched::Batch(batch) = fetched {
                read.extend(texts(batch.as_ref()));
            }
            read.len() >= wanted
        });
        read.clone()
    };
    assert_eq!(collect(1), ["before"]);
    broker.stop();
    broker.restart();
    write(&connect(&broker), &name, 0, ["after".to_owned()]);
    assert_eq!(collect(2), ["before", "after"]);
}

#[test]
fn a_broker_lost_during_a_transaction_leaves_a_doubt_that_renewing_resolves() {
    let Some(broker) = mortal() else { return };
    let log = connect(&broker);
    let name = topic(&broker, &log, 1);
    let app = broker.fresh_name("app");
    let epochs = format!("{app}-epochs");
    let mut transactions = log.transactions(&app, std::slice::from_ref(&name)).unwrap();
    let epoch = 1_u64.to_be_bytes();
    let records = [record(&name, 0, "once"), entry(&epochs, &epoch, "{}")];
    transactions.begin(0).unwrap();
    for record in &records {
        transactions.send(0, record).unwrap();
    }
    transactions.flush(0).unwrap();
    broker.kill();
    broker.restart();
    let error = transactions
        .commit(0)
        .and_then(|()| transactions.confirm(0))
        .unwrap_err();
    assert!(matches!(error, TransactionError::Doubt(_)), "{error:?}");

    let started = Instant::now();
    while let Err(error) = transactions.renew() {
        assert!(started.elapsed() < LIMIT, "{error}");
    }
    if transactions.read_epochs(0).unwrap().is_empty() {
        transact(transactions.as_mut(), 0, &records);
    }
    assert_eq!(values(&broker.read_committed(&name)), [["once"]]);
    assert_eq!(transactions.read_epochs(0).unwrap().len(), 1);
}

#[test]
fn a_connection_lost_between_transactions_is_a_doubt_at_the_next_begin() {
    let Some(broker) = mortal() else { return };
    let log = connect(&broker);
    let name = topic(&broker, &log, 1);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transact(transactions.as_mut(), 0, &[record(&name, 0, "first")]);
    broker.stop();
    broker.restart();
    let error = transactions.begin(0).unwrap_err();
    assert!(matches!(error, TransactionError::Doubt(_)), "{error:?}");
    transactions.renew().unwrap();
    transact(transactions.as_mut(), 0, &[record(&name, 0, "second")]);
    assert_eq!(values(&broker.read_committed(&name)), [["first", "second"]]);
}

#[test]
fn who_was_told_that_there_are_no_brokers_finds_them_again() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let proxy = Proxy::start(broker.bootstrap(), []);
    // A source hears of it when it asks for the leaders anew, who asks about a topic with the answer.
    let often = ("topic.metadata.refresh.interval.ms", "50");
    let properties = [(often.0.to_owned(), often.1.to_owned())].into();
    let behind = KafkaLog::connect(&proxy.bootstrap(), &properties).unwrap();
    let mut source = behind.source(&from_start(&name, 1), MEMORY).unwrap();
    let mut comes = |value: &str| {
        write(&log, &name, 0, [value.to_owned()]);
        let is = |batch: &dyn RecordBatch| texts(batch) == [value];
        poll_until(
            source.as_mut(),
            |fetched| matches!(fetched, Fetched::Batch(batch) if is(batch.as_ref())),
        );
    };
    comes("first");
    // The client often finds them by itself.
    for value in ["second", "third", "fourth"] {
        proxy.hide_brokers(true);
        assert_eq!(behind.partitions(&name).unwrap(), Some(1));
        let (started, mut fetched) = (Instant::now(), (0, Instant::now()));
        while fetched.1.elapsed() < Duration::from_millis(500) {
            assert!(started.elapsed() < LIMIT, "it goes on fetching");
            if proxy.requests(Api::FETCH) > fetched.0 {
                fetched = (proxy.requests(Api::FETCH), Instant::now());
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        proxy.hide_brokers(false);
        comes(value);
        assert_eq!(behind.partitions(&name).unwrap(), Some(1));
    }
}

#[test]
fn offsets_whose_coordinator_stays_away_are_a_doubt_in_time() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let rule = Rule {
        api: Api::TXN_OFFSET_COMMIT,
        when: When::Nth(1),
        fault: Fault::DropRequest,
    };
    let proxy = Proxy::start(broker.bootstrap(), [rule]);
    let properties = [("transaction.timeout.ms".to_owned(), "2000".to_owned())].into();
    let log = KafkaLog::connect(&proxy.bootstrap(), &properties).unwrap();
    let outputs = std::slice::from_ref(&name);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), outputs)
        .unwrap();
    transactions.begin(0).unwrap();
    transactions.send(0, &record(&name, 0, "once")).unwrap();
    transactions.flush(0).unwrap();
    let (told, outcome) = channel();
    std::thread::spawn(move || {
        let offsets = [(TopicPartition::new(name.as_str(), 0), 1)];
        let _ = told.send(transactions.send_offsets(0, &offsets));
    });
    let started = Instant::now();
    while proxy.hits() != [1] {
        assert!(started.elapsed() < LIMIT, "the offsets are not sent");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // From here on nobody is there.
    drop(proxy);
    let answer = outcome.recv_timeout(LIMIT).expect("an answer in time");
    let error = answer.unwrap_err();
    assert!(matches!(error, TransactionError::Doubt(_)), "{error:?}");
}

#[test]
fn a_commit_that_is_not_answered_is_a_doubt_and_is_not_repeated() {
    let Some(broker) = Kafka::start_to_pause() else {
        return;
    };
    let properties = [("transaction.timeout.ms".to_owned(), "3000".to_owned())].into();
    let log = KafkaLog::connect(broker.bootstrap(), &properties).unwrap();
    let name = topic(&broker, &log, 1);
    let app = broker.fresh_name("app");
    let epochs = format!("{app}-epochs");
    let mut transactions = log.transactions(&app, std::slice::from_ref(&name)).unwrap();
    let epoch = 1_u64.to_be_bytes();
    let records = [record(&name, 0, "once"), entry(&epochs, &epoch, "{}")];
    transactions.begin(0).unwrap();
    for record in &records {
        transactions.send(0, record).unwrap();
    }
    transactions.flush(0).unwrap();
    broker.pause();
    // The request lies in the frozen broker's socket: it takes effect when the broker goes on, or is fenced.
    let error = transactions
        .commit(0)
        .and_then(|()| transactions.confirm(0))
        .unwrap_err();
    broker.resume();
    assert!(matches!(error, TransactionError::Doubt(_)), "{error:?}");
    let started = Instant::now();
    while let Err(error) = transactions.renew() {
        assert!(started.elapsed() < LIMIT, "{error}");
    }
    if transactions.read_epochs(0).unwrap().is_empty() {
        transact(transactions.as_mut(), 0, &records);
    }
    transact(transactions.as_mut(), 1, &[record(&name, 0, "next")]);
    assert_eq!(values(&broker.read_committed(&name)), [["once", "next"]]);
    assert_eq!(transactions.read_epochs(0).unwrap().len(), 1);
}
