//! Texts by hand, each of which an error in the reader might take for another.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::shapes::{self, OTHERS, RIDE};
use super::{Tally, decode, read, sure};

#[test]
fn each_kind_of_bad_value_says_what_it_is() {
    let error = |bytes: &[u8]| decode::<(u32, String)>(bytes).unwrap_err();
    assert_eq!(error(b""), "the value is empty, not JSON");
    assert!(error(b"[1, \"\xff\"]").contains("not UTF-8"));
    assert!(error(b"[1, ").starts_with("the value is not JSON"));
    assert!(error(b"[1, \"a\"] [").contains("trailing characters"));
    assert!(error(b"[1]").starts_with("the JSON value has another shape"));
    assert!(error(&b"[".repeat(100_000)).starts_with("the "));
    assert_eq!(
        decode::<(u32, String)>(b" [1, \"a\"] ").unwrap(),
        (1, "a".to_owned())
    );
}

#[test]
fn texts_that_json_does_not_know_are_left_to_serde_json() {
    for text in [
        "",
        " ",
        "\u{feff}{}",
        "{",
        "[",
        "\"",
        "\"a",
        "nul",
        "nulll",
        "truefalse",
        "{}}",
        "[]]",
        "{} {}",
        "[1 2]",
        "[1,]",
        "[,1]",
        "[,]",
        "{,}",
        "{,\"a\":1}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\"}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "[1}",
        "[\"a\nb\"]",
        "[\"a\u{1}b\"]",
        "{\"a\nb\":1}",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"\\u123\"]",
        "[\"\\\"]",
        "{\"a\\\":1}",
        "\u{b}[]",
        "[]\u{c}",
        "[\u{a0}]",
        "\0",
        "[]\0",
        "{\"a\":1,,\"b\":2}",
        "{\"a\"::1}",
        "'a'",
        "[1,2",
    ] {
        assert!(sure::<Value>(text).is_none(), "{text}");
        assert!(sure::<serde::de::IgnoredAny>(text).is_none(), "{text}");
        let within = format!(r#"{{"unused":{text},"trip_distance":1}}"#);
        shapes::compare_rides(&mut Tally::default(), &within);
        shapes::compare_others(&mut Tally::default(), text);
    }
}

#[test]
fn strings_and_keys_of_all_lengths_end_where_they_end() {
    let mut tally = Tally::default();
    for length in 0..200 {
        for piece in ["", "é", "\\\"", "\\\\", "\\u00e9", "😀", "\u{7f}"] {
            let text = format!("{}{piece}{}", "a".repeat(length), "b".repeat(length % 67));
            let json = format!(r#"{{"{text}":"{text}","x":["{text}"],"":""}}"#);
            tally.compare::<Value>(&json);
            tally.compare::<BTreeMap<String, Value>>(&json);
            tally.compare::<shapes::Untagged>(&json);
            tally.compare::<serde::de::IgnoredAny>(&json);
        }
    }
    assert_eq!((tally.read, tally.sure), (5_600, 5_600));
}

#[test]
fn every_shape_is_read_without_serde_json() {
    let mut tally = Tally::default();
    for text in OTHERS.into_iter().chain([RIDE]) {
        shapes::compare_rides(&mut tally, text);
        shapes::compare_others(&mut tally, text);
    }
    assert_eq!(tally.sure, tally.accepted);
}

#[test]
fn keys_may_be_truth_values() {
    let read = |text| sure::<BTreeMap<bool, u8>>(text);
    let both = BTreeMap::from([(true, 1), (false, 2)]);
    assert_eq!(read(r#"{"true":1,"false":2}"#), Some(both));
    for text in [
        r#"{"truex":1}"#,
        r#"{" true":1}"#,
        r#"{"tru":1}"#,
        r#"{true:1}"#,
        r#"{"True":1}"#,
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_key_that_comes_twice_is_what_the_type_makes_of_it() {
    let twice = r#"{"trip_distance":1,"a":1,"a":2,"trip_distance":2}"#;
    let mut tally = Tally::default();
    shapes::compare_rides(&mut tally, twice);
    assert!(tally.sure < tally.read);
    assert_eq!(sure::<Value>(twice).unwrap()["a"], 2);
}

#[test]
fn nesting_is_refused_where_serde_json_refuses_it() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Unused {
        a: u8,
    }
    for depth in [1, 63, 64, 65, 126, 127, 128, 129, 1_000] {
        for (open, close) in [("[", "]"), ("{\"b\":", "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let unused = format!("{{\"b\":{nested},\"a\":1}}");
            let mut tally = Tally::default();
            tally.compare::<Value>(&nested);
            assert_eq!(tally.sure, usize::from(depth < 128), "{depth}");
            tally.compare::<serde::de::IgnoredAny>(&nested);
            tally.compare::<Unused>(&unused);
            assert!(decode::<Unused>(unused.as_bytes()).is_ok(), "{depth}");
        }
    }
}

#[test]
fn what_is_left_to_serde_json_is_refused_with_its_words() {
    for text in [
        "{\"a\":1",
        "[1]",
        "{\"trip_distance\":\"1\"}",
        "nul",
        "{} x",
    ] {
        let theirs = serde_json::from_str::<shapes::Narrow>(text)
            .unwrap_err()
            .to_string();
        let ours = decode::<shapes::Narrow>(text.as_bytes()).unwrap_err();
        assert!(
            ours.ends_with(&theirs),
            "{ours} does not end with: {theirs}"
        );
    }
}

#[test]
fn an_error_that_a_type_swallows_makes_its_value_doubtful() {
    let text = r#"{"trip_distance":[1,{"a":"b"},2],"VendorID":[1]}"#;
    assert!(read::<shapes::Lenient>(text).is_none());
    assert!(read::<shapes::Lenient>(r#"{"trip_distance":7,"VendorID":[1]}"#).is_some());
}
