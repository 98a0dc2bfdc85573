//! The workers' sorted runs of a sink, merged into canonical order record by record.

use std::collections::BTreeMap;

use super::digest::digest;
use super::entry::Digest;
use crate::connect::{Records, SinkRecord};
use crate::topology::FinishedRun;

/// The runs of an epoch by sink, each with its worker, in the order of the workers.
pub(crate) type Runs = BTreeMap<usize, Vec<(usize, FinishedRun)>>;

/// Topics with their records in canonical order, each by its run and where it is in it; sinks of one topic follow each
/// other.
pub(crate) fn by_topic<'a>(
    sinks: &'a [String],
    runs: &'a Runs,
) -> impl Iterator<Item = (&'a str, impl Iterator<Item = (&'a FinishedRun, usize)>)> {
    let mut topics: BTreeMap<&str, Vec<&'a [(usize, FinishedRun)]>> = BTreeMap::new();
    for (sink, of) in runs {
        topics.entry(&sinks[*sink]).or_default().push(of);
    }
    let merge = |(topic, sinks): (&'a str, Vec<&'a [(usize, FinishedRun)]>)| {
        (topic, sinks.into_iter().flat_map(Merged::new))
    };
    topics.into_iter().map(merge)
}

/// Topics with their records in canonical order.
pub(crate) fn merged<'a>(
    sinks: &'a [String],
    runs: &'a Runs,
) -> impl Iterator<Item = (&'a str, impl Iterator<Item = SinkRecord<'a>>)> {
    by_topic(sinks, runs).map(|(topic, records)| {
        let records = records.map(move |(run, index)| run.get(index, topic));
        (topic, records)
    })
}

/// What an epoch writes, by topic.
pub(crate) fn outputs(sinks: &[String], runs: &Runs) -> BTreeMap<String, Digest> {
    let digests = by_topic(sinks, runs).map(|(topic, records)| {
        let hashes = records.map(|(run, index)| run.hash(index));
        (topic.to_owned(), digest(hashes))
    });
    digests.collect()
}

/// The records of one sink in canonical order.
struct Merged<'a> {
    /// Runs with the index of their next record. There are as many as workers: looking at all is quickest.
    runs: Vec<(&'a FinishedRun, usize)>,
}

impl<'a> Merged<'a> {
    /// Merges runs, each in canonical order and given in the order of their workers, which decides among equals.
    fn new(runs: &'a [(usize, FinishedRun)]) -> Self {
        Merged {
            runs: runs.iter().map(|(_, run)| (run, 0)).collect(),
        }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = (&'a FinishedRun, usize);

    fn next(&mut self) -> Option<(&'a FinishedRun, usize)> {
        let ready = self.runs.iter_mut().filter(|(run, next)| *next < run.len());
        let (run, next) = ready.min_by(|(one, i), (other, j)| one.compare(*i, other, *j))?;
        *next += 1;
        Some((run, *next - 1))
    }
}
