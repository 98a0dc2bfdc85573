//! Rides per pickup zone in windows of event time. Run it with `cargo run --example rides_per_zone`.
use tiderace::{Connection, EventTime, StreamsBuilder, TimeWindows, Topic, Windowed, minutes};

type Ride = (u32, EventTime); // pickup zone and pickup time
const RIDES: Topic<String, Ride> = Topic::json("rides").timestamp(|ride| ride.1);
const PER_ZONE: Topic<Windowed<u32>, u64> = Topic::json("rides-per-zone-counts");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = StreamsBuilder::new("rides-per-zone-counts"); // the application id
    builder
        .stream(RIDES)
        .group_by(|ride| ride.0)
        .windowed_by(TimeWindows::of_size(minutes(10)).grace(minutes(1)))
        .count()
        .emit_on_close() // or, without this line, an update per epoch
        .to(PER_ZONE);
    let connection = Connection::temporary()?; // or `open` with brokers in the configuration
    let at = |zone, minute: i64| (zone, EventTime::from_millis(minute * 60_000));
    let rides = [at(7, 0), at(7, 9), at(3, 9), at(7, 10)];
    connection.write(RIDES, rides.map(|ride| (ride.0.to_string(), ride)))?;
    connection.run(builder.build()?)?;
    let counts = connection.read(PER_ZONE)?.into_iter();
    counts.for_each(|n| println!("zone {}, {}: {}", n.key.key, n.key.window.start, n.value));
    Ok(())
}
