//! Numbers of all lengths, as all types of numbers.

use serde_json::Value;
use tiderace_testing::kills::Random;

use super::{Tally, sure};

fn compare(tally: &mut Tally, number: &str) {
    tally.compare::<u8>(number);
    tally.compare::<i16>(number);
    tally.compare::<u64>(number);
    tally.compare::<i64>(number);
    tally.compare::<u128>(number);
    tally.compare::<i128>(number);
    tally.compare::<f32>(number);
    tally.compare::<f64>(number);
    tally.compare::<Value>(number);
    tally.compare::<serde::de::IgnoredAny>(number);
}

#[test]
fn numbers_of_all_lengths_are_rounded_as_serde_json_rounds_them() {
    let mut random = Random::new(3);
    let mut tally = Tally::default();
    for _ in 0..20_000 {
        let mut number = String::new();
        let kind = random.number();
        if kind & 1 == 1 {
            number.push('-');
        }
        let digits = |number: &mut String, random: &mut Random, most: u64| {
            for _ in 0..random.number() % (most + 1) {
                let digit = (random.number() % 15).min(9);
                number.push(char::from(b'0' + digit as u8));
            }
        };
        let is_long = kind & 2 == 2;
        digits(&mut number, &mut random, if is_long { 24 } else { 5 });
        if kind & 4 == 4 {
            number.push('.');
            digits(&mut number, &mut random, if is_long { 20 } else { 3 });
        }
        if kind & 0b11000 == 0b11000 {
            number.push_str(["e", "E", "e-", "E+"][(kind >> 5) as usize % 4]);
            digits(&mut number, &mut random, 3);
        }
        // Alone, and with something behind it that ends it, or does not.
        compare(&mut tally, &number);
        for behind in ["]", " ]", ",1]", ".]", "e]", "x]"] {
            let text = format!("[{number}{behind}");
            tally.compare::<Vec<f64>>(&text);
            tally.compare::<Vec<Value>>(&text);
            tally.compare::<Vec<serde::de::IgnoredAny>>(&text);
        }
    }
    println!("{tally:?}");
    assert!(tally.accepted > 100_000, "{tally:?}");
    assert_eq!(tally.sure, tally.accepted);
}

#[test]
fn numbers_at_the_bounds_of_their_types_are_read() {
    let mut tally = Tally::default();
    for number in [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "255",
        "256",
        "-1",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211455",
        "340282366920938463463374607431768211456",
        "-170141183460469231731687303715884105728",
        "0.1",
        "0.3",
        "1.7976931348623157e308",
        "1e308",
        "1e309",
        "-1e309",
        "5e-324",
        "1e-400",
        "0e999999999999",
        "1e-999999999999",
        "16777217.0",
        "0.000000000000001",
        "123456789012345.6",
        "999999999999999.9",
        "0.99999999999999",
        "1.000000059604645",
        "8.5",
        "12345678",
        "1234567",
        "123456.7",
    ] {
        compare(&mut tally, number);
        compare(&mut tally, &format!("{number} "));
        compare(&mut tally, &format!("{number}        "));
    }
    assert_eq!(tally.sure, tally.accepted);
    assert_eq!(
        sure::<f64>("-0").map(f64::to_bits),
        Some((-0.0f64).to_bits())
    );
    assert_eq!(sure::<f64>("1.50        "), Some(1.5));
    assert_eq!(sure::<i64>("-9223372036854775808"), Some(i64::MIN));
}

#[test]
fn what_is_no_number_is_left_to_serde_json() {
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-01",
        "00",
        "1.",
        ".5",
        "1.e5",
        "1e",
        "1e+",
        "1ee5",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "--1",
        "1.5.5",
        "1,",
        "1 2",
        "0000000001",
        "1.        ",
        "01      ",
        "1e       ",
    ] {
        assert!(sure::<f64>(text).is_none(), "{text}");
        assert!(sure::<Value>(text).is_none(), "{text}");
        assert!(sure::<serde::de::IgnoredAny>(text).is_none(), "{text}");
    }
}
