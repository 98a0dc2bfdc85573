//! The comparison of a workload: the engine, the loop and, where it is asked for, Kafka Streams, in turns.

use std::time::Duration;

use tiderace_benches::child::Used;
use tiderace_benches::machine::REFERENCE_CALIBRATION;
use tiderace_benches::measure::{Spread, nanoseconds_each};
use tiderace_benches::peers::{KafkaStreams, Measured};

use super::input::Input;
use super::outputs::{Summary, summary};
use super::place::{Broker, PARTITIONS, Place};
use super::side::{By, Job};
use super::streams::Setting;
use super::workload::Workload;
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// How often both sides commit, in milliseconds.
const COMMIT_MS: u64 = 100;

/// How much dearer than its floor a loop may be.
const TOLERANCE: f64 = 1.15;

const ENGINE: By = By::Engine {
    workers: 1,
    exactly_once: true,
};
const TWO_WORKERS: By = By::Engine {
    workers: 2,
    exactly_once: true,
};

const LOOP: By = By::Loop { exactly_once: true };

/// Runs a workload on all sides and compares what they write and what they cost.
pub(crate) fn run(workload: Workload, with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    let broker = Broker::start(options)?;
    let place = broker.place();
    let peer = match options.with_streams() {
        true => Some(KafkaStreams::build()?),
        false => None,
    };
    let prefix = format!("tiderace-bench-{}-{}", workload.name(), std::process::id());
    let records = workload.records(options.effort());
    with.progress.say(&format!(
        "{}: {records} records to {}",
        workload.about(),
        place.name()
    ));
    let input = Input::write(place, format!("{prefix}-in"), workload, records)?;
    let mut comparison = Comparison {
        workload,
        place,
        with,
        input,
        prefix: &prefix,
        expected: None,
        runs: 0,
    };
    let report = comparison.report(peer.as_ref());
    place.delete(&prefix)?;
    report
}

struct Comparison<'a> {
    workload: Workload,
    place: &'a Place,
    with: &'a Context<'a>,
    input: Input,
    prefix: &'a str,
    /// What the first run wrote.
    expected: Option<Summary>,
    runs: u64,
}

/// What the runs of a side cost.
#[derive(Default)]
struct Costs {
    /// Per record, in nanoseconds.
    cpu: Vec<f64>,
    wall: Vec<f64>,
    /// In MiB.
    memory: Vec<f64>,
}

impl Costs {
    fn row(&self, name: impl Into<String>) -> (String, Vec<Vec<f64>>) {
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

impl Comparison<'_> {
    fn report(&mut self, peer: Option<&KafkaStreams>) -> Result<Report, Failure> {
        let effort = self.with.options.effort();
        let (mut engine, mut by_hand) = (Costs::default(), Costs::default());
        let mut streams = Costs::default();
        for pair in 0..self.with.options.pairs() {
            let mut sides = [(ENGINE, &mut engine), (LOOP, &mut by_hand)];
            sides.rotate_left(pair % 2);
            for (by, costs) in sides {
                self.once(by, 1, costs)?;
            }
            if let Some(peer) = peer {
                self.streams_once(peer, Setting::MAIN, &mut streams)?;
            }
        }
        let mut tables = vec![table(
            "one thread, one core",
            vec![engine.row("engine"), by_hand.row("loop")],
        )];
        let mut figures = self.figures(&engine, &by_hand);
        if peer.is_some() {
            tables[0]
                .rows
                .push(streams.row("Kafka Streams, second half"));
            figures.extend(self.against_streams(&engine, &streams));
        }
        if effort != Effort::Quick {
            let (mut two, mut one) = (Costs::default(), Costs::default());
            let mut streams = Costs::default();
            for pair in 0..self.with.options.pairs() {
                let mut sides = [(TWO_WORKERS, &mut two), (LOOP, &mut one)];
                sides.rotate_left(pair % 2);
                for (by, costs) in sides {
                    self.once(by, usize::MAX, costs)?;
                }
                if let Some(peer) = peer {
                    let setting = Setting {
                        threads: 2,
                        ..Setting::MAIN
                    };
                    self.streams_once(peer, setting, &mut streams)?;
                }
            }
            let mut rows = vec![two.row("engine, two workers"), one.row("loop, one thread")];
            if peer.is_some() {
                rows.push(streams.row("Kafka Streams, two threads, second half"));
            }
            tables.push(table("all cores", rows));
            figures.extend(self.of_two(&two, &one, peer.is_some().then_some(&streams)));
        }
        if let (Effort::Full, Some(peer)) = (effort, peer) {
            let mut rows = Vec::new();
            for setting in Setting::others() {
                let mut costs = Costs::default();
                self.streams_once(peer, setting, &mut costs)?;
                rows.push(costs.row(setting.name()));
            }
            tables.push(table("other settings, once each", rows));
        }
        Ok(Report {
            load: self.load(),
            tables,
            figures,
            void: self.void(&by_hand),
        })
    }

    fn load(&self) -> String {
        let Input { records, bytes, .. } = self.input;
        let on = self.place.name();
        let outputs = self.expected.map_or(0, |summary| summary.records);
        format!(
            "{}: {records} records of {} bytes in {PARTITIONS} partitions of {on}, exactly once, a commit every {COMMIT_MS} ms; {outputs} results",
            self.workload.about(),
            bytes / records,
        )
    }

    /// Runs a side once on so many cores.
    fn once(&mut self, by: By, cores: usize, costs: &mut Costs) -> Result<(), Failure> {
        let job = Job {
            workload: self.workload,
            place: self.place.clone(),
            input: self.input.topic.clone(),
            output: self.name(),
            commit_ms: COMMIT_MS,
            follow: None,
            by,
        };
        let Used {
            cpu,
            wall,
            peak_memory,
        } = job.run(cores)?;
        let name = format!("{by:?}");
        self.take(
            &name,
            &job.output,
            (cpu, wall, peak_memory),
            self.input.records,
            costs,
        )
    }

    fn streams_once(
        &mut self,
        peer: &KafkaStreams,
        setting: Setting,
        costs: &mut Costs,
    ) -> Result<(), Failure> {
        let output = self.name();
        let Measured {
            second_half,
            peak_memory,
            records,
            ..
        } = setting.run(peer, self.place, (self.workload, &self.input), &output)?;
        let used = (second_half.cpu, second_half.wall, peak_memory);
        self.take(&setting.name(), &output, used, records / 2, costs)
    }

    /// The output topic of the next run.
    fn name(&mut self) -> String {
        self.runs += 1;
        format!("{}-{}", self.prefix, self.runs)
    }

    /// Compares what a run wrote with what the first one did, and adds what it cost.
    fn take(
        &mut self,
        name: &str,
        output: &str,
        (cpu, wall, memory): (Duration, Duration, u64),
        records: u64,
        costs: &mut Costs,
    ) -> Result<(), Failure> {
        let written = summary(self.place, self.workload, output, self.input.closing)?;
        let expected = *self.expected.get_or_insert(written);
        if written != expected {
            return Err(format!(
                "{name} writes other results: {written:?}, where the first run wrote {expected:?}"
            )
            .into());
        }
        self.place.delete(output)?;
        costs.cpu.push(nanoseconds_each(cpu, records));
        costs.wall.push(nanoseconds_each(wall, records));
        costs.memory.push(memory as f64 / f64::from(1 << 20));
        let last = |of: &[f64]| of.last().copied().unwrap_or_default();
        self.with.progress.say(&format!(
            "{name}: {:.0} ns CPU, {:.0} ns a record, {:.0} MiB",
            last(&costs.cpu),
            last(&costs.wall),
            last(&costs.memory)
        ));
        Ok(())
    }

    fn figures(&self, engine: &Costs, by_hand: &Costs) -> Vec<Figure> {
        let goals = self.workload.goals();
        let most = Goal::AtMost;
        let mut figures = vec![
            Figure::ratio(
                "CPU, engine to loop",
                &engine.cpu,
                &by_hand.cpu,
                Some(most(goals.to_loop)),
            ),
            Figure::ratio("wall, engine to loop", &engine.wall, &by_hand.wall, None),
        ];
        let memory = goals.memory.map(|(to_loop, _)| most(to_loop));
        figures.push(Figure::ratio(
            "memory, engine to loop",
            &engine.memory,
            &by_hand.memory,
            memory,
        ));
        figures
    }

    fn against_streams(&self, engine: &Costs, streams: &Costs) -> Vec<Figure> {
        let goals = self.workload.goals();
        let least = Some(Goal::AtLeast(goals.of_streams));
        let memory = goals.memory.map(|(_, of_streams)| Goal::AtMost(of_streams));
        vec![
            Figure::ratio(
                "CPU, Kafka Streams to engine",
                &streams.cpu,
                &engine.cpu,
                least,
            ),
            Figure::ratio(
                "wall, Kafka Streams to engine",
                &streams.wall,
                &engine.wall,
                None,
            ),
            Figure::ratio(
                "memory, engine to Kafka Streams",
                &engine.memory,
                &streams.memory,
                memory,
            ),
        ]
    }

    fn of_two(&self, two: &Costs, by_hand: &Costs, streams: Option<&Costs>) -> Vec<Figure> {
        let judged = self.workload == Workload::Windows;
        let least = |least| judged.then_some(Goal::AtLeast(least));
        let rate = "rate, two workers to the loop's one thread";
        let mut figures = vec![Figure::ratio(rate, &by_hand.wall, &two.wall, least(1.15))];
        if let Some(streams) = streams {
            let rate = "rate, two workers to Kafka Streams' two threads";
            figures.push(Figure::ratio(rate, &streams.wall, &two.wall, least(5.0)));
        }
        figures
    }

    /// Why ratios to the loop say nothing, if they do not.
    fn void(&self, by_hand: &Costs) -> Option<String> {
        let on_kafka = self.place.brokers.is_some();
        if !on_kafka || self.with.options.effort() == Effort::Quick {
            return None;
        }
        let scale = self.with.calibration.median / REFERENCE_CALIBRATION;
        let floor = self.workload.goals().floor_us * 1_000.0 * scale;
        let median = Spread::of(by_hand.cpu.iter().copied()).median;
        (median > floor * TOLERANCE).then(|| {
            format!("the loop takes {median:.0} ns CPU a record, its floor here is {floor:.0}: ratios to it say nothing")
        })
    }
}

fn table(title: &str, rows: Vec<(String, Vec<Vec<f64>>)>) -> Table {
    let columns = [
        "CPU ns a record",
        "wall ns a record",
        "thousand records/s",
        "peak memory MiB",
    ];
    Table {
        title: title.to_owned(),
        columns: columns.map(str::to_owned).into(),
        rows,
    }
}
