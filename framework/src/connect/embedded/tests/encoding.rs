//! Bytes and back.

use proptest::prelude::*;

use crate::connect::embedded::{batch, catalog};
use crate::connect::{Header, NO_TIMESTAMP, SinkRecord};

#[test]
fn the_catalog_and_its_changes_survive_their_encoding_and_refuse_every_shorter_one() {
    let extent = catalog::Extent {
        first: 1,
        end: i64::MAX,
        segment: 3,
        bytes: u64::MAX,
    };
    let mut whole = catalog::Catalog::default();
    for change in [
        catalog::Change::Create {
            id: 0,
            name: "a".to_owned(),
            partitions: 2,
        },
        catalog::Change::Create {
            id: 1,
            name: "b".to_owned(),
            partitions: 1,
        },
        catalog::Change::Commit(vec![(0, 1, extent), (1, 0, extent)]),
        catalog::Change::Delete { id: 0 },
    ] {
        let bytes = change.encode();
        assert_eq!(catalog::Change::decode(&bytes), Some(change.clone()));
        assert!((0..bytes.len()).all(|length| catalog::Change::decode(&bytes[..length]).is_none()));
        whole.apply(change).unwrap();
    }
    let bytes = whole.encode();
    assert_eq!(catalog::Catalog::decode(&bytes), Some(whole.clone()));
    assert!((0..bytes.len()).all(|length| catalog::Catalog::decode(&bytes[..length]).is_none()));
    assert!(whole.apply(catalog::Change::Delete { id: 0 }).is_err());
    assert!(
        whole
            .apply(catalog::Change::Commit(vec![(0, 0, extent)]))
            .is_err()
    );
    assert!(
        whole
            .apply(catalog::Change::Create {
                id: 1,
                name: "c".to_owned(),
                partitions: 1
            })
            .is_err()
    );
    assert!(
        whole
            .apply(catalog::Change::Commit(vec![(
                1,
                0,
                catalog::Extent::default()
            )]))
            .is_err()
    );
}

/// Key, value, timestamp and headers.
type Parts = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    Vec<(String, Option<Vec<u8>>)>,
);

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let timestamp = prop_oneof![Just(NO_TIMESTAMP), any::<i64>()];
    (
        bytes(),
        bytes(),
        timestamp,
        prop::collection::vec((".{0,5}", bytes()), 0..4),
    )
}

proptest! {
    #[test]
    fn any_records_come_back_from_a_batch_as_they_were(records in prop::collection::vec(parts(), 1..20), base in 0..i64::MAX / 2) {
        let headers: Vec<Vec<Header>> = records.iter()
            .map(|parts| parts.3.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect())
            .collect();
        let mut open = batch::OpenBatch::default();
        for ((key, value, timestamp, _), headers) in records.iter().zip(&headers) {
            let (key, value) = (key.as_deref(), value.as_deref());
            open.push(&SinkRecord { topic: "", partition: 0, timestamp: *timestamp, key, value, headers });
        }
        let bytes = open.seal(base).to_vec();
        let head = batch::BatchHead::read(&bytes).unwrap();
        prop_assert_eq!((head.base, head.end(), head.total()), (base, base + records.len() as i64, bytes.len() as u64));
        let latest = records.iter().map(|parts| parts.2).filter(|at| *at != NO_TIMESTAMP).max();
        prop_assert_eq!(head.latest, latest.unwrap_or(i64::MIN));
        let mut starts = Vec::new();
        head.index(&bytes, batch::BATCH_HEAD, 0, &mut starts).unwrap();
        for (start, ((key, value, timestamp, _), headers)) in starts.iter().zip(records.iter().zip(&headers)) {
            let record = batch::StoredRecord::read(&bytes, *start as usize);
            prop_assert_eq!((record.key, record.value, record.timestamp), (key.as_deref(), value.as_deref(), *timestamp));
            prop_assert_eq!(&record.headers(), headers);
        }
    }
}
