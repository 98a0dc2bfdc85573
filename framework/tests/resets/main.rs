//! Resets that are cut short: at each step that a reset leaves something on the disk, on the first and the last pass,
//! its process is killed (SIGKILL), or the step fails or is in doubt.
//!
//! Before the commit of its entry a reset is undone, from then on it is finished, whatever is left to be cleared up.
//! So the next start either goes on, with nothing to read, or does all that a start behind an undisturbed reset does;
//! and a second reset can always be carried out and comes to the same. An oracle of a few lines, which shares no code
//! with the engine, says what the outputs hold in each case; state that survived a reset, or an offset that did not,
//! would be another count.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deed;
mod site;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use tiderace::failpoint::{
    P04_BEGUN, P06_PARTLY_WRITTEN, P07_OUTPUTS_SENT, P08_ENTRY_SENT, P09_FLUSHED,
    P10_BEFORE_COMMIT, P11_BEHIND_COMMIT, P17_DELETING, P18_SOUGHT, P19_FENCED,
    P28_RESET_COMMITTED, P28_TRIMMED, P28_TRIMMING, Point,
};

use crate::deed::{Action, Deed, Ended, Strike, To};
use crate::site::Site;
use Action::{Doubt, Fail, Kill};

/// What has become of a reset that was struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The application goes on as if nobody had asked.
    Undone,
    /// Nothing of it counts any more.
    Finished,
}

use Outcome::{Finished, Undone};

/// What comes of an action at a point; the point is reached by every reset.
struct Line {
    point: &'static Point,
    outcomes: &'static [(Action, Outcome)],
}

const fn line(point: &'static Point, outcomes: &'static [(Action, Outcome)]) -> Line {
    Line { point, outcomes }
}

/// The steps in their order. A doubt about the entry is resolved: by the log, which has it, or by writing it again.
static LINES: [Line; 12] = [
    line(
        &P19_FENCED,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Undone)],
    ),
    line(
        &P04_BEGUN,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Finished)],
    ),
    line(
        &P07_OUTPUTS_SENT,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Finished)],
    ),
    line(
        &P08_ENTRY_SENT,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Finished)],
    ),
    line(&P06_PARTLY_WRITTEN, &[(Kill, Undone), (Fail, Undone)]),
    line(
        &P09_FLUSHED,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Finished)],
    ),
    line(
        &P10_BEFORE_COMMIT,
        &[(Kill, Undone), (Fail, Undone), (Doubt, Finished)],
    ),
    line(&P11_BEHIND_COMMIT, &[(Kill, Finished), (Doubt, Finished)]),
    line(&P28_RESET_COMMITTED, &[(Kill, Finished)]),
    line(&P17_DELETING, &[(Kill, Finished), (Fail, Finished)]),
    line(&P28_TRIMMING, &[(Kill, Finished), (Fail, Finished)]),
    line(&P28_TRIMMED, &[(Kill, Finished), (Fail, Finished)]),
];

/// Where resets go to: the beginning, and offsets of which one lies in the middle and one is not named.
fn places() -> [To; 2] {
    [To::Beginning, To::Offsets(vec![(0, 3)])]
}

/// What an undisturbed reset passes, by point.
fn passes(site: &Site, to: &To) -> BTreeMap<&'static str, u64> {
    let ended = site.copied().strike(Deed::Reset(to.clone()), None);
    assert_eq!(ended.said, "done", "{ended:?}");
    let passes = LINES.iter().map(|line| line.point.name());
    passes.map(|name| (name, ended.passes[name])).collect()
}

#[test]
fn a_reset_that_is_struck_is_undone_or_finished_and_can_be_carried_out_again() {
    let begun = Site::embedded();
    begun.run();
    let mut cases = 0;
    for to in places() {
        let passes = passes(&begun, &to);
        for line in &LINES {
            let last = passes[line.point.name()];
            assert!(last > 0, "{} is not passed", line.point.name());
            for (action, outcome) in line.outcomes {
                let mut hits = vec![1, last];
                hits.dedup();
                for pass in hits {
                    let strike = Strike::new(line.point, pass, *action);
                    strikes_once(&begun.copied(), &to, &strike, *outcome, false);
                    strikes_once(&begun.copied(), &to, &strike, *outcome, true);
                    cases += 2;
                }
            }
        }
        // Snapshots are the one thing of which there are several.
        assert!(passes[P17_DELETING.name()] > 1, "{passes:?}");
    }
    assert!(cases > 100, "{cases} cases");
}

/// Strikes a reset; then carries it out again, or does not; then starts the application.
fn strikes_once(site: &Site, to: &To, strike: &Strike, outcome: Outcome, again: bool) {
    let case = format!("{to:?}, {strike:?}, again: {again}");
    let before = site.verdict(&case);
    let ended = site.strike(Deed::Reset(to.clone()), Some(strike));
    is_struck(&ended, strike, outcome, &case);
    let left = site.verdict(&case);
    let last = left.last_epoch;
    match outcome {
        Undone => assert_eq!(left, before, "{case}: snapshots and entries"),
        Finished => assert_eq!(last, 0, "{case}"),
    }
    site.holds(1, to, &case);
    if again {
        assert_eq!(site.reset(to), last, "{case}: epochs that it forgets");
        assert_eq!(site.verdict(&case).last_epoch, 0, "{case}");
        site.holds(1, to, &case);
    }
    comes_to(site, to, again || outcome == Finished, &case);
}

/// Whether the process did what the strike had it do. A step that only clears up is warned of when it fails.
fn is_struck(ended: &Ended, strike: &Strike, outcome: Outcome, case: &str) {
    let expected = match (strike.action, outcome) {
        (Kill, _) => "killed",
        (_, Undone) => "failed",
        (_, Finished) => "done",
    };
    assert_eq!(ended.said, expected, "{case}: {ended:?}");
}

/// Starts the application: all comes once more behind a reset, and nothing does without one. What it leaves goes on as
/// ever, from its snapshot and by a replay.
fn comes_to(site: &Site, to: &To, is_reset: bool, case: &str) {
    let times = 1 + usize::from(is_reset);
    let read = if is_reset { site::read_again(to) } else { 0 };
    let report = site.run();
    assert_eq!(report.resumed, !is_reset, "{case}");
    assert_eq!(report.counts.read as usize, read, "{case}");
    site.holds(times, to, case);
    for replays in [false, true] {
        site.has_snapshots_of_now(case);
        if replays {
            site.forget_snapshots();
        }
        let report = site.run();
        assert!(report.resumed && report.counts.read == 0, "{case}");
        site.holds(times, to, case);
    }
}

/// The start behind a reset is what completes it, and may be cut short as well.
#[test]
fn a_start_that_is_struck_behind_a_reset_that_was_leaves_it_finished() {
    let begun = Site::embedded();
    begun.run();
    for to in places() {
        let reset = begun.copied();
        let committed = Strike::new(&P28_RESET_COMMITTED, 1, Kill);
        let ended = reset.strike(Deed::Reset(to.clone()), Some(&committed));
        is_struck(&ended, &committed, Finished, "the reset");
        let snapshots = reset.snapshots();
        assert!(snapshots > 1, "{snapshots} files");
        for (point, pass) in [
            // Entry 0 of what begins anew, and its start entry.
            (&P10_BEFORE_COMMIT, 1),
            (&P11_BEHIND_COMMIT, 1),
            (&P10_BEFORE_COMMIT, 2),
            (&P11_BEHIND_COMMIT, 2),
            (&P17_DELETING, 1),
            (&P17_DELETING, snapshots),
            (&P18_SOUGHT, 1),
        ] {
            let strike = Strike::new(point, pass, Kill);
            let case = format!("{to:?}, a start, {strike:?}");
            let site = reset.copied();
            let ended = site.strike(Deed::Start, Some(&strike));
            is_struck(&ended, &strike, Finished, &case);
            site.verdict(&case);
            site.holds(1, &to, &case);
            let read = site.run().counts.read as usize;
            assert_eq!(read, site::read_again(&to), "{case}");
            site.holds(2, &to, &case);
            site.has_snapshots_of_now(&case);
            assert_eq!(site.run().counts.read, 0, "{case}");
            site.holds(2, &to, &case);
        }
    }
}

#[test]
fn a_reset_that_is_killed_on_kafka_is_undone_or_finished_too() {
    for (point, outcome, again) in [
        (&P10_BEFORE_COMMIT, Undone, false),
        (&P10_BEFORE_COMMIT, Undone, true),
        (&P28_RESET_COMMITTED, Finished, false),
    ] {
        let Some(site) = Site::kafka() else { return };
        site.run();
        let strike = Strike::new(point, 1, Kill);
        strikes_once(&site, &places()[1], &strike, outcome, again);
    }
}
