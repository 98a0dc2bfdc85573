//! A run's figures in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::runtime::Progress;

/// The figures of a run as Prometheus reads them, labelled with the application.
pub fn prometheus(application_id: &str, progress: &Progress) -> String {
    let mut page = Page {
        text: String::new(),
        label: format!("application=\"{}\"", escaped(application_id)),
    };
    let load = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed).to_string();
    page.counter(
        "records_read_total",
        "Stream records read, in epochs open or committed.",
        load(&progress.read),
    );
    page.counter(
        "records_late_total",
        "Records too late, in committed epochs.",
        load(&progress.late),
    );
    page.counter(
        "windows_closed_total",
        "Windows closed.",
        load(&progress.windows_closed),
    );
    page.gauge(
        "epochs_open",
        "Epochs opened and not committed.",
        load(&progress.open_epochs),
    );
    page.gauge(
        "committed_epoch",
        "The last committed epoch.",
        load(&progress.committed_epoch),
    );
    page.gauge(
        "memory_in_flight_bytes",
        "Memory in flight, of the budget.",
        progress.bytes_in_flight().to_string(),
    );
    if let Some(watermark) = progress.watermark() {
        let seconds = format!("{}", watermark as f64 / 1000.0);
        page.gauge(
            "watermark_seconds",
            "The watermark, in seconds since 1970 began.",
            seconds,
        );
    }
    page.counter(
        "restarts_total",
        "How often the run has restarted itself after a failure.",
        load(&progress.restarts),
    );
    page.stalls(progress);
    page.verdicts(progress);
    page.nodes(progress);
    page.text
}

struct Page {
    text: String,
    label: String,
}

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: String) {
        self.figure(name, "counter", help);
        let _ = writeln!(self.text, "tiderace_{name}{{{}}} {value}", self.label);
    }

    fn gauge(&mut self, name: &str, help: &str, value: String) {
        self.figure(name, "gauge", help);
        let _ = writeln!(self.text, "tiderace_{name}{{{}}} {value}", self.label);
    }

    fn figure(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.text,
            "# HELP tiderace_{name} {help}\n# TYPE tiderace_{name} {kind}"
        );
    }

    /// The workers that stand still, and for how long each.
    fn stalls(&mut self, progress: &Progress) {
        let stalls = progress.stalls();
        self.gauge(
            "workers_stalled",
            "Workers that make no progress with work at hand.",
            stalls.len().to_string(),
        );
        let name = "worker_stalled_seconds";
        self.figure(
            name,
            "gauge",
            "For how long a worker has made no progress, and the step that it sits in.",
        );
        for stall in stalls {
            let _ = writeln!(
                self.text,
                "tiderace_{name}{{{},worker=\"{}\",node=\"{}\"}} {}",
                self.label,
                stall.worker,
                escaped(&stall.node),
                stall.still.as_secs_f64()
            );
        }
    }

    /// The terms of the conservation line.
    fn verdicts(&mut self, progress: &Progress) {
        let counts = progress.committed();
        let name = "records_committed_total";
        self.figure(
            name,
            "counter",
            "Stream records of committed epochs by verdict; read is the sum of the others.",
        );
        let terms = [
            ("read", counts.read),
            ("processed", counts.processed),
            ("filtered", counts.filtered),
            ("late", counts.late),
            ("skipped", counts.skipped),
            ("dead_lettered", counts.dead_lettered),
        ];
        for (verdict, count) in terms {
            let _ = writeln!(
                self.text,
                "tiderace_{name}{{{},verdict=\"{verdict}\"}} {count}",
                self.label
            );
        }
    }

    /// What each step did with the records that it gave a verdict.
    fn nodes(&mut self, progress: &Progress) {
        let name = "node_records_committed_total";
        self.figure(
            name,
            "counter",
            "Records of committed epochs by step and verdict; a record counts at every step that gave it one.",
        );
        for (node, counts) in progress.nodes() {
            let terms = [
                ("processed", counts.processed),
                ("filtered", counts.filtered),
                ("late", counts.late),
                ("skipped", counts.skipped),
                ("dead_lettered", counts.dead_lettered),
            ];
            for (verdict, count) in terms.into_iter().filter(|(_, count)| *count > 0) {
                let _ = writeln!(
                    self.text,
                    "tiderace_{name}{{{},node=\"{}\",verdict=\"{verdict}\"}} {count}",
                    self.label,
                    escaped(&node)
                );
            }
        }
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
