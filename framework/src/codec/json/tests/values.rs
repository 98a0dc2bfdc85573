//! Any JSON there is, written compactly and with white space.

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::{decode, sure};

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::strategy::Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0u8..20).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-99_999i32..99_999).prop_map(|cents| Value::from(f64::from(cents) / 100.0)),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

#[test]
fn any_value_is_read_as_serde_json_reads_it() {
    let cases = 4_000;
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let read_back = runner.run(&values(), |value| {
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            assert!(sure::<Value>(&text).is_some(), "{text}");
            assert!(sure::<serde::de::IgnoredAny>(&text).is_some(), "{text}");
            assert!(decode::<Value>(text.as_bytes()).is_ok());
        }
        Ok(())
    });
    read_back.unwrap();
}
