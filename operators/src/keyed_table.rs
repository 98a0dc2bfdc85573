//! A table whose rows stay at their places: found by key once, and by place ever after.
//!
//! Rows lie in one vector; places of removed rows are used again. Which place a key has, the index says
//! ([`Places`]).

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;

pub(crate) use crate::places::Place;
use crate::places::{Indexed, Places};

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
    hasher: FixedState,
}

impl<R> Default for KeyedTable<R> {
    fn default() -> Self {
        KeyedTable {
            index: Places::default(),
            rows: Vec::new(),
            free: Vec::new(),
            hasher: FixedState::default(),
        }
    }
}

fn shortened(hasher: &FixedState, key: &impl Hash) -> u32 {
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
    pub(crate) fn hasher(&self) -> impl Fn(&R::Key) -> u64 + Send + use<R> {
        let (hasher, order) = (self.hasher.clone(), self.index.order());
        move |key| order(shortened(&hasher, key))
    }

    /// The place of a key, and the key itself if there is no row at it yet: it is to be put there.
    #[inline]
    fn place(&mut self, key: R::Key) -> (Place, Option<R::Key>) {
        let hash = shortened(&self.hasher, &key);
        let KeyedTable {
            index, rows, free, ..
        } = self;
        match index.entry(hash, |place| is_at(rows, place, &key)) {
            Entry::Occupied(found) => (found.get().place, None),
            Entry::Vacant(space) => {
                let place = free.pop().unwrap_or_else(|| {
                    rows.push(None);
                    Place::try_from(rows.len() - 1).expect("a worker keeps fewer than 2^32 rows")
                });
                space.insert(Indexed::new(hash, place));
                (place, Some(key))
            }
        }
    }

    /// The row of a key, made if it is not there; with its place, and whether it was made.
    #[inline]
    pub(crate) fn find_or_insert_with(
        &mut self,
        key: R::Key,
        make: impl FnOnce(R::Key) -> R,
    ) -> (Place, &mut R, bool) {
        let (place, key) = self.place(key);
        let is_new = key.is_some();
        let row = &mut self.rows[place as usize];
        if let Some(key) = key {
            *row = Some(make(key));
        }
        (
            place,
            row.as_mut().expect("what is indexed is there"),
            is_new,
        )
    }

    /// Makes another row of that of a key, or of the key if it has none. `make` is told the place; if it panics, the
    /// table has lost the row.
    #[inline]
    pub(crate) fn replace_with(
        &mut self,
        key: R::Key,
        make: impl FnOnce(Place, Result<R, R::Key>) -> R,
    ) {
        let (place, key) = self.place(key);
        let row = &mut self.rows[place as usize];
        let before = match key {
            Some(key) => Err(key),
            None => Ok(row.take().expect("what is indexed is there")),
        };
        *row = Some(make(place, before));
    }

    /// The row at a place, if there is one.
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut R> {
        self.rows.get_mut(place as usize)?.as_mut()
    }

    /// Removes the row of a key.
    pub(crate) fn remove(&mut self, key: &R::Key) -> Option<R> {
        let hash = shortened(&self.hasher, key);
        let rows = &self.rows;
        let found = self.index.find(hash, |place| is_at(rows, place, key))?;
        let (Indexed { place, .. }, _) = found.remove();
        self.free.push(place);
        self.rows[place as usize].take()
    }

    /// Removes the row at a place, if there is one.
    pub(crate) fn remove_at(&mut self, place: Place) -> Option<R> {
        let row = self.rows.get_mut(place as usize)?.take()?;
        let hash = shortened(&self.hasher, row.key());
        if let Some(found) = self.index.find(hash, |of| of == place) {
            found.remove();
        }
        self.free.push(place);
        Some(row)
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
    use std::collections::BTreeMap;

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
        Replace(u8),
        Remove(u8),
        RemoveAt(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (0u8..40).prop_map(Step::Put),
            2 => (0u8..40).prop_map(Step::Replace),
            1 => (0u8..40).prop_map(Step::Remove),
            1 => (0u8..40).prop_map(Step::RemoveAt),
        ];
        prop::collection::vec(step, 0..200)
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
                        let (place, row, is_new) =
                            table.find_or_insert_with(key.clone(), |key| Row(key, 0));
                        row.1 = nth;
                        let before = model.insert(key, (nth, place));
                        prop_assert_eq!(is_new, before.is_none());
                        prop_assert!(before.is_none_or(|(_, before)| before == place));
                    }
                    Step::Replace(key) => {
                        let key = key.to_string();
                        let known = model.get(&key).copied();
                        let mut at = 0;
                        table.replace_with(key.clone(), |place, before| {
                            at = place;
                            let was = before.as_ref().ok().map(|row| (row.1, place));
                            assert_eq!(was, known);
                            let key = before.map_or_else(|key| key, |row| row.0);
                            Row(key, nth)
                        });
                        model.insert(key, (nth, at));
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
                }
            }
            let held: BTreeMap<String, u32> = table.iter().map(|row| (row.0.clone(), row.1)).collect();
            let expected = model.iter().map(|(key, (value, _))| (key.clone(), *value)).collect();
            prop_assert_eq!(held, expected);
            for (key, (value, place)) in model {
                prop_assert_eq!(table.get_mut(place), Some(&mut Row(key, value)));
            }
        }
    }
}
