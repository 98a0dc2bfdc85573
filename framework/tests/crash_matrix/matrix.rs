//! The cases of one topology, and the verdict on each.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tiderace::failpoint::{P03_EPOCH_CLOSED, Point};

use crate::entries::Entries;
use crate::place::{Place, Row};
use crate::points::{Action, Line, POINTS};
use crate::topologies::{APPLICATION, PARTITIONS, RECORDS, Scenario};

/// Lives after which an application must be done: one that is killed half-way, one that is struck, two more.
const LIVES: usize = 4;

/// Starts of a case until one is struck at the pass that was the last in the one before.
const TRIES: usize = 6;

/// Epochs that the first life of a case in two lives is to commit.
const HALF_WAY: u64 = 6;

/// A topology with so many workers, and what comes of it when nobody strikes.
struct Calm<'a> {
    scenario: &'a Scenario,
    workers: usize,
    input: &'a Place,
    outputs: Outputs,
}

/// The topics that are written, by partition.
type Outputs = [Vec<Vec<Row>>; 2];

struct Case<'a> {
    calm: &'a Calm<'a>,
    line: &'a Line,
    action: Action,
    pass: u64,
}

/// Runs the cases of a topology with so many workers and prints how many there were.
pub(crate) fn run(scenario: &Scenario, workers: usize) {
    let begun = Instant::now();
    report_no_struck_panics();
    let input = Place::with_input();
    let (mut cases, mut lives) = (0, 0);
    let calm = Calm::of(scenario, workers, &input);
    for line in &POINTS {
        let passes = calm.passes(line);
        assert!(passes > 0, "{} is never passed", line.point.name());
        for action in line.actions {
            for pass in passes_to_strike(passes) {
                let case = Case {
                    calm: &calm,
                    line,
                    action: *action,
                    pass,
                };
                lives += case.run();
                cases += 1;
            }
        }
    }
    println!(
        "{}, {workers} workers: {cases} cases in {lives} lives, {:.0} s",
        scenario.name,
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
fn passes_to_strike(passes: u64) -> BTreeSet<u64> {
    let wanted = [1, 2, passes.div_ceil(2), passes.saturating_sub(1), passes];
    wanted.map(|pass| pass.clamp(1, passes)).into()
}

impl<'a> Calm<'a> {
    fn of(scenario: &'a Scenario, workers: usize, input: &'a Place) -> Self {
        let place = Place::like(input);
        let report = place.live(scenario, workers).unwrap();
        assert!(report.last_epoch > HALF_WAY, "{} epochs", report.last_epoch);
        assert_eq!(report.counts.late > 0, scenario.has_late);
        let outputs = outputs(&place);
        let alone = Place::like(input);
        alone.live(scenario, 1).unwrap();
        assert!(
            self::outputs(&alone) == outputs,
            "{workers} workers write other bytes than one"
        );
        assert!(
            outputs[0].iter().all(|rows| rows.len() > 10),
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
        }
    }

    /// How often a point is passed when nothing happens there.
    fn passes(&self, line: &Line) -> u64 {
        let place = Place::like(self.input);
        let lives = self.lives(line, &place, None);
        assert_eq!(lives, 1 + usize::from(line.in_second_life));
        line.point.take_passes()
    }

    /// Starts the application until it is done; how often that was.
    fn lives(&self, line: &Line, place: &Arc<Place>, strike: Option<(Action, u64)>) -> usize {
        line.point.take_passes();
        if let Some((action, pass)) = strike {
            arm(line.point, action, pass, place);
        }
        if line.in_second_life {
            arm(&P03_EPOCH_CLOSED, Action::Kill, HALF_WAY + 1, place);
        }
        let mut said = Vec::new();
        let done = (1..=LIVES).find(|_| {
            let ended = place.live(self.scenario, self.workers);
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
    /// told which pass is the last: then it has told anew.
    fn run(&self) -> usize {
        let mut pass = self.pass;
        for _ in 0..TRIES {
            let place = Place::like(self.calm.input);
            let strike = Some((self.action, pass));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let lives = self.calm.lives(self.line, &place, strike);
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
            assert!(self.pass > 2, "{self}: passed {passed} times");
            pass = passed;
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
            let again = place.live(self.calm.scenario, self.calm.workers).unwrap();
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
        let ends = vec![i64::from(RECORDS); PARTITIONS as usize];
        assert_eq!(entries.ends("visits"), ends, "{self}");
        assert_eq!(entries.read, u64::from(RECORDS * PARTITIONS), "{self}");
        let written: usize = found.iter().flatten().map(Vec::len).sum();
        assert_eq!(entries.written, written as u64, "{self}");
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            calm,
            line,
            action,
            pass,
        } = self;
        write!(
            f,
            "{}, {} workers: {action:?} at pass {pass} of {}",
            calm.scenario.name,
            calm.workers,
            line.point.name()
        )
    }
}

fn outputs(place: &Place) -> Outputs {
    ["out", "late"].map(|topic| place.rows(topic))
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
