//! Results of windows, put into windows again: on each worker the second step hears of event time from the first step of
//! that worker alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "bad_input/place.rs"]
mod place;

use std::time::Duration;

use place::{Place, RIDES, TIME};
use tiderace::connect::{Log, SinkRecord};
use tiderace::{Config, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

const PER_MINUTE: Topic<Windowed<Windowed<u32>>, u64> = Topic::json("per-minute");

fn chained() -> Topology {
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .group_by(|ride| ride.zone)
        .windowed_by(TimeWindows::of_size(Duration::from_secs(10)))
        .count()
        .emit_on_close()
        .group_by_key()
        .windowed_by(TimeWindows::of_size(Duration::from_secs(60)))
        .reduce(|one, next| one + next)
        .emit_on_close()
        .to(PER_MINUTE);
    builder.build().unwrap()
}

#[test]
fn windows_of_windows_close_on_every_worker_while_the_input_goes_on() {
    let results = |workers: usize| {
        let place = Place::new(&[("rides", 4), ("per-minute", 2)]);
        let mut writer = place.log.writer("rides").unwrap();
        for number in 0..2_000_u32 {
            let value = format!(r#"{{"zone":{}}}"#, number % 11);
            let record = SinkRecord {
                topic: "rides",
                partition: number % 4,
                timestamp: TIME + i64::from(number) * 200,
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            };
            writer.send(&record).unwrap();
        }
        writer.flush().unwrap();
        let config = Config {
            workers,
            follow: true,
            ..place.config()
        };
        let running = tiderace::Engine::start(chained(), place.log.clone(), &config).unwrap();
        let progress = running.progress();
        while progress.committed().read < 2_000 {
            assert!(
                !running.wait(Duration::from_millis(5)),
                "the run ended by itself"
            );
        }
        // Nothing has ended: what is there now, the watermark has closed.
        running.stop_handle().stop();
        running.join().unwrap();
        place.read("per-minute")
    };
    let one = results(1);
    assert!(one.iter().flatten().count() > 11 * 4, "{}", one.len());
    for workers in [2, 3] {
        assert_eq!(results(workers), one, "{workers} workers");
    }
}
