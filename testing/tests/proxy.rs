//! The proxy before a real broker: clients reach it, faults strike the request they name, copies reach the broker.

#![expect(
    clippy::disallowed_methods,
    reason = "a test measures how long a fault lasts"
)]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tiderace_testing::kafka::Kafka;
use tiderace_testing::proxy::{Api, Fault, Moment, Proxy, Rule, When};

const PATIENCE: Duration = Duration::from_secs(20);

fn rule(api: Api, number: u64, fault: Fault) -> Rule {
    Rule {
        api,
        when: When::Nth(number),
        fault,
    }
}

fn producer(proxy: &Proxy, id: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", proxy.bootstrap())
        .set("transactional.id", id)
        .set("socket.timeout.ms", "1000")
        .set("transaction.timeout.ms", "5000")
        .set("retry.backoff.ms", "5")
        .create()
        .unwrap()
}

fn transact(producer: &BaseProducer, topic: &str, value: &str) {
    producer.begin_transaction().unwrap();
    producer
        .send(BaseRecord::<(), str>::to(topic).partition(0).payload(value))
        .unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
}

fn values(broker: &Kafka, topic: &str) -> Vec<String> {
    let records = broker.read_committed(topic).remove(0);
    let text =
        |record: tiderace_testing::kafka::Record| String::from_utf8(record.value.unwrap()).unwrap();
    records.into_iter().map(text).collect()
}

#[test]
fn every_connection_leads_through_the_proxy_and_each_fault_strikes_once() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let topic = broker.fresh_name("proxied");
    broker.create_topic(&topic, 1);
    let moment = Moment::after(Duration::from_millis(50));
    let proxy = Proxy::start(
        broker.bootstrap(),
        [
            rule(Api::END_TXN, 1, Fault::DropRequest),
            rule(Api::END_TXN, 3, Fault::DropAnswer),
            rule(Api::END_TXN, 5, Fault::DelayRequest(moment)),
            rule(Api::END_TXN, 6, Fault::DelayAnswer(moment)),
            rule(Api::END_TXN, 7, Fault::CloseBefore),
            rule(Api::END_TXN, 9, Fault::CloseBehind),
            rule(Api::END_TXN, 11, Fault::CloseBefore),
        ],
    );
    let id = broker.fresh_name("id");
    let producer = producer(&proxy, &id);
    producer.init_transactions(PATIENCE).unwrap();
    let sent = ["a", "b", "c", "d", "e", "f", "g"];
    let begun = Instant::now();
    for value in sent {
        transact(&producer, &topic, value);
    }
    // The client repeated what was dropped, each after its second, and what a lost connection took along.
    assert!(begun.elapsed() >= Duration::from_millis(2_100));
    assert_eq!(proxy.hits(), [1; 7]);
    assert_eq!(proxy.requests(Api::END_TXN), 12);
    assert!(proxy.requests(Api::PRODUCE) >= 7);
    assert_eq!(values(broker, &topic), sent);
}

/// What the engine fences for: the client repeats EndTxn by itself, and the first one ends a later transaction.
#[test]
fn an_end_that_comes_late_ends_the_next_transaction_of_the_same_producer() {
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let topic = broker.fresh_name("torn");
    broker.create_topic(&topic, 1);
    let late = Moment::behind(Api::PRODUCE, 1);
    let proxy = Proxy::start(
        broker.bootstrap(),
        [rule(Api::END_TXN, 1, Fault::CloseAndDeliver(late))],
    );
    let producer = producer(&proxy, &broker.fresh_name("id"));
    producer.init_transactions(PATIENCE).unwrap();
    transact(&producer, &topic, "whole");
    producer.begin_transaction().unwrap();
    producer
        .send(
            BaseRecord::<(), str>::to(&topic)
                .partition(0)
                .payload("half"),
        )
        .unwrap();
    producer.flush(PATIENCE).unwrap();
    proxy.wait_for_swallowed(1);
    // Nobody has committed it.
    assert_eq!(values(broker, &topic), ["whole", "half"]);
    assert_eq!(proxy.hits(), [1]);
    let (api, answer) = &proxy.swallowed()[0];
    assert_eq!((*api, error_of_end(answer)), (Api::END_TXN, 0));
}

/// The error code in the answer to an EndTxn: behind correlation id and throttle time.
fn error_of_end(answer: &[u8]) -> i16 {
    i16::from_be_bytes(answer[8..10].try_into().unwrap())
}
