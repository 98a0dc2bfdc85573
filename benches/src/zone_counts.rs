//! Rides per zone as one would write it by hand: decode, look at the filter and the clock, add to a map per
//! window; when every partition has passed a window, sort its map and hand it over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tiderace::runtime::Counts;
use tiderace_pipelines::taxi::Ride;

use crate::by_hand::json;

/// The count of a zone in a window that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneCount {
    /// When the window began, in milliseconds since the epoch.
    pub start: i64,
    /// The zone.
    pub zone: u32,
    /// Rides that began in it.
    pub rides: u64,
    /// The latest pickup among them.
    pub latest: i64,
}

/// Count and latest pickup of each zone of a window.
type Window = HashMap<u32, (u64, i64), FixedState>;

/// Counts under way.
pub struct ZoneCounts {
    size: i64,
    grace: i64,
    /// The windows that are open by their starts. Partitions are read at different speeds, so these may be
    /// thousands.
    open: HashMap<i64, Window, FixedState>,
    /// Their starts, the earliest on top.
    starts: BinaryHeap<Reverse<i64>>,
    /// Maps of closed windows, for the next ones.
    spare: Vec<Window>,
    /// The largest pickup time that each partition has delivered.
    stream_times: Vec<i64>,
    counts: Counts,
}

impl ZoneCounts {
    /// Tumbling windows over rides from this many partitions; size and grace in milliseconds.
    pub fn new(size: i64, grace: i64, partitions: usize) -> Self {
        ZoneCounts {
            size,
            grace,
            open: HashMap::default(),
            starts: BinaryHeap::new(),
            spare: Vec::new(),
            stream_times: vec![i64::MIN; partitions],
            counts: Counts::default(),
        }
    }

    /// Takes the value of a record.
    ///
    /// # Errors
    /// It is not UTF-8, or not the JSON of a ride.
    #[inline]
    pub fn take(&mut self, partition: usize, value: &[u8]) -> Result<(), String> {
        let ride: Ride = json::decode(value)?;
        let pickup = ride.tpep_pickup_datetime.millis();
        self.count(
            partition,
            ride.pu_location_id,
            pickup,
            ride.trip_distance > 0.0,
        );
        Ok(())
    }

    /// Counts a ride of a zone, if it was driven; `pickup` in milliseconds.
    #[inline]
    pub fn count(&mut self, partition: usize, zone: u32, pickup: i64, has_driven: bool) {
        self.counts.read += 1;
        let stream_time = &mut self.stream_times[partition];
        *stream_time = pickup.max(*stream_time);
        let start = pickup.div_euclid(self.size) * self.size;
        if !has_driven {
            self.counts.filtered += 1;
        } else if start + self.size + self.grace <= *stream_time {
            self.counts.late += 1;
        } else {
            self.counts.processed += 1;
            let (rides, latest) = self.window(start).entry(zone).or_insert((0, i64::MIN));
            *rides += 1;
            *latest = pickup.max(*latest);
        }
    }

    fn window(&mut self, start: i64) -> &mut Window {
        let ZoneCounts {
            open,
            starts,
            spare,
            ..
        } = self;
        open.entry(start).or_insert_with(|| {
            starts.push(Reverse(start));
            spare.pop().unwrap_or_default()
        })
    }

    /// Moves the counts of the windows that every partition has passed to `closed`, by start, then zone.
    pub fn close_passed(&mut self, closed: &mut Vec<ZoneCount>) {
        let watermark = self.stream_times.iter().min().copied().unwrap_or(i64::MIN);
        while let Some(Reverse(start)) = self.starts.peek()
            && start + self.size + self.grace <= watermark
        {
            self.close_first(closed);
        }
    }

    /// Moves all counts to `closed`: the input has ended.
    pub fn close_all(&mut self, closed: &mut Vec<ZoneCount>) {
        while !self.starts.is_empty() {
            self.close_first(closed);
        }
    }

    fn close_first(&mut self, closed: &mut Vec<ZoneCount>) {
        let Reverse(start) = self
            .starts
            .pop()
            .expect("the caller saw that a window is open");
        let mut window = self.open.remove(&start).expect("what has a start is open");
        let from = closed.len();
        let counts = window.drain().map(|(zone, (rides, latest))| ZoneCount {
            start,
            zone,
            rides,
            latest,
        });
        closed.extend(counts);
        closed[from..].sort_unstable_by_key(|count| count.zone);
        self.spare.push(window);
    }

    /// What became of the rides so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tiderace_testing::oracle::{self, TimeWindows};

    /// A cheap sequence that only has to be unlike any clock.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    #[test]
    fn the_loop_by_hand_agrees_with_the_oracle() {
        for seed in 0..50 {
            let mut state = seed;
            let (size, grace) = (60_000, random(&mut state, 3) as i64 * 20_000);
            let mut partitions: Vec<Vec<(String, oracle::Ride)>> = vec![Vec::new(); 3];
            for step in 0..600 {
                let second = step / 2 + random(&mut state, 120);
                let (zone, tenths) = (random(&mut state, 9), random(&mut state, 4));
                let json = format!(
                    r#"{{"tpep_pickup_datetime":"2020-07-01T{:02}:{:02}:{:02}","trip_distance":0.{tenths},"PULocationID":{zone}}}"#,
                    second / 3600,
                    second / 60 % 60,
                    second % 60,
                );
                let ride = oracle::Ride::from_json(json.as_bytes());
                partitions[random(&mut state, 3) as usize].push((json, ride));
            }
            let inputs: Vec<Vec<oracle::Input<()>>> = partitions
                .iter()
                .map(|rides| {
                    let input = |(_, ride): &(String, oracle::Ride)| oracle::Input {
                        timestamp: ride.pickup,
                        key: ride.zone,
                        passes_filter: ride.distance > 0.0,
                        record: (),
                    };
                    rides.iter().map(input).collect()
                })
                .collect();
            let expected = oracle::count_windows(&inputs, TimeWindows::tumbling(size, grace));

            let (mut counts, mut closed) = (ZoneCounts::new(size, grace, 3), Vec::new());
            let mut next = BTreeMap::from([(0, 0), (1, 0), (2, 0)]);
            while !next.is_empty() {
                let partition = *next
                    .keys()
                    .nth(random(&mut state, next.len() as u64) as usize)
                    .unwrap();
                let at = next.get_mut(&partition).unwrap();
                match partitions[partition].get(*at) {
                    Some((json, _)) => counts.take(partition, json.as_bytes()).unwrap(),
                    None => drop(next.remove(&partition)),
                }
                if let Some(at) = next.get_mut(&partition) {
                    *at += 1;
                }
                counts.close_passed(&mut closed);
            }
            counts.close_all(&mut closed);

            let results = expected.results.iter().map(|result| ZoneCount {
                start: result.start,
                zone: result.key,
                rides: result.count,
                latest: result.timestamp,
            });
            assert_eq!(closed, results.collect::<Vec<_>>(), "seed {seed}");
            let tally = expected.tally;
            assert!(
                tally.late > 0 && tally.filtered > 0,
                "seed {seed} tries nothing: {tally:?}"
            );
            let seen = counts.counts();
            assert_eq!((seen.read, seen.processed), (tally.read, tally.processed));
            assert_eq!((seen.filtered, seen.late), (tally.filtered, tally.late));
        }
    }
}
