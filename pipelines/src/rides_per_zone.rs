//! How many taxi rides began in each zone, in windows of event time? Each count once, when it is final, with the
//! zone's name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiderace::{BuildError, EventTime, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

use crate::taxi::{Ride, Zone};

/// Rides, keyed by the id of the pickup zone in decimal; event time is the pickup.
pub const RIDES: Topic<String, Ride> =
    Topic::json("rides").timestamp(|ride| ride.tpep_pickup_datetime.into());

/// Taxi zones by id.
pub const ZONES: Topic<u32, Zone> = Topic::json("zones");

/// The counts.
pub const RIDES_PER_ZONE: Topic<Windowed<u32>, ZoneRides> = Topic::json("rides-per-zone");

/// Rides that came too late to be counted, as they came.
pub const LATE_RIDES: Topic<String, Ride> = Topic::json("rides-per-zone-late");

/// How many rides began in a zone in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRides {
    /// The zone's id.
    pub zone_id: u32,
    /// The zone's name, if it is known.
    pub zone: Option<String>,
    /// The zone's borough, if it is known.
    pub borough: Option<String>,
    /// The first moment of the window, such as `2020-07-01T00:10:00Z`.
    pub window_start: String,
    /// The first moment behind the window.
    pub window_end: String,
    /// How many rides.
    pub rides: u64,
}

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Size of the tumbling windows.
    pub window: Duration,
    /// How long after its end a window still takes late rides in.
    pub grace: Duration,
}

impl Default for Parameters {
    /// Windows of 10 minutes with a minute of grace.
    fn default() -> Self {
        Parameters {
            window: Duration::from_secs(600),
            grace: Duration::from_secs(60),
        }
    }
}

impl Parameters {
    /// The parameters that an application was run with, as its epoch log has them; `None` if they are not this
    /// pipeline's.
    pub fn of_logged(logged: &BTreeMap<String, String>) -> Option<Self> {
        Some(Parameters {
            window: logged_duration(logged.get("window")?)?,
            grace: logged_duration(logged.get("grace")?)?,
        })
    }
}

/// Reads a duration as `{:?}` writes it: `600s`, `1.5s`, `250ms`, `0ns`.
fn logged_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let nanos: u128 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "µs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut sum = whole.parse::<u64>().ok().map(u128::from)? * nanos;
    let mut place = nanos;
    for digit in fraction.chars() {
        place /= 10;
        sum += u128::from(digit.to_digit(10)?) * place;
    }
    let seconds = u64::try_from(sum / 1_000_000_000).ok()?;
    let rest = u32::try_from(sum % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}

/// The pipeline.
///
/// # Errors
/// The window or the grace is not possible.
pub fn topology(parameters: &Parameters) -> Result<Topology, BuildError> {
    let Parameters { window, grace } = *parameters;
    let builder = StreamsBuilder::new("rides-per-zone");
    builder
        .parameter("window", format!("{window:?}"))
        .parameter("grace", format!("{grace:?}"));
    let zones = builder.global_table(ZONES);
    builder
        .stream(RIDES)
        .filter(|ride| ride.trip_distance > 0.0)
        .group_by(|ride| ride.pu_location_id)
        .windowed_by(TimeWindows::of_size(window).grace(grace))
        .late_to(LATE_RIDES)
        .count()
        .named("rides-by-zone-and-window")
        .emit_on_close()
        .left_join_with_key(&zones, |of, _| of.key, zone_rides)
        .to(RIDES_PER_ZONE);
    builder.build()
}

fn zone_rides(of: &Windowed<u32>, rides: u64, zone: Option<&Zone>) -> ZoneRides {
    ZoneRides {
        zone_id: of.key,
        zone: zone.map(|zone| zone.zone.clone()),
        borough: zone.map(|zone| zone.borough.clone()),
        window_start: rfc3339(of.window.start),
        window_end: rfc3339(of.window.end),
        rides,
    }
}

fn rfc3339(at: EventTime) -> String {
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_from_what_the_epoch_log_has() {
        for window in [1, 999, 1_500, 600_000, 90_061_001] {
            for grace in [0, 250, 60_000] {
                let parameters = Parameters {
                    window: Duration::from_millis(window),
                    grace: Duration::from_millis(grace),
                };
                let topology = topology(&parameters).unwrap();
                assert_eq!(
                    Parameters::of_logged(topology.parameters()),
                    Some(parameters)
                );
            }
        }
        assert_eq!(Parameters::of_logged(&BTreeMap::new()), None);
        for text in ["", "10", "s", "1.x5s", "10 minutes"] {
            assert_eq!(logged_duration(text), None, "{text}");
        }
    }
}
