//! What every benchmark of the suite can be told.

use std::path::PathBuf;

use clap::Args;

/// How much of a benchmark is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Little data, to see that outputs are equal.
    Quick,
    /// Enough for ratios.
    Usual,
    /// Every setting of every peer as well.
    Full,
}

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Little data, only to see that outputs are equal: no goals, no line in results
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every setting of Kafka Streams, too. A full run that was cut goes on where it stopped
    #[arg(long)]
    full: bool,
    /// Compare with Kafka Streams, too, where a benchmark can (JDK 17 and Maven)
    #[arg(long)]
    streams: bool,
    /// The broker to use; without it one is started (Java 17 and Maven)
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Use the embedded log instead of a broker, as short runs do
    #[arg(long, conflicts_with_all = ["brokers", "streams", "full"])]
    embedded: bool,
    /// Records of benchmarks from topic to topic, to try them out: what is found is not recorded
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(8..))]
    pub(crate) records: Option<u64>,
    /// Where data lie while a benchmark runs; what it adds is removed behind it
    #[arg(long, value_name = "DIR", default_value = "tiderace-benches-data")]
    pub(crate) dir: PathBuf,
}

impl Options {
    pub(crate) fn effort(&self) -> Effort {
        match (self.quick, self.full) {
            (true, _) => Effort::Quick,
            (_, true) => Effort::Full,
            _ => Effort::Usual,
        }
    }

    /// Pairs of runs; with at least five, a median says something.
    pub(crate) fn pairs(&self) -> usize {
        match self.effort() {
            Effort::Quick => 1,
            Effort::Usual | Effort::Full => 5,
        }
    }

    /// Whether there are enough records to judge figures by, and to record them.
    pub(crate) fn is_judged(&self) -> bool {
        !self.quick && self.records.is_none()
    }

    /// Whether Kafka Streams is one of the sides.
    pub(crate) fn with_streams(&self) -> bool {
        self.streams || self.full
    }

    /// Whether records go through the embedded log.
    pub(crate) fn embedded(&self) -> bool {
        let asks_for_broker = self.brokers.is_some() || self.with_streams();
        self.embedded || (self.quick && !asks_for_broker)
    }
}
