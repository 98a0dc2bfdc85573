//! The options of `tiderace topics`.

use clap::{Args, Subcommand};

use super::{Form, LogOptions};

#[derive(Args)]
pub(crate) struct Topics {
    #[command(subcommand)]
    pub(crate) action: TopicsAction,
}

#[derive(Subcommand)]
pub(crate) enum TopicsAction {
    /// List all topics with partitions and records
    List {
        /// Form of the list
        #[arg(long, default_value = "text")]
        format: Form,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Create a topic
    Create {
        /// The topic's name
        topic: String,
        /// Number of partitions
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// Configuration of the topic, as often as needed: retention.ms=-1
        #[arg(long = "config", value_name = "NAME=VALUE")]
        config: Vec<String>,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Show a topic's partitions, offsets and configuration
    Describe {
        /// The topic's name
        topic: String,
        /// Form of the description
        #[arg(long, default_value = "text")]
        format: Form,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Add partitions to a topic; records that are there stay where they are
    Alter {
        /// The topic's name
        topic: String,
        /// Number of partitions that the topic is to have; more than it has
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Delete a topic and its records
    Delete {
        /// The topic's name
        topic: String,
        #[command(flatten)]
        log: LogOptions,
    },
}
