//! Words out of lines, and a table of how often each was seen. Run it with `cargo run --example word_count`.
use std::collections::BTreeMap;
use tiderace::{BuildError, Connection, StreamsBuilder, Topic, Topology};

const LINES: Topic<u32, String> = Topic::bytes("lines");
const COUNTS: Topic<String, u64> = Topic::bytes("word-counts");

fn word_count() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("word-count");
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let words = builder.stream(LINES).flat_map_values(words);
    let counts = words.group_by(|word| word.clone()).count();
    counts.named("words").to(COUNTS); // the name of the state outlives changes of the program
    builder.build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::temporary()?;
    for line in ["the tide turns", "the race begins with the tide"] {
        connection.write(LINES, [(0, line.to_owned())])?;
        // Every run goes on where the one before it stopped, with the counts that it had.
        let report = connection.run(word_count()?)?;
        println!("{line:?}, resumed: {}", report.resumed);
    }
    // The topic holds each change of the table; the last one of a word is its count.
    let changes = connection.read(COUNTS)?.into_iter();
    let counts: BTreeMap<_, _> = changes.map(|word| (word.key, word.value)).collect();
    println!("{counts:?}");
    Ok(())
}
