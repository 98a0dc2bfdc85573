//! What a run says at its end: for people a table of the busiest zones, read back from the output topic, the
//! conservation line and the latencies; for scripts one JSON object.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::ControlFlow;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tiderace::connect::{Log, RecordBatch, TopicPartition};
use tiderace::runtime::Report;
use tiderace_pipelines::read::read_partition;

use crate::access::existing;
use crate::failure::Failure;

/// Zones in the table.
const SHOWN: usize = 10;

/// The object of `--format json`, in the contract's order.
#[derive(Serialize)]
struct Summary<'a> {
    pipeline: &'a str,
    application_id: &'a str,
    first_epoch: u64,
    last_epoch: u64,
    resumed: bool,
    read: u64,
    processed: u64,
    filtered: u64,
    late: u64,
    skipped: u64,
    dead_lettered: u64,
    windows_closed: u64,
    output_topic: &'a str,
    commit_ms: Percentiles,
    latency_ms: Percentiles,
    seconds: f64,
    records_per_second: f64,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    fn of(micros: &Histogram<u64>) -> Self {
        let millis = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        Percentiles {
            p50: millis(0.50),
            p99: millis(0.99),
        }
    }
}

/// The report for scripts.
pub(crate) fn json(pipeline: &str, output_topic: &str, report: &Report) -> String {
    let summary = Summary {
        pipeline,
        application_id: &report.application_id,
        first_epoch: report.first_epoch,
        last_epoch: report.last_epoch,
        resumed: report.resumed,
        read: report.counts.read,
        processed: report.counts.processed,
        filtered: report.counts.filtered,
        late: report.counts.late,
        skipped: report.counts.skipped,
        dead_lettered: report.counts.dead_lettered,
        windows_closed: report.windows_closed,
        output_topic,
        commit_ms: Percentiles::of(&report.commit_micros),
        latency_ms: Percentiles::of(&report.latency_micros),
        seconds: report.seconds,
        records_per_second: report.records_per_second(),
    };
    serde_json::to_string(&summary).expect("a summary is plain data")
}

/// The part of the report for people that follows from the run alone.
pub(crate) fn text(report: &Report) -> String {
    let counts = &report.counts;
    let mut text = String::new();
    if report.resumed {
        let _ = writeln!(text, "resumed at epoch {}", report.first_epoch);
        if counts.read == 0 {
            text.push_str("nothing is new: every record was read before\n");
        }
    }
    let _ = writeln!(
        text,
        "read {} = processed {} + filtered {} + late {} + skipped {} + dead-lettered {}",
        counts.read,
        counts.processed,
        counts.filtered,
        counts.late,
        counts.skipped,
        counts.dead_lettered
    );
    let (epochs, windows) = (report.commit_micros.len(), report.windows_closed);
    let _ = writeln!(
        text,
        "{windows} windows closed, {epochs} epochs committed, the last is {}; {:.1} s, {:.0} records/s",
        report.last_epoch,
        report.seconds,
        report.records_per_second()
    );
    if !report.commit_micros.is_empty() {
        let (commit, latency) = (
            Percentiles::of(&report.commit_micros),
            Percentiles::of(&report.latency_micros),
        );
        let _ = writeln!(
            text,
            "commit      p50 {:>7.1} ms   p99 {:>7.1} ms",
            commit.p50, commit.p99
        );
        let _ = writeln!(
            text,
            "end to end  p50 {:>7.1} ms   p99 {:>7.1} ms",
            latency.p50, latency.p99
        );
    }
    text
}

/// A value of the output topic, the fields that the table uses.
#[derive(Deserialize)]
struct WindowResult {
    zone_id: u32,
    zone: Option<String>,
    borough: Option<String>,
    window_start: String,
    rides: u64,
}

#[derive(Default)]
struct Busy {
    zone: Option<String>,
    borough: Option<String>,
    rides: u64,
    peak: u64,
    peak_start: String,
}

/// The rides of every window in the output topic, added up by zone.
#[derive(Default)]
pub(crate) struct Zones {
    by_id: HashMap<u32, Busy>,
    /// Results in the topic.
    pub(crate) results: u64,
}

impl Zones {
    /// Reads the output topic from its beginning.
    pub(crate) fn read(log: &dyn Log, topic: &str) -> Result<Self, Failure> {
        let mut zones = Zones::default();
        let mut bad = None;
        for (number, offsets) in existing(log, topic)?.partitions.iter().enumerate() {
            let partition = TopicPartition::new(topic, number as u32);
            let mut visit = |batch: &dyn RecordBatch, index: usize| {
                let record = batch.get(index);
                match serde_json::from_slice(record.value.unwrap_or_default()) {
                    Ok(result) => {
                        zones.add(result);
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        bad = Some(format!(
                            "{partition}, offset {}: not a result of windows: {error}",
                            record.offset
                        ));
                        ControlFlow::Break(())
                    }
                }
            };
            let _ = read_partition(
                log,
                &partition,
                offsets.first,
                offsets.end,
                &|| true,
                &mut visit,
            )?;
        }
        match bad {
            None => Ok(zones),
            Some(reason) => Err(Failure::BadData(reason)),
        }
    }

    fn add(&mut self, result: WindowResult) {
        self.results += 1;
        let busy = self.by_id.entry(result.zone_id).or_default();
        busy.zone = result.zone.or(busy.zone.take());
        busy.borough = result.borough.or(busy.borough.take());
        busy.rides += result.rides;
        let earlier = result.rides == busy.peak && result.window_start < busy.peak_start;
        if result.rides > busy.peak || earlier {
            busy.peak = result.rides;
            busy.peak_start = result.window_start;
        }
    }

    /// The busiest zones by name, the busiest first.
    pub(crate) fn table(&self) -> String {
        let mut zones: Vec<_> = self.by_id.iter().collect();
        zones.sort_by_key(|(id, busy)| (std::cmp::Reverse(busy.rides), **id));
        let shown: Vec<_> = zones
            .into_iter()
            .take(SHOWN)
            .map(|(id, busy)| busy.row(*id))
            .collect();
        if shown.is_empty() {
            return "no window has closed yet\n".into();
        }
        let head = ["zone", "borough", "rides", "busiest window"].map(str::to_owned);
        let width = |column: usize| {
            shown
                .iter()
                .chain([&head])
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (zone, borough, rides) = (width(0), width(1), width(2));
        let mut table = String::new();
        for row in [&head].into_iter().chain(&shown) {
            let _ = writeln!(
                table,
                "{:zone$}  {:borough$}  {:>rides$}  {}",
                row[0], row[1], row[2], row[3]
            );
        }
        table
    }
}

impl Busy {
    fn row(&self, id: u32) -> [String; 4] {
        let zone = self.zone.clone().unwrap_or_else(|| format!("zone {id}"));
        let borough = self.borough.clone().unwrap_or_else(|| "-".into());
        [
            zone,
            borough,
            self.rides.to_string(),
            format!("{} from {}", self.peak, self.peak_start),
        ]
    }
}

#[cfg(test)]
mod tests {
    use tiderace::runtime::Counts;

    use super::*;

    fn report() -> Report {
        let mut micros = Histogram::new(3).unwrap();
        micros.record(1_500).unwrap();
        Report {
            application_id: "app".into(),
            first_epoch: 3,
            last_epoch: 4,
            resumed: true,
            counts: Counts {
                read: 6,
                processed: 1,
                filtered: 2,
                late: 3,
                skipped: 0,
                dead_lettered: 0,
            },
            windows_closed: 5,
            commit_micros: micros.clone(),
            latency_micros: micros,
            seconds: 2.0,
            stopped_early: false,
        }
    }

    #[test]
    fn the_json_has_the_contracts_keys_in_its_order() {
        assert_eq!(
            json("rides-per-zone", "out", &report()),
            concat!(
                r#"{"pipeline":"rides-per-zone","application_id":"app","first_epoch":3,"last_epoch":4,"#,
                r#""resumed":true,"read":6,"processed":1,"filtered":2,"late":3,"skipped":0,"dead_lettered":0,"#,
                r#""windows_closed":5,"output_topic":"out","commit_ms":{"p50":1.5,"p99":1.5},"#,
                r#""latency_ms":{"p50":1.5,"p99":1.5},"seconds":2.0,"records_per_second":3.0}"#
            )
        );
    }

    #[test]
    fn the_text_has_the_conservation_line() {
        let text = text(&report());
        assert!(
            text.starts_with("resumed at epoch 3\nread 6 = processed 1 + filtered 2 + late 3 + "),
            "{text}"
        );
        assert!(text.contains("p99     1.5 ms"), "{text}");
        assert!(!text.contains("nothing is new"));
    }

    #[test]
    fn a_run_that_found_nothing_new_says_so() {
        let report = Report {
            counts: Counts::default(),
            ..report()
        };
        assert!(text(&report).contains("nothing is new"));
    }

    fn result(zone_id: u32, zone: Option<&str>, window_start: &str, rides: u64) -> WindowResult {
        let zone = zone.map(str::to_owned);
        WindowResult {
            zone_id,
            borough: zone.clone(),
            zone,
            window_start: window_start.into(),
            rides,
        }
    }

    #[test]
    fn the_busiest_zones_come_first() {
        let mut zones = Zones::default();
        for result in [
            result(2, None, "2020-07-01T00:00:00Z", 9),
            result(1, Some("Astoria"), "2020-07-01T00:10:00Z", 6),
            result(1, Some("Astoria"), "2020-07-01T00:00:00Z", 6),
        ] {
            zones.add(result);
        }
        let table = zones.table();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[1],
            [
                "Astoria",
                "Astoria",
                "12",
                "6",
                "from",
                "2020-07-01T00:00:00Z"
            ]
        );
        assert_eq!(
            rows[2],
            ["zone", "2", "-", "9", "9", "from", "2020-07-01T00:00:00Z"]
        );
        assert_eq!(zones.results, 3);
        assert_eq!(Zones::default().table(), "no window has closed yet\n");
    }
}
