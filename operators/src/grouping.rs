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
use crate::tally::{Tally, Verdict};

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
/// Values are dropped; records without a key are skipped; `tally` counts for the step that takes the groups in, number `number`.
pub fn group<K: Key, V: 'static, F, A>(
    head: &mut Head<'_>,
    fold: F,
    number: u32,
    tally: Tally,
    next: Steps<K, Group<A>>,
) -> Steps<K, V>
where
    F: Fold<Taken = (), Partial = A, Value = A>,
    A: Clone + 'static,
{
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
    fn take<V>(&mut self, records: &mut Vec<Record<K, V>>) {
        let passing = self.passing > 0;
        self.passing = self.passing.saturating_sub(records.len());
        let tally = self.tally.clone();
        current::in_step(self.number, |here| {
            tally.giving(|given| {
                // Most keys are there already, so records stay where they are.
                for record in records.iter_mut() {
                    let header = record.header;
                    here.at(header.position);
                    let has_key = if passing {
                        self.pass(header, record.key.take())
                    } else {
                        self.hold(header, &mut record.key)
                    };
                    let verdict = match has_key {
                        true => Verdict::Processed,
                        false => Verdict::Skipped,
                    };
                    given.verdict(header.position, verdict);
                }
            });
        });
        records.clear();
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

    /// Lets a record through, if it has a key.
    fn pass(&mut self, header: Header, key: Option<K>) -> bool {
        let Some(key) = key else { return false };
        let alone = self.begin(header.position);
        self.made.push(group_of(header, key, alone, true));
        true
    }

    /// Takes a record in, if it has a key; the key itself only if it is new.
    #[inline]
    fn hold(&mut self, header: Header, key: &mut Option<K>) -> bool {
        let Some(wanted) = key.as_ref() else {
            return false;
        };
        self.taken += 1;
        let hash = self.hasher.hash_one(wanted);
        let held = &self.held;
        let is = |at: &u32| {
            let of = &held[*at as usize];
            of.hash == hash && of.key == *wanted
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
            return true;
        }
        let at = u32::try_from(self.held.len()).expect("an epoch has fewer than 2^32 records");
        self.index
            .insert_unique(hash, at, |at| held[*at as usize].hash);
        let partial = self.begin(header.position);
        self.held.extend(key.take().map(|key| Held {
            hash,
            key,
            partial,
            header,
            alone: true,
        }));
        true
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
