//! What a run says at its end: for people the conservation line and the latencies, for
//! scripts one JSON object.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;
use tiderace::runtime::Report;

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
    if report.restarts > 0 {
        let _ = writeln!(
            text,
            "restarted {} times after failures, which the log names",
            report.restarts
        );
    }
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
            restarts: 0,
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
}
