//! Places found by hash: an index that grows a segment at a time.
//!
//! An entry is a place and a part of a hash, eight bytes: the index grows by reading itself alone, and no key is hashed a
//! second time. Entries lie in segments of one size, by the first bits of their hash; a full segment is divided in two
//! by the next bit. So growing moves the entries of one segment and needs memory for one more, however many there are; a
//! single hash table would move all of them at once, and hold them twice meanwhile. (Extendible hashing: Fagin et al., 1979.)

use hashbrown::HashTable;

/// Where a row lies, until it is removed.
pub(crate) type Place = u32;

/// Bits of a bucket's number in a full-grown segment.
const BUCKET_BITS: u32 = 16;

/// Entries of a full segment: as many as `hashbrown` puts into its buckets.
const FULL: usize = (1 << BUCKET_BITS) / 8 * 7;

/// Segments are divided by so many bits at most, which is enough for all places there can be. Only keys that collide on
/// purpose lead further: then a segment grows as any hash table does.
const DEEPEST: u32 = 32 - BUCKET_BITS;

/// What the index holds of a row.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    hash: u32,
    place: Place,
}

struct Segment {
    entries: HashTable<Indexed>,
    /// How many bits of their hashes all entries have in common.
    depth: u32,
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
            segments: vec![Segment {
                entries: HashTable::new(),
                depth: 0,
            }],
            directory: vec![0],
            depth: 0,
        }
    }
}

/// The hash that a segment's table reads: its lowest bits for the bucket, and its highest seven, which are not those of
/// the bucket, nor, up to 256 segments, those that name the segment.
fn widened(hash: u32) -> u64 {
    u64::from(hash) << 40 | u64::from(hash)
}

impl Places {
    /// Makes room for so many entries, if there are none yet.
    pub(crate) fn reserve(&mut self, entries: usize) {
        if self.segments.iter().any(|of| !of.entries.is_empty()) {
            return;
        }
        // Hashes do not spread evenly: some segments get a little more than their share.
        let share = FULL - FULL / 32;
        let depth = entries.div_ceil(share).next_power_of_two().trailing_zeros();
        let depth = depth.min(DEEPEST);
        let each = if depth == 0 { entries } else { FULL };
        let segment = |_| Segment {
            entries: HashTable::with_capacity(each),
            depth,
        };
        self.segments = (0..1_u32 << depth).map(segment).collect();
        self.directory = (0..1 << depth).collect();
        self.depth = depth;
    }

    /// The order in which entries of these hashes lie in memory, as it is now.
    pub(crate) fn order(&self) -> impl Fn(u32) -> u64 + Send + use<> {
        let depth = self.depth;
        move |hash| match depth {
            0 => widened(hash),
            _ => {
                let bucket = hash & ((1 << BUCKET_BITS) - 1);
                u64::from(beginning(hash, depth)) << BUCKET_BITS | u64::from(bucket)
            }
        }
    }

    #[inline]
    fn segment_of(&self, hash: u32) -> usize {
        self.directory[beginning(hash, self.depth) as usize] as usize
    }

    /// The place of an entry of this hash that `is` the one; the first of several.
    #[inline]
    pub(crate) fn get(&self, hash: u32, mut is: impl FnMut(Place) -> bool) -> Option<Place> {
        let segment = &self.segments[self.segment_of(hash)];
        let is = |of: &Indexed| of.hash == hash && is(of.place);
        Some(segment.entries.find(widened(hash), is)?.place)
    }

    /// Puts in an entry that is not there.
    pub(crate) fn insert(&mut self, hash: u32, place: Place) {
        let mut at = self.segment_of(hash);
        while self.segments[at].is_full() {
            self.divide(at);
            at = self.segment_of(hash);
        }
        let entries = &mut self.segments[at].entries;
        entries.insert_unique(widened(hash), Indexed { hash, place }, |of| {
            widened(of.hash)
        });
    }

    /// Takes an entry out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, place: Place) {
        let at = self.segment_of(hash);
        let is = |of: &Indexed| of.place == place;
        if let Ok(found) = self.segments[at].entries.find_entry(widened(hash), is) {
            found.remove();
        }
    }

    /// Takes all entries out, and keeps memory for as many.
    pub(crate) fn clear(&mut self) {
        for segment in &mut self.segments {
            segment.entries.clear();
        }
    }

    #[cold]
    fn divide(&mut self, at: usize) {
        let depth = self.segments[at].depth + 1;
        if depth > self.depth {
            let twice = self.directory.iter().flat_map(|segment| [*segment; 2]);
            self.directory = twice.collect();
            self.depth = depth;
        }
        let half = || Segment {
            entries: HashTable::with_capacity(FULL),
            depth,
        };
        let mut halves = [half(), half()];
        let whole = std::mem::replace(&mut self.segments[at].entries, HashTable::new());
        for entry in whole {
            let half = &mut halves[(beginning(entry.hash, depth) & 1) as usize];
            let wide = |of: &Indexed| widened(of.hash);
            half.entries.insert_unique(wide(&entry), entry, wide);
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

impl Segment {
    fn is_full(&self) -> bool {
        self.entries.len() >= FULL && self.depth < DEEPEST
    }
}

/// The first bits of a hash.
#[inline]
fn beginning(hash: u32, bits: u32) -> u32 {
    (u64::from(hash) >> (32 - bits)) as u32
}

#[cfg(test)]
mod tests {
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
        assert!(places.segments.iter().all(|of| of.entries.len() <= FULL));
        let segments = &places.segments;
        assert!(segments.iter().all(|of| of.entries.capacity() <= FULL));
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
        let hash = |place| 7 << BUCKET_BITS | place;
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
                .flat_map(|at| &places.segments[*at as usize].entries)
                .map(|of| order(of.hash) & ((1 << (BUCKET_BITS + places.depth)) - 1))
                .collect();
            let mask = places.segments[0].entries.capacity().next_power_of_two() as u64 - 1;
            let lie = lie.into_iter().map(|at| match places.depth {
                0 => at & mask,
                _ => at,
            });
            let lie: Vec<u64> = lie.collect();
            // An entry whose bucket is taken goes on to the next ones, so a few are out of order.
            let steps_back = lie.windows(2).filter(|two| two[0] > two[1]).count();
            assert!(steps_back <= lie.len() / 2, "{steps_back} of {}", lie.len());
            let far_back = lie.windows(2).filter(|two| two[0] > two[1] + 64).count();
            assert!(far_back <= lie.len() / 100, "{far_back} of {}", lie.len());
        }
    }
}
