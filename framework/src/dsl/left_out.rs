//! Which of several records a step leaves out: a bit for each, so that what a step does with a record is not held up by
//! whether the one before it stays.

/// Records that share a word of bits.
const WORD: usize = u64::BITS as usize;

/// So many items are taken out one by one: what lies behind each is moved at once, which is faster than one after another.
const FEW: usize = 8;

/// The places of items that are left out.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Bit `n` of word `w` is set if the item at `64 w + n` is left out.
    words: Vec<u64>,
    /// How many they are.
    count: usize,
}

impl LeftOut {
    /// Looks at `items` in their order, and notes for which of them `leaves_out` is true instead of what was noted before.
    #[inline]
    pub(super) fn look<T>(&mut self, items: &[T], mut leaves_out: impl FnMut(&T) -> bool) {
        self.words.clear();
        self.words.reserve(items.len().div_ceil(WORD));
        self.count = 0;
        for items in items.chunks(WORD) {
            let mut word = 0;
            for (nth, item) in items.iter().enumerate() {
                // In any case, whether it holds: no branch has to be foreseen.
                word |= u64::from(leaves_out(item)) << nth;
            }
            self.words.push(word);
            self.count += word.count_ones() as usize;
        }
    }

    /// How many items are left out.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn at(&self, place: usize) -> bool {
        self.words[place / WORD] >> (place % WORD) & 1 != 0
    }

    /// The places, in their order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let words = self.words.iter().enumerate();
        words.flat_map(|(number, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let nth = word.trailing_zeros() as usize;
                word &= word.checked_sub(1)?;
                Some(number * WORD + nth)
            })
        })
    }

    /// Takes the items out that are left out of those it looked at; the others keep their order.
    pub(super) fn take_out<T>(&self, items: &mut Vec<T>) {
        if self.count == items.len() {
            items.clear();
        } else if self.count <= FEW {
            for (gone, place) in self.places().enumerate() {
                items.remove(place - gone);
            }
        } else {
            let mut places = 0..;
            items.retain(|_| places.next().is_some_and(|place| !self.at(place)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_left_out_is_gone_and_the_others_keep_their_order(
            keeps in prop_oneof![
                prop::collection::vec(prop::bool::weighted(0.95), 0..200),
                prop::collection::vec(any::<bool>(), 0..200),
                prop::collection::vec(prop::bool::weighted(0.02), 0..200),
            ],
        ) {
            let all = || (0..keeps.len()).map(|at| at.to_string());
            let mut items: Vec<String> = all().collect();
            let mut left_out = LeftOut::default();
            left_out.look(&["before"], |_| true);
            let mut keep = keeps.iter();
            left_out.look(&items, |_| !keep.next().unwrap());
            let expected: Vec<_> = (0..keeps.len()).filter(|at| !keeps[*at]).collect();
            prop_assert_eq!(left_out.places().collect::<Vec<_>>(), expected);
            prop_assert_eq!(left_out.count(), keeps.iter().filter(|keep| !**keep).count());
            left_out.take_out(&mut items);
            let kept = all().zip(&keeps).filter(|(_, keeps)| **keeps);
            prop_assert_eq!(items, kept.map(|(item, _)| item).collect::<Vec<_>>());
        }
    }
}
