//! Memory of byte keys and values, used again.
//!
//! Between a source and a sink some hundred records of a worker are alive at once, more than an allocator's caches hold. A
//! sink gives back what the next ones are read into. Sizes are such that one that is kept instead, as a key of a table
//! is, takes at most 127 bytes more than it needs, and none if it is short.

use std::any::Any;
use std::cell::RefCell;

/// What an allocator makes of fewer bytes anyway.
const SHORT: usize = 24;

/// Sizes of longer ones are multiples of this; so short ones of those are left to the allocator, whose lists do as well.
const STEP: usize = 128;

/// Steps of the longest; beyond, copying is what a value costs.
const STEPS: usize = 32;

/// Bytes that a thread keeps: somewhat more than is alive between a source and a sink.
const KEPT: usize = 1 << 20;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare::NONE) };
}

struct Spare {
    /// By size in steps, the short ones first.
    by_size: [Vec<Vec<u8>>; STEPS + 1],
    /// Bytes that they hold together.
    bytes: usize,
}

impl Spare {
    const NONE: Spare = Spare {
        by_size: [const { Vec::new() }; STEPS + 1],
        bytes: 0,
    };

    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let buffer = self.by_size[size].pop()?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn put(&mut self, size: usize, buffer: Vec<u8>) {
        if self.bytes + buffer.capacity() <= KEPT {
            self.bytes += buffer.capacity();
            self.by_size[size].push(buffer);
        }
    }
}

/// A copy of `bytes`.
pub(super) fn copy(bytes: &[u8]) -> Vec<u8> {
    let (size, capacity) = match bytes.len() {
        0 => return Vec::new(),
        1..=SHORT => (0, SHORT),
        length => {
            let steps = length.div_ceil(STEP);
            if steps == 1 || steps > STEPS {
                return bytes.to_vec();
            }
            (steps, steps * STEP)
        }
    };
    let spare = SPARE.with_borrow_mut(|spare| spare.take(size));
    let mut buffer = spare.unwrap_or_else(|| Vec::with_capacity(capacity));
    buffer.extend_from_slice(bytes);
    buffer
}

/// Drops a key or a value; if it is bytes, their memory serves those that are read later on this thread.
#[inline]
pub fn give_back<T: 'static>(mut value: T) {
    if let Some(bytes) = (&mut value as &mut dyn Any).downcast_mut::<Vec<u8>>() {
        keep(std::mem::take(bytes));
    }
}

fn keep(mut bytes: Vec<u8>) {
    let size = match bytes.capacity() {
        SHORT => 0,
        capacity if capacity % STEP == 0 && (2..=STEPS).contains(&(capacity / STEP)) => {
            capacity / STEP
        }
        _ => return,
    };
    bytes.clear();
    SPARE.with_borrow_mut(|spare| spare.put(size, bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare() -> usize {
        SPARE.with_borrow(|spare| spare.by_size.iter().map(Vec::len).sum())
    }

    #[test]
    fn memory_that_was_given_back_is_used_again_and_holds_nothing_of_before() {
        for (first, second, other) in [(300, 384, 250), (3, 24, 300), (4_096, 4_000, 3)] {
            let bytes = copy(&vec![7; first]);
            let at = bytes.as_ptr();
            give_back(bytes);
            assert_eq!(spare(), 1);
            let bytes = copy(&vec![8; other]);
            assert_eq!((bytes, spare()), (vec![8; other], 1), "another size");
            let bytes = copy(&vec![9; second]);
            assert_eq!((bytes.as_ptr(), spare()), (at, 0));
            assert_eq!(bytes, vec![9; second]);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_of_the_sizes_that_are_asked_for() {
        for length in [0, 25, 100, 128, 4_097, 100_000] {
            let bytes = copy(&vec![1; length]);
            assert_eq!((bytes.len(), bytes.capacity()), (length, length));
            give_back(bytes);
            assert_eq!(spare(), 0, "{length}");
        }
        give_back("no bytes".to_owned());
        give_back(vec![0_u8; 200]);
        assert_eq!(spare(), 0);
        for length in [1_024, 4_096] {
            (0..KEPT / 512).for_each(|_| give_back(vec![0_u8; length]));
            assert_eq!(spare(), KEPT / 1_024);
        }
        assert_eq!(copy(&[1; 1_000]).capacity(), 1_024);
        assert_eq!(spare(), KEPT / 1_024 - 1);
    }
}
