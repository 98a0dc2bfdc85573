//! The workers' sorted runs of a sink, merged into canonical order record by record, and the digest of a topic.

use xxhash_rust::xxh3::Xxh3;

use super::dead_letter::TEXTS;
use super::entry::Digest;
use crate::connect::SinkRecord;
use crate::topology::SinkRun;

/// The records of one sink in canonical order.
pub(crate) struct Merged<'a> {
    topic: &'a str,
    /// Runs with the index of their next record. There are as many as workers: looking at all is quickest.
    runs: Vec<(&'a SinkRun, usize)>,
}

impl<'a> Merged<'a> {
    /// Merges runs, each in canonical order and given in the order of their workers, which decides among equals.
    pub(crate) fn new(topic: &'a str, runs: &'a [(usize, SinkRun)]) -> Self {
        Merged {
            topic,
            runs: runs.iter().map(|(_, run)| (run, 0)).collect(),
        }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = SinkRecord<'a>;

    fn next(&mut self) -> Option<SinkRecord<'a>> {
        let ready = self.runs.iter_mut().filter(|(run, next)| *next < run.len());
        let (run, next) = ready.min_by(|(one, i), (other, j)| one.compare(*i, other, *j))?;
        *next += 1;
        Some(run.get(*next - 1, self.topic))
    }
}

/// Count and hash of a topic's records, before partitioning, error texts left out.
pub(crate) fn digest<'a>(records: impl Iterator<Item = SinkRecord<'a>>) -> Digest {
    let mut hasher = Xxh3::new();
    let mut count = 0;
    let field = |hasher: &mut Xxh3, bytes: Option<&[u8]>| match bytes {
        None => hasher.update(&u64::MAX.to_le_bytes()),
        Some(bytes) => {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    };
    for record in records {
        count += 1;
        field(&mut hasher, record.key);
        field(&mut hasher, record.value);
        hasher.update(&record.timestamp.to_le_bytes());
        for header in record
            .headers
            .iter()
            .filter(|header| !TEXTS.contains(&header.name.as_str()))
        {
            field(&mut hasher, Some(header.name.as_bytes()));
            field(&mut hasher, header.value.as_deref());
        }
    }
    Digest {
        records: count,
        hash: format!("{:032x}", hasher.digest128()),
    }
}
