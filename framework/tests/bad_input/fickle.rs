//! Steps that are not deterministic: a replay names the first one that shows it, and its epoch.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiderace::{RunError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

use crate::place::{Place, RIDES, Ride, ride};

const PER_ZONE: Topic<Windowed<u32>, u64> = Topic::json("zones");

/// Filter, map, count by window, map; each of `fickle` does something else once `changed` is set.
fn topology(fickle: &'static str, changed: &Arc<AtomicBool>) -> Topology {
    let changes = |step: &str| {
        let changed = Arc::clone(changed);
        let is_fickle = step == fickle;
        move || is_fickle && changed.load(Ordering::Relaxed)
    };
    let (filter, map, fold, last) = (
        changes("filter"),
        changes("map"),
        changes("fold"),
        changes("last"),
    );
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .filter(move |ride| ride.zone != 0 && !(filter() && ride.zone == 7))
        .named("real rides")
        .map_values(move |mut ride| {
            ride.zone += u32::from(map() && ride.zone == 7);
            ride
        })
        .named("zone of ride")
        .group_by(|ride| ride.zone)
        .windowed_by(TimeWindows::of_size(Duration::from_secs(10)))
        .aggregate(0_u64, move |so_far, _| so_far + if fold() { 2 } else { 1 })
        .named("rides per zone")
        .emit_on_close()
        .map_values(move |rides| if last() { rides + 1 } else { rides })
        .named("last")
        .to(PER_ZONE);
    builder.build().unwrap()
}

#[test]
fn a_replay_names_the_first_step_that_differs_and_its_epoch() {
    for (fickle, named) in [
        (
            "filter",
            "the first step that differs is `real rides`, by its counts",
        ),
        (
            "map",
            "the first step that differs is `rides per zone`, by its results",
        ),
        (
            "fold",
            "the first step that differs is `rides per zone`, by its results",
        ),
        ("last", "every step did what it did then"),
    ] {
        let place = Place::new(&[("rides", 2), ("zones", 2)]);
        let records: Vec<_> = (0..10).map(|zone| format!("{{\"zone\":{zone}}}")).collect();
        for (number, value) in records.iter().enumerate() {
            place.send(&[ride(number as u32 % 2, value)]);
        }
        let changed = Arc::new(AtomicBool::new(false));
        place.run(topology(fickle, &changed)).unwrap();
        let before = place.read("zones");
        assert_eq!(before.concat().len(), 9);
        place.forget_snapshots();

        changed.store(true, Ordering::Relaxed);
        let error = place.run(topology(fickle, &changed)).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{error}");
        let RunError::Replay { epoch, .. } = &error else {
            panic!("{error}");
        };
        let text = error.to_string();
        assert!(text.contains(named), "{fickle}: {text}");
        assert!(text.contains(&format!("epoch {epoch}")), "{text}");
        // Windows close in a later epoch than the one that counts another record as filtered.
        let result = match fickle {
            "filter" => r#"its records count as {"read":10,"processed":8,"filtered":2"#,
            _ => "topic `zones` gets",
        };
        assert!(text.contains(result), "{fickle}: {text}");
        assert_eq!(place.read("zones"), before, "{fickle}");

        changed.store(false, Ordering::Relaxed);
        place.run(topology(fickle, &changed)).unwrap();
        assert_eq!(place.read("zones"), before, "{fickle}");
    }
}

/// Maps of the standard library are written in another order each time; what is told of them is the same.
#[test]
fn results_that_only_lie_in_another_order_are_no_difference() {
    let topology = || {
        let builder = StreamsBuilder::new("app");
        builder
            .stream(RIDES)
            .group_by(|_| 0_u32)
            .windowed_by(TimeWindows::of_size(Duration::from_secs(10)))
            .aggregate(HashSet::new(), |mut zones: HashSet<u32>, ride: Ride| {
                zones.insert(ride.zone);
                zones
            })
            .emit_on_close()
            .map_values(|zones| zones.len() as u64)
            .to(PER_ZONE);
        builder.build().unwrap()
    };
    let place = Place::new(&[("rides", 2), ("zones", 2)]);
    for zone in 0..100 {
        place.send(&[ride(zone % 2, &format!("{{\"zone\":{zone}}}"))]);
    }
    place.run(topology()).unwrap();
    place.forget_snapshots();
    place.run(topology()).unwrap();
    assert_eq!(place.texts("zones"), ["100"]);
}
