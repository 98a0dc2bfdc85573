//! From options to a resolved configuration and an open log.

use std::sync::Arc;

use tiderace::config::{Config, Layers, resolve};
use tiderace::connect::embedded::EmbeddedLog;
use tiderace::connect::kafka::KafkaLog;
use tiderace::connect::{Log, TopicDescription};
use tiderace::error::LogError;

use crate::cli::LogOptions;
use crate::failure::Failure;

/// Resolves the configuration; `flags` are the command's own, beside those of the log.
pub(crate) fn configure(
    options: &LogOptions,
    flags: Vec<(&'static str, &'static str, String)>,
) -> Result<Config, Failure> {
    let of_log = [
        ("--data-dir", "state.dir", &options.data_dir),
        ("--brokers", "bootstrap.servers", &options.brokers),
    ];
    let given = of_log
        .into_iter()
        .filter_map(|(flag, name, value)| Some((flag, name, value.clone()?)));
    let lossless = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let layers = Layers {
        properties: options.properties.as_deref(),
        environment: std::env::vars_os().filter_map(lossless).collect(),
        assignments: &options.assignments,
        flags: flags.into_iter().chain(given).collect(),
    };
    Ok(resolve(&layers)?)
}

/// What a command does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It only reads: a log that is not there is an error.
    Read,
    /// It writes into what is there already.
    Write,
    /// It may begin an embedded log.
    Create,
}

/// Opens the log that the configuration names: Kafka with brokers, else the embedded one.
pub(crate) fn open(config: &Config, access: Access) -> Result<Arc<dyn Log>, Failure> {
    if let Some(brokers) = &config.brokers {
        return Ok(Arc::new(KafkaLog::connect(brokers, &config.kafka)?));
    }
    let directory = &config.data_dir;
    if access != Access::Create {
        let log = EmbeddedLog::open_read_only(directory)?;
        if access == Access::Read {
            return Ok(Arc::new(log));
        }
    }
    Ok(Arc::new(EmbeddedLog::open(directory)?))
}

/// The description of a topic that has to exist.
pub(crate) fn existing(log: &dyn Log, topic: &str) -> Result<TopicDescription, Failure> {
    let missing = || LogError::NoTopic {
        topic: topic.to_owned(),
        location: log.location(),
    };
    Ok(log.topic(topic)?.ok_or_else(missing)?)
}
