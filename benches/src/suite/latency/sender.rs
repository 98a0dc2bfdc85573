//! Sends a load: the warm-up at once, everything else when it is due, whether or not anything was answered.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::time::{Duration, Instant, SystemTime};

use tiderace::connect::{SinkRecord, Writer};
use tiderace_benches::machine::OnCores;
use tiderace_testing::kills::Random;

use super::SIDE_CORES;
use super::schedule::{Load, partition, zone};
use super::watch::Run;
use crate::Failure;
use crate::suite::topics::{Place, write_ride};

/// How often it is looked what is due. A record that has to wait for it is late, which counts against the side.
const LOOK: Duration = Duration::from_millis(1);

/// How long Kafka's client waits for more before it sends. With less, its thread asks for the time without a pause while a
/// batch is not acknowledged, and takes from the broker what it runs on.
const LINGER_MS: &str = "2";

/// Sends the load to a topic.
pub(super) fn send(place: &Place, topic: &str, load: &Load, run: &Run) -> Result<(), Failure> {
    let _core = OnCores::behind(SIDE_CORES)?;
    let log = place.open_with(&[("linger.ms", LINGER_MS)])?;
    let mut sender = Sender {
        writer: log.writer(topic)?,
        topic,
        random: Random::new(5),
        next: 0,
        value: Vec::new(),
    };
    sender.send_to(load.warm_up)?;
    sender.writer.flush()?;
    let Some(start) = run.await_start() else {
        return Ok(());
    };
    // Kafka's client sends by itself; waiting for its answers would be to wait for the system under test.
    let shows_by_itself = place.brokers.is_some();
    while sender.next < load.records() {
        if run.is_over() {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(since) = now.checked_duration_since(start) {
            sender.send_to(load.due_by(since))?;
            if !shows_by_itself {
                sender.writer.flush()?;
            }
        }
        std::thread::sleep((now + LOOK).saturating_duration_since(Instant::now()));
    }
    Ok(sender.writer.flush()?)
}

struct Sender<'a> {
    writer: Box<dyn Writer>,
    topic: &'a str,
    random: Random,
    next: u64,
    value: Vec<u8>,
}

impl Sender<'_> {
    /// Sends the records before `end` that were not sent yet.
    fn send_to(&mut self, end: u64) -> Result<(), Failure> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let timestamp = i64::try_from(since_1970.as_millis())?;
        for nth in self.next..end {
            let zone = zone(nth);
            let key = zone.to_string();
            self.value.clear();
            write_ride(&mut self.value, &mut self.random, timestamp, key.as_bytes())?;
            self.writer.send(&SinkRecord {
                topic: self.topic,
                partition: partition(zone) as u32,
                timestamp,
                key: Some(key.as_bytes()),
                value: Some(&self.value),
                headers: &[],
            })?;
        }
        self.next = end.max(self.next);
        Ok(())
    }
}
