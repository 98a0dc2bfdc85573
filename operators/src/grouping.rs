//! Putting records of one key together before they move to the worker that owns it.
//!
//! What is moved is what an exchange costs. Where the values of an epoch may be put together in any groups, one record
//! a key and epoch, or a few, moves in place of all of them, with the header that they come to. Where keys hardly ever come twice
//! there is nothing to put together: records go through one by one for a while, and then it is tried again.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::current;
use crate::dataflow::Head;
use crate::emit::{Outlet, Steps, TOGETHER};
use crate::fold::Fold;
use crate::key::Key;
use crate::record::{Header, Record};
use crate::tally::{Counting, Tally, Verdict};

/// What came of some records of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group<A> {
    /// The value.
    pub value: A,
    /// Whether it came of one record alone.
    pub alone: bool,
}

/// Keys that are held before it is asked whether any came twice: as many as the caches hold.
const ENOUGH: usize = 8_192;

/// Keys that are held at most: they are in no budget.
const MOST: usize = 65_536;

/// Records that go through one by one behind those whose keys hardly came twice.
const PASSED: usize = 1 << 20;

/// A step that puts the records of a key together by `fold`, fused behind what `head` makes and followed by `next`.
/// Records without a key are skipped; `tally` counts for the step that takes the groups in, number `number`.
pub fn group<K: Key, F: Fold<Taken = (), Partial = A, Value = A>, A: Clone + 'static>(
    head: &mut Head<'_>,
    fold: F,
    number: u32,
    tally: Tally,
    next: Steps<K, Group<A>>,
) -> Steps<K, ()> {
    let grouping = Rc::new(RefCell::new(Grouping {
        fold,
        number,
        tally,
        index: HashTable::new(),
        held: Vec::new(),
        hasher: FixedState::default(),
        taken: 0,
        passing: 0,
        made: Vec::new(),
        next,
    }));
    head.holds(Box::new(Rc::clone(&grouping)));
    Box::new(move |records| grouping.borrow_mut().take(records))
}

struct Held<K, A> {
    hash: u64,
    key: K,
    partial: A,
    header: Header,
    alone: bool,
}

struct Grouping<K, F, A> {
    fold: F,
    number: u32,
    tally: Tally,
    /// Where in `held` the records of a key are.
    index: HashTable<u32>,
    held: Vec<Held<K, A>>,
    hasher: FixedState,
    /// Records that are held.
    taken: usize,
    /// Records that are left to go through.
    passing: usize,
    made: Vec<Record<K, Group<A>>>,
    next: Steps<K, Group<A>>,
}

impl<K: Key, F: Fold<Taken = (), Partial = A, Value = A>, A: Clone + 'static> Grouping<K, F, A> {
    fn take(&mut self, records: &mut Vec<Record<K, ()>>) {
        let named = self.tally.counting() == Counting::ByPosition;
        let (mut processed, mut skipped) = (0, 0);
        let passing = self.passing > 0;
        self.passing = self.passing.saturating_sub(records.len());
        current::enter(self.number);
        for record in records.drain(..) {
            let Record { header, key, .. } = record;
            current::at(header.position);
            let verdict = match key {
                Some(key) if passing => {
                    let alone = self.begin(header.position);
                    self.made.push(group_of(header, key, alone, true));
                    Verdict::Processed
                }
                Some(key) => {
                    self.hold(header, key);
                    Verdict::Processed
                }
                None => Verdict::Skipped,
            };
            if named {
                self.tally.verdict(header.position, verdict);
            } else if verdict == Verdict::Processed {
                processed += 1;
            } else {
                skipped += 1;
            }
        }
        if !named {
            self.tally.verdicts(processed, Verdict::Processed);
            self.tally.verdicts(skipped, Verdict::Skipped);
        }
        if passing {
            (self.next)(&mut self.made);
        } else if self.held.len() >= ENOUGH && self.held.len() * 2 > self.taken {
            self.send();
            self.passing = PASSED;
        } else if self.held.len() >= MOST {
            self.send();
        }
    }

    fn begin(&self, position: crate::record::Position) -> A {
        let mut partial = self.fold.begin();
        self.fold.add(&mut partial, position, ());
        partial
    }

    #[inline]
    fn hold(&mut self, header: Header, key: K) {
        self.taken += 1;
        let hash = self.hasher.hash_one(&key);
        let held = &self.held;
        let is = |at: &u32| {
            let of = &held[*at as usize];
            of.hash == hash && of.key == key
        };
        if let Some(at) = self.index.find(hash, is) {
            let of = &mut self.held[*at as usize];
            self.fold.add(&mut of.partial, header.position, ());
            let Header {
                timestamp,
                stream_time,
                position,
            } = &mut of.header;
            of.alone &= *position == header.position;
            *timestamp = (*timestamp).max(header.timestamp);
            *stream_time = (*stream_time).min(header.stream_time);
            *position = (*position).max(header.position);
            return;
        }
        let at = u32::try_from(self.held.len()).expect("an epoch has fewer than 2^32 records");
        self.index
            .insert_unique(hash, at, |at| held[*at as usize].hash);
        let partial = self.begin(header.position);
        self.held.push(Held {
            hash,
            key,
            partial,
            header,
            alone: true,
        });
    }

    /// Sends what is held.
    fn send(&mut self) {
        self.index.clear();
        self.taken = 0;
        for of in self.held.drain(..) {
            self.made
                .push(group_of(of.header, of.key, of.partial, of.alone));
            if self.made.len() >= TOGETHER {
                (self.next)(&mut self.made);
            }
        }
        (self.next)(&mut self.made);
    }
}

fn group_of<K, A>(header: Header, key: K, value: A, alone: bool) -> Record<K, Group<A>> {
    Record {
        header,
        extra: None,
        key: Some(key),
        value: Group { value, alone },
    }
}

impl<K: Key, F: Fold<Taken = (), Partial = A, Value = A>, A: Clone + 'static> Outlet
    for Rc<RefCell<Grouping<K, F, A>>>
{
    fn flush(&mut self) {
        self.borrow_mut().send();
    }
}
