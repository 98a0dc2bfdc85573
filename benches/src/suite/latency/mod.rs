//! Latency from topic to topic at a steady rate: a running count of rides by zone, every update out, from the moment a
//! record was due until its count is visible to a reader of committed records.
//!
//! Due times are fixed before anything is sent, and a sender that is late counts against the side: nothing is left
//! out because the system was slow. Sender and reader share a core, the side has the other one, the broker both.
//!
//! Of the loop at least once, to which ratios are judged, p50 is held against the reference's. Its p99 is not, which depends
//! on the broker's pauses, and so on how that is set up.

mod lags;
mod schedule;
mod sender;
mod sides;
mod watch;

use tiderace_benches::measure::Spread;
use tiderace_benches::peers::KafkaStreams;

pub(in crate::suite) use self::lags::{Figures, Lags};
pub(in crate::suite) use self::schedule::Load;
use self::schedule::Places;
use self::sides::{Setting, Side};
use crate::Failure;
use crate::suite::topics::Broker;
use crate::suite::{Context, Effort, Figure, Goal, Options, Report, Table};

/// Cores that a side is kept to.
const SIDE_CORES: usize = 1;

/// Of the offered rate, in percent, what a side has to keep up with.
const KEPT_UP: f64 = 99.5;

/// Milliseconds of the loop at least once, p50, where it was measured first: the reference's section 1.4. It is time spent waiting
/// for the most part, so that no calibration carries it from machine to machine.
const FLOOR: f64 = 4.4;

/// How much more the loop may take.
const TOLERANCE: f64 = 1.15;

const QUICK: Load = Load {
    warm_up: 1_000,
    rate: 5_000,
    seconds: 1,
    dropped: 0,
};

/// The JVM of Kafka Streams compiles what it runs during the warm-up.
const USUAL: Load = Load {
    warm_up: 200_000,
    rate: 20_000,
    seconds: 12,
    dropped: 2,
};

/// Rounds before those that count, of the first side alone: a broker's JVM compiles for a minute, and takes the cores of those
/// that are measured.
const WARM_UP_ROUNDS: usize = 1;

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    let load = match options.effort() {
        Effort::Quick => QUICK,
        Effort::Usual => USUAL,
        Effort::Full => Load {
            seconds: 10,
            ..USUAL
        },
    };
    let broker = Broker::start(options)?;
    let peer = match options.with_streams() {
        true => Some(KafkaStreams::build()?),
        false => None,
    };
    let mut sides = vec![Side::Engine, Side::Loop];
    sides.extend(peer.as_ref().map(Side::Streams));
    let places = Places::of(&load);
    let mut contest = sides::Contest::new(broker.place(), &load, &places);
    let mut bare = Vec::new();
    let mut results: Vec<Vec<Vec<Figures>>> =
        vec![vec![Vec::new(); sides.len()]; Setting::ALL.len()];
    let warm_up = match options.effort() {
        Effort::Quick => 0,
        Effort::Usual | Effort::Full => WARM_UP_ROUNDS,
    };
    for round in 0..warm_up + options.pairs() {
        let counts = round >= warm_up;
        if !counts {
            with.progress
                .say("a round that warms the broker up and is not counted:");
        }
        let figures = contest.bare()?;
        if counts {
            bare.push(figures);
        }
        for (setting, of_setting) in Setting::ALL.iter().zip(&mut results) {
            let sides = if counts { &sides[..] } else { &sides[..1] };
            for turn in 0..sides.len() {
                let at = (turn + round) % sides.len();
                let name = sides[at].name();
                let figures = contest
                    .once(&sides[at], *setting)
                    .map_err(|failure| format!("{name}, {}: {failure}", setting.name()))?;
                with.progress.say(&format!(
                    "{name}, {}: p50 {:.1}, p99 {:.1} ms, over all {:.1} and {:.1}; {:.1} % kept up with",
                    setting.name(), figures.p50, figures.p99, figures.all_p50, figures.all_p99, figures.kept_up
                ));
                if counts {
                    of_setting[at].push(figures);
                }
            }
        }
    }
    let mut tables = vec![table(
        "no engine: from producer to consumer",
        &[("", &bare)],
    )];
    for (setting, of_setting) in Setting::ALL.iter().zip(&results) {
        let rows = sides
            .iter()
            .map(Side::name)
            .zip(of_setting.iter().map(Vec::as_slice));
        tables.push(table(setting.name(), &rows.collect::<Vec<_>>()));
    }
    Ok(Report {
        load: description(&load, broker.place().name(), warm_up),
        tables,
        figures: figures(&results),
        void: void(options, &results),
    })
}

/// The load in words, on a log of this name, behind so many rounds of the engine alone.
fn description(load: &Load, on: &str, rounds: usize) -> String {
    let warm_up = match rounds {
        0 => "",
        _ => ", and a round of the engine alone, not counted, that warmed the broker up",
    };
    format!(
        "a running count of rides, 265 zones, every update out: {} records/s for {} s on {on}, the first {} s left out, behind {} records of \
         warm-up{warm_up}; latency in ms from when a record was due to when a reader of committed records has its count; the side on one core, \
         sender and reader on the other, the broker on both",
        load.rate, load.seconds, load.dropped, load.warm_up
    )
}

/// Why ratios to the loop say nothing, if it is slower than it has been shown to be on Kafka.
fn void(options: &Options, results: &[Vec<Vec<Figures>>]) -> Option<String> {
    if options.embedded() || options.effort() == Effort::Quick {
        return None;
    }
    let judged = Setting::ALL.iter().zip(results);
    let mut judged = judged.filter(|(of, _)| of.to_loop().is_some());
    let (_, sides) = judged.next()?;
    let p50 = Spread::of(each(&sides[1], |of| of.p50)).median;
    (p50 > FLOOR * TOLERANCE).then(|| {
        format!("the loop's p50 is {p50:.1} ms at least once, its floor {FLOOR}: ratios to it say nothing")
    })
}

/// Takes one of a run's figures.
type Which = fn(&Figures) -> f64;

/// A figure of each run.
fn each(of: &[Figures], which: Which) -> Vec<f64> {
    of.iter().map(which).collect()
}

fn table(title: impl Into<String>, rows: &[(&str, &[Figures])]) -> Table {
    const COLUMNS: [(&str, Which); 7] = [
        ("p50, median of seconds", |of| of.p50),
        ("p99, median of seconds", |of| of.p99),
        ("p50 over all", |of| of.all_p50),
        ("p99 over all", |of| of.all_p99),
        ("p99.9 over all", |of| of.all_p999),
        ("most", |of| of.most),
        ("% of the rate kept up with", |of| of.kept_up),
    ];
    let row = |(name, of): &(&str, &[Figures])| {
        let cells = COLUMNS.iter().map(|(_, which)| each(of, *which));
        ((*name).to_owned(), cells.collect())
    };
    Table {
        title: title.into(),
        columns: COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: rows.iter().map(row).collect(),
    }
}

/// What is judged, of the sides' runs by setting: the engine's first, the loop's, and perhaps Kafka Streams'.
fn figures(results: &[Vec<Vec<Figures>>]) -> Vec<Figure> {
    const JUDGED: [(&str, Which); 3] = [
        ("p50", |of| of.p50),
        ("p99", |of| of.p99),
        ("p99 over all", |of| of.all_p99),
    ];
    let mut figures = Vec::new();
    for (setting, sides) in Setting::ALL.iter().zip(results) {
        let name = setting.name();
        let (engine, by_hand, streams) = (&sides[0], &sides[1], sides.get(2));
        for ((what, which), most) in JUDGED.iter().zip(setting.most()) {
            let engine = each(engine, *which);
            let to_loop = setting.to_loop().map(Goal::AtMost);
            if most.is_some() || to_loop.is_none() {
                figures.push(Figure {
                    name: format!("{name}: {what}, ms"),
                    samples: engine.clone(),
                    goal: most.map(Goal::AtMost),
                });
            }
            if *what == "p99 over all" && to_loop.is_some() {
                continue;
            }
            figures.push(Figure::ratio(
                format!("{name}: {what}, engine to loop"),
                &engine,
                &each(by_hand, *which),
                to_loop,
            ));
        }
        let Some(streams) = streams else { continue };
        for ((what, which), least) in JUDGED.iter().zip(setting.of_streams()) {
            let best = setting.best_of(results, 2, *which);
            let streams = best.unwrap_or_else(|| each(streams, *which));
            figures.push(Figure::ratio(
                format!("{name}: {what}, Kafka Streams to engine"),
                &streams,
                &each(engine, *which),
                least.map(Goal::AtLeast),
            ));
        }
    }
    let kept_up = results.iter().filter_map(|sides| sides.first()).flatten();
    figures.push(Figure {
        name: "% of the rate that the engine kept up with".to_owned(),
        samples: kept_up.map(|of| of.kept_up).collect(),
        goal: Some(Goal::AtLeast(KEPT_UP)),
    });
    figures
}
