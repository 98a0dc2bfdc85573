//! The loops, with the fastest map.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::topologies::SAMPLE;
use crate::Failure;
use crate::suite::memory::records::Pair;
use crate::suite::memory::side::{Sink, windowed};

type Map<V> = HashMap<u64, V, FixedState>;

/// A running count; of one key in [`SAMPLE`], what changed goes out with each epoch.
pub(in crate::suite::memory) fn running_count(
    pairs: &[Pair],
    epoch: usize,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let mut counts: Map<u64> = Map::default();
    let mut changed = Vec::new();
    for epoch in pairs.chunks(epoch) {
        let latest = epoch.last().map_or(0, Pair::time);
        for pair in epoch {
            let key = pair.key();
            *counts.entry(key).or_insert(0) += 1;
            if key.is_multiple_of(SAMPLE) {
                changed.push(key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for key in changed.drain(..) {
            sink.count(&key.to_be_bytes(), counts[&key], latest)?;
        }
        sink.commit()?;
    }
    Ok(())
}

/// Records of a key in a window, and the latest of them.
type Count = (u64, i64);

/// Counts of tumbling windows of keys and moments from one partition; what is behind the open window is late.
pub(in crate::suite::memory) fn tumbling(
    records: impl Iterator<Item = (u64, i64)>,
    size: i64,
    epoch: usize,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let mut open: Map<Count> = Map::default();
    let mut start = i64::MIN;
    let close = |open: &mut Map<Count>, start: i64, sink: &mut Sink| {
        open.drain()
            .try_for_each(|(key, (count, latest))| sink.count(&windowed(key, start), count, latest))
    };
    for (nth, (key, time)) in (1_usize..).zip(records) {
        let of = time - time.rem_euclid(size);
        if of > start {
            close(&mut open, start, sink)?;
            start = of;
        }
        if of == start {
            let (count, latest) = open.entry(key).or_insert((0, i64::MIN));
            *count += 1;
            *latest = time.max(*latest);
        }
        if nth.is_multiple_of(epoch) {
            sink.commit()?;
        }
    }
    Ok(close(&mut open, start, sink)?)
}

/// Counts of hopping windows over pairs in order: a count a pane, and a sum that panes enter and leave. Of one key in
/// [`SAMPLE`], results go out.
pub(super) fn hopping(
    pairs: &[Pair],
    size: i64,
    advance: i64,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let mut panes = Panes {
        closed: VecDeque::new(),
        open: Map::default(),
        sum: Map::default(),
        width: (size / advance) as usize,
        size,
    };
    let mut end = pairs.first().map_or(0, |pair| {
        pair.time() - pair.time().rem_euclid(advance) + advance
    });
    for (nth, pair) in (1_usize..).zip(pairs) {
        while pair.time() >= end {
            panes.close(end, sink)?;
            end += advance;
        }
        let (count, latest) = panes.open.entry(pair.key()).or_insert((0, i64::MIN));
        *count += 1;
        *latest = pair.time();
        if nth.is_multiple_of(super::EPOCH) {
            sink.commit()?;
        }
    }
    loop {
        panes.close(end, sink)?;
        end += advance;
        if panes.closed.iter().all(Map::is_empty) {
            return Ok(());
        }
    }
}

struct Panes {
    /// Those of the window that closed last.
    closed: VecDeque<Map<Count>>,
    open: Map<Count>,
    sum: Map<Count>,
    /// Panes of a window.
    width: usize,
    size: i64,
}

impl Panes {
    /// Ends the open pane and the window that ends with it.
    fn close(&mut self, end: i64, sink: &mut Sink) -> Result<(), Failure> {
        let mut spare = Map::default();
        if self.closed.len() == self.width
            && let Some(mut gone) = self.closed.pop_front()
        {
            for (key, (count, _)) in gone.drain() {
                let left = self.sum.get_mut(&key).ok_or("a pane was not summed up")?;
                left.0 -= count;
                if left.0 == 0 {
                    self.sum.remove(&key);
                }
            }
            spare = gone;
        }
        let ended = std::mem::replace(&mut self.open, spare);
        for (key, (count, latest)) in &ended {
            let sum = self.sum.entry(*key).or_insert((0, i64::MIN));
            *sum = (sum.0 + count, *latest);
        }
        self.closed.push_back(ended);
        let start = end - self.size;
        for (key, (count, latest)) in self
            .sum
            .iter()
            .filter(|(key, _)| key.is_multiple_of(SAMPLE))
        {
            sink.count(&windowed(*key, start), *count, *latest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::memory::outputs::{Chunk, Same, Summary};
    use crate::suite::memory::side::by_hand;
    use std::collections::BTreeMap;
    use tiderace::connect::SinkRecord;
    use tiderace_testing::kills::Random;

    /// Pairs in order, of few keys that are in the sample and few that are not, with gaps of no record.
    fn pairs() -> Vec<Pair> {
        let mut random = Random::new(3);
        let mut time = 995;
        let keys = [0, SAMPLE, 5 * SAMPLE, 7];
        let pair = |_| {
            time += match random.number() % 50 {
                0 => 300,
                some => some as i64 % 4,
            };
            Pair::new(keys[(random.number() % 4) as usize], time)
        };
        (0..2_000).map(pair).collect()
    }

    /// Every window that a record lies in, looked up record by record.
    fn expected(pairs: &[Pair], size: i64, advance: i64, sampled: bool) -> Vec<Summary> {
        let mut windows: BTreeMap<(u64, i64), Count> = BTreeMap::new();
        for pair in pairs {
            let mut start = pair.time() / advance * advance;
            while start + size > pair.time() {
                let of = windows.entry((pair.key(), start)).or_default();
                *of = (of.0 + 1, pair.time().max(of.1));
                start -= advance;
            }
        }
        let mut chunk = Chunk::default();
        for ((key, start), (count, latest)) in windows {
            if !sampled || key % SAMPLE == 0 {
                chunk.push(&SinkRecord {
                    topic: "any",
                    partition: 0,
                    timestamp: latest,
                    key: Some(&windowed(key, start)),
                    value: Some(&count.to_be_bytes()),
                    headers: &[],
                });
            }
        }
        vec![Summary::of(&[chunk], Same::All)]
    }

    #[test]
    fn panes_come_to_what_each_window_holds() {
        let pairs = pairs();
        for (size, advance) in [(50, 10), (600, 10), (10, 10)] {
            let ran = by_hand("out", |sink| hopping(&pairs, size, advance, sink)).unwrap();
            let expected = expected(&pairs, size, advance, true);
            assert!(expected[0].records > 100, "{expected:?}");
            assert_eq!(
                ran.log.summary(Same::All),
                expected,
                "{size} every {advance}"
            );
        }
    }

    #[test]
    fn a_window_is_written_when_a_later_one_begins() {
        let pairs = pairs();
        let times = pairs.iter().map(|pair| (pair.key(), pair.time()));
        let ran = by_hand("out", |sink| tumbling(times, 40, 100, sink)).unwrap();
        assert_eq!(ran.log.summary(Same::All), expected(&pairs, 40, 40, false));
    }
}
