//! Moments that a bounded run over the same partitions does not have: a partition is added, one goes idle, one wakes.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::time::{Duration, Instant};

use tiderace::Running;
use tiderace::connect::Log;
use tiderace::connect::embedded::EmbeddedLog;

use crate::place::{PATIENCE, Place, Settings, ends, send_visit};
use crate::points::Kept;
use crate::topologies::{BEGIN, PARTITIONS, Visit, pages, topology_named, visits};

/// How often what a run writes is looked at.
const GLANCE: Duration = Duration::from_millis(1);

/// Results of `silence` once the second partition is left out of the watermark: windows of the first one up to its last,
/// and the only one of the second.
const WHEN_IDLE: i64 = WINDOWS + 1;

/// Windows of the first partition that are final then.
const WINDOWS: i64 = 15;

/// Results once it has woken: the last two windows of the first, the last but two of the second.
const WHEN_AWAKE: i64 = WHEN_IDLE + 3;

/// The run has come to the end of its input, and then there is another partition, with later visits.
pub(crate) fn add_a_partition(place: &Place) {
    (topology_named("tumbling").prepare)(place);
    let settings = Settings {
        workers: 1,
        kept: Kept::AtTheEnd,
    };
    place.live(topology_named("tumbling"), settings).unwrap();
    place
        .log()
        .add_partitions("visits", PARTITIONS + 1)
        .unwrap();
    let later = |visit: Visit| Visit {
        at: visit.at + 10_000,
        ..visit
    };
    place.send_visits(PARTITIONS, visits(0).map(later));
}

/// The first partition has visits, the second one a single old one: nothing more is final before it is left out.
pub(crate) fn send_before_silence(place: &Place) {
    let [first, second] = [0, 1].map(|partition| pages(partition).next().unwrap());
    let visit = |page: u32, window: i64| Visit {
        page,
        at: BEGIN + window * 100 + 50,
        counts: true,
    };
    // Windows wait for as long as they last.
    place.send_visits(0, (0..=WINDOWS + 1).map(|window| visit(first, window)));
    place.send_visits(1, [visit(second, 0)].into_iter());
}

/// Waits until the second partition is left out, wakes it, waits for what comes of that, and stops the run; or until
/// the run has failed.
pub(crate) fn wake_and_stop(log: &EmbeddedLog, running: &Running) {
    let begun = Instant::now();
    let holds = |results: i64| {
        loop {
            let held: i64 = ends(log, "out").iter().sum();
            if held >= results || running.wait(GLANCE) {
                return held >= results;
            }
            assert!(begun.elapsed() < PATIENCE, "{held} of {results} results");
        }
    };
    if !holds(WHEN_IDLE) {
        return;
    }
    let page = pages(1).next().unwrap();
    // A life before this one may have been killed in between.
    for window in ends(log, "visits")[1] - 1..3 {
        let at = BEGIN + (WINDOWS + 20 + window) * 100 + 50;
        let visit = Visit {
            page,
            at,
            counts: true,
        };
        send_visit(log, 1, &visit);
    }
    if holds(WHEN_AWAKE) {
        running.stop_handle().stop();
    }
}
