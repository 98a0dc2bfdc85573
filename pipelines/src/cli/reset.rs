//! The options of `tiderace reset`.

use clap::{Args, ValueEnum};

use super::{LogOptions, Start};

#[derive(Args)]
#[command(after_help = "\
Examples:
  tiderace reset rides-per-zone                                     all input once more, from the beginning
  tiderace reset rides-per-zone --to-time 2026-07-01T03:00:00Z --yes
  tiderace reset rides-per-zone --to-offset rides:0=120 --to-offset rides:3=98

Forgets the epoch log and the snapshots of an application; its next start begins anew at the point chosen, with any
program and any parameters. Says first what will be forgotten and where each partition begins, and asks; without a
terminal --yes has to answer. Tables begin with their first record, always. Topics that the application writes stay as
they are: what it writes again comes behind that, and `tiderace check` counts from there.

Refused while the application runs on the same data directory (exit code 75). An instance that runs elsewhere on the
same cluster is fenced: it commits nothing more (under exactly_once_v2 it writes nothing more), and ends with exit code
69. A reset that is cut short has happened or has not; the next start deletes what snapshots it has left.")]
pub(crate) struct Reset {
    /// The application id, as a pipeline's name
    #[arg(value_name = "APP")]
    pub(crate) application: String,
    /// Begin with the first record of each partition (the default)
    #[arg(long, value_name = "POINT", conflicts_with_all = ["to_time", "to_offset"])]
    pub(crate) to: Option<Point>,
    /// Begin with the first record of this time (RFC 3339, or a date) or later; behind the last one, if there is none
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "to_offset")]
    pub(crate) to_time: Option<i64>,
    /// Begin at an offset of a partition, as often as needed; others go on where they are
    #[arg(long, value_name = "TOPIC:PARTITION=OFFSET", value_parser = place)]
    pub(crate) to_offset: Vec<(String, u32, i64)>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// A point that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// The first record held.
    Beginning,
}

fn time(text: &str) -> Result<i64, String> {
    match super::start(text) {
        Ok(Start::Time(time)) => Ok(time),
        _ => Err("it is a time such as 2020-07-01T00:10:00Z".into()),
    }
}

fn place(text: &str) -> Result<(String, u32, i64), String> {
    let parsed = || {
        let (at, offset) = text.rsplit_once('=')?;
        let (topic, partition) = at.rsplit_once(':')?;
        let offset = i64::try_from(offset.parse::<u64>().ok()?).ok()?;
        Some((topic.to_owned(), partition.parse().ok()?, offset))
    };
    parsed()
        .filter(|(topic, ..)| !topic.is_empty())
        .ok_or_else(|| "it is written as rides:0=120: topic, partition, offset".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_topic_a_partition_and_an_offset() {
        assert_eq!(place("rides:3=98"), Ok(("rides".to_owned(), 3, 98)));
        for text in [
            "rides",
            "rides:3",
            "rides=98",
            ":3=98",
            "rides:x=98",
            "rides:3=-1",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
        assert_eq!(time("2020-07-01"), Ok(1_593_561_600_000));
        assert!(time("12").is_err(), "that is an offset");
    }
}
