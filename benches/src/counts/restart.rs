//! `restart`: a count over a million keys at a steady rate is killed with SIGKILL and started again; a reader of
//! committed records says how soon it goes on. The engine and Kafka Streams, on one broker, each over a topic of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tiderace_benches::measure::Spread;
use tiderace_benches::peers::{Guarantee, KafkaStreams, Membership};
use tiderace_testing::kafka::Kafka;
use tiderace_testing::kills::Random;

use super::contestant::{Contestant, ENGINE, Life};
use super::feed::{Feed, Steady};
use super::follow::Follow;
use super::job::now;
use super::place::{PARTITIONS, Place};
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Report, Table};

/// How long anything may take: with its defaults Kafka Streams waits three quarters of a minute for a member that is gone, and
/// then counts what was fed meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

/// For how long nothing more of a life that has ended may come, until it is taken to have left nothing behind.
const SILENCE: Duration = Duration::from_millis(500);

/// The part of a second's input that may be on its way when there is no lag: two commit intervals and what a look takes.
const ON_ITS_WAY: f64 = 0.25;

const STATIC: &str = "Kafka Streams, static membership, exactly once";
const STATIC_ALO: &str = "Kafka Streams, static membership, at least once";
const DEFAULTS: &str = "Kafka Streams, default membership, exactly once";

/// How much there is of everything.
struct Size {
    keys: u64,
    rate: u64,
    kills: usize,
    /// How long a life goes on without lag before it is killed, and up to a second more.
    life: Duration,
}

impl Size {
    fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => Size {
                keys: 10_000,
                rate: 2_000,
                kills: 1,
                life: Duration::from_millis(500),
            },
            Effort::Usual | Effort::Full => Size {
                keys: 1_000_000,
                rate: 20_000,
                kills: 5,
                life: Duration::from_secs(5),
            },
        }
    }
}

/// Times of the ways back, from exec, in milliseconds.
#[derive(Default)]
struct Back {
    name: &'static str,
    /// Until the first new count was read.
    first: Vec<f64>,
    /// Until all events were counted but what a commit interval brings.
    no_lag: Vec<f64>,
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let options = with.options;
    std::fs::create_dir_all(&options.dir)?;
    let directory = TempDir::with_prefix_in("restart-", &options.dir)?;
    // A broker of its own, as in `recovery`: the topics have the names that its programs give them.
    let broker = match options.embedded() {
        true => None,
        false => Some(Kafka::start_measured().ok_or("a broker needs Java 17 and Maven")?),
    };
    let place = Place {
        directory: directory.path().to_owned(),
        brokers: broker.as_ref().map(|it| it.bootstrap().to_owned()),
    };
    let peer = match options.with_streams() {
        true => Some(KafkaStreams::build()?),
        false => None,
    };
    let size = Size::of(options.effort());
    let contestants = contestants(&place, peer.as_ref(), &size)?;
    place.create_topics()?;
    for contestant in contestants.iter().filter(|it| it.name != ENGINE) {
        for topic in [&*contestant.input, contestant.output] {
            place.create_topic(topic, PARTITIONS)?;
        }
    }
    let mut ways = Vec::new();
    for contestant in &contestants {
        ways.push(killed(with, &place, contestant, &size)?);
    }
    let on = place
        .brokers
        .as_deref()
        .map_or("the embedded log", |_| "Kafka");
    Ok(report(&ways, on, &size))
}

fn contestants<'a>(
    place: &Place,
    peer: Option<&'a KafkaStreams>,
    size: &Size,
) -> Result<Vec<Contestant<'a>>, Failure> {
    let mut contestants = vec![Contestant::engine(place, size.kills)];
    if let Some(peer) = peer {
        let once = Guarantee::ExactlyOnce;
        for (named, settings, kills) in [
            (
                (STATIC, "counts-static"),
                (once, Membership::Static),
                size.kills,
            ),
            (
                (STATIC_ALO, "counts-static-alo"),
                (Guarantee::AtLeastOnce, Membership::Static),
                size.kills.min(3),
            ),
            (
                (DEFAULTS, "counts-defaults"),
                (once, Membership::Dynamic),
                // Nearly all of it is the session time-out, which does not vary.
                1,
            ),
        ] {
            contestants.push(Contestant::streams(named, peer, place, settings, kills)?);
        }
    }
    Ok(contestants)
}

/// A contestant under way, and who looks at it.
struct Rig<'a> {
    contestant: &'a Contestant<'a>,
    /// None between a kill and the next start.
    life: Option<Life>,
    follow: Follow,
    steady: Steady,
    on_its_way: u64,
}

/// Has a contestant count every key once, kills it again and again while events come in, and verifies what it counted.
fn killed(
    with: &Context<'_>,
    place: &Place,
    contestant: &Contestant<'_>,
    size: &Size,
) -> Result<Back, Failure> {
    with.progress
        .say(&format!("{}: to the end of the input", contestant.name));
    let feed = Feed::every_key(place, &contestant.input, size.keys)?;
    let Contestant {
        output,
        exactly_once,
        ..
    } = *contestant;
    let mut rig = Rig {
        contestant,
        life: Some(contestant.start()?),
        follow: Follow::open(place, output, size.keys, exactly_once)?,
        steady: feed.steady(size.rate),
        on_its_way: (size.rate as f64 * ON_ITS_WAY) as u64,
    };
    let mut random = Random::new(6);
    let mut back = Back {
        name: contestant.name,
        ..Back::default()
    };
    rig.catch_up()?;
    for kill in 1..=contestant.kills {
        rig.live(size.life + Duration::from_secs_f64(random.fraction()))?;
        let (first, no_lag) = rig.come_back()?;
        with.progress.say(&format!(
            "{}, kill {kill} of {}: first new count behind {first:.0} ms, no lag behind {no_lag:.0} ms",
            contestant.name, contestant.kills
        ));
        back.first.push(first);
        back.no_lag.push(no_lag);
    }
    rig.end()?;
    Ok(back)
}

impl Rig<'_> {
    fn lag(&self) -> u64 {
        self.steady.sent().saturating_sub(self.follow.counted())
    }

    /// Fails if the life has ended by itself.
    fn look(&mut self) -> Result<(), Failure> {
        self.life.as_mut().map_or(Ok(()), Life::look)
    }

    /// Reads on until there is no lag; returns when the first count came, in seconds since 1970.
    fn catch_up(&mut self) -> Result<f64, Failure> {
        let (begun, mut first) = (Instant::now(), None);
        loop {
            if self.follow.take(Duration::from_millis(1))? > 0 {
                first.get_or_insert_with(now);
            }
            if let (Some(first), true) = (first, self.lag() <= self.on_its_way) {
                return Ok(first);
            }
            self.look()?;
            patient(begun, &self.follow, self.steady.sent())?;
        }
    }

    fn live(&mut self, time: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.follow.take(Duration::from_millis(5))?;
            self.look()?;
        }
        Ok(())
    }

    /// Kills the life and starts another: milliseconds from exec to the first new count, and to no lag.
    fn come_back(&mut self) -> Result<(f64, f64), Failure> {
        if let Some(life) = self.life.take() {
            life.kill()?;
        }
        // What the life committed before it was killed is no new count.
        self.follow.take(SILENCE)?;
        let exec = now();
        self.life = Some(self.contestant.start()?);
        let first = self.catch_up()?;
        Ok(((first - exec) * 1e3, (now() - exec) * 1e3))
    }

    /// Ends the feed, waits until everything is counted, once, and ends the life.
    fn end(self) -> Result<(), Failure> {
        let Rig {
            life,
            mut follow,
            steady,
            ..
        } = self;
        let feed = steady.stop()?;
        let begun = Instant::now();
        // Counts that are too high, after a crash at least once, must not stand in for some that are still to come.
        while follow.counted() < feed.sent() || !follow.has_all(feed.counts()) {
            patient(begun, &follow, feed.sent())?;
            follow.take(Duration::from_millis(1))?;
        }
        if let Some(life) = life {
            life.kill()?;
        }
        follow.take(SILENCE)?;
        follow.verify(feed.counts())
    }
}

fn patient(begun: Instant, follow: &Follow, sent: u64) -> Result<(), Failure> {
    if begun.elapsed() < PATIENCE {
        return Ok(());
    }
    let counted = follow.counted();
    Err(format!("{counted} of {sent} events counted after {PATIENCE:?}").into())
}

/// Most milliseconds from exec to the first new count.
const GOAL: f64 = 400.0;

/// How many times sooner than Kafka Streams: at its best, and with its defaults.
const SOONER: [f64; 2] = [8.0, 100.0];

fn report(ways: &[Back], on: &str, size: &Size) -> Report {
    let Size { keys, rate, .. } = size;
    let row = |back: &Back| {
        let cells = vec![back.first.clone(), back.no_lag.clone()];
        (back.name.to_owned(), cells)
    };
    let of = |name: &str| ways.iter().find(|back| back.name == name);
    let mut figures = Vec::new();
    if let Some(engine) = of(ENGINE) {
        figures.push(Figure {
            name: "engine, from exec to the first new count, ms".to_owned(),
            samples: engine.first.clone(),
            goal: Some(Goal::AtMost(GOAL)),
        });
        let median = Spread::of(engine.first.iter().copied()).median;
        let times = |back: &Back| back.first.iter().map(|first| first / median).collect();
        let [of_best, of_defaults] = SOONER;
        for (name, goal) in [
            (STATIC, of_best),
            (STATIC_ALO, of_best),
            (DEFAULTS, of_defaults),
        ] {
            figures.extend(of(name).map(|back| Figure {
                name: format!("{name}: its time to the engine's median"),
                samples: times(back),
                goal: Some(Goal::AtLeast(goal)),
            }));
        }
    }
    Report {
        load: format!(
            "a running count over {keys} keys on {on}, {rate} events a second, a commit every 100 ms, the engine's snapshots \
             every second; killed with SIGKILL"
        ),
        tables: vec![Table {
            title: "from exec to".to_owned(),
            columns: vec![
                "the first new count, ms".to_owned(),
                "no lag, ms".to_owned(),
            ],
            rows: ways.iter().map(row).collect(),
        }],
        figures,
        void: None,
    }
}
