//! What the runs of a comparison come to: tables, and the figures that are judged.

use tiderace_benches::measure::Spread;

use super::compare::{COMMIT_MS, Sample};
use super::place::PARTITIONS;
use super::plan::{Turn, Who, records};
use super::streams::Setting;
use super::warm_up;
use super::workload::Workload;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// How much dearer than its floor a loop may be.
const TOLERANCE: f64 = 1.15;

/// What the runs of a side cost.
#[derive(Default)]
pub(super) struct Costs {
    /// Per unit, in nanoseconds.
    cpu: Vec<f64>,
    wall: Vec<f64>,
    /// In MiB.
    pub(super) memory: Vec<f64>,
}

impl Costs {
    pub(super) fn of(samples: &[(Turn, Sample)], who: Who, pinned: bool) -> Self {
        let mut costs = Costs::default();
        let of = |turn: &Turn| turn.who == who && turn.pinned == pinned;
        for (_, sample) in samples.iter().filter(|(turn, _)| of(turn)) {
            costs.cpu.push(sample.cpu_ns);
            costs.wall.push(sample.wall_ns);
            costs.memory.push(sample.memory);
        }
        costs
    }

    pub(super) fn row(&self, name: impl Into<String>) -> (String, Vec<Vec<f64>>) {
        let rate = self.wall.iter().map(|wall| 1e6 / wall).collect();
        let cells = vec![
            self.cpu.clone(),
            self.wall.clone(),
            rate,
            self.memory.clone(),
        ];
        (name.into(), cells)
    }
}

/// The report of all samples, in the order of the plan.
pub(super) fn report(workload: Workload, with: &Context<'_>, samples: &[(Turn, Sample)]) -> Report {
    let costs = |who, pinned| Costs::of(samples, who, pinned);
    let (engine, by_hand) = (costs(Who::Engine, true), costs(Who::Loop, true));
    let mut rows = vec![engine.row("engine"), by_hand.row("loop")];
    let mut figures = against_loop(workload, &engine, &by_hand);
    let streams = costs(Who::Streams(Setting::MAIN), true);
    let has_streams = !streams.cpu.is_empty();
    if has_streams {
        rows.push(streams.row("Kafka Streams, second half"));
        figures.extend(against_streams(workload, &engine, &streams));
    }
    let mut tables = vec![table(workload, "one thread, one core", rows)];
    let (two, one) = (costs(Who::Engine, false), costs(Who::Loop, false));
    if !two.cpu.is_empty() {
        let streams = costs(Who::Streams(Setting::TWO_THREADS), false);
        let mut rows = vec![two.row("engine, two workers"), one.row("loop, one thread")];
        if has_streams {
            rows.push(streams.row("Kafka Streams, two threads, second half"));
        }
        tables.push(table(workload, "all cores", rows));
        let is_cheaper = is_cheaper(&engine, &by_hand);
        figures.extend(of_two(workload, is_cheaper, &two, &one, &streams));
    }
    let others = Setting::others(workload.has_state()).into_iter();
    let others = others.map(|setting| (setting, costs(Who::Streams(setting), true)));
    let rows: Vec<_> = others
        .filter(|(_, costs)| !costs.cpu.is_empty())
        .map(|(setting, costs)| costs.row(setting.name()))
        .collect();
    if !rows.is_empty() {
        tables.push(table(workload, "other settings, once each", rows));
    }
    Report {
        load: load(workload, with, samples),
        tables,
        figures,
        void: void(workload, with, &by_hand),
    }
}

fn load(workload: Workload, with: &Context<'_>, samples: &[(Turn, Sample)]) -> String {
    let on = match with.options.embedded() {
        true => "the embedded log",
        false => "Kafka",
    };
    let records = records(workload, with.options);
    let (bytes, outputs) = samples.first().map_or((0, 0), |(_, sample)| {
        (sample.input_bytes, sample.written.records)
    });
    let words = match workload.units_a_record() {
        1 => String::new(),
        words => format!(", {words} {}s each,", workload.unit()),
    };
    format!(
        "{}: {records} records of {} bytes{words} in {PARTITIONS} partitions of {on}, exactly once, a commit every {COMMIT_MS} ms; {outputs} results{}",
        workload.about(),
        bytes / records,
        warm_up::in_words(with.options),
    )
}

fn against_loop(workload: Workload, engine: &Costs, by_hand: &Costs) -> Vec<Figure> {
    let goals = workload.goals();
    let most = |most| Some(Goal::AtMost(most));
    let memory = goals.memory.and_then(|(to_loop, _)| most(to_loop));
    let ratio = |name: &str, of: &[f64], to: &[f64], goal| Figure::ratio(name, of, to, goal);
    vec![
        ratio(
            "CPU, engine to loop",
            &engine.cpu,
            &by_hand.cpu,
            most(goals.to_loop),
        ),
        ratio("wall, engine to loop", &engine.wall, &by_hand.wall, None),
        ratio(
            "memory, engine to loop",
            &engine.memory,
            &by_hand.memory,
            memory,
        ),
    ]
}

fn against_streams(workload: Workload, engine: &Costs, streams: &Costs) -> Vec<Figure> {
    let goals = workload.goals();
    let least = Some(Goal::AtLeast(goals.of_streams));
    let memory = goals.memory.map(|(_, of_streams)| Goal::AtMost(of_streams));
    let ratio = |name: &str, of: &[f64], to: &[f64], goal| Figure::ratio(name, of, to, goal);
    vec![
        ratio(
            "CPU, Kafka Streams to engine",
            &streams.cpu,
            &engine.cpu,
            least,
        ),
        ratio(
            "wall, Kafka Streams to engine",
            &streams.wall,
            &engine.wall,
            None,
        ),
        ratio(
            "memory, engine to Kafka Streams",
            &engine.memory,
            &streams.memory,
            memory,
        ),
    ]
}

/// Whether the engine takes less CPU than the loop, each on one core.
fn is_cheaper(engine: &Costs, by_hand: &Costs) -> bool {
    let median = |of: &[f64]| Spread::of(of.iter().copied()).median;
    median(&engine.cpu) < median(&by_hand.cpu)
}

/// Two workers on all cores, of which more is expected where the engine is cheaper than the loop. Where Kafka Streams ran
/// once, there is one ratio to it.
fn of_two(
    workload: Workload,
    is_cheaper: bool,
    two: &Costs,
    by_hand: &Costs,
    streams: &Costs,
) -> Vec<Figure> {
    let judged = workload == Workload::Windows;
    let least = |least| judged.then_some(Goal::AtLeast(least));
    let to_loop = if is_cheaper { 1.3 } else { 1.15 };
    let rate = "rate, two workers to the loop's one thread";
    let mut figures = vec![Figure::ratio(
        rate,
        &by_hand.wall,
        &two.wall,
        least(to_loop),
    )];
    if !streams.wall.is_empty() {
        let rate = "rate, two workers to Kafka Streams' two threads";
        figures.push(Figure::ratio(rate, &streams.wall, &two.wall, least(5.0)));
    }
    figures
}

/// Why ratios to the loop say nothing, if they do not.
fn void(workload: Workload, with: &Context<'_>, by_hand: &Costs) -> Option<String> {
    if with.options.embedded() || with.options.effort() == Effort::Quick {
        return None;
    }
    let floor = workload.goals().floor_us * 1_000.0 * with.calibration.scale();
    let median = Spread::of(by_hand.cpu.iter().copied()).median;
    let unit = workload.unit();
    (median > floor * TOLERANCE).then(|| {
        format!("the loop takes {median:.0} ns CPU a {unit}, its floor here is {floor:.0}: ratios to it say nothing")
    })
}

pub(super) fn table(workload: Workload, title: &str, rows: Vec<(String, Vec<Vec<f64>>)>) -> Table {
    let unit = workload.unit();
    Table {
        title: title.to_owned(),
        columns: vec![
            format!("CPU ns a {unit}"),
            format!("wall ns a {unit}"),
            format!("thousand {unit}s/s"),
            "peak memory MiB".to_owned(),
        ],
        rows,
    }
}
