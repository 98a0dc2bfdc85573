//! Runs the program over the transfers, life after life: each but the last ends in a crash, and the log is audited
//! behind it.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::{Log, NewTopic, SinkRecord};
use tiderace::error::RunError;
use tiderace::{Config, Engine};
use tiderace_testing::kills::{Kill, plan};
use tiderace_testing::snapshots::newest;

use super::{Audit, Audited, BURNT, PARTITIONS, topology, transfer};

type Failure = Box<dyn std::error::Error>;

/// The share of crashes that are followed by another while the next start recovers.
const AGAIN: f64 = 0.3;

/// How often every other life keeps its state: the next goes on from the middle of it.
const OFTEN: Duration = Duration::from_millis(50);

/// What is run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Plan {
    /// Transfers, rounded up to a multiple of the partitions.
    pub records: u64,
    /// Worker threads.
    pub workers: usize,
    /// Crashes.
    pub crashes: usize,
    /// Seed of their moments.
    pub seed: u64,
}

/// What came of it; an audit that failed is an error instead.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// What was run.
    #[serde(flatten)]
    pub plan: Plan,
    /// What was audited.
    #[serde(flatten)]
    pub audited: Audited,
    /// Lives that ended in a crash.
    pub crashed: usize,
    /// Those of them that crashed before they had committed anything.
    pub crashed_in_recovery: usize,
    /// Those of them that had published a snapshot, from which the next went on.
    pub crashed_behind_snapshot: usize,
    /// Time of all lives, recoveries included and loading and audits left out.
    pub seconds: f64,
}

/// Loads the transfers into an embedded log in `directory`, runs the program as planned and audits every epoch;
/// `say` is told of each life.
///
/// # Errors
/// An epoch that does not pass the audit, or a life that ends otherwise than planned.
pub fn run(plan_of: Plan, directory: &Path, say: &mut dyn FnMut(&str)) -> Result<Outcome, Failure> {
    let each = plan_of.records.div_ceil(u64::from(PARTITIONS));
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(directory)?);
    load(&*log, each)?;
    let config = Config {
        workers: plan_of.workers,
        epoch_records: 5_000,
        data_dir: directory.into(),
        ..Config::default()
    };
    let mut audit = Audit::new(&*log)?;
    let mut outcome = Outcome {
        plan: plan_of,
        audited: Audited::default(),
        crashed: 0,
        crashed_in_recovery: 0,
        crashed_behind_snapshot: 0,
        seconds: 0.0,
    };
    let mut reached = 0;
    let kills = plan(plan_of.seed, plan_of.crashes, AGAIN);
    for (life, kill) in kills.into_iter().enumerate() {
        let fuse = match kill {
            Kill::AtOutput(share) => (each as f64 * share) as u64,
            Kill::InRecovery(share) => (reached as f64 * share) as u64,
        };
        reached = reached.max(fuse);
        let mut config = config.clone();
        if life % 2 == 1 {
            config.snapshot_interval = OFTEN;
        }
        let kept = newest(directory, "transfers");
        let began = Instant::now();
        let ended = Engine::start(topology(Some(fuse))?, Arc::clone(&log), &config)?.join();
        outcome.seconds += began.elapsed().as_secs_f64();
        match ended {
            Err(RunError::Panicked { message, .. }) if message.starts_with(BURNT) => {}
            Err(other) => return Err(other.into()),
            Ok(_) => return Err(format!("no crash at transfer {fuse} of {each}").into()),
        }
        let before = outcome.audited;
        outcome.audited = audit.go_on()?;
        outcome.crashed += 1;
        outcome.crashed_in_recovery += usize::from(before.epochs == outcome.audited.epochs);
        outcome.crashed_behind_snapshot += usize::from(newest(directory, "transfers") > kept);
        say(&format!(
            "{} of {} crashes, {} transfers in {} epochs add up to nothing",
            outcome.crashed, plan_of.crashes, outcome.audited.transfers, outcome.audited.epochs
        ));
    }
    let began = Instant::now();
    Engine::start(topology(None)?, Arc::clone(&log), &config)?.join()?;
    outcome.seconds += began.elapsed().as_secs_f64();
    outcome.audited = audit.go_on()?;
    let (read, all) = (outcome.audited.transfers, each * u64::from(PARTITIONS));
    if read != all {
        return Err(format!("{read} of {all} transfers were read").into());
    }
    Ok(outcome)
}

fn load(log: &dyn Log, each: u64) -> Result<(), Failure> {
    let topics = [
        ("transfers", PARTITIONS),
        ("balances", 1),
        ("totals", 1),
        ("transfers-epochs", 1),
    ];
    for (name, partitions) in topics {
        log.create_topic(&NewTopic {
            name: name.to_owned(),
            partitions,
            config: BTreeMap::new(),
        })?;
    }
    let mut writer = log.writer("transfers")?;
    let mut value = Vec::new();
    for serial in 0..each {
        for partition in 0..PARTITIONS {
            let transfer = transfer(partition, serial);
            value.clear();
            serde_json::to_writer(&mut value, &transfer)?;
            writer.send(&SinkRecord {
                topic: "transfers",
                partition,
                timestamp: serial as i64,
                key: Some(&transfer.from.to_be_bytes()),
                value: Some(&value),
                headers: &[],
            })?;
        }
    }
    Ok(writer.flush()?)
}
