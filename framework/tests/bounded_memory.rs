//! Promise 5: memory in flight has a budget, and a slow sink slows the source. One test, because it looks at the
//! memory of the whole process.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]
#![allow(clippy::unwrap_used)]

mod support;
#[path = "support/throttled.rs"]
mod throttled;
#[path = "support/wrapped.rs"]
mod wrapped;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiderace::config::Config;
use tiderace::connect::Log;
use tiderace::{Engine, StreamsBuilder, Topic};

use support::{log_with, valued};
use throttled::{Throttled, Wire, resident};
use wrapped::Wrapped;

const LINES: Topic<String, String> = Topic::bytes("lines");
const WIDE: Topic<String, String> = Topic::bytes("wide");

/// Bytes of output that each record makes.
const WIDTH: usize = 10_000;
/// A megabyte a second, all the time.
const WIRE: Wire = Wire {
    rate: 1e6,
    until: u64::MAX,
};
/// Memory of the process beside what is counted: threads, allocator, dataflow, the log's files and buffers. Without
/// the budget the input would come to 600 MB of output.
const BESIDE: usize = 24 << 20;
const BUDGET: usize = 8 << 20;
const RECORDS: usize = 60_000;

#[test]
fn a_sink_of_1_mb_a_second_slows_the_source_and_memory_stays_within_the_budget() {
    let (directory, log) = log_with(&[("lines", 4), ("wide", 2)]);
    let mut writer = log.writer("lines").unwrap();
    for number in 0..RECORDS {
        let line = format!("{number:0100}");
        writer
            .send(&valued("lines", number as u32 % 4, line.as_bytes()))
            .unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    let sent = Arc::new(AtomicU64::new(0));
    let mut log = Wrapped::new(log);
    let taken = Arc::clone(&sent);
    log.transactions = Box::new(move |inner| Box::new(Throttled::new(inner, WIRE, &taken)));
    let builder = StreamsBuilder::new("wide");
    builder
        .stream(LINES)
        .map_values(|line: String| line.repeat(WIDTH / 100))
        .to(WIDE);
    let config = Config {
        data_dir: directory.path().to_owned(),
        memory_budget: BUDGET,
        workers: 2,
        ..Config::default()
    };
    let before = resident();
    let run = Engine::start(builder.build().unwrap(), Arc::new(log), &config).unwrap();
    let progress = run.progress();
    let mut most = 0;
    let began = Instant::now();
    while sent.load(Ordering::Relaxed) < 4_000_000 {
        assert!(!run.wait(Duration::from_millis(5)), "{:?}", run.join());
        most = most.max(resident());
        let in_flight = progress.most_bytes_in_flight();
        assert!(in_flight <= BUDGET, "{in_flight} bytes are in flight");
        assert!(began.elapsed() < Duration::from_secs(60), "nothing goes on");
    }
    run.stop_handle().stop();
    let report = run.join().unwrap();
    let in_flight = progress.most_bytes_in_flight();
    println!(
        "{} epochs, {} records; most in flight {} KiB of {} KiB; RSS grew by {} KiB",
        report.last_epoch,
        report.counts.read,
        in_flight >> 10,
        BUDGET >> 10,
        most.saturating_sub(before) >> 10
    );
    assert!(in_flight <= BUDGET, "{in_flight} bytes were in flight");
    assert!(
        in_flight > BUDGET / 4,
        "{in_flight} bytes: the budget is not used, or not counted"
    );
    assert!(
        most - before < BUDGET + BESIDE,
        "{} bytes more",
        most - before
    );
    assert!(
        report.counts.read < RECORDS as u64 / 4,
        "the source was not slowed"
    );
    // At the end nothing is in flight but what was fetched and not read.
    assert!(
        progress.bytes_in_flight() <= BUDGET / 4,
        "{}",
        progress.bytes_in_flight()
    );
}
