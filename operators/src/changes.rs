//! Which keys of a table changed since the last snapshot, and handing them over while the table goes on changing.
//!
//! The first touch of a key notes it; later ones cost one comparison of a number in the slot. Where slots lie at numbered
//! places and many of them have changed, keys are listed no more: all places are gone through, which needs no memory and
//! finds them in the order in which they lie. At the close of an
//! epoch that a snapshot is wanted of, what was noted is frozen, in constant time, and then handed over in slices
//! between records. A key that is touched before its turn is handed over first, as it still is: what the keeper gets
//! is the table as it was at that close. Where nobody keeps snapshots nothing is ever noted.
//!
//! A slot that leaves the table is handed over before its turn too; that it is gone is not said here but by the floor
//! of the part. Where slots leave and others come, as windows do, noted keys whose slots are gone are forgotten: between
//! two snapshots they may be many times what the table holds.

use std::ops::Range;
use std::vec;

use crate::dataflow::Epoch;
use crate::entries::Entries;
use crate::handover::{Handover, Part, StateError};
use crate::record::EventTime;

/// Entries of a slice: some milliseconds of work, most of it waiting for memory.
const SLICE_ENTRIES: usize = 2048;

/// Bytes after which a slice ends early.
const SLICE_BYTES: usize = 512 << 10;

/// What a slot remembers: whether, and since when, its key is noted.
///
/// An enumeration, so that an optional slot is no larger than the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(Noted);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Noted {
    #[default]
    Not,
    Even,
    Odd,
}

impl Generation {
    /// The key is not noted: it is as the keeper has it.
    pub const CLEAN: Generation = Generation(Noted::Not);

    /// The first one that noted keys bear.
    const FIRST: Generation = Generation(Noted::Odd);

    /// The other one of the two that noted keys bear. Two are enough: when a generation begins, no slot bears the
    /// one before the last any more.
    fn other(self) -> Self {
        Generation(match self.0 {
            Noted::Not => Noted::Not,
            Noted::Even => Noted::Odd,
            Noted::Odd => Noted::Even,
        })
    }
}

/// A slot of a table.
pub trait Slot {
    /// The generation that it remembers; [`Generation::CLEAN`] in a new slot.
    fn generation(&mut self) -> &mut Generation;
}

/// A table, as far as its slots can be found.
pub trait Table<K, S> {
    /// The slot of a key, if there is one.
    fn find(&mut self, key: &K) -> Option<&mut S>;

    /// How many numbered places its slots lie at, used ones or not; 0 where they do not.
    fn places(&self) -> usize {
        0
    }

    /// The key that finds the slot at a place; none where slots do not lie at numbered ones.
    fn at(&self, place: usize) -> Option<K>;
}

/// Keys of a list, at least, before all places are gone through instead.
const MANY: usize = 1 << 14;

/// Keys that were touched since the last freeze: a list, or too many for one.
enum Marked<K> {
    These(Vec<K>),
    Many,
}

/// Keys that are being handed over: those of a list, or those that wait among all places.
enum Frozen<K> {
    These(vec::IntoIter<K>),
    Places(Range<usize>),
}

impl<K> Frozen<K> {
    fn none() -> Self {
        Frozen::These(Vec::new().into_iter())
    }

    fn next<S>(&mut self, table: &impl Table<K, S>) -> Option<K> {
        match self {
            Frozen::These(keys) => keys.next(),
            Frozen::Places(places) => table.at(places.next()?),
        }
    }
}

/// How much is to be handed over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// A slice, if the keeper is not full.
    Slice,
    /// All of it: the operator will not be called again.
    All,
}

/// What is left to be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Another slice.
    More,
    /// Another slice, when the keeper is not full any more.
    Blocked,
}

/// Writes the entry of a key and its slot.
type Write<K, S> = Box<dyn Fn(&K, &S, &mut Entries) -> Result<(), StateError>>;

/// The keys of a table that changed, and those of them that are being handed over.
pub struct Changes<K, S> {
    entries: Option<Entries>,
    write: Write<K, S>,
    /// What slots remember that were touched since the last freeze.
    current: Generation,
    noted: Marked<K>,
    frozen: Frozen<K>,
    /// What is said when all that is frozen has been handed over.
    part: Option<Part>,
    /// Keys of a slice.
    slice: usize,
    /// Keys of a list, at least, before there are too many.
    many: usize,
    /// Keys of the list when it is looked next whether they are gone.
    sweep_at: usize,
}

impl<K, S: Slot> Changes<K, S> {
    /// Of a table that is as the keeper has it.
    pub fn new(
        handover: &Handover,
        write: impl Fn(&K, &S, &mut Entries) -> Result<(), StateError> + 'static,
    ) -> Self {
        let entries = Entries::new(handover);
        Changes {
            current: match entries {
                Some(_) => Generation::FIRST,
                None => Generation::CLEAN,
            },
            entries,
            write: Box::new(write),
            noted: Marked::These(Vec::new()),
            frozen: Frozen::none(),
            part: None,
            slice: SLICE_ENTRIES,
            many: MANY,
            sweep_at: MANY,
        }
    }

    /// Whether a slot may be changed as it is; if not, [`touch`](Self::touch) it first.
    #[inline]
    pub fn is_noted(&self, generation: Generation) -> bool {
        generation == self.current
    }

    /// What the slot of a key remembers once the key is noted.
    #[inline]
    pub fn current(&self) -> Generation {
        self.current
    }

    /// Notes that the slot of a key is about to change, or to be made if it is not there, in a table of so many
    /// [`places`](Table::places).
    #[cold]
    pub fn touch(&mut self, key: K, slot: Option<&mut S>, places: usize) {
        if let Some(slot) = slot {
            self.leave(&key, slot);
            *slot.generation() = self.current;
        }
        if self.entries.is_none() {
            return;
        }
        if let Marked::These(keys) = &mut self.noted {
            keys.push(key);
            if keys.len() >= self.many && places != 0 && keys.len() >= places / 4 {
                self.noted = Marked::Many;
            }
        }
    }

    /// Behind slots that left `table`: forgets their keys once the list has grown to twice what it was the last time.
    pub fn forget_gone(&mut self, table: &mut impl Table<K, S>) {
        if let Marked::These(keys) = &mut self.noted
            && keys.len() >= self.sweep_at
        {
            keys.retain(|key| table.find(key).is_some());
            self.sweep_at = self.many.max(2 * keys.len());
        }
    }

    /// Whether a slot waits for its turn; if so, [`leave`](Self::leave) is to be called before it leaves the table.
    #[inline]
    pub fn waits(&self, generation: Generation) -> bool {
        generation != Generation::CLEAN && generation == self.current.other()
    }

    /// Hands the slot of a key over if it still waits for its turn.
    pub fn leave(&mut self, key: &K, slot: &mut S) {
        if self.waits(*slot.generation()) {
            self.hand(key, slot);
        }
    }

    /// The epoch that a snapshot is wanted of, if it is one of `closed`.
    pub fn wanted(&self, closed: Range<Epoch>) -> Option<Epoch> {
        let wanted = self.entries.as_ref()?.keeper().wanted();
        (wanted != 0 && closed.contains(&wanted)).then_some(wanted)
    }

    /// Freezes what was noted: `table` as it is now is the state of `epoch`, at whose close the step's watermark was
    /// `watermark`; entries of closed windows lie below `floor`.
    pub fn freeze(
        &mut self,
        epoch: Epoch,
        watermark: EventTime,
        floor: Vec<u8>,
        table: &mut impl Table<K, S>,
    ) {
        // The keeper wants one snapshot at a time; if it should ever not, none gets mixed up with another.
        self.hand_over(table, Haste::All);
        let Some(entries) = &self.entries else {
            return;
        };
        self.part = Some(Part {
            node: entries.node(),
            worker: entries.worker(),
            epoch,
            watermark,
            floor,
        });
        let noted = std::mem::replace(&mut self.noted, Marked::These(Vec::new()));
        self.sweep_at = self.many;
        self.frozen = match noted {
            Marked::These(keys) => Frozen::These(keys.into_iter()),
            Marked::Many => Frozen::Places(0..table.places()),
        };
        self.current = self.current.other();
    }

    /// Hands over some of what is frozen, and says so when that was all.
    pub fn hand_over(&mut self, table: &mut impl Table<K, S>, haste: Haste) -> Left {
        let (Some(entries), Some(_)) = (&self.entries, &self.part) else {
            return Left::Nothing;
        };
        let bytes = entries.written() + SLICE_BYTES;
        if haste == Haste::Slice && entries.keeper().is_full() {
            return Left::Blocked;
        }
        let mut left = self.slice;
        while let Some(entries) = &self.entries {
            if haste == Haste::Slice && (left == 0 || entries.written() >= bytes) {
                return Left::More;
            }
            left = left.saturating_sub(1);
            let Some(key) = self.frozen.next(table) else {
                break;
            };
            // Whoever touched it meanwhile, or took it out, handed it over.
            if let Some(slot) = table.find(&key)
                && self.waits(*slot.generation())
            {
                self.hand(&key, slot);
            }
        }
        if let (Some(entries), Some(part)) = (&mut self.entries, self.part.take()) {
            entries.flush();
            entries.keeper().done(part);
        }
        self.frozen = Frozen::none();
        Left::Nothing
    }

    fn hand(&mut self, key: &K, slot: &mut S) {
        *slot.generation() = Generation::CLEAN;
        let Some(entries) = &mut self.entries else {
            return;
        };
        if let Err(error) = (self.write)(key, slot, entries) {
            entries
                .keeper()
                .fail(entries.node(), entries.worker(), error);
            // Without this entry no snapshot is whole: nothing more is noted or handed over, nor ever `done`.
            self.entries = None;
            self.part = None;
            self.current = Generation::CLEAN;
            self.noted = Marked::These(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::handover::{Chunk, Entry, Keeper, TakeEntry};
    use crate::shard::Shards;
    use crate::state_codec;

    /// Keeps what it is told.
    #[derive(Default)]
    struct Notes {
        full: AtomicBool,
        entries: Mutex<Vec<(u8, u32)>>,
        parts: Mutex<Vec<Part>>,
        failures: Mutex<Vec<StateError>>,
    }

    impl Keeper for Notes {
        fn wanted(&self) -> Epoch {
            7
        }
        fn is_full(&self) -> bool {
            self.full.load(Ordering::Relaxed)
        }
        fn chunk(&self, _: usize, chunk: Chunk) {
            let mut rest = &chunk.bytes[..];
            for _ in 0..chunk.entries {
                let Entry { key, value, shard } = Entry::take(&mut rest).unwrap();
                let key: u8 = state_codec::read(key).unwrap();
                assert_eq!(shard, shards().shard_of(&key, &mut Vec::new()));
                assert_eq!(
                    chunk.lane,
                    shard * crate::handover::LANES / shards().count()
                );
                let value = state_codec::read(value.unwrap()).unwrap();
                self.entries.lock().unwrap().push((key, value));
            }
            assert!(rest.is_empty());
        }
        fn done(&self, part: Part) {
            self.parts.lock().unwrap().push(part);
        }
        fn fail(&self, _: u32, _: usize, error: StateError) {
            self.failures.lock().unwrap().push(error);
        }
        fn restore(&self, _: u32, _: usize, _: &mut TakeEntry<'_>) -> Option<EventTime> {
            None
        }
    }

    fn shards() -> Shards {
        Shards::new(20, 1)
    }

    struct Value {
        value: u32,
        generation: Generation,
    }

    impl Slot for Value {
        fn generation(&mut self) -> &mut Generation {
            &mut self.generation
        }
    }

    type Map = HashMap<u8, Value>;

    impl Table<u8, Value> for Map {
        fn find(&mut self, key: &u8) -> Option<&mut Value> {
            self.get_mut(key)
        }
        fn places(&self) -> usize {
            usize::from(KEYS)
        }
        fn at(&self, place: usize) -> Option<u8> {
            u8::try_from(place).ok()
        }
    }

    /// Keys of a table, and its places.
    const KEYS: u8 = 12;

    fn changes(notes: Option<&Arc<Notes>>) -> Changes<u8, Value> {
        let keeper = notes.map(|notes| Arc::clone(notes) as Arc<dyn Keeper>);
        let handover = Handover {
            keeper,
            ..Handover::none(shards())
        };
        Changes::new(&handover, |key, slot: &Value, entries| {
            if slot.value == REFUSED {
                return Err(StateError("refused".into()));
            }
            entries.put(&[], key, |to| state_codec::write(&slot.value, to))
        })
    }

    const REFUSED: u32 = u32::MAX;

    fn put(table: &mut Map, changes: &mut Changes<u8, Value>, key: u8, value: u32) {
        let slot = table.entry(key).or_insert(Value {
            value: 0,
            generation: Generation::CLEAN,
        });
        if !changes.is_noted(slot.generation) {
            changes.touch(key, Some(slot), usize::from(KEYS));
        }
        slot.value = value;
    }

    fn freeze(table: &mut Map, changes: &mut Changes<u8, Value>) {
        changes.freeze(7, EventTime::MIN, Vec::new(), table);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8),
        Remove(u8),
        Slice(bool),
        Forget,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..KEYS).prop_map(Step::Put),
            1 => (0..KEYS).prop_map(Step::Remove),
            2 => any::<bool>().prop_map(Step::Slice),
            1 => Just(Step::Forget),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// The model: a copy of the table, made at the freeze, of the keys that were put since the freeze before.
        #[test]
        fn what_is_handed_over_is_what_had_changed_as_it_was_at_the_freeze(
            periods in prop::collection::vec(steps(), 1..5),
            slice in 1usize..5,
            many in 1usize..9,
        ) {
            let notes = Arc::new(Notes::default());
            let (mut table, mut changes) = (Map::new(), changes(Some(&notes)));
            (changes.slice, changes.many, changes.sweep_at) = (slice, many, 1);
            let (mut value, mut put_since) = (0, BTreeSet::new());
            let mut expected = BTreeMap::new();
            let count = periods.len();
            for steps in periods {
                for step in steps {
                    match step {
                        Step::Put(key) => {
                            value += 1;
                            put(&mut table, &mut changes, key, value);
                            put_since.insert(key);
                        }
                        Step::Remove(key) => {
                            if let Some(mut slot) = table.remove(&key) {
                                changes.leave(&key, &mut slot);
                            }
                        }
                        Step::Forget => changes.forget_gone(&mut table),
                        Step::Slice(full) => {
                            notes.full.store(full, Ordering::Relaxed);
                            let left = changes.hand_over(&mut table, Haste::Slice);
                            prop_assert!(left == Left::Nothing || (left == Left::Blocked) == full);
                        }
                    }
                }
                // Ends the part before, of which `expected` is a copy.
                changes.hand_over(&mut table, Haste::All);
                let handed: Vec<_> = std::mem::take(&mut *notes.entries.lock().unwrap());
                prop_assert_eq!(handed.len(), expected.len());
                prop_assert_eq!(handed.into_iter().collect::<BTreeMap<_, _>>(), expected);
                freeze(&mut table, &mut changes);
                let of_key = |key: &u8| Some((*key, table.get(key)?.value));
                expected = put_since.iter().filter_map(of_key).collect();
                put_since.clear();
            }
            changes.hand_over(&mut table, Haste::All);
            let handed: BTreeMap<_, _> = notes.entries.lock().unwrap().drain(..).collect();
            prop_assert_eq!(handed, expected);
            prop_assert_eq!(notes.parts.lock().unwrap().len(), count);
        }
    }

    #[test]
    fn a_slice_ends_and_the_part_is_done_with_the_last_one() {
        let notes = Arc::new(Notes::default());
        let (mut table, mut changes) = (Map::new(), changes(Some(&notes)));
        changes.slice = 2;
        for key in 0..4 {
            put(&mut table, &mut changes, key, 1);
        }
        assert_eq!(changes.wanted(7..8), Some(7));
        assert_eq!(changes.wanted(5..7), None);
        changes.freeze(7, EventTime::from_millis(3), vec![1], &mut table);
        let mut slice = || changes.hand_over(&mut table, Haste::Slice);
        assert_eq!([slice(), slice()], [Left::More, Left::More]);
        assert!(notes.parts.lock().unwrap().is_empty());
        assert_eq!([slice(), slice()], [Left::Nothing, Left::Nothing]);
        let part = Part {
            node: 0,
            worker: 0,
            epoch: 7,
            watermark: EventTime::from_millis(3),
            floor: vec![1],
        };
        assert_eq!(*notes.parts.lock().unwrap(), [part]);
        assert_eq!(notes.entries.lock().unwrap().len(), 4);
    }

    #[test]
    fn keys_that_come_and_go_between_two_snapshots_are_not_all_listed() {
        let notes = Arc::new(Notes::default());
        let (mut table, mut changes) = (Map::new(), changes(Some(&notes)));
        (changes.many, changes.sweep_at) = (4, 4);
        for nth in 0..1_000_u32 {
            let key = |nth: u32| (nth % u32::from(KEYS)) as u8;
            let mut slot = Value {
                value: nth,
                generation: Generation::CLEAN,
            };
            // Of a table whose slots lie at no numbered places.
            changes.touch(key(nth), Some(&mut slot), 0);
            table.insert(key(nth), slot);
            table.retain(|_, slot| slot.value + 2 > nth);
            changes.forget_gone(&mut table);
            let Marked::These(keys) = &changes.noted else {
                panic!("too many for a list");
            };
            assert!(keys.len() <= 4, "{keys:?}");
        }
        freeze(&mut table, &mut changes);
        changes.hand_over(&mut table, Haste::All);
        let handed: BTreeMap<_, _> = notes.entries.lock().unwrap().drain(..).collect();
        assert_eq!(handed.into_values().collect::<Vec<_>>(), [998, 999]);
    }

    #[test]
    fn an_entry_that_cannot_be_written_fails_once_and_its_part_is_never_done() {
        let notes = Arc::new(Notes::default());
        let (mut table, mut changes) = (Map::new(), changes(Some(&notes)));
        for (key, value) in [(1, 1), (2, REFUSED), (3, REFUSED)] {
            put(&mut table, &mut changes, key, value);
        }
        freeze(&mut table, &mut changes);
        assert_eq!(changes.hand_over(&mut table, Haste::All), Left::Nothing);
        put(&mut table, &mut changes, 2, 5);
        freeze(&mut table, &mut changes);
        changes.hand_over(&mut table, Haste::All);
        let failures = notes.failures.lock().unwrap();
        assert_eq!(*failures, [StateError("refused".into())]);
        assert!(notes.parts.lock().unwrap().is_empty());
    }

    #[test]
    fn where_nobody_keeps_snapshots_nothing_is_noted() {
        let (mut table, mut changes) = (Map::new(), changes(None));
        assert!(changes.is_noted(Generation::CLEAN));
        put(&mut table, &mut changes, 1, 1);
        assert!(matches!(&changes.noted, Marked::These(keys) if keys.is_empty()));
        assert_eq!(changes.wanted(0..Epoch::MAX), None);
        freeze(&mut table, &mut changes);
        assert_eq!(changes.hand_over(&mut table, Haste::All), Left::Nothing);
    }
}
