//! `tiderace rides-per-zone`: topics, load, run, report.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tiderace::Topology;
use tiderace::config::Config;
use tiderace::connect::{Log, NewTopic, RecordBatch, TopicPartition};
use tiderace::runtime::{Change, Engine, Progress, Report, Running};
use tiderace::web::{Health, Server, serve};
use tiderace_pipelines::load::{Plan, Rides, load_rides, load_zones};
use tiderace_pipelines::read::read_partition;

use crate::access::{Access, configure, existing, open};
use crate::busiest_zones::Zones;
use crate::cli::{Form, RidesPerZone};
use crate::engine;
use crate::failure::Failure;
use crate::formats::declared;
use crate::interrupt::Interrupt;
use crate::json_lines::{self, Formats};
use crate::progress::ProgressLine;
use crate::report;

const PIPELINE: &str = "rides-per-zone";
const RIDES: &str = "rides";
const ZONES: &str = "zones";
const OUTPUT: &str = "rides-per-zone";
const LATE: &str = "rides-per-zone-late";

/// The topics of the pipeline and how many partitions they get.
const TOPICS: [(&str, u32); 4] = [(RIDES, 4), (ZONES, 1), (OUTPUT, 4), (LATE, 4)];

/// How long the command waits for the engine before it looks at signals and figures.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs the pipeline as the options say.
pub(crate) fn rides_per_zone(options: &RidesPerZone) -> Result<(), Failure> {
    let config = configuration(options)?;
    let topology = engine::rides_per_zone(options.window, options.grace)?;
    if options.describe_change {
        print!("{}", describe_change(&topology, &config)?);
        return Ok(());
    }
    let log = open(&config, Access::Create)?;
    let interrupt = Interrupt::watch()?;
    let mut line = ProgressLine::new();
    let prepared = prepare(options, &config, &*log, &interrupt, &mut line);
    line.finish();
    prepared?;
    if let Some(weakness) = config.guarantee.weakness() {
        line.say(&format!("{}: {weakness}", config.guarantee));
    }
    let late_before = ends(&*log, LATE)?;
    let health = Health::default();
    let running = Engine::start(topology, log.clone(), &config)?;
    let server = metrics(options, &config, &running, &health)?;
    let report = supervise(running, options.follow, &interrupt, &mut line);
    if let Err(failure) = &report {
        health.fail(failure.to_string());
    }
    let report = report?;
    drop(server);
    print_report(options, &log, &report, &late_before)?;
    if report.stopped_early && !options.follow {
        return Err(Failure::Interrupted(
            "cut short: what is committed is safe, the next run goes on behind it".into(),
        ));
    }
    Ok(())
}

/// What becomes of the states of the last snapshot under this version of the pipeline.
fn describe_change(topology: &Topology, config: &Config) -> Result<String, Failure> {
    let Some(change) = Change::of(topology, config)? else {
        return Ok("there is no snapshot: every step begins with no state\n".into());
    };
    let mut text = String::new();
    for (what, names) in [
        ("kept", &change.kept),
        ("new", &change.new),
        ("gone", &change.gone),
    ] {
        for name in names {
            text.push_str(&format!("{what:8} {name}\n"));
        }
    }
    for (name, was, is) in &change.altered {
        text.push_str(&format!("changed  {name}: was `{was}`, is `{is}`\n"));
    }
    Ok(text)
}

fn configuration(options: &RidesPerZone) -> Result<Config, Failure> {
    let flags = [
        ("--workers", "num.stream.threads", &options.workers),
        (
            "--commit-interval",
            "commit.interval.ms",
            &options.commit_interval,
        ),
        ("--rate", "max.records.per.second", &options.rate),
        (
            "--application-id",
            "application.id",
            &options.application_id,
        ),
    ];
    let given = flags
        .into_iter()
        .filter_map(|(flag, name, value)| Some((flag, name, value.clone()?)));
    let mut config = configure(&options.log, given.collect())?;
    config.follow = options.follow;
    config.dropped_states.clone_from(&options.drop_state);
    config.accepted_losses.clone_from(&options.accept_loss);
    Ok(config)
}

/// Topics and their input: what has to be there before the engine starts.
fn prepare(
    options: &RidesPerZone,
    config: &Config,
    log: &dyn Log,
    interrupt: &Interrupt,
    line: &mut ProgressLine,
) -> Result<(), Failure> {
    let load = match options.load.no_load {
        true => None,
        false => {
            let rides = match &options.load.rides {
                Some(file) => Rides::from_file(file)?,
                None => Rides::built_in(),
            };
            let load = &options.load;
            let plan = Plan::new(&rides, load.scale, load.order, load.disorder, load.seed);
            Some((rides, plan))
        }
    };
    create_topics(options, config, log, load.as_ref().map(|(_, plan)| plan))?;
    load_zones(log, ZONES)?;
    let Some((rides, plan)) = load else {
        return Ok(());
    };
    let loaded = load_rides(log, RIDES, &rides, &plan, &mut |done, in_all| {
        line.loading(done, in_all);
        if interrupt.came() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    line.say(&match (loaded.held, loaded.sent) {
        (0, sent) => format!("loaded {sent} rides into topic {RIDES}"),
        (held, 0) => format!("topic {RIDES} holds all {held} rides already"),
        (held, sent) => format!("topic {RIDES} held {held} rides, loaded the other {sent}"),
    });
    Ok(())
}

/// An embedded log gets every topic that is missing; a cluster only on request, as topics there are others' too.
fn create_topics(
    options: &RidesPerZone,
    config: &Config,
    log: &dyn Log,
    plan: Option<&Plan>,
) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for (name, partitions) in TOPICS {
        if log.topic(name)?.is_none() {
            missing.push((name, partitions));
        }
    }
    let cluster = config.brokers.is_some();
    if cluster && !options.create_topics && !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        return Err(Failure::Refused(format!(
            "{} has no topic {}; --create-topics creates what is missing",
            log.location(),
            names.join(", ")
        )));
    }
    for (name, partitions) in missing {
        // Records dated 2020 would otherwise be deleted as soon as they are written.
        let mut topic_config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        if let Some(plan) = plan.filter(|_| name == RIDES && !cluster) {
            topic_config.extend([plan.config_entry()]);
        }
        log.create_topic(&NewTopic {
            name: name.into(),
            partitions,
            config: topic_config,
        })?;
    }
    Ok(())
}

fn metrics(
    options: &RidesPerZone,
    config: &Config,
    running: &Running,
    health: &Health,
) -> Result<Option<Server>, Failure> {
    let Some(address) = &options.metrics else {
        return Ok(None);
    };
    let application = config.application_id.as_deref().unwrap_or(PIPELINE);
    let server =
        serve(address, application, running.progress(), health.clone()).map_err(|source| {
            Failure::System {
                what: format!("serve metrics at {address}"),
                source,
            }
        })?;
    health.start();
    eprintln!("metrics at http://{}/metrics", server.address());
    Ok(Some(server))
}

/// Says once how the run got back to where the application had been.
#[derive(Default)]
struct Resumed(bool);

impl Resumed {
    fn say(&mut self, progress: &Progress, line: &mut ProgressLine) {
        if let (false, Some(recovery)) = (self.0, progress.recovery()) {
            self.0 = true;
            if recovery.snapshot.is_some() || recovery.epochs > 0 {
                line.say(&format!("resumed: {recovery}"));
            }
        }
    }
}

/// Shows progress until the engine ends, and stops it at the first signal.
fn supervise(
    running: Running,
    follow: bool,
    interrupt: &Interrupt,
    line: &mut ProgressLine,
) -> Result<Report, Failure> {
    let progress = running.progress();
    let mut stopping = false;
    let mut resumed = Resumed::default();
    line.restart();
    if follow {
        line.say("following; Ctrl-C finishes the epoch, commits and ends");
    }
    while !running.wait(GLANCE) {
        line.running(&progress);
        resumed.say(&progress, line);
        if interrupt.came() && !stopping {
            stopping = true;
            line.say("finishing the epoch and committing; a second signal ends at once");
            running.stop_handle().stop();
        }
    }
    resumed.say(&progress, line);
    line.finish();
    let report = running.join()?;
    if stopping {
        line.say(&format!("committed up to epoch {}", report.last_epoch));
    }
    Ok(report)
}

fn ends(log: &dyn Log, topic: &str) -> Result<Vec<i64>, Failure> {
    Ok(existing(log, topic)?
        .partitions
        .iter()
        .map(|offsets| offsets.end)
        .collect())
}

fn print_report(
    options: &RidesPerZone,
    log: &Arc<dyn Log>,
    report: &Report,
    late_before: &[i64],
) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    if options.format == Form::Json {
        return writeln!(out, "{}", report::json(PIPELINE, OUTPUT, report))
            .and_then(|()| out.flush())
            .map_err(Failure::Output);
    }
    let zones = Zones::read(&**log, OUTPUT)?;
    writeln!(
        out,
        "{}\n{}",
        zones.table(),
        report::text(report).trim_end()
    )
    .map_err(Failure::Output)?;
    if options.late {
        print_late(&**log, late_before, &mut out)?;
    }
    let place = match &options.log.brokers {
        Some(brokers) => format!(" --brokers {brokers}"),
        None => options
            .log
            .data_dir
            .as_ref()
            .map(|dir| format!(" --data-dir {dir}"))
            .unwrap_or_default(),
    };
    writeln!(
        out,
        "output: topic {OUTPUT}, {} results, in {}\nread it with: tiderace consume {OUTPUT}{place}",
        zones.results,
        log.location()
    )
    .and_then(|()| out.flush())
    .map_err(Failure::Output)
}

/// Prints the rides that came too late in this run, as JSON lines.
fn print_late(log: &dyn Log, before: &[i64], out: &mut dyn Write) -> Result<(), Failure> {
    let (key, value) = declared(LATE);
    let (mut line, mut count, mut failed) = (Vec::new(), 0u64, None);
    for (number, offsets) in existing(log, LATE)?.partitions.iter().enumerate() {
        let partition = TopicPartition::new(LATE, number as u32);
        let from = before.get(number).copied().unwrap_or(0).max(offsets.first);
        let mut visit = |batch: &dyn RecordBatch, index: usize| {
            line.clear();
            json_lines::write(
                batch,
                index,
                partition.partition,
                Formats { key, value },
                &mut line,
            );
            count += 1;
            failed = out.write_all(&line).err();
            if failed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let _ = read_partition(log, &partition, from, offsets.end, &|| true, &mut visit)?;
        if let Some(error) = failed {
            return Err(Failure::Output(error));
        }
    }
    writeln!(out, "{count} rides came too late, they are in topic {LATE}").map_err(Failure::Output)
}
