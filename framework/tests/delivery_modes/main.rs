//! The three guarantees, each with its promise and its weakness, on the embedded log and on a real broker.
//!
//! A life of the application runs in a process of its own that is killed (SIGKILL) where its guarantee is weakest; the
//! next goes on to the end. Of each partition the epoch log then says how many records the killed life had committed
//! (`c`). What lies there is, in the order of an oracle that shares no code with the engine, its first `x` records, and
//! behind them those from `c` on: `x == c` is exactly once, `x > c` has doubled, `x < c` has lost, and no other
//! difference passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../support/entries.rs"]
mod entries;
mod input;
mod life;
mod site;

use tiderace::Guarantee::{self, AtLeastOnce, AtMostOnce, ExactlyOnce};
use tiderace::failpoint::{
    P10_BEFORE_COMMIT, P25_OUTPUT_WRITTEN, P26_OUTPUTS_ACKNOWLEDGED, P27_OUTPUTS_DUE, Point,
};
use tiderace::runtime::check_with_inputs;

use crate::input::expected;
use crate::site::{Site, Written};

/// Each log with each number of workers.
fn everywhere(test: impl Fn(&Site, usize)) {
    for workers in [1, 2] {
        for site in Site::on_each_log() {
            test(&site, workers);
        }
    }
}

/// A life under a guarantee that is killed at the `pass`th pass of a point, and one that goes on to the end.
fn struck(site: &Site, guarantee: Guarantee, workers: usize, point: &Point, pass: u64) -> Lives {
    let mut life = site.life(guarantee, workers);
    life.strike = Some((point.name().to_owned(), pass));
    life.is_killed();
    life.strike = None;
    let report = life.live();
    assert!(report.resumed);
    let lives = Lives::of(site);
    assert_eq!(lives.written.len(), 2, "{site}: lives");
    lives
}

/// What two lives or more have left.
struct Lives {
    name: String,
    found: Vec<Vec<site::Row>>,
    /// By life, what it has committed.
    written: Vec<Written>,
}

impl Lives {
    fn of(site: &Site) -> Lives {
        Lives {
            name: site.to_string(),
            found: site.rows(),
            written: site.written(),
        }
    }

    /// Of each partition `x` and `c`, see above.
    fn around_the_first_kill(&self) -> Vec<(usize, usize)> {
        let of = |(partition, expected): (usize, Vec<site::Row>)| {
            let found = &self.found[partition];
            let committed = self.written[0].records[partition];
            let behind = expected.len() - committed;
            let before = found.len().checked_sub(behind);
            let before = before.unwrap_or_else(|| panic!("{}, {partition}: too few", self.name));
            let wanted = [&expected[..before], &expected[committed..]].concat();
            let differs = found.iter().zip(&wanted).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{}, {partition}", self.name);
            (before, committed)
        };
        expected().into_iter().enumerate().map(of).collect()
    }
}

fn is_sound(site: &Site) -> tiderace::runtime::Verdict {
    let verdict = check_with_inputs(&*site.log, site.path(), &site.application()).unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new(), "{site}");
    assert_eq!(verdict.gaps, Vec::<String>::new(), "{site}");
    verdict
}

#[test]
fn undisturbed_each_guarantee_gives_the_bytes_of_the_oracle() {
    let expected = expected();
    let all: usize = expected.iter().map(Vec::len).sum();
    assert!(all > 300 && expected.iter().all(|rows| rows.len() > 2));
    for guarantee in Guarantee::ALL {
        everywhere(|site, workers| {
            let life = site.life(guarantee, workers);
            let report = life.live();
            assert!(report.last_epoch >= 10, "{site}: {}", report.last_epoch);
            assert!(site.rows() == expected, "{site}, {guarantee}");
            // A replay of all epochs, whose outputs stay unsent.
            site.forget_snapshots();
            let again = life.live();
            assert!(again.resumed && again.counts.read == 0, "{site}");
            assert!(site.rows() == expected, "{site}, {guarantee}: replayed");
            for written in site.written() {
                assert_eq!(written.guarantee, guarantee, "{site}");
            }
            let verdict = is_sound(site);
            assert_eq!(verdict.records, all as u64, "{site}");
            assert_eq!(verdict.allowed, Vec::<String>::new(), "{site}");
        });
    }
}

/// Killed when all of an epoch is acknowledged, and its commit about to be sent.
#[test]
fn exactly_once_neither_doubles_nor_loses_and_shows_nothing_before_its_commit() {
    everywhere(|site, workers| {
        let mut life = site.life(ExactlyOnce, workers);
        // Behind entry 0, the start entry and the first epoch: how many are committed together is up to the log.
        life.strike = Some((P10_BEFORE_COMMIT.name().to_owned(), 5));
        life.is_killed();
        if let Some((written, visible)) = site.written_and_visible() {
            assert!(
                written > visible,
                "{site}: {written} are written, {visible} visible"
            );
        }
        life.strike = None;
        life.live();
        for (before, committed) in Lives::of(site).around_the_first_kill() {
            assert_eq!(before, committed, "{site}");
        }
        assert_eq!(is_sound(site).allowed, Vec::<String>::new());
    });
}

/// Killed when the outputs of an epoch are acknowledged, before its commit.
#[test]
fn at_least_once_loses_nothing_and_doubles_what_was_not_committed() {
    everywhere(|site, workers| {
        let lives = struck(site, AtLeastOnce, workers, &P26_OUTPUTS_ACKNOWLEDGED, 6);
        let around = lives.around_the_first_kill();
        for (before, committed) in &around {
            assert!(before >= committed, "{site}: lost");
        }
        let doubled: usize = around.iter().map(|(before, of)| before - of).sum();
        assert!(doubled > 0, "{site}: the weakness has not shown");
        // The first entry goes at once, which on Kafka takes a while; the others wait for further ones.
        let epochs = lives.written[0].epochs;
        let least = if site.is_kafka() { 0 } else { 1 };
        assert!((least..6).contains(&epochs), "{epochs}");
        let verdict = is_sound(site);
        assert!(!verdict.allowed.is_empty(), "{site}");
        let all: usize = expected().iter().map(Vec::len).sum();
        assert_eq!(verdict.records, all as u64, "{site}");
    });
}

/// Killed when the commit of an epoch is confirmed, before its outputs are written.
#[test]
fn at_most_once_doubles_nothing_and_loses_the_epoch_that_was_not_written() {
    everywhere(|site, workers| {
        let lives = struck(site, AtMostOnce, workers, &P27_OUTPUTS_DUE, 6);
        let around = lives.around_the_first_kill();
        let first = &lives.written[0];
        assert_eq!(first.epochs, 6, "{site}");
        for ((before, committed), last) in around.iter().zip(&first.last) {
            assert_eq!(before + last, *committed, "{site}");
        }
        let lost: usize = first.last.iter().sum();
        assert!(lost > 0, "{site}: the weakness has not shown");
        assert!(!is_sound(site).allowed.is_empty(), "{site}");
        // Nor does a replay of all epochs bring it back.
        site.forget_snapshots();
        site.life(AtMostOnce, workers).live();
        assert!(site.rows() == lives.found, "{site}");
    });
}

/// Killed between two outputs of an epoch.
#[test]
fn a_kill_between_outputs_doubles_or_loses_no_more_than_their_epoch() {
    everywhere(|site, workers| {
        let lives = struck(site, AtLeastOnce, workers, &P25_OUTPUT_WRITTEN, 90);
        for (before, committed) in lives.around_the_first_kill() {
            assert!(before >= committed, "{site}: lost");
        }
        is_sound(site);
    });
    everywhere(|site, workers| {
        let lives = struck(site, AtMostOnce, workers, &P25_OUTPUT_WRITTEN, 90);
        let last = &lives.written[0].last;
        for ((before, committed), last) in lives.around_the_first_kill().iter().zip(last) {
            assert!(before <= committed, "{site}: doubled");
            assert!(before + last >= *committed, "{site}: lost more");
        }
        is_sound(site);
    });
}

/// What a life leaves is its own guarantee's; the next may have another.
#[test]
fn the_guarantee_may_change_at_every_start() {
    everywhere(|site, workers| {
        let mut life = site.life(AtLeastOnce, workers);
        life.strike = Some((P26_OUTPUTS_ACKNOWLEDGED.name().to_owned(), 4));
        life.is_killed();
        life.guarantee = AtMostOnce;
        life.strike = Some((P27_OUTPUTS_DUE.name().to_owned(), 3));
        life.is_killed();
        life.guarantee = ExactlyOnce;
        life.strike = None;
        life.live();
        let lives = Lives::of(site);
        let guarantees: Vec<_> = lives.written.iter().map(|of| of.guarantee).collect();
        assert_eq!(guarantees, [AtLeastOnce, AtMostOnce, ExactlyOnce], "{site}");
        let [first, second, _] = &lives.written[..] else {
            unreachable!("there are three");
        };
        let mut doubled = 0;
        for (partition, expected) in expected().iter().enumerate() {
            let (found, one) = (&lives.found[partition], first.records[partition]);
            let two = one + second.records[partition];
            let kept = two - second.last[partition];
            let behind = (kept - one) + (expected.len() - two);
            let before = found.len() - behind;
            let wanted = [&expected[..before], &expected[one..kept], &expected[two..]].concat();
            assert!(*found == wanted, "{site}, {partition}");
            doubled += before - one;
        }
        assert!(
            doubled > 0 && second.last.iter().sum::<usize>() > 0,
            "{site}"
        );
        assert!(is_sound(site).allowed.len() > 1, "{site}");
    });
}

/// An embedded topic has one plain writer, so that outputs do not mix with those of another application.
#[test]
fn an_output_that_somebody_else_writes_is_refused() {
    let site = Site::on(None);
    let writer = site.log.writer("late").unwrap();
    for guarantee in Guarantee::ALL {
        let refused = site.life(guarantee, 1).start().err().unwrap();
        assert_eq!(refused.exit_code(), 75, "{guarantee}: {refused}");
        let pid = std::process::id().to_string();
        assert!(refused.to_string().contains(&pid), "{guarantee}: {refused}");
    }
    drop(writer);
    site.life(AtLeastOnce, 1).live();
}
