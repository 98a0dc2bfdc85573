use std::path::Path;

use super::rides::murmur2;
use super::*;

/// One partition of one key; the number is the timestamp.
fn records(timestamps: &[i64]) -> Vec<Input<i64>> {
    timestamps
        .iter()
        .map(|&at| Input {
            timestamp: at,
            key: 7,
            passes_filter: true,
            record: at,
        })
        .collect()
}

/// Start, count and timestamp of each result.
fn counts(counted: &Counted<i64>) -> Vec<(i64, u64, i64)> {
    counted
        .results
        .iter()
        .map(|result| (result.start, result.count, result.timestamp))
        .collect()
}

#[test]
fn a_record_is_in_time_while_stream_time_lies_before_end_plus_grace() {
    let windows = TimeWindows::tumbling(10_000, 5_000);
    let counted = count_windows(&[records(&[14_999, 9_999])], windows);
    assert_eq!(counts(&counted), [(0, 1, 9_999), (10_000, 1, 14_999)]);
    assert_eq!(counted.late, [[0; 0]]);

    let counted = count_windows(&[records(&[15_000, 9_999])], windows);
    assert_eq!(counts(&counted), [(10_000, 1, 15_000)]);
    assert_eq!(counted.late, [[9_999]]);
    assert_eq!(
        counted.tally,
        Tally {
            read: 2,
            processed: 1,
            filtered: 0,
            late: 1
        }
    );
}

#[test]
fn a_record_late_for_one_hopping_window_counts_in_the_next() {
    let windows = TimeWindows {
        size: 10_000,
        advance: 5_000,
        grace: 0,
    };
    let counted = count_windows(&[records(&[10_000, 9_999])], windows);
    assert_eq!(counts(&counted), [(5_000, 2, 10_000), (10_000, 1, 10_000)]);
    assert_eq!(
        counted.tally,
        Tally {
            read: 2,
            processed: 2,
            filtered: 0,
            late: 0
        }
    );
}

#[test]
fn a_record_at_the_end_belongs_to_the_next_window_and_closes_this_one_without_grace() {
    let counted = count_windows(
        &[records(&[9_999, 10_000, 9_998])],
        TimeWindows::tumbling(10_000, 0),
    );
    assert_eq!(counts(&counted), [(0, 1, 9_999), (10_000, 1, 10_000)]);
    assert_eq!(counted.late, [[9_998]]);
}

#[test]
fn the_first_record_of_a_partition_is_never_late() {
    let far_ahead = records(&[1_000_000]);
    let counted = count_windows(&[far_ahead, records(&[5])], TimeWindows::tumbling(10, 0));
    assert_eq!(counts(&counted), [(0, 1, 5), (1_000_000, 1, 1_000_000)]);
    assert_eq!(counted.late, [[0; 0], [0; 0]]);
}

#[test]
fn a_filtered_record_moves_time_and_is_counted_as_filtered() {
    let mut partition = records(&[5, 20, 6]);
    partition[1].passes_filter = false;
    let counted = count_windows(&[partition], TimeWindows::tumbling(10, 0));
    assert_eq!(counts(&counted), [(0, 1, 5)]);
    assert_eq!(counted.late, [[6]]);
    assert_eq!(
        counted.tally,
        Tally {
            read: 3,
            processed: 1,
            filtered: 1,
            late: 1
        }
    );
}

#[test]
fn no_window_of_a_time_from_zero_on_starts_below_zero() {
    let windows = TimeWindows {
        size: 10,
        advance: 4,
        grace: 0,
    };
    assert_eq!(windows.starts(0), [0]);
    assert_eq!(windows.starts(7), [0, 4]);
    assert_eq!(windows.starts(9), [0, 4, 8]);
    assert_eq!(windows.starts(12), [4, 8, 12]);
    assert_eq!(TimeWindows::tumbling(10, 0).starts(10), [10]);
}

#[test]
fn a_negative_time_has_windows_with_negative_starts() {
    assert_eq!(TimeWindows::tumbling(10, 0).starts(-1), [-10]);
    assert_eq!(TimeWindows::tumbling(10, 0).starts(-10), [-10]);
    assert_eq!(TimeWindows::tumbling(10, 0).starts(-11), [-20]);
    assert_eq!(
        TimeWindows {
            size: 10,
            advance: 5,
            grace: 0
        }
        .starts(-1),
        [-10, -5]
    );
    let counted = count_windows(
        &[records(&[-1, 3])],
        TimeWindows {
            size: 10,
            advance: 5,
            grace: 0,
        },
    );
    assert_eq!(counts(&counted), [(-10, 1, -1), (-5, 1, -1), (0, 1, 3)]);
}

#[test]
fn results_are_ordered_by_closing_time_then_key() {
    let mut partition = records(&[1, 2, 12, 3]);
    for (input, key) in partition.iter_mut().zip([256, 1, 1, 256]) {
        input.key = key;
    }
    let counted = count_windows(&[partition], TimeWindows::tumbling(10, 5));
    let order: Vec<_> = counted
        .results
        .iter()
        .map(|r| (r.closing, r.start, r.key, r.count))
        .collect();
    assert_eq!(order, [(15, 0, 1, 1), (15, 0, 256, 2), (25, 10, 1, 1)]);
}

#[test]
fn murmur2_gives_the_values_of_kafkas_own_test() {
    let expected: [(&str, i32); 6] = [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58897971,
        ),
        ("abc", 479470107),
    ];
    for (key, hash) in expected {
        assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
    }
    assert_eq!(
        java_partition(b"21", 4),
        (0x7fff_ffff & -973932308i32) as usize % 4
    );
}

#[test]
fn the_bytes_of_rides_per_zone_are_written_out() {
    let ride = |text: &str| Ride::from_json(text.as_bytes());
    let first = ride(
        r#"{"tpep_pickup_datetime":"2020-07-01T00:10:00","PULocationID":238,"trip_distance":1.5}"#,
    );
    assert_eq!(
        first,
        Ride {
            pickup: 1_593_562_200_000,
            zone: 238,
            distance: 1.5
        }
    );
    let rides = vec![vec![
        first,
        ride(
            r#"{"tpep_pickup_datetime":"2020-07-01T00:19:59","PULocationID":"238","trip_distance":"0.1"}"#,
        ),
        ride(
            r#"{"tpep_pickup_datetime":"2020-07-01T00:11:00","PULocationID":238,"trip_distance":0}"#,
        ),
        ride(
            r#"{"tpep_pickup_datetime":"2020-07-01T00:20:00","PULocationID":999,"trip_distance":2}"#,
        ),
    ]];
    let zones =
        read_zones(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/taxi_zone_lookup.csv"));
    let expected = rides_per_zone(&rides, &zones, 600_000, 60_000);
    let mut records: Vec<_> = expected.partitions.concat();
    records.sort();
    let text = |at: usize| String::from_utf8(records[at].1.clone()).unwrap();
    assert_eq!(records[0].0, [0, 0, 0, 238, 0, 0, 1, 115, 7, 181, 119, 192]);
    assert_eq!(
        text(0),
        r#"{"zone_id":238,"zone":"Upper West Side North","borough":"Manhattan","window_start":"2020-07-01T00:10:00Z","window_end":"2020-07-01T00:20:00Z","rides":2}"#
    );
    assert_eq!(records[0].2, 1_593_562_799_000);
    assert_eq!(
        text(1),
        r#"{"zone_id":999,"zone":null,"borough":null,"window_start":"2020-07-01T00:20:00Z","window_end":"2020-07-01T00:30:00Z","rides":1}"#
    );
    assert_eq!(
        expected.tally,
        Tally {
            read: 4,
            processed: 3,
            filtered: 1,
            late: 0
        }
    );
}

#[test]
fn the_rides_of_the_repository_add_up() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let (rides, zones) = (
        rides_by_partition(&data.join("rides.csv")),
        read_zones(&data.join("taxi_zone_lookup.csv")),
    );
    let expected = rides_per_zone(&rides, &zones, 600_000, 60_000);
    let Tally {
        read,
        processed,
        filtered,
        late,
    } = expected.tally;
    assert_eq!(
        (read, late),
        (266, 0),
        "in order of pickup time nothing is late"
    );
    assert_eq!(processed + filtered, read);
    let counted: u64 = expected
        .partitions
        .iter()
        .flatten()
        .map(|(_, value, _)| rides_in(value))
        .sum();
    assert_eq!(counted, processed, "each ride counts in one window");
}

fn rides_in(value: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(value).unwrap();
    value["rides"].as_u64().unwrap()
}
