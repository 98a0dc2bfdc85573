//! The harness itself: a broker that answers, comes back with its data, and dies with its owner.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tiderace_testing::kafka::Kafka;

fn produce(broker: &Kafka, topic: &str, values: &[&str]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("acks", "all")
        .create()
        .unwrap();
    for value in values {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(1).payload(value))
            .unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

fn values(broker: &Kafka, topic: &str) -> Vec<Vec<String>> {
    let text = |record: &tiderace_testing::kafka::Record| {
        String::from_utf8(record.value.clone().unwrap()).unwrap()
    };
    broker
        .read_committed(topic)
        .iter()
        .map(|records| records.iter().map(text).collect())
        .collect()
}

#[test]
fn a_broker_keeps_its_data_over_a_stop_and_a_kill() {
    let Some(broker) = Kafka::start() else { return };
    let topic = broker.fresh_name("kept");
    broker.create_topic(&topic, 2);
    produce(&broker, &topic, &["a", "b"]);
    broker.stop();
    broker.restart();
    produce(&broker, &topic, &["c"]);
    broker.kill();
    broker.restart();
    assert_eq!(
        values(&broker, &topic),
        [vec![], vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]]
    );
}

#[test]
fn a_paused_broker_answers_when_it_is_resumed() {
    let Some(broker) = Kafka::start() else { return };
    let topic = broker.fresh_name("paused");
    broker.create_topic(&topic, 2);
    broker.pause();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    producer
        .send(
            BaseRecord::<(), str>::to(&topic)
                .partition(0)
                .payload("late"),
        )
        .unwrap();
    assert!(producer.flush(Duration::from_millis(500)).is_err());
    broker.resume();
    producer.flush(Duration::from_secs(20)).unwrap();
    assert_eq!(values(&broker, &topic)[0], ["late"]);
}

#[test]
fn a_broker_dies_with_the_process_that_started_it() {
    const ADDRESS: &str = "broker at ";
    if std::env::var_os("TIDERACE_TEST_CHILD").is_some() {
        let Some(broker) = Kafka::shared() else {
            return;
        };
        println!("\n{ADDRESS}{}", broker.bootstrap());
        loop {
            std::thread::park();
        }
    }
    if Kafka::start().is_none() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_broker_dies_with_the_process_that_started_it",
            "--nocapture",
        ])
        .env("TIDERACE_TEST_CHILD", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.strip_prefix(ADDRESS)?.to_owned()))
        .unwrap();
    TcpStream::connect(&address).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let started = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the broker at {address} still runs"
        );
        std::thread::yield_now();
    }
}
