//! A real Apache Kafka broker for tests: one node on free loopback ports, its data in a temporary folder.
//!
//! [`Kafka::shared`] is the one broker of a test process; [`Kafka::start`] gives a test one of its own, to
//! stop, kill and pause. No broker outlives the process that started it, however that ends. Nothing here
//! knows the engine: what it wrote is judged by a reader that shares no code with it.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

mod admin;
mod install;
mod node;
mod reader;
mod role;
mod writer;

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use node::Node;
pub use reader::{Record, Tail};
use role::{BROKER, CONTROLLER, MEASURED, PATIENT, Role};

/// A running broker.
pub struct Kafka {
    node: Node,
}

impl Kafka {
    /// The broker that all tests of this process share, started by the first that asks.
    ///
    /// `None` where Java 17 or Maven is missing: the test has nothing to run against, a line on stderr says
    /// so, and how to mend it. Where `CI` is `true` that is a panic instead.
    pub fn shared() -> Option<&'static Kafka> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        SHARED.get_or_init(Kafka::start).as_ref()
    }

    /// A broker for one test alone; stopped and deleted when dropped. `None` as for [`shared`](Self::shared).
    pub fn start() -> Option<Kafka> {
        Self::start_as(&CONTROLLER, &BROKER)
    }

    /// A broker to be [paused](Self::pause): it keeps its partitions for two minutes of that, and cannot be killed and started
    /// again. Its own, and `None`, as that of [`start`](Self::start).
    pub fn start_to_pause() -> Option<Kafka> {
        Self::start_as(&PATIENT, &BROKER)
    }

    /// A broker to measure on, as it would run in production; its own, and `None`, as that of [`start`](Self::start).
    pub fn start_measured() -> Option<Kafka> {
        Self::start_as(&CONTROLLER, &MEASURED)
    }

    fn start_as(controller: &'static Role, role: &'static Role) -> Option<Kafka> {
        match install::libraries() {
            Ok(installation) => Some(Kafka {
                node: Node::start(&installation, controller, role),
            }),
            Err(missing) => {
                let line = format!(
                    "skipped, no Kafka to test against: {missing} (apt-get install openjdk-17-jre-headless maven)"
                );
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{line}");
                static SAID: OnceLock<()> = OnceLock::new();
                // Straight to the stream: the test harness holds back what `eprintln!` says in a test that passes.
                SAID.get_or_init(|| {
                    let _ = writeln!(std::io::stderr(), "{line}");
                });
                None
            }
        }
    }

    /// `HOST:PORT` of the listener without authentication.
    pub fn bootstrap(&self) -> &str {
        self.node.bootstrap()
    }

    /// `HOST:PORT` of the listener that wants SASL/PLAIN: user [`USER`], password [`PASSWORD`].
    pub fn sasl_bootstrap(&self) -> &str {
        self.node.sasl_bootstrap()
    }

    /// A name that no other test uses, for topics and applications: `PREFIX-...`.
    pub fn fresh_name(&self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is past 1970")
            .as_micros();
        format!(
            "{prefix}-{}-{:x}-{}",
            std::process::id(),
            micros & 0xff_ffff,
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Creates a topic without retention by time: records of tests are old.
    ///
    /// # Panics
    /// The broker refuses.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        admin::create(self.bootstrap(), topic, partitions);
    }

    /// Writes keys and values to a partition, and waits until they are acknowledged.
    ///
    /// # Panics
    /// The broker refuses one, or takes longer than half a minute.
    pub fn write(
        &self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) {
        writer::write(self.bootstrap(), topic, partition, records);
    }

    /// Every record of a topic, those of aborted transactions among them, by partition, in order.
    ///
    /// # Panics
    /// The topic does not exist.
    pub fn read_uncommitted(&self, topic: &str) -> Vec<Vec<Record>> {
        reader::read(self.bootstrap(), topic, reader::Until::Everything)
    }

    /// Every committed record of a topic, by partition, in order. Waits for transactions that are open.
    ///
    /// # Panics
    /// The topic does not exist, or a transaction stays open for half a minute.
    pub fn read_committed(&self, topic: &str) -> Vec<Vec<Record>> {
        reader::read(self.bootstrap(), topic, reader::Until::HighWatermark)
    }

    /// What a reader of committed records sees of a topic now: nothing behind the first open transaction.
    ///
    /// # Panics
    /// The topic does not exist.
    pub fn read_visible(&self, topic: &str) -> Vec<Vec<Record>> {
        reader::read(self.bootstrap(), topic, reader::Until::LastStableOffset)
    }

    /// Follows a topic from its start, committed records only.
    ///
    /// # Panics
    /// The topic does not exist.
    pub fn tail(&self, topic: &str) -> Tail {
        Tail::follow(self.bootstrap(), topic)
    }

    /// Stops the broker in good order (SIGTERM) and waits for its end; its data stay.
    pub fn stop(&self) {
        self.node.end("term");
    }

    /// Ends the broker at once (SIGKILL); its data stay.
    pub fn kill(&self) {
        self.node.end("kill");
    }

    /// Starts the broker again, on the same ports and data, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub fn restart(&self) {
        self.node.restart();
    }

    /// Freezes the broker (SIGSTOP): it answers nothing, connections stay open.
    pub fn pause(&self) {
        self.node.signal(rustix::process::Signal::STOP);
    }

    /// Lets a frozen broker go on. One that was frozen for longer than its session has lost its partitions for a moment, unless it was
    /// [started for this](Self::start_to_pause).
    pub fn resume(&self) {
        self.node.signal(rustix::process::Signal::CONT);
    }
}

/// The user that the SASL listener knows.
pub const USER: &str = "alice";
/// The user's password.
pub const PASSWORD: &str = "wonderland-7301";
