//! What a topic holds, as far as byte-equal outputs have to agree, and the comparison.

use tiderace::connect::RecordBatch;
use tiderace_testing::kafka::Record;

/// A record without its offset, which byte-equal outputs may differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A topic's rows by partition.
pub(crate) type Rows = Vec<Vec<Row>>;

impl Row {
    pub(crate) fn of(batch: &dyn RecordBatch, index: usize) -> Row {
        let record = batch.get(index);
        let headers = batch.headers(index);
        let headers = headers
            .into_iter()
            .map(|header| (header.name, header.value));
        Row {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }
}

impl From<Record> for Row {
    fn from(record: Record) -> Row {
        Row {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}

/// How many rows a topic has.
pub(crate) fn count(rows: &Rows) -> u64 {
    rows.iter().map(|partition| partition.len() as u64).sum()
}

/// Compares topics row by row; the first difference is told, not all of them.
pub(crate) fn assert_same(found: &[Rows], expected: &[Rows], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (topic, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}: partitions of {topic}");
        for (partition, (found, expected)) in found.iter().zip(expected).enumerate() {
            let differs = found.iter().zip(expected).position(|(a, b)| a != b);
            let place = format!("{what}: output {topic}, partition {partition}");
            if let Some(at) = differs {
                panic!(
                    "{place}, record {at}: {:?} instead of {:?}",
                    found[at], expected[at]
                );
            }
            assert_eq!(found.len(), expected.len(), "{place}: records");
        }
    }
}
