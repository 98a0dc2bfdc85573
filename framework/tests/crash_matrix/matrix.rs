//! The cases of one topology, and the verdict on each.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiderace::failpoint::{P03_EPOCH_CLOSED, Point};

use crate::entries::Entries;
use crate::place::{Place, Row, Settings};
use crate::points::{Action, Kept, Line};
use crate::topologies::{APPLICATION, Scenario};

/// Lives after which an application must be done: one that is killed half-way, one that is struck, two more.
const LIVES: usize = 4;

/// Starts of a case until one is struck at the pass that was the last in the one before.
const TRIES: u32 = 8;

/// Epochs that the first life of a case in two lives is to commit.
const HALF_WAY: u64 = 6;

/// A topology with so many workers, and what comes of it when nobody strikes.
struct Calm<'a> {
    scenario: &'a Scenario,
    workers: usize,
    input: &'a Place,
    outputs: Outputs,
    /// Where the partitions of the input end.
    ends: Vec<i64>,
}

/// The topics that are written, by partition.
type Outputs = [Vec<Vec<Row>>; 2];

struct Case<'a> {
    calm: &'a Calm<'a>,
    line: &'a Line,
    kept: Kept,
    action: Action,
    pass: u64,
}

/// A share of the cases of a topology with so many workers: every so manieth point.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) scenario: &'static Scenario,
    pub(crate) workers: usize,
    pub(crate) share: (usize, usize),
}

/// Runs the cases of a part and prints how many there were, of each point and in all.
pub(crate) fn run(part: Part) {
    let begun = Instant::now();
    // On a machine with one processor the name of the test stands on this line.
    println!();
    report_no_struck_panics();
    let Part {
        scenario,
        workers,
        share: (nth, of),
    } = part;
    let input = Place::prepared(scenario);
    let (mut cases, mut lives) = (0, 0);
    let calm = Calm::of(scenario, workers, &input);
    let lines = scenario.lines.iter().skip(nth).step_by(of);
    for line in lines.filter(|line| (line.passed_by)(scenario.keeps)) {
        let mut of_line = 0;
        for case in calm.cases(line) {
            lives += case.run();
            of_line += 1;
        }
        println!("point {} {of_line}", line.point.name());
        cases += of_line;
    }
    println!(
        "{}, {workers} workers, {} of {of}: {cases} cases in {lives} lives, {:.0} s",
        scenario.name,
        nth + 1,
        begun.elapsed().as_secs_f64()
    );
}

/// There are hundreds of them, and what a case fails by would be lost among them.
fn report_no_struck_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("struck") {
            report(panic);
        }
    }));
}

/// Of a commit the first two are those of entry 0 and of the start entry, the last is that of the offsets alone, the
/// one before it the last epoch's.
fn passes_to_strike(passes: u64, strikes: usize) -> BTreeSet<u64> {
    let wanted = [1, 2, passes, passes.div_ceil(2), passes.saturating_sub(1)];
    let wanted = wanted.into_iter().take(strikes);
    wanted.map(|pass| pass.clamp(1, passes)).collect()
}

impl<'a> Calm<'a> {
    fn of(scenario: &'a Scenario, workers: usize, input: &'a Place) -> Self {
        let live = |workers, kept| {
            let place = Place::like(input);
            let report = place.live(scenario, Settings { workers, kept }).unwrap();
            assert!(
                report.last_epoch >= scenario.epochs,
                "{} epochs",
                report.last_epoch
            );
            assert_eq!(report.counts.late > 0, scenario.has_late);
            place
        };
        let place = live(workers, Kept::AtTheEnd);
        let outputs = outputs(&place);
        for (workers, kept) in [(1, Kept::AtTheEnd), (workers, Kept::Often)] {
            assert!(
                self::outputs(&live(workers, kept)) == outputs,
                "{workers} workers that keep snapshots {kept:?} write other bytes"
            );
        }
        assert!(
            outputs[0].iter().flatten().count() > 10 && outputs[0].iter().all(|of| !of.is_empty()),
            "too little to compare"
        );
        assert_eq!(
            outputs[1].iter().any(|rows| !rows.is_empty()),
            scenario.has_late
        );
        Calm {
            scenario,
            workers,
            input,
            outputs,
            ends: place.ends("visits"),
        }
    }

    /// The cases of a point. Where snapshots may be kept one way or the other, every other case has the one.
    fn cases(&'a self, line: &'a Line) -> Vec<Case<'a>> {
        let mut cases = Vec::new();
        for (way, kept) in line.kept.iter().enumerate() {
            let passes = self.passes(line, *kept);
            assert!(passes > 0, "{} is never passed", line.point.name());
            for (nth, action) in line.actions.iter().enumerate() {
                for (place, pass) in passes_to_strike(passes, line.strikes)
                    .into_iter()
                    .enumerate()
                {
                    if (way + nth + place + self.workers).is_multiple_of(line.kept.len()) {
                        cases.push(Case {
                            calm: self,
                            line,
                            kept: *kept,
                            action: *action,
                            pass,
                        });
                    }
                }
            }
        }
        cases
    }

    /// How often a point is passed when nothing happens there; 0 if it is not in any of the tries.
    fn passes(&self, line: &Line, kept: Kept) -> u64 {
        let passes = (0..TRIES).map(|nth| {
            let place = Place::like(self.input);
            let lives = self.lives(line, kept, pace(nth), &place, None);
            assert_eq!(lives, 1 + usize::from(line.in_second_life));
            line.point.take_passes()
        });
        passes.into_iter().find(|of| *of > 0).unwrap_or(0)
    }

    fn settings(&self, kept: Kept) -> Settings {
        Settings {
            workers: self.workers,
            kept,
        }
    }

    /// Starts the application until it is done; how often that was.
    fn lives(
        &self,
        line: &Line,
        kept: Kept,
        pace: Duration,
        place: &Arc<Place>,
        strike: Option<(Action, u64)>,
    ) -> usize {
        line.point.take_passes();
        if !pace.is_zero() {
            let place = Arc::clone(place);
            P03_EPOCH_CLOSED.arm_with(move || place.pause(pace));
        }
        if let Some((action, pass)) = strike {
            arm(line.point, action, pass, place);
        }
        if line.in_second_life {
            kill_half_way(kept, pace, place);
        }
        let mut said = Vec::new();
        let done = (1..=LIVES).find(|_| {
            let ended = place.live(self.scenario, self.settings(kept));
            said.extend(ended.as_ref().err().cloned());
            ended.is_ok()
        });
        line.point.disarm();
        P03_EPOCH_CLOSED.disarm();
        done.unwrap_or_else(|| panic!("not done after {LIVES} starts: {said:#?}"))
    }
}

impl Case<'_> {
    /// Strikes, and judges; how many lives that took. A run may come to its end with fewer passes than the one that
    /// told which pass is the last: then it has told anew. How many snapshots there are is up to the writing thread.
    fn run(&self) -> usize {
        let mut pass = self.pass;
        for nth in 0..TRIES {
            let place = Place::like(self.calm.input);
            let strike = Some((self.action, pass));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let lives = self
                    .calm
                    .lives(self.line, self.kept, pace(nth), &place, strike);
                let passed = self.line.point.take_passes();
                self.judge(&place);
                (lives, passed)
            }));
            let (lives, passed) = outcome.unwrap_or_else(|panic| {
                println!("{self}");
                std::panic::resume_unwind(panic)
            });
            if passed >= pass {
                return lives + 1;
            }
            let varies = self.pass > 2 || self.kept == Kept::Often;
            assert!(varies, "{self}: passed {passed} times");
            pass = passed.max(1);
        }
        panic!("{self}: not reached in {TRIES} runs")
    }

    fn judge(&self, place: &Place) {
        self.look(place);
        // The first goes on from the snapshot of the end, the second replays everything and compares digests and counts.
        for replays in [false, true] {
            if replays {
                place.forget_snapshots();
            }
            let settings = self.calm.settings(Kept::AtTheEnd);
            let again = place.live(self.calm.scenario, settings).unwrap();
            assert!(
                again.resumed && again.counts.read == 0,
                "{self}: {:?}",
                again.counts
            );
            self.look(place);
        }
    }

    fn look(&self, place: &Place) {
        let found = outputs(place);
        for (topic, (found, expected)) in found.iter().zip(&self.calm.outputs).enumerate() {
            for (partition, (found, expected)) in found.iter().zip(expected).enumerate() {
                let differs = found.iter().zip(expected).position(|(a, b)| a != b);
                let where_ = format!("{self}: output {topic}, partition {partition}");
                assert_eq!(differs, None, "{where_}: differs at that record");
                assert_eq!(found.len(), expected.len(), "{where_}: records");
            }
        }
        let log = place.rows(&format!("{APPLICATION}-epochs")).remove(0);
        let values = log.iter().filter_map(|(_, _, value)| value.as_deref());
        let entries = Entries::checked(&self.to_string(), values);
        let ends = &self.calm.ends;
        assert_eq!(entries.ends("visits"), *ends, "{self}");
        assert_eq!(entries.read, ends.iter().sum::<i64>() as u64, "{self}");
        let written: usize = found.iter().flatten().map(Vec::len).sum();
        assert_eq!(entries.written, written as u64, "{self}");
        place.check(&self.to_string());
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            calm,
            line,
            kept,
            action,
            pass,
        } = self;
        write!(
            f,
            "{}, {} workers, snapshots {kept:?}: {action:?} at pass {pass} of {}",
            calm.scenario.name,
            calm.workers,
            line.point.name()
        )
    }
}

fn outputs(place: &Place) -> Outputs {
    ["out", "late"].map(|topic| place.rows(topic))
}

/// How long every epoch waits for its commit in a try, unless a snapshot is published sooner. How many snapshots a run
/// finds time for is up to the writing thread and the disk: where a run had too few of them, the next one leaves more
/// time.
fn pace(nth: u32) -> Duration {
    match nth {
        0 => Duration::ZERO,
        nth => Duration::from_millis(1 << (2 * (nth - 1)).min(9)),
    }
}

/// Has the first life killed. Where snapshots are kept often it has one by then: the first epoch's is under way at least.
fn kill_half_way(kept: Kept, pace: Duration, place: &Arc<Place>) {
    let (place, passes) = (Arc::clone(place), AtomicU64::new(0));
    P03_EPOCH_CLOSED.arm_with(move || {
        place.pause(pace);
        if passes.fetch_add(1, Ordering::SeqCst) == HALF_WAY {
            if kept == Kept::Often {
                place.await_snapshot();
            }
            place.crash();
        }
    });
}

/// Has an action happen at one pass of a point.
fn arm(point: &'static Point, action: Action, pass: u64, place: &Arc<Place>) {
    let before = pass - 1;
    match action {
        Action::Kill => {
            let (place, passes) = (Arc::clone(place), AtomicU64::new(0));
            point.arm_with(move || {
                if passes.fetch_add(1, Ordering::SeqCst) == before {
                    place.crash();
                }
            });
        }
        Action::Panic => point.arm(&format!("{before}*off->1*panic(struck)")),
        Action::Error => point.arm(&format!("{before}*off->1*return(failed)")),
        Action::Doubt => point.arm(&format!("{before}*off->1*return(doubt)")),
        Action::Delay => point.arm(&format!("{before}*off->1*sleep(20)")),
    }
}
