//! Decisions that follow from where a restart begins.

use super::*;
use crate::runtime::basis::Standing;

/// A partition of a bounded run that is read to its end.
fn read_to_its_end(partition: u32, status: Status) -> Slot {
    Slot {
        source: 0,
        partition: TopicPartition::new("visits", partition),
        table: false,
        after: 0,
        start: 10,
        largest: EventTime::from_millis(7),
        status,
        table_end: 0,
        end: Some(10),
        windows: Arc::new([]),
        idle_timeout: Duration::from_secs(5),
    }
}

/// A snapshot was taken between the end of the first partition and that of the second. Behind a restart the source of
/// the second is the first to look, so that of the first changes nothing any more when it does: the run came to its end
/// without the input's, and the last windows stayed open.
#[test]
fn the_input_ends_though_the_last_source_to_look_reads_a_partition_that_had_ended_before() {
    let basis = Basis {
        epoch: 4,
        standing: Standing {
            unended: true,
            ..Standing::default()
        },
    };
    let slots = vec![
        read_to_its_end(0, Status::Ended),
        read_to_its_end(1, Status::Active),
    ];
    let mut state = State::new(slots, &basis, Vec::new(), Limits::by_hand());
    state.live = true;
    let now = Duration::ZERO;
    assert_eq!(state.tick(now), Tick::Open(5));
    // That the first epoch does not wait for the interval is not the point.
    state.hurry = false;

    state.slots[1].wish = Some(Status::Ended);
    assert!(matches!(state.tick(now), Tick::Wait(_)));
    state.slots[0].wish = Some(Status::Ended);
    assert_eq!(state.tick(now), Tick::Open(6));

    let ends = |decision: &Decision| matches!(decision, Decision::End { .. });
    let decided = &state.decisions[&5];
    assert!(decided.len() == 2 && ends(&decided[1]), "{decided:?}");
    assert_eq!(state.tick(now), Tick::End);
}
