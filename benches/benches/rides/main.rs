//! Question: what does the engine cost against a loop written by hand? Load: rides per zone over about ten
//! million rides of 400 bytes of JSON, topic to topic, exactly once, in the embedded log and (`--kafka`) on a
//! real broker; each side in a process of its own, in turns, on the same data; outputs compared every time.
//!
//! `cargo bench -p tiderace-benches --bench rides -- [--quick] [--kafka] [--keep]`; the README of `benches/` has
//! recorded runs.

mod compare;
mod floor;
mod place;

use std::process::ExitCode;

use tiderace_benches::by_hand::{Job, rides_per_zone};
use tiderace_benches::child;

use crate::compare::Options;
use crate::place::{BY_HAND, Place, RIDES, ZONES};

/// Length and grace of the windows in milliseconds, the command's defaults.
const WINDOW: i64 = 600_000;
const GRACE: i64 = 60_000;

fn main() -> ExitCode {
    // `cargo bench` adds `--bench` to what the caller gives.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let done = match arguments.split_first() {
        Some((mode, rest)) if mode == "measured" => child::measured(rest).map_err(Into::into),
        Some((mode, rest)) if mode == "by-hand" => by_hand(rest).map(|()| true),
        _ => Options::parse(&arguments).and_then(|options| compare::run(&options)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The loop by hand, as a process.
fn by_hand(options: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let place = Place::from_options(options).ok_or("`by-hand` takes the options of a place")?;
    let job = Job {
        rides: RIDES,
        zones: ZONES,
        output: BY_HAND,
        window: WINDOW,
        grace: GRACE,
    };
    let counts = rides_per_zone(&*place.open()?, job)?;
    println!("{counts:?}");
    Ok(())
}
