//! Places found by hash: an index that grows a segment at a time, and that is read a cache line at a time.
//!
//! An entry is a place and a part of a hash, eight bytes: the index grows by reading itself alone, and no key is hashed a
//! second time. Entries lie in segments of one size, by the first bits of their hash; a full segment is divided in two
//! by the next bit. So growing moves the entries of one segment and needs memory for one more, however many there are; a
//! single hash table would move all of them at once, and hold them twice meanwhile. (Extendible hashing: Fagin et al., 1979.)
//!
//! Eight entries are a bucket, which is a cache line; a bucket that is full goes on in the next one. So memory is waited for
//! once, where a table with its control bytes apart waits twice, and an entry is found without a branch that may go either
//! way: many look-ups wait together, see [`Places::first_of_each`].

/// Where a row lies, until it is removed.
pub(crate) type Place = u32;

/// No row's place.
pub(crate) const NOWHERE: Place = Place::MAX;

/// Entries of a bucket.
const WIDTH: usize = 8;

/// Bits of a bucket's number in a full-grown segment.
const BUCKET_BITS: u32 = 13;

/// Entries of a full segment. Of eight places one stays empty: fewer, and entries would lie far from their buckets.
const FULL: usize = (1 << BUCKET_BITS) * (WIDTH - 1);

/// Segments are divided by so many bits at most, which is enough for all places there can be. Only keys that collide on
/// purpose lead further: then a segment grows as any hash table does.
const DEEPEST: u32 = 16;

/// Entries of neighbouring hashes: those that there are come first.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    hashes: [u32; WIDTH],
    /// [`NOWHERE`] where there is no entry.
    places: [Place; WIDTH],
}

const EMPTY: Bucket = Bucket {
    hashes: [0; WIDTH],
    places: [NOWHERE; WIDTH],
};

impl Bucket {
    /// A bit for each entry of this hash, and maybe for some that are none, the second lowest for the first: so all are
    /// shifted, and compilers compare them as vectors.
    #[inline]
    fn of(&self, hash: u32) -> u32 {
        let bits = (1..).zip(&self.hashes);
        bits.fold(0, |all, (bit, of)| all | u32::from(*of == hash) << bit)
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.places[WIDTH - 1] != NOWHERE
    }

    /// How many entries there are.
    #[inline]
    fn count(&self) -> usize {
        let there = self.places.iter().map(|place| u32::from(*place != NOWHERE));
        there.sum::<u32>() as usize
    }

    fn set(&mut self, entry: usize, hash: u32, place: Place) {
        (self.hashes[entry], self.places[entry]) = (hash, place);
    }
}

struct Segment {
    /// A power of two.
    buckets: Vec<Bucket>,
    entries: usize,
    /// How many bits of their hashes all entries have in common.
    depth: u32,
}

impl Segment {
    /// An empty one with room for so many entries.
    fn with_room(entries: usize, depth: u32) -> Self {
        let buckets = entries.div_ceil(WIDTH - 1).next_power_of_two();
        Segment {
            buckets: vec![EMPTY; buckets],
            entries: 0,
            depth,
        }
    }

    /// How many entries it has room for.
    fn room(&self) -> usize {
        self.buckets.len() * (WIDTH - 1)
    }

    /// The bucket of a hash.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    #[inline]
    fn behind(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    #[inline]
    fn find(&self, hash: u32, mut is: impl FnMut(Place) -> bool) -> Option<Place> {
        let mut at = self.home(hash);
        loop {
            let bucket = &self.buckets[at];
            let mut found = bucket.of(hash);
            while found != 0 {
                let place = bucket.places[(found.trailing_zeros() as usize - 1) % WIDTH];
                if place != NOWHERE && is(place) {
                    return Some(place);
                }
                found &= found - 1;
            }
            if !bucket.is_full() {
                return None;
            }
            at = self.behind(at);
        }
    }

    /// Puts in an entry for which there is room.
    fn put(&mut self, hash: u32, place: Place) {
        let mut at = self.home(hash);
        while self.buckets[at].is_full() {
            at = self.behind(at);
        }
        let end = self.buckets[at].count();
        self.buckets[at].set(end, hash, place);
        self.entries += 1;
    }

    /// Takes an entry out, if it is there.
    fn remove(&mut self, hash: u32, place: Place) {
        let mut at = self.home(hash);
        let entry = loop {
            let bucket = &self.buckets[at];
            if let Some(entry) = bucket.places.iter().position(|of| *of == place) {
                break entry;
            }
            if !bucket.is_full() {
                return;
            }
            at = self.behind(at);
        };
        self.entries -= 1;
        self.vacate(at, entry);
    }

    /// Takes an entry of a bucket away. If the bucket was full, one behind it that belongs there or before takes its
    /// place, and so on: no bucket between an entry and its own has room.
    fn vacate(&mut self, mut at: usize, mut entry: usize) {
        while self.buckets[at].is_full() {
            let Some((from, moved)) = self.strayed(at) else {
                break;
            };
            let Bucket { hashes, places } = self.buckets[from];
            self.buckets[at].set(entry, hashes[moved], places[moved]);
            (at, entry) = (from, moved);
        }
        let bucket = &mut self.buckets[at];
        let last = bucket.count() - 1;
        bucket.set(entry, bucket.hashes[last], bucket.places[last]);
        bucket.set(last, 0, NOWHERE);
    }

    /// The next entry behind a full bucket that would lie in it, or before it, were there room.
    fn strayed(&self, full: usize) -> Option<(usize, usize)> {
        let (mut at, mut away) = (self.behind(full), 1);
        loop {
            let bucket = &self.buckets[at];
            let count = bucket.count();
            for entry in 0..count {
                let home = self.home(bucket.hashes[entry]);
                let strayed = at.wrapping_sub(home) & (self.buckets.len() - 1);
                if strayed >= away {
                    return Some((at, entry));
                }
            }
            if count < WIDTH || away == self.buckets.len() - 1 {
                return None;
            }
            (at, away) = (self.behind(at), away + 1);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, Place)> {
        self.buckets.iter().flat_map(|bucket| {
            let entries = bucket.hashes.into_iter().zip(bucket.places);
            entries.take_while(|(_, place)| *place != NOWHERE)
        })
    }

    /// Makes twice the room.
    #[cold]
    fn grow(&mut self) {
        let mut grown = Segment::with_room(self.room() * 2, self.depth);
        self.iter().for_each(|(hash, place)| grown.put(hash, place));
        *self = grown;
    }

    fn clear(&mut self) {
        self.buckets.fill(EMPTY);
        self.entries = 0;
    }
}

/// The index.
pub(crate) struct Places {
    segments: Vec<Segment>,
    /// The segment of every beginning of a hash of `depth` bits.
    directory: Vec<u32>,
    depth: u32,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            segments: vec![Segment::with_room(0, 0)],
            directory: vec![0],
            depth: 0,
        }
    }
}

impl Places {
    /// Makes room for so many entries, if there are none yet.
    pub(crate) fn reserve(&mut self, entries: usize) {
        if self.segments.iter().any(|of| of.entries > 0) {
            return;
        }
        // Hashes do not spread evenly: some segments get a little more than their share.
        let share = FULL - FULL / 32;
        let depth = entries.div_ceil(share).next_power_of_two().trailing_zeros();
        let depth = depth.min(DEEPEST);
        let each = if depth == 0 { entries } else { FULL };
        let segment = |_| Segment::with_room(each, depth);
        self.segments = (0..1_u32 << depth).map(segment).collect();
        self.directory = (0..1 << depth).collect();
        self.depth = depth;
    }

    /// The order in which entries of these hashes lie in memory, as it is now.
    pub(crate) fn order(&self) -> impl Fn(u32) -> u64 + Send + use<> {
        let (depth, last) = (self.depth, self.segments[0].buckets.len() - 1);
        move |hash| {
            let bucket = u64::from(hash) & last as u64;
            (u64::from(beginning(hash, depth)) << BUCKET_BITS | bucket) * WIDTH as u64
        }
    }

    #[inline]
    fn segment_of(&self, hash: u32) -> usize {
        self.directory[beginning(hash, self.depth) as usize] as usize
    }

    /// The place of an entry of this hash that `is` the one; the first of several.
    #[inline]
    pub(crate) fn get(&self, hash: u32, is: impl FnMut(Place) -> bool) -> Option<Place> {
        self.segments[self.segment_of(hash)].find(hash, is)
    }

    /// Appends the place of the first entry of each hash, [`NOWHERE`] where there is none. What memory has to be waited for
    /// is asked for together.
    pub(crate) fn first_of_each(&self, hashes: &[u32], places: &mut Vec<Place>) {
        self.fetch(hashes);
        let first = |hash: &u32| self.get(*hash, |_| true).unwrap_or(NOWHERE);
        places.extend(hashes.iter().map(first));
    }

    /// Waits for the memory of all these hashes' buckets at once.
    pub(crate) fn fetch(&self, hashes: &[u32]) {
        let read = hashes.iter().fold(0, |read, hash| {
            let segment = &self.segments[self.segment_of(*hash)];
            read | segment.buckets[segment.home(*hash)].hashes[0]
        });
        // What was read is of no use; that it was read is.
        std::hint::black_box(read);
    }

    /// Puts in an entry that is not there.
    pub(crate) fn insert(&mut self, hash: u32, place: Place) {
        loop {
            let at = self.segment_of(hash);
            let segment = &mut self.segments[at];
            if segment.entries < segment.room() {
                return segment.put(hash, place);
            }
            if segment.room() < FULL || segment.depth == DEEPEST {
                segment.grow();
            } else {
                self.divide(at);
            }
        }
    }

    /// Takes an entry out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, place: Place) {
        let at = self.segment_of(hash);
        self.segments[at].remove(hash, place);
    }

    /// Takes all entries out, and keeps memory for as many.
    pub(crate) fn clear(&mut self) {
        self.segments.iter_mut().for_each(Segment::clear);
    }

    #[cold]
    fn divide(&mut self, at: usize) {
        let depth = self.segments[at].depth + 1;
        if depth > self.depth {
            let twice = self.directory.iter().flat_map(|segment| [*segment; 2]);
            self.directory = twice.collect();
            self.depth = depth;
        }
        let mut halves = [(); 2].map(|()| Segment::with_room(FULL, depth));
        for (hash, place) in self.segments[at].iter() {
            halves[(beginning(hash, depth) & 1) as usize].put(hash, place);
        }
        let second = u32::try_from(self.segments.len()).expect("there are at most 2^16 segments");
        let bit = self.depth - depth;
        for (beginning, segment) in (0_u32..).zip(&mut self.directory) {
            if *segment as usize == at && beginning >> bit & 1 == 1 {
                *segment = second;
            }
        }
        let [first, other] = halves;
        self.segments[at] = first;
        self.segments.push(other);
    }
}

/// The first bits of a hash.
#[inline]
fn beginning(hash: u32, bits: u32) -> u32 {
    (u64::from(hash) >> (32 - bits)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Spreads numbers as a hash does.
    fn spread(number: u32) -> u32 {
        (u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u32
    }

    fn put(places: &mut Places, hash: u32, place: Place) -> bool {
        let is_new = !is_found(places, hash, place);
        if is_new {
            places.insert(hash, place);
        }
        is_new
    }

    fn is_found(places: &Places, hash: u32, place: Place) -> bool {
        places.get(hash, |at| at == place) == Some(place)
    }

    #[test]
    fn what_is_put_is_found_while_segments_are_divided() {
        const ENTRIES: u32 = 400_000;
        let mut places = Places::default();
        for place in 0..ENTRIES {
            assert!(put(&mut places, spread(place), place));
            assert!(!put(&mut places, spread(place / 2), place / 2));
        }
        assert!(places.segments.len() >= ENTRIES as usize / FULL);
        for place in 0..ENTRIES {
            assert!(is_found(&places, spread(place), place), "{place}");
            assert!(!is_found(&places, spread(place), ENTRIES));
        }
        // None has more entries than its buckets take: memory for it is never asked for twice.
        let segments = &places.segments;
        assert!(segments.iter().all(|of| of.entries <= FULL));
        assert!(segments.iter().all(|of| of.room() == FULL));
        assert_eq!(
            segments.iter().map(|of| of.entries).sum::<usize>(),
            ENTRIES as usize
        );
        assert_eq!(places.directory.len(), 1 << places.depth);
    }

    #[test]
    fn room_that_was_made_suffices() {
        for entries in [0, 1, 1_000, FULL, FULL + 1, 300_000] {
            let mut places = Places::default();
            places.reserve(entries);
            let before = places.segments.len();
            for place in 0..entries as u32 {
                assert!(put(&mut places, spread(place), place));
            }
            assert_eq!(places.segments.len(), before, "{entries}");
        }
    }

    #[test]
    fn colliding_hashes_are_divided_no_further_than_there_are_places() {
        let mut places = Places::default();
        let entries = FULL as u32 + 10;
        // The same first bits, as many as segments are divided by.
        let hash = |place| 7 << (32 - DEEPEST) | place;
        for place in 0..entries {
            assert!(put(&mut places, hash(place), place));
        }
        assert_eq!(places.directory.len(), 1 << DEEPEST);
        assert!((0..entries).all(|place| is_found(&places, hash(place), place)));
    }

    #[test]
    fn entries_lie_in_the_order_that_is_said() {
        for entries in [10_000, 200_000] {
            let mut places = Places::default();
            places.reserve(entries);
            let order = places.order();
            for place in 0..entries as u32 {
                put(&mut places, spread(place), place);
            }
            let in_directory = places.directory.iter();
            let lie: Vec<u64> = in_directory
                .flat_map(|at| places.segments[*at as usize].iter())
                .map(|(hash, _)| order(hash))
                .collect();
            let room = places.segments.len() * places.segments[0].buckets.len() * WIDTH;
            assert!(lie.iter().all(|at| *at < room as u64));
            // An entry whose bucket is full goes on to the next ones, so a few are out of order.
            let steps_back = lie.windows(2).filter(|two| two[0] > two[1]).count();
            assert!(
                steps_back <= lie.len() / 10,
                "{steps_back} of {}",
                lie.len()
            );
        }
    }

    #[test]
    fn each_of_many_is_found_as_alone() {
        let mut places = Places::default();
        for place in 0..100_000 {
            put(&mut places, spread(place), place);
        }
        let hashes: Vec<u32> = (0..200_000).step_by(7).map(spread).collect();
        let mut found = vec![3];
        places.first_of_each(&hashes, &mut found);
        assert_eq!(found[0], 3);
        for (hash, found) in hashes.iter().zip(&found[1..]) {
            assert_eq!(places.get(*hash, |_| true).unwrap_or(NOWHERE), *found);
        }
        assert!(found.contains(&NOWHERE));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Few hashes, so that buckets are full and their entries lie far behind them.
        #[test]
        fn entries_are_found_whatever_was_taken_out(
            steps in prop::collection::vec((any::<bool>(), 0..4_u32, 0..64_u32), 0..400),
            factor in prop_oneof![Just(1), Just(8), Just(1 << 20), Just(u32::MAX / 4)],
        ) {
            let mut places = Places::default();
            let mut model = BTreeSet::new();
            for (puts, hash, place) in steps {
                let hash = hash.wrapping_mul(factor).wrapping_sub(place % 2);
                let is_at = |(of, at): &(u32, Place)| *at == place && *of != hash;
                if model.iter().any(is_at) {
                    // A place is of one row.
                } else if puts && model.insert((hash, place)) {
                    places.insert(hash, place);
                } else if !puts {
                    places.remove(hash, place);
                    model.remove(&(hash, place));
                }
                for (hash, place) in &model {
                    prop_assert!(is_found(&places, *hash, *place));
                }
                let segment = &places.segments[0];
                prop_assert_eq!(segment.entries, model.len());
                prop_assert_eq!(segment.iter().collect::<BTreeSet<_>>(), model.clone());
            }
            places.clear();
            prop_assert!(model.iter().all(|(hash, place)| !is_found(&places, *hash, *place)));
        }
    }
}
