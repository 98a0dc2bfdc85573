//! The sides and what they are set to, and one run of one of them.

use std::time::Duration;

use tiderace_benches::peers::{self, KafkaStreams, Store};

use super::lags::{Figures, Lags};
use super::schedule::{Load, Places};
use super::sender::send;
use super::watch::{Answers, Run, watch};
use super::{SIDE_CORES, each};
use crate::Failure;
use crate::suite::topics::{By, Job, Place, Workload};

/// What sides promise, and how often they commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    ExactlyOnce20,
    ExactlyOnce5,
    AtLeastOnce,
}

impl Setting {
    pub(super) const ALL: [Setting; 3] = [
        Setting::ExactlyOnce20,
        Setting::ExactlyOnce5,
        Setting::AtLeastOnce,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Setting::ExactlyOnce20 => "exactly once, a commit every 20 ms",
            Setting::ExactlyOnce5 => "exactly once, a commit every 5 ms",
            Setting::AtLeastOnce => "at least once",
        }
    }

    fn exactly_once(self) -> bool {
        self != Setting::AtLeastOnce
    }

    /// How often a side commits, in milliseconds. At least once, the engine writes with an epoch what the others write at once, and
    /// they commit their offsets ten times a second.
    fn commit_ms(self, side: &Side<'_>) -> u64 {
        match (self, side) {
            (Setting::ExactlyOnce20, _) => 20,
            (Setting::ExactlyOnce5, _) => 5,
            (Setting::AtLeastOnce, Side::Engine) => 1,
            (Setting::AtLeastOnce, _) => 100,
        }
    }

    /// Goals of the issue of speed for p50, p99 and p99 over all, in milliseconds.
    pub(super) fn most(self) -> [Option<f64>; 3] {
        match self {
            Setting::ExactlyOnce20 => [18.0, 34.0, 60.0].map(Some),
            Setting::ExactlyOnce5 => [11.0, 24.0, 45.0].map(Some),
            Setting::AtLeastOnce => [None; 3],
        }
    }

    /// The most, in times of the loop's, if that is judged.
    pub(super) fn to_loop(self) -> Option<f64> {
        (self == Setting::AtLeastOnce).then_some(1.2)
    }

    /// How many times as long Kafka Streams has to take.
    pub(super) fn of_streams(self) -> [Option<f64>; 3] {
        match self {
            Setting::AtLeastOnce => [Some(1.3), Some(2.0), None],
            _ => [Some(1.0); 3],
        }
    }

    /// With a commit every 5 ms the engine is compared with the best that Kafka Streams (the sides' `of`th) comes to exactly once,
    /// round by round.
    pub(super) fn best_of(
        self,
        results: &[Vec<Vec<Figures>>],
        of: usize,
        which: fn(&Figures) -> f64,
    ) -> Option<Vec<f64>> {
        if self != Setting::ExactlyOnce5 {
            return None;
        }
        let [long, short] = [&results[0][of], &results[1][of]].map(|of| each(of, which));
        Some(long.iter().zip(&short).map(|(a, b)| a.min(*b)).collect())
    }
}

/// Who counts.
pub(super) enum Side<'a> {
    Engine,
    Loop,
    Streams(&'a KafkaStreams),
}

impl Side<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Side::Engine => "engine",
            Side::Loop => "loop",
            Side::Streams(_) => "Kafka Streams",
        }
    }
}

/// Runs sides, one at a time, each with topics of its own.
pub(super) struct Contest<'a> {
    place: &'a Place,
    load: &'a Load,
    places: &'a Places,
    runs: u32,
}

impl<'a> Contest<'a> {
    pub(super) fn new(place: &'a Place, load: &'a Load, places: &'a Places) -> Self {
        Contest {
            place,
            load,
            places,
            runs: 0,
        }
    }

    /// From producer to consumer without anybody between.
    pub(super) fn bare(&mut self) -> Result<Figures, Failure> {
        let prefix = self.prefix();
        let input = format!("{prefix}-in");
        self.place.create(&input)?;
        let watched = (input.as_str(), Answers::Records);
        let lags = self.measure(&input, watched, || Ok(()));
        self.place.delete(&prefix)?;
        lags?.figures()
    }

    pub(super) fn once(&mut self, side: &Side<'_>, setting: Setting) -> Result<Figures, Failure> {
        let prefix = self.prefix();
        let (input, output) = (format!("{prefix}-in"), format!("{prefix}-out"));
        self.place.create(&input)?;
        self.place.create(&output)?;
        let watched = (output.as_str(), Answers::Counts);
        let lags = self.measure(&input, watched, || {
            self.run(side, setting, (&input, &output))
        });
        self.place.delete(&prefix)?;
        lags?.figures()
    }

    fn prefix(&mut self) -> String {
        self.runs += 1;
        format!(
            "tiderace-bench-latency-{}-{}",
            std::process::id(),
            self.runs
        )
    }

    /// Sends the load while `side` runs, and watches until all is answered. The first failure is returned.
    fn measure(
        &self,
        input: &str,
        watched: (&str, Answers),
        side: impl FnOnce() -> Result<(), Failure> + Send,
    ) -> Result<Lags, Failure> {
        let Contest {
            place,
            load,
            places,
            ..
        } = *self;
        let run = &Run::default();
        // What a thread fails of goes to another one as text.
        let (sent, ran, watched) = std::thread::scope(|scope| {
            let ending = move |done: Result<(), Failure>| {
                done.map_err(|failure| {
                    run.end();
                    failure.to_string()
                })
            };
            let sender = scope.spawn(move || ending(send(place, input, load, run)));
            let side = scope.spawn(move || ending(side()));
            let watched = watch(place, watched, (load, places), run);
            if watched.is_err() {
                run.end();
            }
            (sender.join(), side.join(), watched)
        });
        ran.map_err(|_| "the side's thread panicked")??;
        sent.map_err(|_| "the sender panicked")??;
        watched
    }

    /// Runs a side until it has taken all records.
    fn run(
        &self,
        side: &Side<'_>,
        setting: Setting,
        (input, output): (&str, &str),
    ) -> Result<(), Failure> {
        let commit_ms = setting.commit_ms(side);
        let exactly_once = setting.exactly_once();
        let by = match side {
            Side::Engine => By::Engine {
                workers: 1,
                exactly_once,
            },
            Side::Loop => By::Loop { exactly_once },
            Side::Streams(peer) => {
                let brokers = self.place.brokers.clone();
                peer.run(&peers::Run {
                    workload: peers::Workload::Counts,
                    brokers: brokers.ok_or("Kafka Streams needs a broker")?,
                    input: input.to_owned(),
                    output: output.to_owned(),
                    application_id: output.to_owned(),
                    state_directory: self.place.directory.join("state").join(output),
                    threads: 1,
                    guarantee: match exactly_once {
                        true => peers::Guarantee::ExactlyOnce,
                        false => peers::Guarantee::AtLeastOnce,
                    },
                    store: Store::RocksDb,
                    // With a cache, updates would wait for a commit, and most be left out.
                    cache_bytes: 0,
                    commit_interval: Duration::from_millis(commit_ms),
                    linger: Duration::ZERO,
                    membership: peers::Membership::Dynamic,
                    records: self.load.records(),
                    core: Some(0),
                })?;
                return Ok(());
            }
        };
        let job = Job {
            workload: Workload::Counts,
            place: self.place.clone(),
            input: input.to_owned(),
            output: output.to_owned(),
            commit_ms,
            follow: Some(self.load.records()),
            by,
        };
        job.run_into(SIDE_CORES)?;
        Ok(())
    }
}
