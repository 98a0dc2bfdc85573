//! The comparison: prepares the data, runs the sides in turns, checks their outputs and prints the figures.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tiderace_benches::child::{self, Used};
use tiderace_benches::machine::{calibrate, free_bytes, wait_for_idle};
use tiderace_benches::measure::{Spread, nanoseconds_each};
use tiderace_testing::kafka::Kafka;
use tiderace_testing::program::release_build;

use crate::floor::Floor;
use crate::place::{BY_ENGINE, BY_HAND, Place};
use crate::{GRACE, WINDOW};

type Failure = Box<dyn std::error::Error>;

/// Free disk that a run wants: the rides twice, in the log and in the broker, and what is written of them.
const FREE_BYTES: u64 = 15_000_000_000;
/// Most CPU time that the engine may take, in times of the loop's.
const MOST_CPU: f64 = 1.5;
/// How much sooner two workers on two cores must be done than one on one.
const LEAST_SPEED_UP: f64 = 1.7;
/// Cores that others may use if wall times are to mean something.
const IDLE: f64 = 0.2;
/// Most memory that the engine may have resident.
const MOST_MEMORY: u64 = 250 << 20;

/// What the caller asked for.
pub(crate) struct Options {
    quick: bool,
    kafka: bool,
    keep: bool,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Options {
            quick: false,
            kafka: false,
            keep: false,
        };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--kafka" => options.kafka = true,
                "--keep" => options.keep = true,
                other => {
                    return Err(format!(
                        "no option `{other}`; there are --quick, --kafka and --keep"
                    )
                    .into());
                }
            }
        }
        Ok(options)
    }

    /// How often the built-in rides are loaded.
    fn scale(&self) -> u64 {
        if self.quick { 400 } else { 40_000 }
    }

    /// Pairs of runs; with at least five, a median says something.
    fn rounds(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }
}

/// Runs everything; whether each goal is met. Short runs have no goals.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let free = free_bytes(scratch)?;
    if !options.quick && free < FREE_BYTES {
        return Err(format!(
            "{} has {free} bytes free, {FREE_BYTES} are needed",
            scratch.display()
        )
        .into());
    }
    let engine = release_build();
    let directory = TempDir::with_prefix_in("rides-", scratch)?;
    let compared = compare(options, &engine, directory.path());
    if options.keep {
        println!("\nthe data are in {}", directory.keep().display());
    }
    compared
}

fn compare(options: &Options, engine: &Path, directory: &Path) -> Result<bool, Failure> {
    let embedded = Place {
        directory: directory.to_owned(),
        brokers: None,
    };
    let rides = embedded.load(options.scale())?;
    println!("{rides} rides, {} rounds", options.rounds());

    let calibration = calibrate();
    println!("calibration, CPU ns per record: {calibration}");
    let floor = Floor::measure(&embedded.rides(50_000)?, WINDOW, GRACE, calibration.median);
    println!(
        "by hand in memory, CPU ns per ride: {}; the floor here is {:.0}",
        floor.measured, floor.expected
    );
    let sound = floor.holds();
    if !sound {
        println!(
            "VOID: the loop by hand is slower than the floor by more than 15 %, so a ratio to it says nothing"
        );
    }

    let sides = Sides {
        engine,
        rides,
        rounds: options.rounds(),
    };
    let mut met = sides.against_the_loop(&embedded)?;
    met &= sides.two_workers(&embedded)?;
    if options.kafka {
        let broker = Kafka::start_measured().ok_or("--kafka needs Java 17 and Maven")?;
        let place = Place {
            brokers: Some(broker.bootstrap().to_owned()),
            ..embedded
        };
        place.load(options.scale())?;
        met &= sides.against_the_loop(&place)?;
    }
    Ok(options.quick || (sound && met))
}

struct Sides<'a> {
    engine: &'a Path,
    rides: u64,
    rounds: usize,
}

impl Sides<'_> {
    /// The engine on one worker against the loop by hand.
    fn against_the_loop(&self, place: &Place) -> Result<bool, Failure> {
        let this = std::env::current_exe()?;
        let loop_by_hand = [
            vec![this.display().to_string(), "by-hand".to_owned()],
            place.options(),
        ]
        .concat();
        let (mut engine, mut by_hand) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            place.reset()?;
            engine.push(child::run(&self.engine(place, 1), usize::MAX)?);
            by_hand.push(child::run(&loop_by_hand, usize::MAX)?);
            check_equal(place)?;
        }
        let name = if place.brokers.is_some() {
            "Kafka"
        } else {
            "embedded log"
        };
        self.print(
            &format!("{name}, one worker"),
            [("engine", &engine), ("by hand", &by_hand)],
        );
        let ratio =
            |time: fn(&Used) -> Duration| {
                let pairs = engine.iter().zip(&by_hand);
                Spread::of(pairs.map(|(engine, by_hand)| {
                    time(engine).as_secs_f64() / time(by_hand).as_secs_f64()
                }))
            };
        let (cpu, wall) = (ratio(|used| used.cpu), ratio(|used| used.wall));
        let memory = engine
            .iter()
            .map(|used| used.peak_memory)
            .max()
            .unwrap_or(0);
        println!(
            "engine to by hand: CPU {cpu:.2} (goal {MOST_CPU} at most), wall {wall:.2}; {} MiB at most",
            memory >> 20
        );
        Ok(cpu.median <= MOST_CPU && memory <= MOST_MEMORY)
    }

    /// The engine with two workers on two cores against one worker on one.
    fn two_workers(&self, place: &Place) -> Result<bool, Failure> {
        let waited = wait_for_idle(Duration::from_secs(60))?;
        println!(
            "\nwaited {:.0?} for idle cores; others use {:.2} of them",
            waited.waited, waited.busy_cores
        );
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let mut expected = None;
        for _ in 0..self.rounds {
            for (workers, used) in [(1, &mut one), (2, &mut two)] {
                place.reset()?;
                let side = self.engine(place, workers);
                used.push(child::run(&side, workers)?);
                let written = place.fingerprints(BY_ENGINE)?;
                if *expected.get_or_insert_with(|| written.clone()) != written {
                    return Err("one worker and two write different outputs".into());
                }
            }
        }
        self.print(
            "embedded log, workers each on a core",
            [("1 worker", &one), ("2 workers", &two)],
        );
        let pairs = one.iter().zip(&two);
        let speed_up =
            Spread::of(pairs.map(|(one, two)| one.wall.as_secs_f64() / two.wall.as_secs_f64()));
        println!("two workers are faster by {speed_up:.2} (goal {LEAST_SPEED_UP} at least)");
        if waited.busy_cores > IDLE {
            println!("no verdict on wall time: others are busy");
            return Ok(true);
        }
        Ok(speed_up.median >= LEAST_SPEED_UP)
    }

    fn engine(&self, place: &Place, workers: usize) -> Vec<String> {
        let program = self.engine.display().to_string();
        let workers = workers.to_string();
        let mut side = vec![
            program,
            BY_ENGINE.to_owned(),
            "--no-load".to_owned(),
            "--workers".to_owned(),
            workers,
        ];
        side.extend([
            "--format".to_owned(),
            "json".to_owned(),
            "--create-topics".to_owned(),
        ]);
        side.extend(place.options());
        side
    }

    fn print(&self, title: &str, sides: [(&str, &Vec<Used>); 2]) {
        println!(
            "\n| {title} | CPU ns per ride | wall ns per ride | peak memory MiB |\n|---|---|---|---|"
        );
        for (name, used) in sides {
            let each = |time: fn(&Used) -> Duration| {
                Spread::of(
                    used.iter()
                        .map(|used| nanoseconds_each(time(used), self.rides)),
                )
            };
            let memory = Spread::of(
                used.iter()
                    .map(|used| used.peak_memory as f64 / f64::from(1 << 20)),
            );
            println!(
                "| {name} | {:.0} | {:.0} | {memory:.0} |",
                each(|used| used.cpu),
                each(|used| used.wall)
            );
        }
    }
}

/// Both sides must have written the same records in the same order.
fn check_equal(place: &Place) -> Result<(), Failure> {
    let (engine, by_hand) = (place.fingerprints(BY_ENGINE)?, place.fingerprints(BY_HAND)?);
    for (partition, (engine, by_hand)) in engine.iter().zip(&by_hand).enumerate() {
        let differs = engine
            .iter()
            .zip(by_hand)
            .position(|(engine, by_hand)| engine != by_hand);
        if let Some(at) =
            differs.or((engine.len() != by_hand.len()).then(|| engine.len().min(by_hand.len())))
        {
            return Err(format!(
                "the outputs differ: partition {partition}, record {at}, of {} by the engine and {} by hand",
                engine.len(),
                by_hand.len()
            )
            .into());
        }
    }
    if engine.iter().all(Vec::is_empty) {
        return Err("neither side has written anything".into());
    }
    Ok(())
}
