//! What exactly once costs by commit interval: the rate of windows of rides, beside that of at least once.

use tiderace_benches::measure::nanoseconds_each;
use tiderace_benches::peers::{Guarantee, KafkaStreams};

use super::input::Input;
use super::outputs::{Summary, summary};
use super::place::{Broker, PARTITIONS, Place};
use super::side::{By, Job};
use super::streams::Setting;
use super::warm_up::{self, warm_up};
use super::workload::Workload;
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Options, Report, Table};

const WORKLOAD: Workload = Workload::Windows;

/// Commit intervals in milliseconds, each with the least of the rate at least once that is to be left.
const INTERVALS: [(u64, f64); 4] = [(100, 0.97), (20, 0.92), (10, 0.85), (5, 0.75)];

/// How often at least once and Kafka Streams commit, in milliseconds.
const USUAL_MS: u64 = 100;

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    let broker = Broker::start(options)?;
    let place = broker.place();
    let peer = match options.with_streams() {
        true => Some(KafkaStreams::build()?),
        false => None,
    };
    let prefix = format!("tiderace-bench-commits-{}", std::process::id());
    let records = WORKLOAD.records(options.effort());
    with.progress.say(&format!(
        "{}: {records} records to {}",
        WORKLOAD.about(),
        place.name()
    ));
    let input = Input::write(place, format!("{prefix}-in"), WORKLOAD, records)?;
    warm_up(with, place, (WORKLOAD, &input), &prefix)?;
    let mut sides = vec![Side::Engine(USUAL_MS, false)];
    sides.extend(INTERVALS.map(|(commit_ms, _)| Side::Engine(commit_ms, true)));
    if let Some(peer) = &peer {
        sides.extend(
            [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce].map(|of| Side::Streams(peer, of)),
        );
    }
    let mut runs = Runs {
        place,
        input: &input,
        prefix: &prefix,
        expected: None,
        count: 0,
    };
    let mut costs = vec![Costs::default(); sides.len()];
    for round in 0..options.pairs() {
        for turn in 0..sides.len() {
            let at = (turn + round) % sides.len();
            if round >= sides[at].rounds(options) {
                continue;
            }
            let (cpu, wall) = runs
                .once(&sides[at])
                .map_err(|failure| format!("{}: {failure}", sides[at].name()))?;
            with.progress.say(&format!(
                "{}: {cpu:.0} ns CPU, {wall:.0} ns a record",
                sides[at].name()
            ));
            costs[at].cpu.push(cpu);
            costs[at].wall.push(wall);
        }
    }
    place.delete(&prefix)?;
    let load = format!(
        "{}: {records} records of {} bytes in {PARTITIONS} partitions of {}, one thread on one core, by commit interval{}",
        WORKLOAD.about(),
        input.bytes / input.records,
        place.name(),
        warm_up::in_words(options),
    );
    Ok(Report {
        load,
        tables: vec![table(&sides, &costs)],
        figures: figures(&costs),
        void: None,
    })
}

/// Who counts windows.
enum Side<'a> {
    /// The engine with this commit interval in milliseconds; exactly once, or at least.
    Engine(u64, bool),
    Streams(&'a KafkaStreams, Guarantee),
}

impl Side<'_> {
    /// How often it runs. Of Kafka Streams, which no goal is judged by here, a full run has no time for more than one.
    fn rounds(&self, options: &Options) -> usize {
        match self {
            Side::Streams(..) if options.effort() == Effort::Full => 1,
            _ => options.pairs(),
        }
    }

    fn name(&self) -> String {
        match self {
            Side::Engine(commit_ms, true) => format!("exactly once, {commit_ms} ms"),
            Side::Engine(commit_ms, false) => format!("at least once, {commit_ms} ms"),
            Side::Streams(_, Guarantee::ExactlyOnce) => {
                format!("Kafka Streams, exactly once, {USUAL_MS} ms, second half")
            }
            Side::Streams(_, Guarantee::AtLeastOnce) => {
                format!("Kafka Streams, at least once, {USUAL_MS} ms, second half")
            }
        }
    }
}

/// What the runs of a side cost a record, in nanoseconds.
#[derive(Clone, Default)]
struct Costs {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

struct Runs<'a> {
    place: &'a Place,
    input: &'a Input,
    prefix: &'a str,
    /// What the first run wrote.
    expected: Option<Summary>,
    count: u64,
}

impl Runs<'_> {
    /// Runs a side once, compares what it wrote with what the first run did, and says what a record cost: CPU and time.
    fn once(&mut self, side: &Side<'_>) -> Result<(f64, f64), Failure> {
        self.count += 1;
        let output = format!("{}-{}", self.prefix, self.count);
        let (cpu, wall, records) = match *side {
            Side::Engine(commit_ms, exactly_once) => {
                let job = Job {
                    workload: WORKLOAD,
                    place: self.place.clone(),
                    input: self.input.topic.clone(),
                    output: output.clone(),
                    commit_ms,
                    follow: None,
                    by: By::Engine {
                        workers: 1,
                        exactly_once,
                    },
                };
                let used = job.run(1)?;
                (used.cpu, used.wall, self.input.records)
            }
            Side::Streams(peer, guarantee) => {
                let setting = Setting {
                    guarantee,
                    ..Setting::MAIN
                };
                let measured = setting.run(peer, self.place, (WORKLOAD, self.input), &output)?;
                let half = measured.second_half;
                (half.cpu, half.wall, measured.records / 2)
            }
        };
        let written = summary(self.place, WORKLOAD, &output, self.input.closing)?;
        let expected = *self.expected.get_or_insert(written);
        if written != expected {
            return Err(
                format!("it writes {written:?}, where the first run wrote {expected:?}").into(),
            );
        }
        self.place.delete(&output)?;
        Ok((
            nanoseconds_each(cpu, records),
            nanoseconds_each(wall, records),
        ))
    }
}

fn table(sides: &[Side<'_>], costs: &[Costs]) -> Table {
    let row = |(side, of): (&Side<'_>, &Costs)| {
        let rate = of.wall.iter().map(|wall| 1e6 / wall).collect();
        (side.name(), vec![of.cpu.clone(), of.wall.clone(), rate])
    };
    let columns = ["CPU ns a record", "wall ns a record", "thousand records/s"];
    Table {
        title: "guarantee, commit interval".to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows: sides.iter().zip(costs).map(row).collect(),
    }
}

/// What is judged, of the sides in their order: at least once, exactly once by interval, and perhaps Kafka Streams twice.
fn figures(costs: &[Costs]) -> Vec<Figure> {
    // A rate is the inverse of the time a record takes.
    let kept =
        |name: String, of: &Costs, to: &Costs, goal| Figure::ratio(name, &to.wall, &of.wall, goal);
    let (base, rest) = costs.split_at(1);
    let of_interval = INTERVALS.iter().zip(rest).map(|((commit_ms, least), of)| {
        let name = format!("rate at {commit_ms} ms to at least once");
        kept(name, of, &base[0], Some(Goal::AtLeast(*least)))
    });
    let mut figures: Vec<_> = of_interval.collect();
    if let [at_least_once, exactly_once] = &rest[INTERVALS.len()..] {
        let name = "Kafka Streams' rate exactly once to at least once".to_owned();
        figures.push(kept(name, exactly_once, at_least_once, None));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_by_as_much_as_a_record_takes_longer() {
        let costs = [1.0, 1.0, 1.25, 2.0, 4.0].map(|wall| Costs {
            cpu: vec![1.0],
            wall: vec![wall],
        });
        let kept: Vec<_> = figures(&costs)
            .into_iter()
            .map(|of| (of.samples[0], of.is_met()))
            .collect();
        assert_eq!(
            kept,
            [(1.0, true), (0.8, false), (0.5, false), (0.25, false)]
        );
    }
}
