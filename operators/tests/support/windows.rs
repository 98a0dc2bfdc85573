//! A windowed aggregation between scripts and an end, and windows by trying all there can be.

use std::time::Duration;

use tiderace_operators::batch::{Advance, Mark};
use tiderace_operators::dataflow::{Epoch, Head, Routing};
use tiderace_operators::fold::Fold;
use tiderace_operators::handover::Handover;
use tiderace_operators::key::{Key, Windowed};
use tiderace_operators::record::{EventTime, Record};
use tiderace_operators::shard::Shards;
use tiderace_operators::tally::{Counting, Ledger};
use tiderace_operators::window::TimeWindows;
use tiderace_operators::window_aggregate::{
    InGroups, OneByOne, WindowGrouping, WindowStep, aggregate_windows,
};

use super::{Captured, Play, capture, run, script, tally, through};

pub(crate) const SIZE: i64 = 10;

pub(crate) fn windows(advance: i64, grace: i64) -> TimeWindows {
    let millis = |number: i64| Duration::from_millis(u64::try_from(number).unwrap());
    TimeWindows::of_size(millis(SIZE))
        .advance_by(millis(advance))
        .grace(millis(grace))
}

pub(crate) fn shards(workers: usize) -> Shards {
    Shards::new(16, workers)
}

/// What a windowed aggregation made of its input.
pub(crate) struct Outcome<A, K = u8> {
    pub(crate) results: Captured<Windowed<K>, A>,
    pub(crate) late: Captured<(), ()>,
    pub(crate) ledger: Ledger,
}

/// How records come to the aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Come {
    /// One by one.
    OneByOne,
    /// In groups, counted like this, with late records sent on or not.
    InGroups(Counting, bool),
}

/// All ways in which they come in groups.
pub(crate) const IN_GROUPS: [Come; 4] = [
    Come::InGroups(Counting::Once, true),
    Come::InGroups(Counting::Once, false),
    Come::InGroups(Counting::ByPosition, true),
    Come::InGroups(Counting::ByPosition, false),
];

/// Has each worker play its script into an aggregation over all of them with `senders` senders.
pub(crate) fn aggregated<F: Fold>(
    plays: Vec<Vec<Play<u8, F::Taken>>>,
    senders: usize,
    windows: TimeWindows,
    aggregation: F,
) -> Outcome<F::Value> {
    aggregated_by(Come::OneByOne, plays, senders, windows, aggregation)
}

/// The same of records that come in this way.
pub(crate) fn aggregated_by<K: Key, F: Fold>(
    come: Come,
    plays: Vec<Vec<Play<K, F::Taken>>>,
    senders: usize,
    windows: TimeWindows,
    aggregation: F,
) -> Outcome<F::Value, K> {
    let outcome = Outcome {
        results: Captured::default(),
        late: Captured::default(),
        ledger: Ledger::default(),
    };
    let (results, late, ledger) = (
        outcome.results.clone(),
        outcome.late.clone(),
        outcome.ledger.clone(),
    );
    let workers = plays.len();
    run(workers, move |index, scope| {
        let (counting, is_late_read) = match come {
            Come::OneByOne => (Counting::Once, true),
            Come::InGroups(counting, is_late_read) => (counting, is_late_read),
        };
        let mut head = Head::new("windows", scope);
        let (emit, out) = head.port(Routing::Stay);
        let emit = head.emit(emit);
        let late_out = is_late_read.then(|| head.port(Routing::Stay));
        let (emit_late, late_out) = late_out.unzip();
        let step = WindowStep {
            windows,
            aggregation: aggregation.clone(),
            senders,
            results: emit,
            late: emit_late.map(|steps| head.emit(steps)),
            tally: tally(&ledger, counting),
        };
        let (handover, plays) = (Handover::none(shards(workers)), plays[index].clone());
        if come == Come::OneByOne {
            let stream = script(scope, Routing::ByKey, plays);
            aggregate_windows::<_, F, OneByOne>(head, stream, Routing::ByKey, handover, step);
        } else {
            let counts = tally(&ledger, counting);
            let grouping = WindowGrouping {
                windows,
                aggregation: aggregation.clone(),
                late: is_late_read,
                number: 0,
                tally: counts.clone(),
            };
            let stream = through(scope, Routing::ByKey, plays, |before, next| {
                before.counts(&counts);
                grouping.group(before, next)
            });
            aggregate_windows::<_, F, InGroups>(head, stream, Routing::ByKey, handover, step);
        }
        capture(scope, out, &results);
        if let Some(late_out) = late_out {
            capture(scope, late_out, &late);
        }
    });
    outcome
}

/// A result: epoch, start of the window, key and value.
pub(crate) type Row<A> = (Epoch, i64, u8, A);

impl<A: Clone> Outcome<A> {
    pub(crate) fn rows_on(&self, worker: usize) -> Vec<Row<A>> {
        let row = |(epoch, record): (Epoch, Record<Windowed<u8>, A>)| {
            let Windowed { key, window } = record.key.unwrap();
            assert_eq!(window.end.as_millis() - window.start.as_millis(), SIZE);
            (epoch, window.start.as_millis(), key, record.value)
        };
        self.results
            .records_on(worker)
            .into_iter()
            .map(row)
            .collect()
    }

    /// What worker 0 says to those behind, less what holds them as silence does.
    pub(crate) fn marks(&self) -> Vec<(Epoch, Advance)> {
        let said = |(epoch, mark): (Epoch, Mark)| (epoch, mark.advance);
        let marks = self.results.marks_on(0).into_iter().map(said);
        marks
            .filter(|(_, advance)| *advance != Advance::Active(EventTime::MIN))
            .collect()
    }
}

/// Starts of the windows of a timestamp, by trying all there can be.
pub(crate) fn starts(timestamp: i64, advance: i64) -> impl Iterator<Item = i64> {
    (-400..400).filter(move |start| {
        start % advance == 0
            && (*start..start + SIZE).contains(&timestamp)
            && (timestamp < 0 || *start >= 0)
    })
}

/// The watermark of what senders said last, as the documents have it.
pub(crate) fn watermark(said: &[Option<Advance>], held_back: i64) -> EventTime {
    if said.contains(&None) {
        return EventTime::MIN;
    }
    let active = said.iter().filter_map(|advance| match advance {
        Some(Advance::Active(time)) => Some(*time),
        _ => None,
    });
    let ended = said.iter().filter_map(|advance| match advance {
        Some(Advance::End(time)) => Some(time.saturating_add(held_back)),
        _ => None,
    });
    let idle = said.iter().filter_map(|advance| match advance {
        Some(Advance::Idle(time)) => Some(*time),
        _ => None,
    });
    active
        .min()
        .or(ended.max())
        .or(idle.max())
        .unwrap_or(EventTime::MIN)
}
