//! The workers' sorted runs of a sink, merged into canonical order record by record.

use std::collections::BTreeMap;

use super::digest::digest;
use super::entry::Digest;
use crate::connect::SinkRecord;
use crate::topology::SinkRun;

/// The runs of an epoch by sink, each with its worker, in the order of the workers.
pub(crate) type Runs = BTreeMap<usize, Vec<(usize, SinkRun)>>;

/// Topics with their records in canonical order; sinks of one topic follow each other.
pub(crate) fn merged<'a>(
    sinks: &'a [String],
    runs: &'a Runs,
) -> impl Iterator<Item = (&'a str, impl Iterator<Item = SinkRecord<'a>>)> {
    let mut topics: BTreeMap<&str, Vec<&'a [(usize, SinkRun)]>> = BTreeMap::new();
    for (sink, of) in runs {
        topics.entry(&sinks[*sink]).or_default().push(of);
    }
    let merge = |(topic, sinks): (&'a str, Vec<&'a [(usize, SinkRun)]>)| {
        (
            topic,
            sinks
                .into_iter()
                .flat_map(move |runs| Merged::new(topic, runs)),
        )
    };
    topics.into_iter().map(merge)
}

/// What an epoch writes, by topic.
pub(crate) fn outputs(sinks: &[String], runs: &Runs) -> BTreeMap<String, Digest> {
    let digests = merged(sinks, runs).map(|(topic, records)| (topic.to_owned(), digest(records)));
    digests.collect()
}

/// The records of one sink in canonical order.
struct Merged<'a> {
    topic: &'a str,
    /// Runs with the index of their next record. There are as many as workers: looking at all is quickest.
    runs: Vec<(&'a SinkRun, usize)>,
}

impl<'a> Merged<'a> {
    /// Merges runs, each in canonical order and given in the order of their workers, which decides among equals.
    fn new(topic: &'a str, runs: &'a [(usize, SinkRun)]) -> Self {
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
