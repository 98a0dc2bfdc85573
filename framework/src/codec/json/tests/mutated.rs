//! Rides and other texts that were damaged in random places.

use serde_json::Value;
use tiderace_testing::kills::Random;

use super::shapes::{self, Lenient, Narrow, OTHERS, RIDE, Wide};
use super::{Tally, decode, sure};

/// What is put into a text.
const PIECES: [&str; 44] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\t",
    "\r",
    "\0",
    "\u{1f}",
    "\u{7f}",
    "-",
    "+",
    ".",
    "e",
    "E9",
    "0",
    "1",
    "00",
    "-0",
    "1e400",
    "9007199254740993",
    "18446744073709551616",
    "-9223372036854775809",
    "null",
    "true",
    "false",
    "nul",
    "\\u0041",
    "\\ud800",
    "\\ud83d\\ude00",
    "\\n",
    "\\x",
    "é",
    "\u{2028}",
    "😀",
    "\u{feff}",
    "[[[[[[[[",
    "{\"a\":",
    "\"trip_distance\":",
];

fn below(random: &mut Random, bound: usize) -> usize {
    (random.number() % bound.max(1) as u64) as usize
}

/// Damages a text once.
fn damage(bytes: &mut Vec<u8>, random: &mut Random, seeds: &[String]) {
    let at = below(random, bytes.len());
    let end = (at + below(random, 12)).min(bytes.len());
    match random.number() % 8 {
        0 if at < bytes.len() => bytes[at] ^= 1 << (random.number() % 8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            let to = below(random, bytes.len());
            bytes.splice(to..to, copy);
        }
        3 => {
            let other = seeds[below(random, seeds.len())].as_bytes();
            let from = below(random, other.len());
            let until = (from + below(random, 60)).min(other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        4 if random.number().is_multiple_of(4) => bytes.truncate(at),
        5 => swap(bytes, random),
        _ => {
            let piece = PIECES[below(random, PIECES.len())];
            let end = if random.number().is_multiple_of(2) {
                at
            } else {
                end
            };
            bytes.splice(at..end, piece.bytes());
        }
    }
}

/// Swaps two parts between commas and colons.
fn swap(bytes: &mut Vec<u8>, random: &mut Random) {
    let mut parts: Vec<&[u8]> = bytes.split_inclusive(|byte| b",:".contains(byte)).collect();
    if parts.is_empty() {
        return;
    }
    let (one, other) = (below(random, parts.len()), below(random, parts.len()));
    parts.swap(one, other);
    *bytes = parts.concat();
}

/// Texts that were damaged up to three times, and are UTF-8 still; how many were made.
fn damaged(seed: u64, count: usize, seeds: &[String], mut with: impl FnMut(&str)) {
    let mut random = Random::new(seed);
    for _ in 0..count {
        let mut bytes = seeds[below(&mut random, seeds.len())].clone().into_bytes();
        for _ in 0..=random.number() % 3 {
            damage(&mut bytes, &mut random, seeds);
        }
        match str::from_utf8(&bytes) {
            Ok(text) => with(text),
            Err(_) => assert!(decode::<Value>(&bytes).unwrap_err().contains("JSON")),
        }
    }
}

fn rides() -> Vec<String> {
    let pretty: Value = serde_json::from_str(RIDE).unwrap();
    let escaped = RIDE
        .replace("2020", "\\u0032020")
        .replace("\"N\"", "\"é\\\"\"");
    let subset = r#"{"VendorID":"2","trip_distance":0.00,"PULocationID":1,"tpep_pickup_datetime":"2020-07-01T00:25:32"}"#;
    vec![
        RIDE.to_owned(),
        RIDE.to_owned(),
        serde_json::to_string_pretty(&pretty).unwrap(),
        escaped,
        subset.to_owned(),
    ]
}

#[test]
fn a_hundred_thousand_damaged_rides_are_read_as_serde_json_reads_them() {
    let (mut tally, mut texts) = (Tally::default(), 0);
    damaged(1, 110_000, &rides(), |text| {
        texts += 1;
        shapes::compare_rides(&mut tally, text);
    });
    println!("{texts} rides: {tally:?}");
    assert!(texts >= 100_000, "{texts}");
    assert!(tally.accepted >= texts, "{tally:?}");
    // Nothing that serde_json accepts is left to it.
    assert_eq!(tally.sure, tally.accepted);
}

#[test]
fn damaged_texts_of_other_shapes_are_read_as_serde_json_reads_them() {
    let seeds: Vec<String> = OTHERS
        .map(str::to_owned)
        .into_iter()
        .chain([RIDE.into()])
        .collect();
    let (mut tally, mut texts) = (Tally::default(), 0);
    damaged(2, 30_000, &seeds, |text| {
        texts += 1;
        shapes::compare_rides(&mut tally, text);
        shapes::compare_others(&mut tally, text);
    });
    println!("{texts} texts: {tally:?}");
    assert!(tally.accepted >= texts, "{tally:?}");
    // Strings that are read as bytes may hold what JSON forbids; such and nothing else is left to serde_json.
    assert!(
        tally.accepted - tally.sure < tally.accepted / 200,
        "{tally:?}"
    );
}

#[test]
fn a_type_that_swallows_errors_gets_what_serde_json_gives_it() {
    let mut seeds = rides();
    seeds
        .push(r#"{"trip_distance":1,"VendorID":[1,2],"passenger_count":"1","a":{"b":[1]}}"#.into());
    let mut tally = Tally::default();
    damaged(4, 20_000, &seeds, |text| tally.compare::<Lenient>(text));
    println!("{tally:?}");
    assert!(tally.sure > 0 && tally.sure < tally.accepted, "{tally:?}");
}

#[test]
fn rides_as_they_are_written_are_never_left_to_serde_json() {
    for ride in rides() {
        assert!(sure::<Narrow>(&ride).is_some(), "{ride}");
        assert!(sure::<Value>(&ride).is_some(), "{ride}");
    }
    assert!(sure::<Wide>(RIDE).is_some());
    let mut tally = Tally::default();
    shapes::compare_rides(&mut tally, RIDE);
    assert_eq!((tally.sure, tally.accepted), (6, 6), "{tally:?}");
}
