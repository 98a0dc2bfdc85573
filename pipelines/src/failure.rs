//! How a command ends when it does not end well: a message and the contract's exit code.

use std::io;

use tiderace::config::ConfigError;
use tiderace::error::LogError;
use tiderace_pipelines::load::LoadError;

use crate::engine::{BuildError, RunError};

/// Why a command stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was asked for does not fit what is there.
    #[error("{0}")]
    Refused(String),
    /// A line of JSON that is no record.
    #[error("line {number}: {reason}; {kept}")]
    Line {
        number: u64,
        reason: String,
        kept: String,
    },
    /// A record that is not what its topic holds.
    #[error("{0}")]
    BadData(String),
    #[error("cannot read stdin: {0}")]
    Input(io::Error),
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
    /// A system call at the edge, with what it was for.
    #[error("cannot {what}: {source}")]
    System { what: String, source: io::Error },
    /// Ctrl-C or SIGTERM before the end.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// What to say, `None` if whoever read the output went away and there is nobody to tell.
    pub(crate) fn message(&self) -> Option<String> {
        let gone =
            matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
        (!gone).then(|| self.to_string())
    }

    /// The exit code, as `docs/contract.md` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Config(error) => error.exit_code(),
            Failure::Log(error) => error.exit_code(),
            Failure::Load(error) => error.exit_code(),
            Failure::Build(_) => 70,
            Failure::Run(error) => error.exit_code(),
            Failure::Refused(_) => 64,
            Failure::Line { .. } | Failure::BadData(_) => 65,
            Failure::Input(_) => 66,
            // `consume TOPIC | head` has done what it was asked to.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) | Failure::System { .. } => 73,
            Failure::Interrupted(_) => 130,
        }
    }
}
