//! Decisions that follow from where a restart begins, and when its first epochs close.

use tiderace_operators::record::EventTime;

use super::*;
use crate::config::{Config, Guarantee};
use crate::connect::TopicPartition;
use crate::runtime::basis::Standing;
use crate::runtime::commit::MOST_EPOCHS;
use crate::runtime::slot::Status;

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

const INTERVAL: Duration = Duration::from_millis(100);

/// A run that is live, behind epoch `basis` and the replay of `logged`, with an input that has no end. Its epochs are
/// closed by the clock alone.
fn closed_by_the_clock(basis: Epoch, logged: &[Epoch]) -> State {
    let slot = Slot {
        end: None,
        ..read_to_its_end(0, Status::Active)
    };
    let basis = Basis {
        epoch: basis,
        ..Basis::default()
    };
    let limits = Limits {
        interval: INTERVAL,
        ..Limits::by_hand()
    };
    let logged = logged.iter().map(|epoch| entry(*epoch)).collect();
    let mut state = State::new(vec![slot], &basis, logged, limits);
    state.live = true;
    state
}

/// What the log says of an epoch that has read a record.
fn entry(epoch: Epoch) -> EpochEntry {
    let share = Share {
        topic: "visits".into(),
        partition: 0,
        end: 10,
        records: 1,
        skipped: Vec::new(),
        dead_lettered: Vec::new(),
    };
    EpochEntry {
        epoch,
        incarnation: "before".into(),
        topology: Default::default(),
        read: vec![share],
        decisions: Vec::new(),
        counts: Default::default(),
        rows: 0,
        windows_closed: 0,
        outputs: BTreeMap::new(),
        steps: None,
        guarantee: Default::default(),
        previous: String::new(),
    }
}

#[test]
fn the_first_new_epoch_behind_an_earlier_start_closes_with_its_first_records() {
    for (basis, logged) in [(4, &[][..]), (4, &[5]), (0, &[1, 2])] {
        let mut state = closed_by_the_clock(basis, logged);
        let now = Duration::from_secs(7);
        let first = basis + logged.len() as Epoch + 1;
        for epoch in basis + 1..=first {
            assert_eq!(state.tick(now), Tick::Open(epoch));
            // What was logged is replayed before a run is live.
            state.committed = epoch - 1;
            state.acknowledged = epoch - 1;
        }
        // It holds nothing, so there is nothing that anybody could wait for.
        assert!(matches!(state.tick(now), Tick::Wait(_)), "{first}");
        state.clean = false;
        assert_eq!(state.tick(now), Tick::Open(first + 1));
        // What comes now has not been waiting.
        state.clean = false;
        assert_eq!(state.tick(now), Tick::Wait(INTERVAL), "{first}");
        state.acknowledged = first;
        assert_eq!(state.tick(now + INTERVAL), Tick::Open(first + 2));
    }
}

#[test]
fn the_first_epoch_of_all_waits_for_the_interval() {
    let mut state = closed_by_the_clock(0, &[]);
    let now = Duration::from_secs(7);
    assert_eq!(state.tick(now), Tick::Open(1));
    state.clean = false;
    assert_eq!(state.tick(now), Tick::Wait(INTERVAL));
    assert_eq!(state.tick(now + INTERVAL), Tick::Open(2));
}

/// Closes the open epoch if the clock lets it, an interval after the last one and with a record in it.
fn close_by_the_clock(state: &mut State, now: &mut Duration) -> bool {
    state.clean = false;
    *now += INTERVAL;
    let next = state.open + 1;
    match state.tick(*now) {
        Tick::Open(open) => {
            assert_eq!(open, next);
            true
        }
        _ => false,
    }
}

#[test]
fn an_epoch_takes_in_what_comes_while_the_one_before_it_is_not_acknowledged() {
    let mut state = closed_by_the_clock(0, &[]);
    let mut now = Duration::from_secs(7);
    assert_eq!(state.tick(now), Tick::Open(1));
    let mut closes = |state: &mut State| close_by_the_clock(state, &mut now);
    assert!(closes(&mut state));
    // Only where it waits for that it is roused by an acknowledgement.
    assert!(!state.stuck);
    assert!(!closes(&mut state) && state.stuck);
    state.acknowledged = 1;
    assert!(closes(&mut state) && !state.stuck);
    assert!(!closes(&mut state));
    // What cannot take in more is closed.
    state.hurry = true;
    assert!(closes(&mut state));
}

/// Those that are acknowledged stand in no line for a commit, but they are kept.
#[test]
fn so_many_epochs_may_be_uncommitted_however_soon_they_are_acknowledged() {
    let limits = |guarantee| {
        let config = Config {
            guarantee,
            epochs_in_flight: 4,
            ..Config::default()
        };
        Limits::of(&config)
    };
    let closed = |guarantee| {
        let mut state = closed_by_the_clock(0, &[]);
        state.limits = Limits {
            interval: INTERVAL,
            ..limits(guarantee)
        };
        let mut now = Duration::from_secs(7);
        assert_eq!(state.tick(now), Tick::Open(1));
        while close_by_the_clock(&mut state, &mut now) {
            state.acknowledged = state.open - 1;
        }
        assert!(!close_by_the_clock(&mut state, &mut now));
        // No reason to close early helps.
        state.hurry = true;
        assert!(!close_by_the_clock(&mut state, &mut now));
        let closed = state.open - 1;
        state.committed = 1;
        assert!(close_by_the_clock(&mut state, &mut now));
        closed
    };
    assert_eq!(closed(Guarantee::ExactlyOnce), MOST_EPOCHS as u64);
    assert_eq!(closed(Guarantee::AtMostOnce), 4);
    assert_eq!(closed(Guarantee::AtLeastOnce), MOST_EPOCHS as u64);
    // Of those that are not acknowledged it takes no more under any guarantee.
    for guarantee in Guarantee::ALL {
        let mut state = closed_by_the_clock(0, &[]);
        state.limits = limits(guarantee);
        let mut now = Duration::from_secs(7);
        while state.open < 5 {
            state.hurry = true;
            assert!(close_by_the_clock(&mut state, &mut now), "{guarantee}");
        }
        state.hurry = true;
        assert!(!close_by_the_clock(&mut state, &mut now), "{guarantee}");
    }
}

/// As [`closed_by_the_clock`] from the start, and live: so long before the end of the interval an epoch closes ahead.
fn closed_ahead(ahead: Duration) -> State {
    let mut state = closed_by_the_clock(0, &[]);
    state.schedule = Schedule::new(INTERVAL, Some(ahead));
    state
}

const AHEAD: Duration = Duration::from_millis(6);

#[test]
fn most_of_an_interval_goes_ahead_in_an_epoch_of_its_own() {
    let mut state = closed_ahead(AHEAD);
    let mut now = Duration::from_secs(7);
    assert_eq!(state.tick(now), Tick::Open(1));
    for first in [1, 3, 5] {
        state.clean = false;
        let ahead = now + INTERVAL - AHEAD;
        assert_eq!(state.tick(now), Tick::Wait(INTERVAL - AHEAD), "{first}");
        assert_eq!(state.tick(ahead), Tick::Open(first + 1));
        // Its commit waits for the end of the interval, and for what is read until then.
        assert_eq!(state.commit_waits(first, ahead), AHEAD, "{first}");
        state.clean = false;
        assert_eq!(state.commit_waits(first, ahead), AHEAD * 2, "{first}");
        assert_eq!(state.tick(ahead), Tick::Wait(AHEAD));
        // Once acknowledged, it holds nothing up.
        state.acknowledged = first;
        now += INTERVAL;
        assert_eq!(state.commit_waits(first, now), AHEAD, "{first}");
        assert_eq!(state.tick(now), Tick::Open(first + 2));
        assert_eq!(state.commit_waits(first, now), SOON, "{first}");
        let stands = state.commit_waits(first, now + INTERVAL);
        assert_eq!(stands, Duration::ZERO, "the one behind it does not pass");
        assert_eq!(state.commit_waits(first + 1, now), Duration::ZERO);
        state.acknowledged = first + 1;
    }
}

/// Behind such an epoch the next record would be committed at once, and all of an interval behind that late.
#[test]
fn an_epoch_behind_which_nothing_is_read_goes_alone_and_an_interval_begins() {
    let closed = || {
        let mut state = closed_ahead(AHEAD);
        let now = Duration::from_secs(7);
        assert_eq!(state.tick(now), Tick::Open(1));
        state.clean = false;
        assert_eq!(state.tick(now + INTERVAL - AHEAD), Tick::Open(2));
        state.acknowledged = 1;
        (state, now + INTERVAL)
    };
    let goes_on = |mut state: State, due: Duration| {
        assert_eq!(state.commit_waits(1, due), Duration::ZERO);
        state.clean = false;
        let waits = Tick::Wait(INTERVAL - AHEAD);
        assert_eq!(state.tick(due), waits, "it does not close at once");
        assert_eq!(state.tick(due + INTERVAL - AHEAD), Tick::Open(3));
    };
    // Whoever comes first: the committer, or the ticker.
    let (state, due) = closed();
    goes_on(state, due);
    let (mut state, due) = closed();
    assert_eq!(state.tick(due), Tick::Wait(INTERVAL - AHEAD));
    goes_on(state, due);
}

#[test]
fn an_epoch_that_is_acknowledged_late_goes_alone() {
    let mut state = closed_ahead(AHEAD);
    let now = Duration::from_secs(7);
    assert_eq!(state.tick(now), Tick::Open(1));
    state.clean = false;
    assert_eq!(state.tick(now + INTERVAL - AHEAD), Tick::Open(2));
    state.clean = false;
    let due = now + INTERVAL;
    assert_eq!(state.tick(due), Tick::Wait(AHEAD));
    assert!(state.stuck, "an acknowledgement would rouse it");
    assert_eq!(state.tick(due + AHEAD), Tick::Wait(INTERVAL - AHEAD));
    state.acknowledged = 1;
    assert_eq!(state.commit_waits(1, due + AHEAD), Duration::ZERO);
}

/// What closes for another reason is sent as well, and what holds nothing cannot go ahead; what is not acknowledged would be
/// waited for.
#[test]
fn no_epoch_closes_ahead_in_vain() {
    let millis = Duration::from_millis;
    let ahead = Duration::from_secs(7) + millis(95);
    let opened = || {
        let mut state = closed_ahead(AHEAD);
        assert_eq!(state.tick(Duration::from_secs(7)), Tick::Open(1));
        state
    };
    let mut empty = opened();
    assert_eq!(empty.tick(ahead), Tick::Wait(millis(5)));
    let mut hurried = opened();
    (hurried.clean, hurried.hurry) = (false, true);
    assert_eq!(hurried.tick(ahead), Tick::Open(2));
    assert_eq!(hurried.commit_waits(1, ahead), Duration::ZERO);
    hurried.acknowledged = 1;
    hurried.clean = false;
    assert_eq!(hurried.tick(ahead), Tick::Wait(INTERVAL - AHEAD));
    hurried.acknowledged = 0;
    assert_eq!(hurried.tick(ahead + millis(95)), Tick::Wait(millis(5)));
    hurried.acknowledged = 1;
    assert_eq!(hurried.tick(ahead + INTERVAL), Tick::Open(3));
}

#[test]
fn intervals_are_divided_where_an_epoch_more_is_worth_it() {
    let of = |guarantee, millis| {
        let config = Config {
            guarantee,
            commit_interval: Duration::from_millis(millis),
            ..Config::default()
        };
        Limits::of(&config).ahead.is_some()
    };
    assert_eq!(
        [1, 5, 10, 20, 100].map(|millis| of(Guarantee::ExactlyOnce, millis)),
        [false, false, false, true, true]
    );
    assert!(!of(Guarantee::AtLeastOnce, 100) && !of(Guarantee::AtMostOnce, 100));
}
