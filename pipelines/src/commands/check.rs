//! `tiderace check`: whether an application's epoch log, outputs, snapshots and, with `--inputs`, inputs are sound.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;
use tiderace::runtime::{Verdict, check, check_with_inputs};

use crate::access::{Access, configure, open};
use crate::cli::{Check, Form};
use crate::failure::Failure;

/// Checks, says what was found, and fails if anything is wrong.
pub(crate) fn run(options: &Check) -> Result<(), Failure> {
    let config = configure(&options.log, Vec::new())?;
    let log = open(&config, Access::Read)?;
    let check = if options.inputs {
        check_with_inputs
    } else {
        check
    };
    let verdict = check(&*log, &config.data_dir, &options.application)?;
    let text = match options.format {
        Form::Text => text(&options.application, &verdict),
        Form::Json => {
            let object = json!({
                "application_id": options.application,
                "sound": verdict.is_sound(),
                "entries": verdict.entries,
                "first_epoch": verdict.first_epoch,
                "last_epoch": verdict.last_epoch,
                "output_records": verdict.records,
                "input_records": verdict.input_records,
                "snapshots": verdict.snapshots,
                "newest_snapshot": verdict.newest_snapshot,
                "gaps": verdict.gaps,
                "allowed": verdict.allowed,
                "faults": verdict.faults,
            });
            format!("{object}\n")
        }
    };
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).map_err(Failure::Output)?;
    match verdict.faults.len() {
        0 => Ok(()),
        count => Err(Failure::BadData(format!(
            "`{}` is not sound: {count} fault{} listed on stdout; nothing was changed",
            options.application,
            if count == 1 { " is" } else { "s are" }
        ))),
    }
}

fn text(application: &str, verdict: &Verdict) -> String {
    let mut text = format!(
        "checked {application}: {} entries of the epoch log, epochs {} to {}, {} output records, {}{}\n",
        verdict.entries,
        verdict.first_epoch,
        verdict.last_epoch,
        verdict.records,
        match verdict.input_records {
            Some(records) => format!("{records} input records, "),
            None => String::new(),
        },
        match (verdict.snapshots, verdict.newest_snapshot) {
            (1, Some(epoch)) => format!("1 snapshot, of epoch {epoch}"),
            (count, Some(epoch)) => format!("{count} snapshots, the newest of epoch {epoch}"),
            (_, None) => "no snapshots here".to_owned(),
        }
    );
    for gap in &verdict.gaps {
        let _ = writeln!(text, "not checked: {gap}");
    }
    for allowed in &verdict.allowed {
        let _ = writeln!(text, "allowed: {allowed}");
    }
    for fault in &verdict.faults {
        let _ = writeln!(text, "wrong: {fault}");
    }
    if verdict.is_sound() {
        text.push_str(match verdict.input_records {
            Some(_) => "nothing is wrong\n",
            None => "nothing is wrong; inputs were not read (--inputs)\n",
        });
    }
    text
}
