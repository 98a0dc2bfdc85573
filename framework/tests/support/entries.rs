//! The epoch log read as JSON, without the engine's own types.

use std::collections::BTreeMap;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

/// What the entries of an epoch log add up to.
pub(crate) struct Entries {
    pub(crate) epochs: u64,
    pub(crate) starts: usize,
    /// Records read and records written.
    pub(crate) read: u64,
    pub(crate) written: u64,
    ends: BTreeMap<(String, u64), i64>,
}

impl Entries {
    /// Reads a log and checks what one entry says of the others: chained, epochs consecutive from 1, offsets
    /// growing, counts adding up.
    pub(crate) fn checked<'a>(name: &str, values: impl IntoIterator<Item = &'a [u8]>) -> Entries {
        let mut entries = Entries {
            epochs: 0,
            starts: 0,
            read: 0,
            written: 0,
            ends: BTreeMap::new(),
        };
        let mut previous = String::new();
        for (index, bytes) in values.into_iter().enumerate() {
            let entry: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(
                entry["previous"],
                previous.as_str(),
                "{name}: entry {index}"
            );
            previous = format!("{:032x}", xxh3_128(bytes));
            match entry["kind"].as_str().unwrap() {
                "origin" => assert_eq!(index, 0, "{name}: two logs in one"),
                "start" => entries.starts += 1,
                "epoch" => entries.take(name, &entry),
                other => panic!("{name}: an entry of kind {other}"),
            }
        }
        entries
    }

    fn take(&mut self, name: &str, entry: &Value) {
        let number = |of: &Value| of.as_u64().unwrap();
        self.epochs += 1;
        assert_eq!(number(&entry["epoch"]), self.epochs, "{name}");
        for share in entry["read"].as_array().unwrap() {
            let topic = share["topic"].as_str().unwrap().to_owned();
            let end = share["end"].as_i64().unwrap();
            let place = (topic, number(&share["partition"]));
            let before = self.ends.insert(place, end).unwrap_or(0);
            assert!(before < end, "{name}: offsets go from {before} to {end}");
        }
        let counts = &entry["counts"];
        let came = ["processed", "filtered", "late", "skipped", "dead_lettered"];
        let came: u64 = came.iter().map(|count| number(&counts[count])).sum();
        assert_eq!(number(&counts["read"]), came, "{name}: {counts}");
        self.read += came;
        let outputs = entry["outputs"].as_object().unwrap().values();
        self.written += outputs.map(|of| number(&of["records"])).sum::<u64>();
    }

    /// Offsets behind what was read of a topic, by partition.
    pub(crate) fn ends(&self, topic: &str) -> Vec<i64> {
        let of_topic = self.ends.iter().filter(|((of, _), _)| of == topic);
        of_topic.map(|(_, end)| *end).collect()
    }
}
