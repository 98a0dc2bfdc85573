//! A job that fails when it is told to: counts in windows, with a step behind them that panics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use tiderace::connect::{Log, SinkRecord};
use tiderace::{
    Config, Engine, Report, RunError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed,
};

use crate::place::{Place, RIDES, TIME};
use crate::support::Owned;

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PER_SECOND: Topic<Windowed<String>, u64> = Topic::json("counts");

const ON_PURPOSE: &str = "on purpose";

/// Which calls of the step panic, counted from 1 over all lives.
#[derive(Clone)]
pub(crate) struct Mishaps {
    calls: Arc<AtomicU64>,
    at: Arc<dyn Fn(u64) -> bool + Send + Sync>,
}

impl Mishaps {
    pub(crate) fn at(at: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        hush();
        Mishaps {
            calls: Arc::default(),
            at: Arc::new(at),
        }
    }

    pub(crate) fn none() -> Self {
        Mishaps::at(|_| false)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Keeps the panics that the tests cause off the screen.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<String>();
            if !text.is_some_and(|text| text.starts_with(ON_PURPOSE)) {
                others(panic);
            }
        }));
    });
}

/// Rides per second; a panic in it concerns a window, so it names no record.
pub(crate) fn job(mishaps: &Mishaps) -> Topology {
    let builder = StreamsBuilder::new("app");
    let Mishaps { calls, at } = mishaps.clone();
    builder
        .stream(RIDES)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(Duration::from_secs(1)))
        .count()
        .emit_on_close()
        .map_values(move |count: u64| {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(!at(call), "{ON_PURPOSE}: call {call}");
            count
        })
        .named("bad")
        .to(PER_SECOND);
    builder.build().unwrap()
}

/// Two partitions of rides, two a second.
pub(crate) fn place() -> Place {
    let place = Place::new(&[("rides", 2), ("counts", 2)]);
    let mut writer = place.log.writer("rides").unwrap();
    for number in 0..200 {
        let partition = (number % 2) as u32;
        let key = format!("key-{partition}");
        let record = SinkRecord {
            topic: "rides",
            partition,
            timestamp: TIME + number * 250,
            key: Some(key.as_bytes()),
            value: Some(b"{\"zone\":1}"),
            headers: &[],
        };
        writer.send(&record).unwrap();
    }
    writer.flush().unwrap();
    place
}

/// Many epochs, and restarts that do not keep a test waiting.
pub(crate) fn config(place: &Place) -> Config {
    Config {
        epoch_records: 8,
        restart_backoff: Duration::from_millis(1),
        ..place.config()
    }
}

pub(crate) fn run(
    mishaps: &Mishaps,
    log: Arc<dyn Log>,
    config: &Config,
) -> Result<Report, RunError> {
    let running = Engine::start(job(mishaps), log, config)?;
    assert!(running.wait(PATIENCE), "the run does not end");
    running.join()
}

/// A record without its offset: timestamp, key, value.
type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// What the job reports and writes when nothing goes wrong.
pub(crate) struct Calm {
    pub(crate) report: Report,
    counts: Vec<Vec<Row>>,
}

pub(crate) fn calm() -> &'static Calm {
    static CALM: OnceLock<Calm> = OnceLock::new();
    CALM.get_or_init(|| {
        let place = place();
        let report = run(&Mishaps::none(), place.log.clone(), &config(&place)).unwrap();
        assert!(report.last_epoch > 10 && report.windows_closed > 50);
        Calm {
            report,
            counts: rows(place.read("counts")),
        }
    })
}

fn rows(records: Vec<Vec<Owned>>) -> Vec<Vec<Row>> {
    let row = |record: Owned| (record.timestamp, record.key, record.value);
    let partition = |records: Vec<Owned>| records.into_iter().map(row).collect();
    records.into_iter().map(partition).collect()
}

/// Whether a run came to the same as a calm one, and left a log that a new process goes on with.
pub(crate) fn assert_calm(place: &Place, report: &Report) {
    assert_eq!(rows(place.read("counts")), calm().counts);
    assert_eq!(report.counts, calm().report.counts);
    assert_eq!(report.windows_closed, calm().report.windows_closed);
    assert_eq!(report.first_epoch, 1);
    // The first goes on from the snapshot of the end, the second replays everything and compares digests.
    for replays in [false, true] {
        if replays {
            place.forget_snapshots();
        }
        let again = run(&Mishaps::none(), place.log.clone(), &config(place)).unwrap();
        assert!(again.resumed);
        assert_eq!(
            (again.counts.read, again.last_epoch),
            (0, report.last_epoch)
        );
        assert_eq!(rows(place.read("counts")), calm().counts);
    }
}
