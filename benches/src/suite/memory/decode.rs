//! Rides of JSON to values: the reader behind `Topic::json` beside serde_json, for types that use one, three and all of
//! eighteen fields.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tiderace::codec::json;
use tiderace_benches::by_hand;
use tiderace_pipelines::taxi::{LocalTime, Ride};
use tiderace_testing::kills::Random;

use super::contest::{self, Costs, side};
use super::outputs::Same;
use super::records::Records;
use super::side::by_hand as looped;
use super::texts::Texts;
use crate::Failure;
use crate::suite::topics::write_ride;
use crate::suite::{Context, Effort, Figure, Report};

const ZONES: u64 = 265;
/// When rides begin: 2020-07-01, in milliseconds since 1970; a second between each.
const BEGIN: i64 = 1_593_561_600_000;

/// A value that can be told from another.
trait Digest: DeserializeOwned {
    fn digest(&self) -> u64;
}

#[derive(Deserialize)]
struct Begun {
    tpep_pickup_datetime: LocalTime,
}

impl Digest for Begun {
    fn digest(&self) -> u64 {
        self.tpep_pickup_datetime.millis().unsigned_abs()
    }
}

impl Digest for Ride {
    fn digest(&self) -> u64 {
        let millis = self.tpep_pickup_datetime.millis().unsigned_abs();
        millis ^ self.trip_distance.to_bits() ^ u64::from(self.pu_location_id)
    }
}

/// All that is known of a ride.
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "as the columns are called")]
struct All {
    VendorID: String,
    tpep_pickup_datetime: LocalTime,
    tpep_dropoff_datetime: LocalTime,
    passenger_count: u32,
    trip_distance: f64,
    RatecodeID: String,
    store_and_fwd_flag: String,
    PULocationID: u32,
    DOLocationID: u32,
    payment_type: String,
    fare_amount: f64,
    extra: f64,
    mta_tax: f64,
    tip_amount: f64,
    tolls_amount: f64,
    improvement_surcharge: f64,
    total_amount: f64,
    congestion_surcharge: f64,
}

impl Digest for All {
    fn digest(&self) -> u64 {
        let texts = (
            &self.VendorID,
            &self.RatecodeID,
            &self.store_and_fwd_flag,
            &self.payment_type,
        );
        let times = (self.tpep_pickup_datetime, self.tpep_dropoff_datetime);
        let ids = (self.passenger_count, self.PULocationID, self.DOLocationID);
        let amounts = [
            self.trip_distance,
            self.fare_amount,
            self.extra,
            self.mta_tax,
            self.tip_amount,
            self.tolls_amount,
            self.improvement_surcharge,
            self.total_amount,
            self.congestion_surcharge,
        ];
        digest(&(texts, times, ids, amounts.map(f64::to_bits)))
    }
}

fn digest(value: &impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}

/// Reads all rides both ways, in turns.
fn compare<V: Digest>(
    with: &Context<'_>,
    rides: &Texts,
    name: &str,
) -> Result<Vec<Costs>, Failure> {
    let read = |decode: fn(&[u8]) -> Result<V, String>| {
        looped("digests", |sink| {
            let mut all = 0u64;
            for index in 0..rides.count() {
                let value = decode(rides.value(index).0)?;
                all = all.rotate_left(1) ^ value.digest();
            }
            Ok(sink.count(b"all", all, BEGIN)?)
        })
    };
    let sides = [
        side(format!("reader, {name}"), || read(json::decode::<V>)),
        side(format!("serde_json, {name}"), || {
            read(by_hand::json::decode::<V>)
        }),
    ];
    contest::run(with, rides.count(), Same::All, &sides)
}

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let many = match with.options.effort() {
        Effort::Quick => 50_000,
        Effort::Usual | Effort::Full => 1_000_000,
    };
    let mut rides = Texts::default();
    let mut random = Random::new(5);
    for nth in 0..many {
        let time = BEGIN + nth * 1_000;
        let zone = (1 + random.number() % ZONES).to_string();
        rides.push(time, |bytes| {
            write_ride(bytes, &mut random, time, zone.as_bytes())
        })?;
    }
    let all = [
        ("1 field", compare::<Begun>(with, &rides, "1 field")?),
        ("3 fields", compare::<Ride>(with, &rides, "3 fields")?),
        ("18 fields", compare::<All>(with, &rides, "18 fields")?),
    ];
    let ratio = |(name, costs): &(&str, Vec<Costs>)| {
        let name = format!("CPU, reader to serde_json, {name}");
        Figure::ratio(name, &costs[0].cpu, &costs[1].cpu, None)
    };
    Ok(Report {
        load: format!(
            "{many} rides of {} bytes of JSON, 18 fields each",
            rides.total() / rides.count()
        ),
        figures: all.iter().map(ratio).collect(),
        tables: vec![contest::table(
            "rides",
            &all.map(|(_, costs)| costs).concat(),
        )],
        void: None,
    })
}
