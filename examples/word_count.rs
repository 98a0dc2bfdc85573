//! Words out of lines, and a table of how often each was seen. Run it with `cargo run --example word_count`.
use std::collections::BTreeMap;

use tiderace::{BuildError, Connection, StreamsBuilder, Topic, Topology};

const LINES: Topic<u32, String> = Topic::bytes("lines");
const COUNTS: Topic<String, u64> = Topic::bytes("word-counts");

fn word_count() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("word-count");
    builder
        .stream(LINES)
        .flat_map_values(|line| line.split(' ').map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|word| word.clone())
        .count()
        .named("words") // the name of the state outlives changes of the program
        .to(COUNTS);
    builder.build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::temporary()?;
    for line in ["the tide turns", "the race begins with the tide"] {
        connection.write(LINES, [(0, line.to_owned())])?;
        // Every run goes on where the one before it stopped, with the counts that it had.
        let report = connection.run(word_count()?)?;
        println!(
            "read {} line, resumed: {}",
            report.counts.read, report.resumed
        );
    }
    // The topic holds each change of the table; the last one of a word is its count.
    let changes = connection.read(COUNTS)?.into_iter();
    let counts: BTreeMap<_, _> = changes.map(|change| (change.key, change.value)).collect();
    counts
        .iter()
        .for_each(|(word, count)| println!("{count} {word}"));
    Ok(())
}
