//! Bad, failing and late records: none is lost without a trace. Run it with `cargo run --example errors`.
use tiderace::{BuildError, Topology, Windowed};
use tiderace::{Connection, EventTime, OnError, StreamsBuilder, TimeWindows, Topic, seconds};

/// A sensor's reading: when, and the text that it sent.
type Reading = (EventTime, String);

const READINGS: Topic<u32, Reading> = Topic::json("readings").timestamp(|reading| reading.0);
const PEAKS: Topic<Windowed<u32>, i64> = Topic::json("peaks");
const NOT_A_NUMBER: Topic<u32, String> = Topic::json("not-a-number");
const LATE: Topic<u32, Reading> = Topic::json("late-readings");
const DEAD: Topic<u32, String> = Topic::bytes("dead-readings");

fn peaks() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("peaks");
    // Without this line the first record that cannot be decoded ends the run and is named in the error.
    builder.on_error(OnError::DeadLetter(DEAD.name().to_owned()));
    let (numbers, failed) = builder.stream(READINGS).try_map_values(|(_, text)| {
        let number = text.parse::<i64>();
        number.map_err(|error| format!("{text:?}: {error}"))
    });
    failed.to(NOT_A_NUMBER);
    numbers
        .group_by_key()
        .windowed_by(TimeWindows::of_size(seconds(10)))
        .late_to(LATE)
        .reduce(i64::max)
        .emit_on_close()
        .to(PEAKS);
    builder.build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::temporary()?;
    let reading = |second, text: &str| (EventTime::from_millis(second * 1_000), text.to_owned());
    let readings = [
        reading(1, "20"),
        reading(2, "21"),
        reading(3, "warm"),
        reading(12, "19"),
    ];
    connection.write(READINGS, readings.map(|reading| (1, reading)))?;
    const RAW: Topic<u32, String> = Topic::bytes(READINGS.name());
    connection.write(RAW, [(1, "{ not JSON".to_owned())])?;
    connection.write(READINGS, [(1, reading(4, "22"))])?; // its window closed at second 12
    let counts = connection.run(peaks()?)?.counts;
    let peaks = connection.read(PEAKS)?.into_iter();
    peaks.for_each(|peak| println!("{}: peak {}", peak.key.window.start, peak.value));
    println!(
        "failed in a step: {}",
        connection.read(NOT_A_NUMBER)?[0].value
    );
    println!("late: {:?}", connection.read(LATE)?[0].value);
    println!("dead letter: {:?}", connection.read(DEAD)?[0].value);
    println!("{counts:?}");
    Ok(())
}
