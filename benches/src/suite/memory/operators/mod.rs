//! What operators cost by themselves: on a naked worker, behind a source that makes records of pairs, beside loops over the
//! same pairs that come to the same results. `keyed` has the same of the whole engine.

mod naked;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tiderace_benches::measure::nanoseconds_each;
use tiderace_operators::aggregate::{Change, RunningStep, aggregate};
use tiderace_operators::dataflow::{Head, Routing};
use tiderace_operators::fold::{Aggregation, Count, Order};
use tiderace_operators::grouping::{Group, group};
use tiderace_operators::handover::Handover;
use tiderace_operators::rows::Rows;
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::{Counting, Ledger, Tally};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{OneByOne, WindowStep, aggregate_windows};

use super::contest::{self, Costs};
use super::pairs::{self, EPOCH};
use super::records::Pair;
use super::transactions::Moment;
use crate::Failure;
use crate::suite::{Context, Figure, Goal, Report};

const RECORDS: usize = 8_000_000;
const WIDE_KEYS: u64 = 1_000_000;
const KEYS: u64 = 10_000;

/// A tumbling window: 100,000 records, in milliseconds.
const WINDOW: i64 = 100_000;

/// By how much pairs are out of order where windows are closed, in milliseconds and records.
const DISORDER: u64 = 2_000;

/// CPU nanoseconds of the loops, on a machine with the reference's calibration: a count of a million keys takes 26, and a
/// key is looked up once more at the end of each epoch that changed it; pooled maps of windows, pairs as much out of order, 12.4.
const COUNT_FLOOR: f64 = 52.0;
const WINDOWS_FLOOR: f64 = 12.4;

/// Shards of a topology by default.
const SHARDS: u32 = 256;

/// What a side came to, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Came {
    results: u64,
    sum: u64,
}

impl Came {
    #[inline]
    fn note(&mut self, key: u64, start: i64, count: u64) {
        let of = (key ^ (start as u64).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.results += 1;
        self.sum = self.sum.wrapping_add((of ^ (of >> 29)).wrapping_mul(count));
    }
}

/// A side: its name, and what it does with pairs.
type Side = (&'static str, fn(&Arc<Vec<Pair>>) -> Came);

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let records = pairs::many(with.options.effort(), RECORDS);
    let wide = pairs::make(records, WIDE_KEYS);
    let narrow = pairs::disordered(records, KEYS, DISORDER);
    let nothing = contest(with, &wide, &[("source and end", pass_on)])?;
    let counted = contest(with, &wide, &[("operator", count), ("loop", count_by_hand)])?;
    let windows: [Side; 2] = [("operator", tumble), ("loop", tumble_by_hand)];
    let tumbled = contest(with, &narrow, &windows)?;
    let ratio = |name: &str, costs: &[Costs], most| {
        Figure::ratio(name, &costs[0].cpu, &costs[1].cpu, Some(Goal::AtMost(most)))
    };
    Ok(Report {
        load: format!(
            "{records} pairs of a u64 key and a moment, one worker, {EPOCH} an epoch, made into records by a source of their own; \
             a count changes once a key and epoch on both sides; windows take pairs up to {DISORDER} records out of order, and close by \
             their watermark"
        ),
        tables: vec![
            contest::table("nothing between", &nothing),
            contest::table("exchange and count, 1 M keys", &counted),
            contest::table("tumbling windows of 100 s, 10 K keys", &tumbled),
        ],
        figures: vec![
            ratio(
                "CPU of a count of 1 M keys, operator to loop",
                &counted,
                1.3,
            ),
            ratio(
                "CPU of tumbling windows, 10 K keys, operator to loop",
                &tumbled,
                1.6,
            ),
        ],
        void: contest::void(with, &counted[1], COUNT_FLOOR)
            .or_else(|| contest::void(with, &tumbled[1], WINDOWS_FLOOR)),
    })
}

/// Runs each side once a round, beginning with another one each time.
fn contest(
    with: &Context<'_>,
    pairs: &Arc<Vec<Pair>>,
    sides: &[Side],
) -> Result<Vec<Costs>, Failure> {
    let costs = |(name, _): &Side| Costs {
        name: (*name).to_owned(),
        ..Costs::default()
    };
    let mut costs: Vec<Costs> = sides.iter().map(costs).collect();
    let mut expected = None;
    for round in 0..with.options.pairs() {
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            let (name, work) = sides[at];
            let begun = Moment::now();
            let came = work(pairs);
            let ended = Moment::now();
            if came != *expected.get_or_insert(came) || came.results == 0 {
                return Err(format!("{name} comes to {came:?}, the first to {expected:?}").into());
            }
            let each = |of: Duration| nanoseconds_each(of, pairs.len() as u64);
            costs[at].cpu.push(each(ended.cpu - begun.cpu));
            costs[at].wall.push(each(ended.at - begun.at));
        }
    }
    Ok(costs)
}

/// What comes to an end of a dataflow.
fn came(build: impl FnOnce(timely::dataflow::Scope<'_, u64>, Rc<RefCell<Came>>)) -> Came {
    let came = Rc::new(RefCell::new(Came::default()));
    let ends = Rc::clone(&came);
    naked::run(|scope| build(scope, ends));
    came.take()
}

fn handover() -> Handover {
    Handover::none(Shards::new(SHARDS, 1))
}

fn pass_on(pairs: &Arc<Vec<Pair>>) -> Came {
    came(|scope, came| {
        let records = naked::source(scope, pairs, Routing::Stay, |_, port| port);
        naked::end(scope, records, move |record| {
            let time = record.header.timestamp.as_millis();
            came.borrow_mut()
                .note(record.key.unwrap_or_default(), time, 1);
        });
    })
}

/// As `count` of the DSL: records are put together before they move.
fn count(pairs: &Arc<Vec<Pair>>) -> Came {
    came(|scope, came| {
        let ledger = Ledger::default();
        let tally = Tally::new(&ledger, Counting::Once, 0);
        let records = naked::source(scope, pairs, Routing::ByKey, |head, port| {
            head.counts(&tally);
            group(head, Count, 0, tally, port)
        });
        let mut head = Head::new("count", scope);
        let (changes, changed) = head.port(Routing::Stay);
        let changes = head.emit(changes);
        let step = |so_far: Option<u64>, group: Group<u64>| so_far.unwrap_or(0) + group.value;
        let step = RunningStep {
            aggregation: Aggregation::new(step, Order::Any),
            rows: Rows::<u64, u64>::by_key(),
            same: |one, other| one == other,
            senders: 1,
            changes,
            late: None,
            grouped: Some(|group: &Group<u64>| group.alone),
            tally: Tally::new(&ledger, Counting::Not, 1),
        };
        aggregate(head, records, Routing::ByKey, handover(), step);
        naked::end(
            scope,
            changed,
            move |record: tiderace_operators::record::Record<u64, Change<u64>>| {
                let count = record.value.new.unwrap_or_default();
                came.borrow_mut()
                    .note(record.key.unwrap_or_default(), 0, count);
            },
        );
    })
}

fn count_by_hand(pairs: &Arc<Vec<Pair>>) -> Came {
    let mut came = Came::default();
    // The count, and the epoch that changed it last.
    let mut counts: HashMap<u64, (u64, usize), FixedState> = HashMap::default();
    let mut changed = Vec::new();
    for (epoch, pairs) in (1..).zip(pairs.chunks(EPOCH)) {
        for pair in pairs {
            let key = pair.key();
            let (count, last) = counts.entry(key).or_insert((0, 0));
            *count += 1;
            if *last != epoch {
                *last = epoch;
                changed.push(key);
            }
        }
        for key in changed.drain(..) {
            came.note(key, 0, counts[&key].0);
        }
    }
    came
}

fn tumble(pairs: &Arc<Vec<Pair>>) -> Came {
    came(|scope, came| {
        let ledger = Ledger::default();
        let records = naked::source(scope, pairs, Routing::ByKey, |_, port| port);
        let mut head = Head::new("windows", scope);
        let (results, closed) = head.port(Routing::Stay);
        let results = head.emit(results);
        let step = WindowStep {
            windows: TimeWindows::of_size(Duration::from_millis(WINDOW.unsigned_abs()))
                .grace(Duration::from_millis(DISORDER)),
            aggregation: Count,
            senders: 1,
            results,
            late: None,
            tally: Tally::new(&ledger, Counting::Once, 0),
        };
        aggregate_windows::<_, _, OneByOne>(head, records, Routing::ByKey, handover(), step);
        naked::end(scope, closed, move |record| {
            if let Some(at) = record.key {
                let start = at.window.start.as_millis();
                came.borrow_mut().note(at.key, start, record.value);
            }
        });
    })
}

type Counts = HashMap<u64, u64, FixedState>;

/// A map for each open window, by its start; those of windows that were closed are used again.
#[derive(Default)]
struct OpenWindows {
    open: VecDeque<(i64, Counts)>,
    spare: Vec<Counts>,
}

impl OpenWindows {
    /// The counts of the window that starts at `start`.
    #[inline]
    fn at(&mut self, start: i64) -> &mut Counts {
        let before = self.open.iter().rposition(|(of, _)| *of <= start);
        let at = match before {
            Some(at) if self.open[at].0 == start => at,
            _ => {
                let at = before.map_or(0, |before| before + 1);
                let counts = self.spare.pop().unwrap_or_default();
                self.open.insert(at, (start, counts));
                at
            }
        };
        &mut self.open[at].1
    }

    /// Closes the windows that are final at `now`.
    fn close(&mut self, now: i64, came: &mut Came) {
        while let Some((start, _)) = self.open.front()
            && is_final(*start, now)
            && let Some((start, mut counts)) = self.open.pop_front()
        {
            let counted = counts.drain();
            counted.for_each(|(key, count)| came.note(key, start, count));
            self.spare.push(counts);
        }
    }
}

#[inline]
fn is_final(start: i64, now: i64) -> bool {
    start.saturating_add(WINDOW + DISORDER as i64) <= now
}

fn tumble_by_hand(pairs: &Arc<Vec<Pair>>) -> Came {
    let mut came = Came::default();
    let mut windows = OpenWindows::default();
    let mut now = i64::MIN;
    for pair in pairs.iter() {
        let time = pair.time();
        if time > now {
            now = time;
            windows.close(now, &mut came);
        }
        let start = time - time.rem_euclid(WINDOW);
        if !is_final(start, now) {
            *windows.at(start).entry(pair.key()).or_insert(0) += 1;
        }
    }
    windows.close(i64::MAX, &mut came);
    came
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_loops_come_to_the_same() {
        let pairs = pairs::make(250_000, 3_000);
        assert_eq!(count(&pairs), count_by_hand(&pairs));
        assert_eq!(pass_on(&pairs).results, 250_000);
        let pairs = pairs::disordered(250_000, 3_000, DISORDER);
        let windows = tumble(&pairs);
        assert_eq!(windows, tumble_by_hand(&pairs));
        assert!(windows.results >= 9_000);
    }
}
