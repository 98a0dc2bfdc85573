//! What a load sends and in which order: small enough to be recorded with the topic and compared.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::order::{self, Departure};
use super::{LoadError, Rides};

/// The order in which rides are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By pickup time.
    Time,
    /// As the file has them: nearly all come late.
    File,
}

/// A load: its rides, how often, and in which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the rides come from, for people.
    pub source: String,
    /// Fingerprint of the source's bytes in hexadecimal; it tells sources apart, the name does not.
    pub content: String,
    /// How often the rides are sent, each copy 100 s after the one before.
    pub scale: u64,
    /// In which order.
    pub order: Order,
    /// Rides are shuffled by less than this many milliseconds.
    pub disorder_ms: u64,
    /// The shuffle's seed; 0 without a shuffle.
    pub seed: u64,
}

impl Plan {
    /// The plan to send `rides` as the options say.
    pub fn new(rides: &Rides, scale: u64, order: Order, disorder: Duration, seed: u64) -> Self {
        Plan {
            source: rides.source.clone(),
            content: format!("{:016x}", rides.content),
            scale,
            order,
            disorder_ms: disorder.as_millis() as u64,
            seed: if disorder.is_zero() { 0 } else { seed },
        }
    }

    /// Whether both plans send the same records in the same order.
    pub fn sends_the_same(&self, other: &Plan) -> bool {
        let identity = |plan: &Plan| {
            (
                plan.content.clone(),
                plan.scale,
                plan.order,
                plan.disorder_ms,
                plan.seed,
            )
        };
        identity(self) == identity(other)
    }

    /// The entry of a topic's configuration that records this load, for a topic that is created for it.
    pub fn config_entry(&self) -> (String, String) {
        let value = serde_json::to_string(self).expect("a plan is plain data");
        (super::LOAD_CONFIG.to_owned(), value)
    }

    pub(super) fn check(&self, rides: &Rides) -> Result<(), LoadError> {
        let most = rides.most_copies();
        if self.scale == 0 || self.scale > most {
            return Err(LoadError::Scale {
                scale: self.scale,
                most,
            });
        }
        if self.order == Order::File && self.disorder_ms > 0 {
            return Err(LoadError::ShuffledFile);
        }
        Ok(())
    }

    /// The rides in the plan's order.
    pub(super) fn departures<'a>(
        &self,
        pickups: &'a [i64],
    ) -> Box<dyn Iterator<Item = Departure> + 'a> {
        match (self.order, self.disorder_ms) {
            (Order::File, _) => Box::new(order::by_file(pickups, self.scale)),
            (Order::Time, 0) => Box::new(order::by_time(pickups, self.scale)),
            (Order::Time, bound) => Box::new(order::shuffled(
                order::by_time(pickups, self.scale),
                bound,
                self.seed,
            )),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Time => "time",
            Order::File => "file",
        };
        write!(
            f,
            "{} ({}), scale {}, order {order}",
            self.source, self.content, self.scale
        )?;
        if self.disorder_ms > 0 {
            write!(f, ", disorder {}ms, seed {}", self.disorder_ms, self.seed)?;
        }
        Ok(())
    }
}
