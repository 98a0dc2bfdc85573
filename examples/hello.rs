//! One step, from topic to topic. Run it with `cargo run --example hello`.
use tiderace::{Connection, StreamsBuilder, Topic};
const NAMES: Topic<u32, String> = Topic::bytes("names");
const GREETINGS: Topic<u32, String> = Topic::bytes("greetings");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = StreamsBuilder::new("hello"); // the application id
    let names = builder.stream(NAMES);
    names.map_values(|n| format!("Hello, {n}!")).to(GREETINGS);
    let connection = Connection::temporary()?; // to an embedded log
    connection.write(NAMES, [(1, "tide race".to_owned())])?;
    connection.run(builder.build()?)?;
    println!("{}", connection.read(GREETINGS)?[0].value);
    Ok(())
}
