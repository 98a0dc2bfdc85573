//! `tiderace reset`: an application's state forgotten, once the user has agreed.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};

use tiderace::connect::TopicPartition;
use tiderace::runtime::{Reset as Prepared, StartPoint};

use crate::access::{Access, configure, open};
use crate::cli::Reset;
use crate::failure::Failure;

/// Says what will be forgotten, asks, and forgets.
pub(crate) fn reset(options: &Reset) -> Result<(), Failure> {
    let config = configure(&options.log, Vec::new())?;
    let log = open(&config, Access::Write)?;
    let application = &options.application;
    let prepared = Prepared::prepare(log.clone(), &config, application, to(options))?;
    eprint!("{}", plan(options, &prepared, &log.location()));
    if !options.yes && !agreed(application)? {
        return Err(Failure::Refused(format!(
            "`{application}` was not reset: nothing was changed"
        )));
    }
    let last = prepared.last_epoch();
    prepared.carry_out()?;
    println!("reset {application}: epochs up to {last} are forgotten, the next start begins anew");
    Ok(())
}

fn to(options: &Reset) -> StartPoint {
    if let Some(time) = options.to_time {
        return StartPoint::Time(time);
    }
    if options.to_offset.is_empty() {
        return StartPoint::Beginning;
    }
    let chosen = options.to_offset.iter();
    let place = |(topic, partition, offset): &(String, u32, i64)| {
        (TopicPartition::new(topic.as_str(), *partition), *offset)
    };
    StartPoint::Offsets(chosen.map(place).collect())
}

fn plan(options: &Reset, prepared: &Prepared, location: &str) -> String {
    let snapshots = match prepared.snapshots() {
        0 => "no snapshot".to_owned(),
        1 => "1 snapshot".to_owned(),
        count => format!("{count} snapshots"),
    };
    let mut text = format!("reset of `{}` in {location}\n", options.application);
    let _ = match prepared.last_epoch() {
        0 => writeln!(text, "  no epoch is to be forgotten, and {snapshots}"),
        last => writeln!(text, "  forgets epochs up to {last} and {snapshots}"),
    };
    for of in prepared.moves() {
        let before = match of.before {
            Some(before) => format!("read up to offset {before}"),
            None => "not known how far it was read".to_owned(),
        };
        let table = if of.table { ", a table" } else { "" };
        let (at, after) = (&of.partition, of.after);
        let _ = writeln!(text, "  {at}{table}: {before}, begins at {after}");
    }
    text.push_str("  output topics stay as they are; what is written again comes behind that\n");
    if options.log.brokers.is_some() {
        text.push_str("  an instance that runs elsewhere is fenced and ends with exit code 69\n");
    }
    text
}

/// Whether the user says yes.
fn agreed(application: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Refused(format!(
            "nobody can be asked whether to reset `{application}`, as stdin is no terminal: say --yes. Nothing was changed"
        )));
    }
    eprint!("forget this? [y/N] ");
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(Failure::Input)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
