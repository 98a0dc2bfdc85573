//! The campaign: a run that nobody disturbs, then life after life of one that is killed, then the last one.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tiderace_benches::progress::Progress;
use tiderace_testing::kills::{Kill, Random};

use super::life::Life;
use super::site::Site;
use super::state::State;
use super::verdict::Verdict;
use super::witness::{Prints, Witness, count};
use crate::Failure;

/// The application that is killed.
const APPLICATION: &str = "torture";
/// Small windows and epochs, so that output comes all along the run.
const WINDOWS: &str = "--window 1m --grace 10s";
/// Rides out of order by more than the windows wait, so that some come late.
const DISORDER: &str = "--disorder 90s --seed 3";
/// How often the log is looked at.
const GLANCE: Duration = Duration::from_millis(2);
/// How long a campaign waits for something new before it fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an epoch may be visible in part: the broker writes the ends of a transaction partition by partition.
const SETTLES: Duration = Duration::from_secs(10);
/// The exit code for a broker that does not answer.
const AWAY: i32 = 69;
/// Every so manieth kill at an output has a fault of the broker before it.
const FAULT_EVERY: usize = 7;

/// A campaign under way.
pub(super) struct Campaign<'a> {
    pub(super) site: &'a Site,
    pub(super) state: State,
    pub(super) progress: Progress,
    /// Whether the user asked for the end.
    pub(super) stop: &'a dyn Fn() -> bool,
    pub(super) broker_faults: bool,
}

/// What a life is waited for.
#[derive(Clone, Copy)]
enum Until {
    Results(u64),
    Age(Duration),
    End,
}

/// What came of waiting.
enum Met {
    Reached,
    Ended(ExitStatus),
    Stopped,
}

/// A life and the results that were there before it.
struct Watched {
    life: Life,
    before: u64,
    recovered: bool,
}

impl Campaign<'_> {
    /// Runs what is left of the campaign; `None` if the user stopped it.
    pub(super) fn run(&mut self) -> Result<Option<Verdict>, Failure> {
        if self.state.undisturbed.is_none() && !self.undisturbed()? {
            return Ok(None);
        }
        let expected = self.state.expected()?;
        let mut witness = Witness::new(self.site, APPLICATION)?;
        let (began, ran) = (Instant::now(), self.state.tally.ran);
        while let Some(kill) = self.state.plan.get(self.state.done()).copied() {
            let went_on = self.kill_once(kill, &mut witness, &expected)?;
            self.state.tally.ran = ran + began.elapsed();
            self.state.save()?;
            if (self.stop)() {
                return Ok(None);
            }
            if !went_on {
                break;
            }
        }
        if !self.last_life(&mut witness)? {
            return Ok(None);
        }
        self.state.tally.ran = ran + began.elapsed();
        let checked = self.site.check(APPLICATION)?;
        let verdict = Verdict::new(&self.state, &expected, &witness, checked);
        Ok(Some(verdict))
    }

    /// Loads the input and runs once without a disturbance, as another application.
    fn undisturbed(&mut self) -> Result<bool, Failure> {
        self.state.attempts += 1;
        self.state.save()?;
        if self.state.attempts == 1 {
            self.site.expect_empty()?;
        }
        let application_id = format!("undisturbed-{}", self.state.attempts);
        self.site.empty_outputs(&application_id)?;
        let of = &self.state.identity;
        let mut life = self.site.start(&format!(
            "rides-per-zone --create-topics --scale {} {DISORDER} {WINDOWS} --workers {} \
             --application-id {application_id} --format json",
            of.copies, of.workers
        ))?;
        let status = loop {
            if (self.stop)() {
                return Ok(false);
            }
            if let Some(status) = life.ended()? {
                break status;
            }
            self.progress
                .show(|| format!("undisturbed run: {}", last_line(&life.last_words())));
            std::thread::park_timeout(Duration::from_millis(50));
        };
        if !status.success() {
            return Err(unexpected(status, &life));
        }
        let seconds = life.report()?["seconds"]
            .as_f64()
            .ok_or("no `seconds` in the report")?;
        let mut witness = Witness::new(self.site, &application_id)?;
        self.see_all(&mut witness)?;
        if witness.outputs.iter().any(|output| count(output) == 0) {
            return Err("the undisturbed run left an output empty, so it is no measure".into());
        }
        self.state.keep_expected(&witness.outputs)?;
        self.progress.say(&format!(
            "undisturbed: {} rides in {seconds:.1} s, {} results, {} late",
            witness.epochs.read,
            witness.results(),
            count(&witness.outputs[1])
        ));
        self.site.empty_outputs(APPLICATION)?;
        self.state.undisturbed = Some(seconds);
        self.state.save()?;
        Ok(true)
    }

    fn begin(&self, witness: &Witness) -> Result<Watched, Failure> {
        let of = &self.state.identity;
        Ok(Watched {
            life: self.site.start(&format!(
                "rides-per-zone --no-load {WINDOWS} --commit-interval 20ms --rate {} --workers {} \
                 --application-id {APPLICATION} --format json",
                of.rate, of.workers
            ))?,
            before: witness.results(),
            recovered: false,
        })
    }

    /// Starts the run and kills it as planned; false if it came to its end before.
    fn kill_once(
        &mut self,
        kill: Kill,
        witness: &mut Witness,
        expected: &[Prints],
    ) -> Result<bool, Failure> {
        let total = count(&expected[0]);
        let before = witness.results();
        let goal = match kill {
            Kill::AtOutput(share) => {
                Until::Results((before + 1).max((total as f64 * share) as u64))
            }
            Kill::InRecovery(share) => Until::Age(self.usual_recovery().mul_f64(share)),
        };
        let mut watched = self.begin(witness)?;
        let mut fault = self.fault_due(kill);
        loop {
            let next = match (goal, fault) {
                (Until::Results(wanted), true) => Until::Results((before + wanted).div_ceil(2)),
                (goal, _) => goal,
            };
            match self.wait(&mut watched, witness, next)? {
                Met::Stopped => return Ok(true),
                Met::Reached if fault => {
                    self.disturb_broker();
                    fault = false;
                }
                Met::Reached => break,
                Met::Ended(status) if status.success() => return Ok(false),
                // Without its broker a run may give up, and whoever watches over it starts it again.
                Met::Ended(status) if status.code() == Some(AWAY) && self.broker_faults => {
                    self.state.tally.gave_up += 1;
                    watched = self.begin(witness)?;
                }
                Met::Ended(status) => return Err(unexpected(status, &watched.life)),
            }
        }
        let age = watched.life.age();
        let recovered = watched.recovered;
        let killed = watched.life.kill()?;
        self.settle(witness)?;
        let (seen, tally) = (witness.results(), &mut self.state.tally);
        tally.kills += 1;
        tally.hits += usize::from(killed && seen > 0 && seen < total);
        tally.in_recovery += usize::from(killed && !recovered);
        tally.life_micros.push(micros(age));
        Ok(true)
    }

    /// The last start, which comes to the end of the input.
    fn last_life(&mut self, witness: &mut Witness) -> Result<bool, Failure> {
        let mut watched = self.begin(witness)?;
        match self.wait(&mut watched, witness, Until::End)? {
            Met::Ended(status) if status.success() => {}
            Met::Ended(status) => return Err(unexpected(status, &watched.life)),
            Met::Stopped | Met::Reached => return Ok(false),
        }
        self.see_all(witness)?;
        Ok(true)
    }

    /// Waits for what the life is to come to, and notes when its first new output came.
    fn wait(
        &mut self,
        watched: &mut Watched,
        witness: &mut Witness,
        until: Until,
    ) -> Result<Met, Failure> {
        let mut moved = (Instant::now(), witness.epochs.epochs);
        loop {
            // First the end, then the look: what it wrote before its end is seen.
            let ended = watched.life.ended()?;
            let age = watched.life.age();
            witness.look()?;
            let results = witness.results();
            if !watched.recovered && results > watched.before {
                watched.recovered = true;
                self.state.tally.recovery_micros.push(micros(age));
            }
            let reached = match until {
                Until::Results(wanted) => results >= wanted,
                Until::Age(wanted) => age >= wanted,
                Until::End => false,
            };
            if reached {
                return Ok(Met::Reached);
            }
            if let Some(status) = ended {
                return Ok(Met::Ended(status));
            }
            if (self.stop)() {
                return Ok(Met::Stopped);
            }
            if witness.epochs.epochs > moved.1 {
                moved = (Instant::now(), witness.epochs.epochs);
            }
            if moved.0.elapsed() > PATIENCE {
                return Err(format!(
                    "no epoch in {PATIENCE:?}; the run's last words:\n{}",
                    watched.life.last_words()
                )
                .into());
            }
            self.show(witness);
            std::thread::park_timeout(GLANCE);
        }
    }

    /// Looks until no epoch is visible in part. What was under way when the process died is decided by then.
    fn settle(&mut self, witness: &mut Witness) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            witness.look()?;
            if witness.is_whole() {
                return Ok(());
            }
            if began.elapsed() > SETTLES {
                self.state.tally.torn += 1;
                return Ok(());
            }
            std::thread::park_timeout(GLANCE);
        }
    }

    /// Looks until the witness has seen what a run wrote that has come to its end.
    fn see_all(&self, witness: &mut Witness) -> Result<(), Failure> {
        let began = Instant::now();
        let records = self.state.identity.records;
        while !(witness.is_whole() && witness.epochs.read >= records) {
            if began.elapsed() > PATIENCE {
                // The verdict says what is missing.
                return Ok(());
            }
            witness.look()?;
            std::thread::park_timeout(GLANCE);
        }
        Ok(())
    }

    /// The median of the recoveries so far, or a guess.
    fn usual_recovery(&self) -> Duration {
        let mut micros = self.state.tally.recovery_micros.clone();
        micros.sort_unstable();
        let median = micros.get(micros.len() / 2).copied();
        median.map_or(Duration::from_millis(50), Duration::from_micros)
    }

    fn fault_due(&self, kill: Kill) -> bool {
        let at_output = |kill: &&Kill| matches!(kill, Kill::AtOutput(_));
        let before = &self.state.plan[..self.state.done()];
        let nth = before.iter().filter(at_output).count();
        self.broker_faults && at_output(&&kill) && nth % FAULT_EVERY == FAULT_EVERY / 2
    }

    /// Kills and restarts the broker, or freezes it for a moment, by turns.
    fn disturb_broker(&mut self) {
        let Some(broker) = self.site.broker() else {
            return;
        };
        let faults = self.state.tally.broker_kills + self.state.tally.broker_pauses;
        if faults.is_multiple_of(2) {
            broker.kill();
            broker.restart();
            self.state.tally.broker_kills += 1;
        } else {
            let mut random = Random::new(self.state.identity.seed ^ faults as u64);
            let frozen = Duration::from_millis(200).mul_f64(1.0 + 10.0 * random.fraction());
            broker.pause();
            std::thread::sleep(frozen);
            broker.resume();
            self.state.tally.broker_pauses += 1;
        }
    }

    fn show(&mut self, witness: &Witness) {
        let (done, kills) = (self.state.done(), self.state.plan.len());
        let records = self.state.identity.records;
        let (epochs, recovery) = (&witness.epochs, self.usual_recovery());
        let torn = self.state.tally.torn;
        self.progress.show(|| {
            format!(
                "{done} of {kills} kills, {} of {records} rides, {} results in {} epochs, recovery {:.0} ms, torn {torn}",
                epochs.read,
                witness.results(),
                epochs.epochs,
                recovery.as_secs_f64() * 1e3,
            )
        });
    }
}

fn unexpected(status: ExitStatus, life: &Life) -> Failure {
    format!(
        "a life ended by itself ({status}); its last words:\n{}",
        life.last_words()
    )
    .into()
}

fn last_line(said: &str) -> &str {
    said.lines().next_back().unwrap_or("starting")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
