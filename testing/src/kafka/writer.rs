//! Writes records with a plain producer.

use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

const LIMIT: Duration = Duration::from_secs(30);

/// The first refusal of a record; a callback must not panic.
#[derive(Default)]
struct Refused(OnceLock<String>);

impl rdkafka::ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = self.0.set(error.to_string());
        }
    }
}

pub(super) fn write(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) {
    let producer: BaseProducer<Refused> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .create_with_context(Refused::default())
        .expect("the properties are valid");
    for (key, value) in records {
        let record = BaseRecord::to(topic)
            .partition(partition)
            .key(&key)
            .payload(&value);
        let sent = producer.send(record);
        sent.map_err(|(error, _)| error)
            .expect("there is room for a test's records");
    }
    producer.flush(LIMIT).expect("the broker acknowledges");
    assert_eq!(producer.context().0.get(), None, "topic `{topic}`");
}
