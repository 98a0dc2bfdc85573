//! Reads what a side writes as soon as it is visible, and notes which records it answers.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tiderace::connect::{Fetched, RawRecord, Source, TopicPartition};
use tiderace_benches::machine::OnCores;

use super::SIDE_CORES;
use super::lags::Lags;
use super::schedule::{Load, Places};
use crate::Failure;
use crate::suite::topics::{PARTITIONS, Place};

/// How long nothing may be answered before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a look waits for something to read.
const LOOK: Duration = Duration::from_millis(20);

/// What client and watcher may buffer, in bytes.
const MEMORY: usize = 16 << 20;

/// What passes between the warm-up and the start of the load: what the end of the warm-up left is done by then.
const REST: Duration = Duration::from_millis(500);

/// How a run stands: what sender, side and watcher tell each other.
#[derive(Default)]
pub(super) struct Run {
    start: OnceLock<Instant>,
    over: AtomicBool,
}

impl Run {
    /// When the load starts, as soon as it is known; `None` if the run ends before.
    pub(super) fn await_start(&self) -> Option<Instant> {
        loop {
            match self.start.get() {
                Some(start) => return Some(*start),
                None if self.is_over() => return None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Ends it for everybody; changes nothing where all is done.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What a topic is that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// Counts by zone: a count of `n` answers the zone's first `n` records.
    Counts,
    /// The records themselves.
    Records,
}

/// Watches a topic until all records are answered, each exactly once, and says how long that took.
pub(super) fn watch(
    place: &Place,
    (topic, answers): (&str, Answers),
    (load, places): (&Load, &Places),
    run: &Run,
) -> Result<Lags, Failure> {
    let _core = OnCores::behind(SIDE_CORES)?;
    let log = place.open()?;
    let partitions = (0..PARTITIONS).map(|number| (TopicPartition::new(topic, number), 0));
    let source = log.source(&partitions.collect::<Vec<_>>(), MEMORY)?;
    let mut watcher = Watcher {
        answers,
        places,
        load,
        answered: Vec::new(),
        left: load.records(),
        lags: Lags::new(load)?,
    };
    watcher.follow(source, run)?;
    Ok(watcher.lags)
}

struct Watcher<'a> {
    answers: Answers,
    places: &'a Places,
    load: &'a Load,
    /// Records that are answered, by zone or by partition.
    answered: Vec<usize>,
    left: u64,
    lags: Lags,
}

impl Watcher<'_> {
    fn follow(&mut self, mut source: Box<dyn Source>, run: &Run) -> Result<(), Failure> {
        let mut heard = Instant::now();
        while self.left > 0 {
            if run.is_over() {
                return Err(
                    format!("the run ended with {} records not answered", self.left).into(),
                );
            }
            let Fetched::Batch(batch) = source.poll(LOOK)? else {
                if heard.elapsed() > PATIENCE {
                    return Err(format!(
                        "nothing is answered for {PATIENCE:?}, {} records are left",
                        self.left
                    )
                    .into());
                }
                continue;
            };
            heard = Instant::now();
            let start = run.start.get();
            let at = start.map_or(Duration::ZERO, |start| {
                heard.saturating_duration_since(*start)
            });
            for index in 0..batch.len() {
                self.take(batch.slot(), &batch.get(index), at)?;
            }
            if self.left <= self.load.records() - self.load.warm_up {
                run.start.get_or_init(|| heard + REST);
            }
        }
        Ok(())
    }

    /// Takes an answer.
    fn take(
        &mut self,
        partition: usize,
        record: &RawRecord<'_>,
        at: Duration,
    ) -> Result<(), Failure> {
        let (slot, count) = match self.answers {
            Answers::Counts => count_of(record).ok_or("what was written is no count of a zone")?,
            Answers::Records => (partition, self.answered(partition) + 1),
        };
        let records = match self.answers {
            Answers::Counts => self.places.of_zone(slot),
            Answers::Records => self.places.of_partition(slot),
        };
        let before = self.answered(slot);
        let new = records.get(before..count).filter(|new| !new.is_empty());
        let new = new.ok_or_else(|| {
            format!(
                "{:?} of {slot} went from {before} to {count}, of {} records",
                self.answers,
                records.len()
            )
        })?;
        for nth in new {
            if let Some(due) = self.load.due(u64::from(*nth)) {
                self.lags.add(due, at);
            }
        }
        self.left -= new.len() as u64;
        let slots = self.answered.len().max(slot + 1);
        self.answered.resize(slots, 0);
        self.answered[slot] = count;
        Ok(())
    }

    fn answered(&self, slot: usize) -> usize {
        self.answered.get(slot).copied().unwrap_or(0)
    }
}

/// The zone and its count of an output.
fn count_of(record: &RawRecord<'_>) -> Option<(usize, usize)> {
    let zone = std::str::from_utf8(record.key?).ok()?.parse().ok()?;
    let count = u64::from_be_bytes(record.value?.try_into().ok()?);
    Some((zone, usize::try_from(count).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::schedule::zone;
    use super::*;

    const LOAD: Load = Load {
        warm_up: 100,
        rate: 1_000,
        seconds: 2,
        dropped: 0,
    };

    fn watcher(places: &Places) -> Watcher<'_> {
        Watcher {
            answers: Answers::Counts,
            places,
            load: &LOAD,
            answered: Vec::new(),
            left: LOAD.records(),
            lags: Lags::new(&LOAD).unwrap(),
        }
    }

    fn count(watcher: &mut Watcher<'_>, zone: u64, count: u64) -> Result<(), Failure> {
        let (key, value) = (zone.to_string(), count.to_be_bytes());
        let record = RawRecord {
            offset: 0,
            timestamp: 0,
            key: Some(key.as_bytes()),
            value: Some(&value),
        };
        watcher.take(0, &record, Duration::from_secs(2))
    }

    #[test]
    fn a_count_answers_all_records_of_its_zone_that_were_not_answered_yet() {
        let places = Places::of(&LOAD);
        let mut watcher = watcher(&places);
        let mut counts = [0; 266];
        (0..LOAD.records()).for_each(|nth| counts[zone(nth) as usize] += 1);
        for (zone, all) in (0..).zip(counts).filter(|(_, all)| *all > 0) {
            if all > 1 {
                count(&mut watcher, zone, 1).unwrap();
            }
            count(&mut watcher, zone, all).unwrap();
        }
        assert_eq!(watcher.left, 0);
    }

    #[test]
    fn a_count_that_comes_again_or_is_too_large_fails_the_run() {
        let places = Places::of(&LOAD);
        let mut watcher = watcher(&places);
        let zone = zone(0);
        count(&mut watcher, zone, 1).unwrap();
        assert!(count(&mut watcher, zone, 1).is_err());
        assert!(count(&mut watcher, zone, 1_000_000).is_err());
        assert!(count(&mut watcher, 999, 1).is_err());
    }
}
