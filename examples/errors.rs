//! Bad, failing and late records: none is lost without a trace. Run it with `cargo run --example errors`.
use tiderace::{BuildError, Connection, EventTime, OnError, StreamsBuilder};
use tiderace::{TimeWindows, Topic, Topology, Windowed, seconds};

type Reading = (EventTime, String); // when, and what the sensor sent
const READINGS: Topic<u32, Reading> = Topic::json("readings").timestamp(|reading| reading.0);
const RAW: Topic<u32, String> = Topic::bytes("readings");
const PEAKS: Topic<Windowed<u32>, i64> = Topic::json("peaks");
const NO_NUMBERS: Topic<u32, String> = Topic::json("no-numbers");
const LATE: Topic<u32, Reading> = Topic::json("late-readings");
const DEAD: Topic<u32, String> = Topic::bytes("dead-readings");

fn peaks() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("peaks");
    // Without this line the first record that cannot be decoded ends the run, and the error names it.
    builder.on_error(OnError::DeadLetter("dead-readings".into()));
    let readings = builder.stream(READINGS).map_values(|reading| reading.1);
    let (numbers, errors) = readings.try_map_values(|text| {
        let number = text.parse::<i64>();
        number.map_err(|error| format!("{text:?}: {error}"))
    });
    errors.to(NO_NUMBERS);
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
    let at = |second: i64, text: &str| (1, (EventTime::from_millis(second * 1_000), text.into()));
    connection.write(READINGS, [at(1, "20"), at(2, "21"), at(3, "warm")])?;
    connection.write(RAW, [(1, "{ no JSON".to_owned())])?;
    connection.write(READINGS, [at(12, "19"), at(4, "22")])?; // second 12 closes the first window
    let report = connection.run(peaks()?)?;
    for peak in connection.read(PEAKS)? {
        println!("peak {} from {}", peak.value, peak.key.window.start);
    }
    println!("failed: {}", connection.read(NO_NUMBERS)?[0].value);
    println!("late: {:?}", connection.read(LATE)?[0].value);
    println!("dead: {:?}", connection.read(DEAD)?[0].value);
    println!("{:?}", report.counts);
    Ok(())
}
