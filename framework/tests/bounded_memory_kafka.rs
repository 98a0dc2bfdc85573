//! Promise 5 on a real broker, with the budget that a user gets: memory in flight stays within 64 MiB, the client's
//! queues included, however slow the sink and however wide what it is sent.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used)]

#[path = "support/throttled.rs"]
mod throttled;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "support/wrapped.rs"]
mod wrapped;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiderace::connect::kafka::KafkaLog;
use tiderace::{Config, Engine, StreamsBuilder, Topic};
use tiderace_testing::kafka::Kafka;

use throttled::{Throttled, Wire, resident};
use wrapped::Wrapped;

const TEST: &str = "a_slow_sink_on_kafka_keeps_the_process_within_the_default_budget";
/// The broker and the topics, for the process that is measured.
const HERE: &str = "TIDERACE_TEST_BOUNDED_MEMORY";

const PARTITIONS: u32 = 4;
/// Records in each partition.
const RECORDS: u32 = 15_000;
/// Bytes of each record: 120 MB in all.
const LENGTH: usize = 2_000;
/// How many times as long its output is: 720 MB in all.
const WIDTH: usize = 6;

const BUDGET: usize = 64 << 20;
/// Memory of the process beside what is counted: threads, allocator, dataflow, the clients' own.
const BESIDE: usize = 40 << 20;

/// Slow for three seconds: longer than it takes to fill every queue that there is.
const WIRE: Wire = Wire {
    rate: 8e6,
    until: 24_000_000,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_slow_sink_on_kafka_keeps_the_process_within_the_default_budget() {
    if let Ok(place) = std::env::var(HERE) {
        let names: Vec<&'static str> = place.leak().split(' ').collect();
        let [bootstrap, lines, wide, application] = names[..] else {
            panic!("{names:?}")
        };
        measured(bootstrap, lines, wide, application);
        return;
    }
    let Some(broker) = Kafka::shared() else {
        return;
    };
    let [lines, wide, application] = ["lines", "wide", "app"].map(|of| broker.fresh_name(of));
    for topic in [&lines, &wide] {
        broker.create_topic(topic, PARTITIONS as i32);
    }
    for partition in 0..PARTITIONS {
        let line = |number| {
            let line = format!("{number:0LENGTH$}");
            (Vec::new(), line.into_bytes())
        };
        broker.write(&lines, partition as i32, (0..RECORDS).map(line));
    }
    // What this process has used to write would hide what the engine takes: it gets a process of its own.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(
            HERE,
            [broker.bootstrap(), &lines, &wide, &application].join(" "),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{said}");
}

fn measured(bootstrap: &str, lines: &'static str, wide: &'static str, application: &str) {
    let state = tempfile::tempdir().unwrap();
    let config = Config {
        application_id: Some(application.to_owned()),
        data_dir: state.path().to_owned(),
        workers: 2,
        ..Config::default()
    };
    assert_eq!(config.memory_budget, BUDGET, "the default has changed");
    let sent = Arc::new(AtomicU64::new(0));
    let mut log = Wrapped::new(KafkaLog::connect(bootstrap, &BTreeMap::new()).unwrap());
    let taken = Arc::clone(&sent);
    log.transactions = Box::new(move |inner| Box::new(Throttled::new(inner, WIRE, &taken)));
    let builder = StreamsBuilder::new("wide");
    builder
        .stream(Topic::<Vec<u8>, String>::bytes(lines))
        .map_values(|line: String| line.repeat(WIDTH))
        .to(Topic::<Vec<u8>, String>::bytes(wide));
    let before = resident();
    let run = Engine::start(builder.build().unwrap(), Arc::new(log), &config).unwrap();
    let progress = run.progress();
    let (mut most, began) = (0, Instant::now());
    while sent.load(Ordering::Relaxed) < WIRE.until {
        assert!(!run.wait(Duration::from_millis(5)), "{:?}", run.join());
        most = most.max(resident());
        assert!(began.elapsed() < PATIENCE, "nothing goes on");
    }
    run.stop_handle().stop();
    let report = run.join().unwrap();
    let (in_flight, grown) = (progress.most_bytes_in_flight(), most - before);
    println!(
        "{} records in {} epochs; most in flight {} MiB of {}; RSS grew by {} MiB",
        report.counts.read,
        report.last_epoch,
        in_flight >> 20,
        BUDGET >> 20,
        grown >> 20
    );
    assert!(in_flight <= BUDGET, "{in_flight} bytes were in flight");
    assert!(
        in_flight > BUDGET / 4,
        "{in_flight} bytes: the budget is not used"
    );
    assert!(grown < BUDGET + BESIDE, "{grown} bytes more");
    let all = u64::from(PARTITIONS * RECORDS);
    assert!(report.counts.read < all / 2, "the source was not slowed");
}
