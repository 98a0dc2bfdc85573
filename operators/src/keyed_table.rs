//! A table whose rows stay at their places: found by key once, and by place ever after.
//!
//! Rows lie in one vector; places of removed rows are used again. Which place a key has, the index says
//! ([`Places`]).

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

pub(crate) use crate::places::Place;
use crate::places::{NOWHERE, Places};

/// Rows that the caches hold: up to here nothing has to be waited for.
const SMALL: usize = 4_096;

/// A row that bears its key.
pub(crate) trait Keyed {
    type Key;
    fn key(&self) -> &Self::Key;
}

/// Rows by key.
pub(crate) struct KeyedTable<R> {
    index: Places,
    rows: Vec<Option<R>>,
    free: Vec<Place>,
    /// Seeded anew by each table: nobody can make keys beforehand that collide.
    hasher: RandomState,
    /// Hashes of the keys that are being looked up.
    asked: Vec<u32>,
}

impl<R> Default for KeyedTable<R> {
    fn default() -> Self {
        KeyedTable {
            index: Places::default(),
            rows: Vec::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
            asked: Vec::new(),
        }
    }
}

fn shortened(hasher: &RandomState, key: &impl Hash) -> u32 {
    let hash = hasher.hash_one(key);
    (hash >> 32) as u32 ^ hash as u32
}

impl<R: Keyed<Key: Hash + Eq>> KeyedTable<R> {
    /// Makes room for so many rows in a table that has none.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.index.reserve(rows);
        self.rows.reserve(rows);
    }

    /// The order in which the index finds keys, as it is now.
    pub(crate) fn order(&self) -> impl Fn(&R::Key) -> u64 + Send + use<R> {
        let (hasher, order) = (self.hasher.clone(), self.index.order());
        move |key| order(shortened(&hasher, key))
    }

    /// How many places there are, of rows and of those that were removed.
    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.rows.len()
    }

    fn hash(&self, key: &R::Key) -> u32 {
        shortened(&self.hasher, key)
    }

    #[inline]
    fn place_of(&self, hash: u32, key: &R::Key) -> Option<Place> {
        let rows = &self.rows;
        self.index.get(hash, |place| is_at(rows, place, key))
    }

    /// A place for a key that has none, to be filled by a row of it.
    fn new_place(&mut self, hash: u32) -> Place {
        let rows = &mut self.rows;
        let place = self.free.pop().unwrap_or_else(|| {
            rows.push(None);
            Place::try_from(rows.len() - 1).expect("a worker keeps fewer than 2^32 rows")
        });
        self.index.insert(hash, place);
        place
    }

    fn insert(&mut self, hash: u32, row: R) -> Place {
        let place = self.new_place(hash);
        self.rows[place as usize] = Some(row);
        place
    }

    /// The row of a key, made if it is not there; with its place, and whether it was made.
    #[inline]
    pub(crate) fn find_or_insert_with(
        &mut self,
        key: R::Key,
        make: impl FnOnce(R::Key) -> R,
    ) -> (Place, &mut R, bool) {
        let hash = self.hash(&key);
        let found = self.place_of(hash, &key);
        let place = found.unwrap_or_else(|| self.insert(hash, make(key)));
        let row = self.rows[place as usize].as_mut();
        (
            place,
            row.expect("what is indexed is there"),
            found.is_none(),
        )
    }

    /// As [`find_or_insert_with`](Self::find_or_insert_with), of a key that stays with its owner.
    pub(crate) fn find_or_insert(
        &mut self,
        key: &R::Key,
        make: impl FnOnce() -> R,
    ) -> (Place, &mut R, bool) {
        let hash = self.hash(key);
        let found = self.place_of(hash, key);
        let place = found.unwrap_or_else(|| self.insert(hash, make()));
        let row = self.rows[place as usize].as_mut();
        (
            place,
            row.expect("what is indexed is there"),
            found.is_none(),
        )
    }

    /// The places of those of the keys that have one, in their order, for [`replace_with`](Self::replace_with). What
    /// memory has to be waited for is asked for together: looked up alone, a key of a large table waits twice.
    pub(crate) fn ask(&mut self, keys: &[R::Key], places: &mut Vec<Place>) {
        places.clear();
        if self.rows.len() < SMALL {
            places.resize(keys.len(), NOWHERE);
            return;
        }
        let KeyedTable {
            index,
            rows,
            hasher,
            asked,
            ..
        } = self;
        asked.clear();
        asked.extend(keys.iter().map(|key| shortened(hasher, key)));
        // Another key of the same hash is told apart below; who stands behind it is looked up alone.
        index.first_of_each(asked, places);
        for (key, place) in keys.iter().zip(places) {
            if *place != NOWHERE && !is_at(rows, *place, key) {
                *place = NOWHERE;
            }
        }
    }

    /// Has the caches hold what tells whether keys, few enough for them, have a row: memory is waited for together.
    pub(crate) fn fetch<'a>(&mut self, keys: impl Iterator<Item = &'a R::Key>)
    where
        R::Key: 'a,
    {
        let KeyedTable {
            index,
            hasher,
            asked,
            ..
        } = self;
        asked.clear();
        asked.extend(keys.map(|key| shortened(hasher, key)));
        index.fetch(asked);
    }

    /// Makes another row of that of a key, or of the key if it has none. `asked` is what [`ask`](Self::ask) said of the
    /// key. `make` is told the place; if it panics, the table has lost the row.
    #[inline]
    pub(crate) fn replace_with(
        &mut self,
        asked: Place,
        key: R::Key,
        make: impl FnOnce(Place, Result<R, R::Key>) -> R,
    ) {
        let mut found = Some(asked);
        let mut hash = 0;
        if asked == NOWHERE {
            hash = self.hash(&key);
            found = self.place_of(hash, &key);
        }
        let (place, before) = match found {
            Some(place) => {
                let row = self.rows[place as usize].take();
                (place, Ok(row.expect("what is indexed is there")))
            }
            None => (self.new_place(hash), Err(key)),
        };
        self.rows[place as usize] = Some(make(place, before));
    }

    /// Takes all rows out, each to its place in `rows`, which is empty; keeps memory for as many.
    pub(crate) fn take_all(&mut self, rows: &mut Vec<Option<R>>) {
        self.index.clear();
        self.free.clear();
        std::mem::swap(&mut self.rows, rows);
    }

    /// The row at a place, if there is one.
    pub(crate) fn get(&self, place: Place) -> Option<&R> {
        self.rows.get(place as usize)?.as_ref()
    }

    /// The row at a place, if there is one.
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut R> {
        self.rows.get_mut(place as usize)?.as_mut()
    }

    /// Removes the row of a key.
    pub(crate) fn remove(&mut self, key: &R::Key) -> Option<R> {
        let place = self.place_of(self.hash(key), key)?;
        self.remove_at(place)
    }

    /// Removes the row at a place, if there is one.
    pub(crate) fn remove_at(&mut self, place: Place) -> Option<R> {
        let row = self.rows.get_mut(place as usize)?.take()?;
        self.index.remove(self.hash(row.key()), place);
        self.free.push(place);
        Some(row)
    }

    /// All rows with their places, in the order of these.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut R)> {
        let rows = (0..).zip(&mut self.rows);
        rows.filter_map(|(place, row)| Some((place, row.as_mut()?)))
    }

    /// All rows, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.rows.iter().flatten()
    }
}

fn is_at<R: Keyed<Key: Eq>>(rows: &[Option<R>], place: Place, key: &R::Key) -> bool {
    rows[place as usize]
        .as_ref()
        .is_some_and(|row| row.key() == key)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Row(String, u32);

    impl Keyed for Row {
        type Key = String;
        fn key(&self) -> &String {
            &self.0
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8),
        Remove(u8),
        RemoveAt(u8),
        TakeAll,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            30 => (0u8..40).prop_map(Step::Put),
            10 => (0u8..40).prop_map(Step::Remove),
            10 => (0u8..40).prop_map(Step::RemoveAt),
            1 => Just(Step::TakeAll),
        ];
        prop::collection::vec(step, 0..200)
    }

    #[test]
    fn many_keys_are_found_as_each_alone() {
        let mut table = KeyedTable::<Row>::default();
        let mut model = BTreeMap::new();
        let mut state = 1u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let (mut keys, mut places) = (Vec::new(), Vec::new());
        // Beyond what is looked up one by one, with keys twice in a round, keys that were removed, and new ones.
        for round in 0..200 {
            let of: Vec<String> = (0..100).map(|_| random(8_000).to_string()).collect();
            keys.clone_from(&of);
            let mut made = 0;
            let new = of.iter().filter(|key| !model.contains_key(*key));
            let new: std::collections::BTreeSet<_> = new.cloned().collect();
            table.ask(&keys, &mut places);
            assert_eq!(places.len(), keys.len());
            for (place, key) in places.iter_mut().zip(keys.drain(..)) {
                table.replace_with(*place, key, |at, row| {
                    *place = at;
                    row.unwrap_or_else(|key| {
                        made += 1;
                        Row(key, 0)
                    })
                });
            }
            assert_eq!(made, new.len());
            for (key, place) in of.iter().zip(&places) {
                assert_eq!(&table.get_mut(*place).unwrap().0, key);
                assert_eq!(*model.entry(key.clone()).or_insert(*place), *place);
            }
            if round > 150 {
                table.remove(&of[0]);
                model.remove(&of[0]);
            }
        }
        assert!(table.rows.len() > SMALL && table.iter().count() == model.len());
    }

    thread_local! {
        static COMPARED: Cell<u32> = const { Cell::new(0) };
    }

    /// A key that counts comparisons.
    #[derive(Clone, Debug, Eq)]
    struct Compared(u64, u64);

    impl Hash for Compared {
        fn hash<H: Hasher>(&self, to: &mut H) {
            (self.0, self.1).hash(to);
        }
    }

    impl PartialEq for Compared {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            (self.0, self.1) == (other.0, other.1)
        }
    }

    struct Crafted(Compared);

    impl Keyed for Crafted {
        type Key = Compared;
        fn key(&self) -> &Compared {
            &self.0
        }
    }

    /// With the seed that the hash has by default, which anybody can read, all of these have the same.
    #[test]
    fn keys_that_were_made_to_collide_do_not() {
        const KEYS: u32 = 20_000;
        let key = |nth| Compared(u64::from(nth), 0xc0ac_29b7_c97c_50dd);
        let by_default = foldhash::fast::FixedState::default();
        let hash = |nth| by_default.hash_one(key(nth)) >> 32;
        assert!((0..100).all(|nth| hash(nth) == hash(0)));

        let mut table = KeyedTable::<Crafted>::default();
        for nth in 0..KEYS {
            table.find_or_insert_with(key(nth), Crafted);
        }
        let compared = COMPARED.get();
        assert!(compared < KEYS, "{compared} comparisons of {KEYS} keys");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_map_holds_and_rows_stay_at_their_places(steps in steps()) {
            let mut table = KeyedTable::<Row>::default();
            let mut model: BTreeMap<String, (u32, Place)> = BTreeMap::new();
            for (nth, step) in (0..).zip(steps) {
                match step {
                    Step::Put(key) => {
                        let key = key.to_string();
                        let (place, row, is_new) = if nth % 2 == 0 {
                            table.find_or_insert_with(key.clone(), |key| Row(key, 0))
                        } else {
                            table.find_or_insert(&key, || Row(key.clone(), 0))
                        };
                        row.1 = nth;
                        let before = model.insert(key, (nth, place));
                        prop_assert_eq!(is_new, before.is_none());
                        prop_assert!(before.is_none_or(|(_, before)| before == place));
                    }
                    Step::Remove(key) => {
                        let key = key.to_string();
                        let removed = table.remove(&key);
                        let expected = model.remove(&key).map(|(value, _)| Row(key, value));
                        prop_assert_eq!(removed, expected);
                    }
                    Step::RemoveAt(place) => {
                        let place = Place::from(place);
                        let at = model.iter().find(|(_, (_, of))| *of == place);
                        let key = at.map(|(key, _)| key.clone());
                        let expected = key.map(|key| {
                            let (value, _) = model.remove(&key).unwrap();
                            Row(key, value)
                        });
                        prop_assert_eq!(table.remove_at(place), expected);
                        prop_assert!(table.get_mut(place).is_none());
                    }
                    Step::TakeAll => {
                        let mut rows = Vec::new();
                        table.take_all(&mut rows);
                        for (key, (value, place)) in std::mem::take(&mut model) {
                            prop_assert_eq!(rows[place as usize].take(), Some(Row(key, value)));
                        }
                        prop_assert!(rows.iter().all(Option::is_none));
                    }
                }
            }
            let held: BTreeMap<String, u32> = table.iter().map(|row| (row.0.clone(), row.1)).collect();
            let expected = model.iter().map(|(key, (value, _))| (key.clone(), *value)).collect();
            prop_assert_eq!(held, expected);
            for (key, (value, place)) in model {
                prop_assert_eq!(table.get(place), Some(&Row(key.clone(), value)));
                prop_assert_eq!(table.get_mut(place), Some(&mut Row(key, value)));
            }
        }
    }
}
