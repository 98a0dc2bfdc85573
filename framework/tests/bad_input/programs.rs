//! Programs that cannot be built: every mistake at once, before anything runs.

use std::time::Duration;

use tiderace::{OnError, StreamsBuilder, TimeWindows, Topic};

use crate::place::{RIDES, ZONES};

const COUNTS: Topic<String, u64> = Topic::json("counts");

fn mistakes(builder: &StreamsBuilder) -> Vec<String> {
    let error = builder.build().map(|_| ()).unwrap_err();
    let text = error.to_string();
    for mistake in &error.mistakes {
        assert!(text.contains(&format!("\n  - {mistake}")), "{text}");
    }
    error.mistakes
}

fn assert_all(mistakes: &[String], expected: &[&str]) {
    for part in expected {
        let times = mistakes
            .iter()
            .filter(|mistake| mistake.contains(part))
            .count();
        assert_eq!(times, 1, "{part}: {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn every_mistake_of_a_program_is_named_at_once() {
    const BAD_NAME: Topic<String, u32> = Topic::json("a b");
    let builder = StreamsBuilder::new("an app");
    let rides = builder.stream(RIDES);
    let again = builder.stream(RIDES);
    let values = rides.map_values(|ride| ride.zone).named("twin");
    values.to(BAD_NAME);
    again.map_values(|ride| ride.zone).named("twin").to(ZONES);
    let hours = TimeWindows::of_size(Duration::from_secs(3600));
    let uneven = hours.advance_by(Duration::from_secs(7200));
    let _ = rides.group_by_key().windowed_by(uneven).count();
    values.map_values(|_| rides_again()).to(RIDES);
    let elsewhere = StreamsBuilder::new("other");
    let strangers = elsewhere.stream(ZONES);
    values
        .merge(&strangers)
        .to(Topic::<String, u32>::json("merged"));
    builder.on_error(OnError::DeadLetter("merged".into()));
    assert_all(
        &mistakes(&builder),
        &[
            "the application id `an app`",
            "topic `a b` may hold",
            "topic `rides` is read twice",
            "topic `rides` is both read and written",
            "2 steps are named `twin`",
            "2 steps are named `rides-source`",
            "`windowed_by`:",
            "reaches no topic: end it with `to`",
            "`merge` unites streams of two builders",
            "topic `merged` takes dead letters and a stream",
        ],
    );
}

fn rides_again() -> crate::place::Ride {
    crate::place::Ride { zone: 0 }
}

#[test]
fn a_program_that_reads_or_writes_nothing_is_told_what_to_begin_and_end_with() {
    assert_all(
        &mistakes(&StreamsBuilder::new("app")),
        &[
            "nothing is read: begin with `stream`",
            "nothing is written: end a stream with `to`",
        ],
    );
    let builder = StreamsBuilder::new("app");
    let _ = builder.stream(RIDES);
    assert_all(
        &mistakes(&builder),
        &["topic `rides` is read for nothing", "nothing is written"],
    );
}

#[test]
fn the_epoch_log_of_an_application_is_not_its_input_or_output() {
    const OWN: Topic<String, u32> = Topic::json("app-epochs");
    let builder = StreamsBuilder::new("app");
    builder.stream(RIDES).map_values(|ride| ride.zone).to(OWN);
    assert_all(
        &mistakes(&builder),
        &["topic `app-epochs` is the epoch log"],
    );
}

#[test]
fn windows_that_leave_records_out_or_have_no_length_are_refused() {
    let second = Duration::from_secs(1);
    let bad = [
        TimeWindows::of_size(Duration::ZERO),
        TimeWindows::of_size(second).advance_by(Duration::ZERO),
        TimeWindows::of_size(second).advance_by(2 * second),
    ];
    for windows in bad {
        let builder = StreamsBuilder::new("app");
        let counts = builder
            .stream(RIDES)
            .group_by_key()
            .windowed_by(windows)
            .count();
        counts
            .emit_on_close()
            .map(|of, count| (of.key, count))
            .to(COUNTS);
        assert_all(&mistakes(&builder), &["`windowed_by`:"]);
    }
}
