//! What a campaign has planned, done and measured, in a file that is written anew after every kill.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiderace_testing::kills::{Kill, plan};

use super::witness::Prints;
use crate::Failure;

/// The share of kills that are followed by another in the recovery.
const AGAIN: f64 = 0.2;

/// What makes a campaign this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) log: String,
    /// How often the built-in rides are loaded.
    pub(super) copies: u64,
    pub(super) records: u64,
    pub(super) kills: usize,
    pub(super) rate: u64,
    pub(super) workers: usize,
    pub(super) seed: u64,
}

/// What has happened so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Kills, those in a recovery included.
    pub(super) kills: usize,
    /// Kills between the first output and the last.
    pub(super) hits: usize,
    /// Kills of a start before its first new output.
    pub(super) in_recovery: usize,
    /// Times that the broker was killed and started again, and that it was frozen.
    pub(super) broker_kills: usize,
    pub(super) broker_pauses: usize,
    /// Lives that ended by themselves while the broker was away, with exit code 69.
    pub(super) gave_up: usize,
    /// Looks behind a kill at which an epoch was visible in part.
    pub(super) torn: usize,
    /// Microseconds from a start to its first new output.
    pub(super) recovery_micros: Vec<u64>,
    /// Microseconds that lives lasted.
    pub(super) life_micros: Vec<u64>,
    /// Time that the campaign has run, its stops left out.
    pub(super) ran: Duration,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    identity: Identity,
    undisturbed: Option<f64>,
    attempts: u32,
    tally: Tally,
}

/// The state of a campaign.
pub(super) struct State {
    directory: PathBuf,
    pub(super) identity: Identity,
    pub(super) plan: Vec<Kill>,
    /// How long the run took that nobody disturbed, in seconds.
    pub(super) undisturbed: Option<f64>,
    /// How often that run was begun.
    pub(super) attempts: u32,
    pub(super) tally: Tally,
}

impl State {
    /// The state that lies in the directory, or that of a campaign which has not begun.
    pub(super) fn open(directory: &Path, identity: Identity) -> Result<Self, Failure> {
        let stored = match fs::read(directory.join("campaign.json")) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Stored {
                identity: identity.clone(),
                undisturbed: None,
                attempts: 0,
                tally: Tally::default(),
            },
            Err(error) => return Err(error.into()),
        };
        if stored.identity != identity {
            return Err(format!(
                "{} holds another campaign, {:?}, and this is {identity:?}: use another --dir, or remove it",
                directory.display(),
                stored.identity
            )
            .into());
        }
        Ok(State {
            directory: directory.to_owned(),
            plan: plan(identity.seed, identity.kills, AGAIN),
            identity,
            undisturbed: stored.undisturbed,
            attempts: stored.attempts,
            tally: stored.tally,
        })
    }

    /// Kills done.
    pub(super) fn done(&self) -> usize {
        self.tally.kills
    }

    /// Writes the state, whole or not at all.
    pub(super) fn save(&self) -> Result<(), Failure> {
        self.write(
            "campaign.json",
            &Stored {
                identity: self.identity.clone(),
                undisturbed: self.undisturbed,
                attempts: self.attempts,
                tally: self.tally.clone(),
            },
        )
    }

    /// Keeps what the run wrote that nobody disturbed.
    pub(super) fn keep_expected(&self, outputs: &[Prints]) -> Result<(), Failure> {
        self.write("expected.json", &outputs)
    }

    /// What the run wrote that nobody disturbed.
    pub(super) fn expected(&self) -> Result<Vec<Prints>, Failure> {
        Ok(serde_json::from_slice(&fs::read(
            self.directory.join("expected.json"),
        )?)?)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let partial = self.directory.join(format!("{name}.partial"));
        fs::write(&partial, serde_json::to_vec(value)?)?;
        fs::rename(partial, self.directory.join(name))?;
        Ok(())
    }
}
