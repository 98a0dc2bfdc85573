//! What is wrong with a configuration, and where the offending value was given.

use std::fmt;
use std::path::PathBuf;

/// Where a setting's value was given, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file given with `--properties`.
    File(PathBuf),
    /// A variable of the environment, by its name.
    Environment(String),
    /// An assignment given with `--set`.
    Assignment,
    /// An option of the command line, by its name.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(file) => write!(f, "in {}", file.display()),
            Origin::Environment(variable) => write!(f, "from the environment ({variable})"),
            Origin::Assignment => write!(f, "given with --set"),
            Origin::Flag(flag) => write!(f, "given with {flag}"),
        }
    }
}

/// Why a configuration was refused. No message ever holds a secret's value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name that is not in the table.
    #[error("there is no setting `{name}` ({origin}){}", hint(nearest))]
    Unknown {
        /// The name as it was given.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A value that the setting does not take.
    #[error("`{name}` ({origin}): {reason}")]
    Value {
        /// The setting.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// What it takes instead.
        reason: String,
    },
    /// An assignment without an equals sign.
    #[error("--set takes NAME=VALUE, and one of them has no `=`")]
    Assignment,
    /// A properties file that cannot be read.
    #[error("cannot read the properties file {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A line that is not of Kafka's properties format.
    #[error("{}, line {line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// One half of a cluster's credentials.
    #[error("{present} is set in the environment and {absent} is not; set both or neither")]
    HalfCredentials {
        /// The variable that is set.
        present: &'static str,
        /// The one that is missing.
        absent: &'static str,
    },
    /// Epochs that last longer than the broker lets a transaction be.
    #[error(
        "`commit.interval.ms` is {interval} and the client's `transaction.timeout.ms` is {timeout}: a transaction lasts \
         as long as two intervals where outputs are slow to go out, and the broker would abort it; set \
         `kafka.transaction.timeout.ms` to at least {} or `commit.interval.ms` to at most {}",
        interval * 2,
        timeout / 2
    )]
    TransactionTimeout {
        /// The longest that an epoch stays open, in milliseconds.
        interval: u128,
        /// After how many milliseconds the broker aborts a transaction.
        timeout: u128,
    },
    /// Encryption asked of a build that has none.
    #[error(
        "`security.protocol` is {protocol} and this build has no TLS; \
         build it with `cargo build --release --features tls` (needs perl and a C compiler)"
    )]
    NoTls {
        /// The protocol that was asked for.
        protocol: String,
    },
}

impl ConfigError {
    /// The exit code of a command that ends with this error, as `docs/contract.md` lists them.
    pub fn exit_code(&self) -> u8 {
        64
    }
}

fn hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; docs/configuration.md lists them all".into(),
    }
}
