//! Types that ask for JSON in all the ways there are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Tally;

/// A ride of 18 columns, as `tiderace load` writes them.
pub(super) const RIDE: &str = r#"{"VendorID":"1","tpep_pickup_datetime":"2020-07-01T00:25:32","tpep_dropoff_datetime":"2020-07-01T00:33:39","passenger_count":1,"trip_distance":1.50,"RatecodeID":"1","store_and_fwd_flag":"N","PULocationID":238,"DOLocationID":75,"payment_type":"2","fare_amount":8,"extra":0.5,"mta_tax":0.5,"tip_amount":0,"tolls_amount":0,"improvement_surcharge":0.3,"total_amount":-9.3,"congestion_surcharge":0}"#;

/// Texts of other shapes, which rides are mixed with.
pub(super) const OTHERS: [&str; 8] = [
    r#"{"Moved":{"from":7,"to":[1,2.5,-3],"note":"a \"b\" \u00e9 \ud83d\ude00 é"}}"#,
    r#"{"Pair":[1,"two"]}"#,
    r#""Nothing""#,
    r#"{"Text":"one\ntwo"}"#,
    r#"[238,"two",true,null]"#,
    r#"{"1":null,"-2":[],"18446744073709551615":{},"true":"x"}"#,
    "{ \"VendorID\" : \"1\" ,\n\t\"trip_distance\" : 1e3 , \"PULocationID\":2,\r\n \"tpep_pickup_datetime\" : \"\" } ",
    r#"{"a":{"b":[{"c":[[],{},[{"d":"}]"}]]}]},"e":1.0e-5,"f":123456789012345678901234567890}"#,
];

#[derive(Debug, Deserialize)]
#[allow(dead_code, non_snake_case)]
pub(super) struct Narrow {
    tpep_pickup_datetime: String,
    trip_distance: f64,
    PULocationID: u32,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, non_snake_case)]
pub(super) struct Wide<'a> {
    #[serde(borrow)]
    VendorID: Cow<'a, str>,
    tpep_pickup_datetime: &'a str,
    tpep_dropoff_datetime: String,
    passenger_count: u8,
    trip_distance: f64,
    RatecodeID: Option<char>,
    store_and_fwd_flag: Option<String>,
    PULocationID: i16,
    DOLocationID: Option<u64>,
    payment_type: Value,
    fare_amount: f32,
    extra: f32,
    mta_tax: Option<f64>,
    tip_amount: u128,
    tolls_amount: i128,
    improvement_surcharge: IgnoredAny,
    total_amount: Option<f64>,
    #[serde(default)]
    congestion_surcharge: i64,
    #[serde(default)]
    airport_fee: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, non_snake_case)]
pub(super) struct Flat {
    trip_distance: f64,
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, non_snake_case)]
struct Place {
    PULocationID: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, non_snake_case)]
pub(super) struct Strict {
    #[serde(alias = "vendor")]
    VendorID: String,
    trip_distance: f64,
    PULocationID: u32,
    tpep_pickup_datetime: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "VendorID")]
#[allow(dead_code)]
pub(super) enum Tagged {
    #[serde(rename = "1")]
    One { trip_distance: f64, extra: f64 },
    #[serde(rename = "2")]
    Two { total_amount: f64 },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
pub(super) enum Untagged {
    Driven { trip_distance: f32 },
    Numbers(Vec<i32>),
    Text(String),
    Any(Value),
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
pub(super) enum Event {
    Nothing,
    Text(String),
    Pair(u8, String),
    Moved {
        from: u64,
        to: Vec<f64>,
        note: String,
    },
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
pub(super) struct Newtype(Option<Box<RawValue>>);

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
pub(super) struct Raw<'a> {
    #[serde(borrow)]
    trip_distance: &'a RawValue,
    extra: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Nothing;

/// Takes what is wrong for absent, and goes on behind it.
#[derive(Debug, Deserialize)]
#[allow(dead_code, non_snake_case)]
pub(super) struct Lenient {
    #[serde(deserialize_with = "or_none")]
    trip_distance: Option<u32>,
    #[serde(default, deserialize_with = "or_none")]
    VendorID: Option<Vec<u8>>,
    #[serde(default, deserialize_with = "or_none")]
    passenger_count: Option<String>,
    #[serde(default, deserialize_with = "or_none")]
    a: Option<BTreeMap<String, Vec<u8>>>,
}

fn or_none<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<V>, D::Error> {
    Ok(V::deserialize(deserializer).ok())
}

/// Bytes, of a string or an array.
#[derive(Debug)]
#[allow(dead_code)]
pub(super) struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;
        impl<'de> Visitor<'de> for Taken {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut of: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = of.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(Taken)
    }
}

/// Takes the first element and the first entry, and leaves the others.
#[derive(Debug)]
#[allow(dead_code)]
pub(super) struct First(Value);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;
        impl<'de> Visitor<'de> for Taken {
            type Value = First;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array or an object")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut of: A) -> Result<First, A::Error> {
                Ok(First(of.next_element()?.unwrap_or_default()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut of: A) -> Result<First, A::Error> {
                let entry: Option<(String, Value)> = of.next_entry()?;
                Ok(First(entry.unwrap_or_default().1))
            }
        }
        deserializer.deserialize_any(Taken)
    }
}

/// The types that rides are read as.
pub(super) fn compare_rides(tally: &mut Tally, text: &str) {
    tally.compare::<Narrow>(text);
    tally.compare::<Wide>(text);
    tally.compare::<Value>(text);
    tally.compare::<BTreeMap<String, Value>>(text);
    tally.compare::<Flat>(text);
    tally.compare::<Strict>(text);
    tally.compare::<Tagged>(text);
    tally.compare::<Event>(text);
    tally.compare::<(u8, String, Option<bool>, Value)>(text);
}

/// All other types, but for one that swallows errors, and maps by `bool`: the latter's error messages panic in serde_json
/// (1.0.154) where a key begins with a character that is not ASCII.
pub(super) fn compare_others(tally: &mut Tally, text: &str) {
    tally.compare::<Untagged>(text);
    tally.compare::<Newtype>(text);
    tally.compare::<Raw>(text);
    tally.compare::<Nothing>(text);
    tally.compare::<()>(text);
    tally.compare::<bool>(text);
    tally.compare::<char>(text);
    tally.compare::<&str>(text);
    tally.compare::<Bytes>(text);
    tally.compare::<First>(text);
    tally.compare::<IgnoredAny>(text);
    tally.compare::<Vec<Event>>(text);
    tally.compare::<Option<Option<Value>>>(text);
    tally.compare::<BTreeMap<u64, Value>>(text);
    tally.compare::<BTreeMap<i8, IgnoredAny>>(text);
    tally.compare::<BTreeMap<u128, Value>>(text);
    tally.compare::<BTreeMap<char, Value>>(text);
    tally.compare::<BTreeMap<Option<String>, Value>>(text);
    tally.compare::<Vec<(Cow<'_, str>, Value)>>(text);
    tally.compare::<serde_json::Map<String, Value>>(text);
}
