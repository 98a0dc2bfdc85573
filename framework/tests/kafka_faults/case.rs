//! One run of an application through a proxy that strikes, and the verdict on what it left.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::Log;
use tiderace::connect::kafka::KafkaLog;
use tiderace::{Config, Engine, Guarantee, Report};
use tiderace_testing::kafka::Kafka;
use tiderace_testing::proxy::{Api, Fault, Proxy, Rule, When};

use crate::entries::Entries;
use crate::input::{PARTITIONS, RECORDS, Row, leaked, row, shared, topology};

/// The client's limit for a request; the engine's for a commit lies a tenth below.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_millis(1_500);

/// How long a run may take: an init of both producers that is dropped and a doubt cost some request limits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A part of the entry of the last epoch of a bounded run, and of no other: the decision that the input has ended.
pub(crate) const LAST_EPOCH: &[u8] = b"{\"end\":{\"stream_time\"";

/// A part of the entries of the epochs that read the last record of a partition.
pub(crate) const LAST_READ: &[u8] = b"\"end\":150,";

/// A finished run.
pub(crate) struct Case {
    broker: &'static Kafka,
    pub(crate) name: String,
    visits: &'static str,
    counts: &'static str,
    application: String,
    pub(crate) proxy: Proxy,
    pub(crate) report: Report,
    pub(crate) took: Duration,
}

/// A rule without its struct's words.
pub(crate) fn rule(api: Api, when: When, fault: Fault) -> Rule {
    Rule { api, when, fault }
}

impl Case {
    /// Runs the topology over the whole input, from its start to its end.
    pub(crate) fn run(
        broker: &'static Kafka,
        visits: &'static str,
        name: &str,
        rules: Vec<Rule>,
        guarantee: Guarantee,
    ) -> Case {
        Case::run_over(
            broker,
            visits,
            name,
            rules,
            guarantee,
            |bootstrap, _, of| Arc::new(KafkaLog::connect(bootstrap, of).unwrap()),
        )
    }

    /// As [`run`](Self::run), over what `open` makes of the proxy's address, the application id and the client's
    /// properties.
    pub(crate) fn run_over(
        broker: &'static Kafka,
        visits: &'static str,
        name: &str,
        rules: Vec<Rule>,
        guarantee: Guarantee,
        open: impl FnOnce(&str, &str, &BTreeMap<String, String>) -> Arc<dyn Log>,
    ) -> Case {
        let counts = leaked(broker.fresh_name("counts"));
        broker.create_topic(counts, PARTITIONS as i32);
        let application = broker.fresh_name("app");
        let proxy = Proxy::start(broker.bootstrap(), rules);
        let limit = REQUEST_LIMIT.as_millis().to_string();
        let properties = [
            ("socket.timeout.ms".to_owned(), limit.clone()),
            ("request.timeout.ms".to_owned(), limit),
        ];
        let log = open(&proxy.bootstrap(), &application, &properties.into());
        let state = tempfile::tempdir().unwrap();
        let config = Config {
            application_id: Some(application.clone()),
            guarantee,
            commit_interval: Duration::from_millis(50),
            epoch_records: match guarantee {
                // At most four of these are committed together: there are eight transactions of epochs at least.
                Guarantee::ExactlyOnce => 10,
                Guarantee::AtLeastOnce | Guarantee::AtMostOnce => 25,
            },
            data_dir: state.path().to_owned(),
            ..Config::default()
        };
        let begun = Instant::now();
        let running = Engine::start(topology(visits, counts), log, &config);
        let running = running.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(running.wait(PATIENCE), "{name}: the run does not end");
        let report = running.join();
        let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
        Case {
            broker,
            name: name.to_owned(),
            visits,
            counts,
            application,
            proxy,
            report,
            took: begun.elapsed(),
        }
    }

    /// The committed output by partition.
    pub(crate) fn output(&self) -> Vec<Vec<Row>> {
        let records = self.broker.read_committed(self.counts);
        let rows = |of: Vec<_>| of.into_iter().map(row).collect();
        records.into_iter().map(rows).collect()
    }

    fn log(&self) -> String {
        format!("{}-epochs", self.application)
    }

    /// The committed entries of the epoch log, checked as far as that needs nothing else.
    pub(crate) fn entries(&self) -> Entries {
        let records = self.broker.read_committed(&self.log()).remove(0);
        let values = records.iter().filter_map(|record| record.value.as_deref());
        Entries::checked(&self.name, values)
    }

    /// How often the last epoch was sent, in transactions that were committed or not.
    pub(crate) fn last_epoch_was_sent(&self) -> usize {
        let all = self.broker.read_uncommitted(&self.log()).remove(0);
        let holds = |value: &[u8]| {
            value
                .windows(LAST_EPOCH.len())
                .any(|part| part == LAST_EPOCH)
        };
        let values = all.iter().filter_map(|record| record.value.as_deref());
        values.filter(|value| holds(value)).count()
    }

    /// The epoch log holds what the run was over, once.
    pub(crate) fn verify_log(&self) {
        let entries = self.entries();
        let name = &self.name;
        let ends = vec![i64::from(RECORDS); PARTITIONS as usize];
        assert_eq!(entries.ends(self.visits), ends, "{name}");
        assert_eq!(entries.read, u64::from(RECORDS * PARTITIONS), "{name}");
        let written: usize = self.output().iter().map(Vec::len).sum();
        assert_eq!(entries.written, written as u64, "{name}");
        assert_eq!(entries.epochs, self.report.last_epoch, "{name}");
        assert!(entries.epochs >= 12, "{name}: {} epochs", entries.epochs);
    }

    /// A fault that did not strike has shown nothing.
    fn was_struck(&self) {
        let hits = self.proxy.hits();
        let struck = hits.iter().all(|hits| *hits == 1);
        assert!(struck, "{}: the faults struck {hits:?} times", self.name);
    }

    /// The verdict on a run that was disturbed.
    pub(crate) fn verify(&self) {
        let name = &self.name;
        let shared = shared().expect("the case has run");
        for (partition, expected) in shared.expected.iter().enumerate() {
            let found = &self.output()[partition];
            let differs = found.iter().zip(expected).position(|(a, b)| a != b);
            assert_eq!(
                differs, None,
                "{name}: partition {partition} differs at that record"
            );
            assert_eq!(found.len(), expected.len(), "{name}: partition {partition}");
        }
        self.verify_log();
    }
}

/// Runs cases side by side, most of their time being spent waiting, and gives each its verdict.
pub(crate) fn strike(
    cases: impl IntoIterator<Item = (String, Vec<Rule>)>,
    verdict: impl Fn(&Case) + Sync,
) {
    strike_as(Guarantee::ExactlyOnce, cases, verdict);
}

/// As [`strike`], under this guarantee.
pub(crate) fn strike_as(
    guarantee: Guarantee,
    cases: impl IntoIterator<Item = (String, Vec<Rule>)>,
    verdict: impl Fn(&Case) + Sync,
) {
    let Some(shared) = shared() else { return };
    std::thread::scope(|scope| {
        let run = |(name, rules): (String, Vec<Rule>)| {
            let verdict = &verdict;
            scope.spawn(move || {
                let case = Case::run(shared.broker, shared.visits, &name, rules, guarantee);
                case.was_struck();
                verdict(&case);
                case.verify();
                println!("{name}: {:.1} s", case.took.as_secs_f64());
            })
        };
        let runs: Vec<_> = cases.into_iter().map(run).collect();
        for run in runs {
            if let Err(panic) = run.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
