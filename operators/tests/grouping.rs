//! Records of a key that are put together before they move, against a map.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{Captured, Partition, Play, Seen, Solo, active, capture, play, tally, through};
use tiderace_operators::dataflow::{Epoch, Routing};
use tiderace_operators::fold::Count;
use tiderace_operators::grouping::{Group, group};
use tiderace_operators::record::{Header, Record};
use tiderace_operators::tally::{Counting, Ledger, Verdict};

/// What reached the end of a dataflow, with its epoch.
type Arrived = Vec<(Epoch, Seen<u64, Group<u64>>)>;

/// What comes of `plays` behind an operator that groups, and what it counted.
fn grouped(plays: &[Play<u64, ()>], counting: Counting) -> (Arrived, Ledger) {
    let (captured, ledger) = (Captured::default(), Ledger::default());
    let mut solo = Solo::new();
    solo.dataflow(|scope| {
        let counts = tally(&ledger, counting);
        let out = through(scope, Routing::Stay, plays.to_vec(), |head, next| {
            head.counts(&counts);
            group(head, Count, 7, counts.at(7), next)
        });
        capture(scope, out, &captured);
    });
    solo.finish();
    (captured.on(0), ledger)
}

/// What records of one key have come to.
fn merged(headers: &[Header]) -> (Header, Group<u64>) {
    let header = Header {
        timestamp: headers.iter().map(|of| of.timestamp).max().unwrap(),
        stream_time: headers.iter().map(|of| of.stream_time).min().unwrap(),
        position: headers.iter().map(|of| of.position).max().unwrap(),
    };
    let alone = headers.iter().all(|of| of.position == headers[0].position);
    let value = headers.len() as u64;
    (header, Group { value, alone })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_goes_on_once_an_epoch_with_all_that_came_of_it(
        epochs in prop::collection::vec(
            prop::collection::vec((prop::option::weighted(0.9, 0u64..6), -20i64..20, any::<bool>()), 0..40),
            1..4,
        ),
        by_position in any::<bool>(),
    ) {
        let mut partition = Partition::new(3);
        let mut plays = Vec::new();
        let mut expected = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for (epoch, records) in (1..).zip(epochs) {
            let mut of_epoch: Vec<Record<u64, ()>> = Vec::new();
            for (key, millis, again) in records {
                let mut record = partition.record(0, millis, ());
                // A step before may have made several of one.
                if let (true, Some(last)) = (again, of_epoch.last()) {
                    record.header.position = last.header.position;
                }
                record.key = key;
                of_epoch.push(record);
            }
            let mut of: BTreeMap<u64, Vec<Header>> = BTreeMap::new();
            let mut verdicts = BTreeMap::new();
            for record in &of_epoch {
                let verdict = match record.key {
                    Some(key) => {
                        of.entry(key).or_default().push(record.header);
                        Verdict::Processed
                    }
                    None => Verdict::Skipped,
                };
                verdicts.entry(record.header.position).or_insert_with(Vec::new).push(verdict);
            }
            counts.insert(epoch, verdicts);
            expected.extend(of.into_iter().map(|(key, of)| ((epoch, key), merged(&of))));
            // In two halves, so that ports are flushed between them.
            let half = of_epoch.split_off(of_epoch.len() / 2);
            plays.push(play(epoch, of_epoch, []));
            plays.push(play(epoch, half, [(0, active(0))]));
        }
        let counting = if by_position { Counting::ByPosition } else { Counting::Once };
        let (seen, ledger) = grouped(&plays, counting);
        let mut came = BTreeMap::new();
        let mut marked = 0;
        for (epoch, seen) in seen {
            match seen {
                Seen::Record(Record { header, key, value, .. }) => {
                    prop_assert!(marked < epoch, "what an epoch holds goes before its mark");
                    prop_assert!(came.insert((epoch, key.unwrap()), (header, value)).is_none());
                }
                Seen::Mark(_) => marked = epoch,
            }
        }
        prop_assert_eq!(came, expected);
        for (epoch, verdicts) in counts {
            let tally = ledger.take(epoch);
            let of = |which| match counting {
                Counting::ByPosition => {
                    let least = verdicts.values().map(|of| *of.iter().min().unwrap());
                    least.filter(|of| *of == which).count()
                }
                _ => verdicts.values().flatten().filter(|of| **of == which).count(),
            };
            prop_assert_eq!(tally.count(Verdict::Processed), of(Verdict::Processed) as u64);
            prop_assert_eq!(tally.count(Verdict::Skipped), of(Verdict::Skipped) as u64);
        }
    }
}

#[test]
fn keys_that_hardly_come_twice_go_on_one_by_one_and_none_is_lost() {
    let mut partition = Partition::new(0);
    let mut plays = Vec::new();
    for epoch in 1..6 {
        let records: Vec<_> = (0..20_000u64)
            .map(|nth| partition.record(nth * 7_919 % 15_000, nth as i64, ()))
            .collect();
        plays.push(play(epoch, records, [(0, active(0))]));
    }
    let (seen, ledger) = grouped(&plays, Counting::Once);
    let mut records = BTreeMap::new();
    let mut totals: BTreeMap<(Epoch, u64), u64> = BTreeMap::new();
    for (epoch, seen) in seen {
        if let Seen::Record(Record { key, value, .. }) = seen {
            *records.entry(epoch).or_insert(0) += 1;
            *totals.entry((epoch, key.unwrap())).or_default() += value.value;
        }
    }
    // The first keys are asked for, the rest is not.
    assert_eq!(records[&5], 20_000);
    for epoch in 1..6 {
        assert_eq!(ledger.take(epoch).count(Verdict::Processed), 20_000);
        for nth in 0..15_000 {
            let expected = if nth < 5_000 { 2 } else { 1 };
            assert_eq!(totals[&(epoch, nth * 7_919 % 15_000)], expected);
        }
    }
}

#[test]
fn a_group_goes_on_before_its_epoch_ends_if_it_is_of_very_many_records() {
    const RECORDS: u64 = 600_000;
    let mut partition = Partition::new(0);
    let records: Vec<_> = (0..RECORDS)
        .map(|nth| partition.record(7, nth as i64, ()))
        .collect();
    let (seen, ledger) = grouped(&[play(1, records, [(0, active(0))])], Counting::Once);
    let values = seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Record(record) => Some(record.value.value),
        Seen::Mark(_) => None,
    });
    let values: Vec<u64> = values.collect();
    assert_eq!(values.iter().sum::<u64>(), RECORDS);
    assert_eq!(values.len(), 3, "{values:?}");
    assert_eq!(ledger.take(1).count(Verdict::Processed), RECORDS);
}
