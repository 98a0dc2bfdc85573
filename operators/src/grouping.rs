//! Putting records of one key together before they move to the worker that owns it.
//!
//! What is moved is what an exchange costs. Where the values of an epoch may be put together in any groups, one record
//! a key and epoch, or a few, moves in place of all of them, with the header that they come to. Where keys hardly ever come twice
//! there is nothing to put together: records go through one by one for a while, and then it is tried again.
//!
//! What a group is, a plan says: here that of a running aggregation; those by window are in `window_aggregate`.

use std::borrow;
use std::cell::RefCell;
use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::fast::RandomState;
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

/// Records that are held at most: groups may keep something of each, which is in no budget either.
const MOST_RECORDS: usize = 1 << 18;

/// Records that go through one by one behind those whose keys hardly came twice.
const PASSED: usize = 1 << 20;

/// How records are put together.
pub(crate) trait Plan: 'static {
    /// What is taken of a record.
    type Taken;
    /// What sets the groups of a key apart.
    type Apart: Copy + PartialEq;
    /// What records become.
    type Group: 'static;

    /// Which of the groups of its key a record goes into; `None` if it goes alone.
    fn apart(&mut self, header: &Header) -> Option<Self::Apart>;
    /// Changes a key's hash by what sets its groups apart.
    fn mix(hash: u64, apart: Self::Apart) -> u64;
    /// A group of one record.
    fn begin(&self, header: &Header, value: Self::Taken) -> Self::Group;
    /// Takes another record into a group, whose header was `so_far`.
    fn add(&self, group: &mut Self::Group, so_far: &Header, header: &Header, value: Self::Taken);
    /// The verdict on a record with a key, if it is given here and not where groups are taken in.
    const VERDICT: Option<Verdict>;
}

/// Groups for a running aggregation.
struct Running<F>(F);

impl<F, A> Plan for Running<F>
where
    F: Fold<Partial = A, Value = A>,
    A: Clone + 'static,
{
    type Taken = F::Taken;
    type Apart = ();
    type Group = Group<A>;
    const VERDICT: Option<Verdict> = Some(Verdict::Processed);

    #[inline]
    fn apart(&mut self, _: &Header) -> Option<()> {
        Some(())
    }

    #[inline]
    fn mix(hash: u64, (): ()) -> u64 {
        hash
    }

    #[inline]
    fn begin(&self, header: &Header, value: F::Taken) -> Group<A> {
        let mut of = self.0.begin();
        self.0.add(&mut of, header.position, value);
        Group {
            value: of,
            alone: true,
        }
    }

    #[inline]
    fn add(&self, group: &mut Group<A>, so_far: &Header, header: &Header, value: F::Taken) {
        self.0.add(&mut group.value, header.position, value);
        group.alone &= so_far.position == header.position;
    }
}

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
    without_values(grouping(head, Running(fold), number, tally, next))
}

/// A grouping, as a step and as what holds records back.
pub(crate) type Shared<K, P> = Rc<RefCell<Grouping<K, P>>>;

/// What puts records together as `plan` says, on `head` and followed by `next`, for step `number`.
pub(crate) fn grouping<K: Key, P: Plan>(
    head: &mut Head<'_>,
    plan: P,
    number: u32,
    tally: Tally,
    next: Steps<K, P::Group>,
) -> Shared<K, P> {
    let grouping = Rc::new(RefCell::new(Grouping {
        plan,
        number,
        tally,
        index: HashTable::new(),
        held: Vec::new(),
        hasher: RandomState::default(),
        asked: Vec::new(),
        taken: 0,
        passing: 0,
        made: Vec::new(),
        next,
    }));
    head.holds(Box::new(Rc::clone(&grouping)));
    grouping
}

/// Groups records whose values are not asked for. Most keys are there already, so records stay where they are.
pub(crate) fn without_values<K: Key, V: 'static, P: Plan<Taken = ()>>(
    grouping: Shared<K, P>,
) -> Steps<K, V> {
    Box::new(move |records| {
        let grouping = &mut *grouping.borrow_mut();
        grouping.ask(records);
        let records_here = records.iter_mut();
        grouping.take(records_here.map(|record| (record.header, &mut record.key, ())));
        records.clear();
    })
}

/// Groups records with their values.
pub(crate) fn whole<K: Key, P: Plan>(grouping: Shared<K, P>) -> Steps<K, P::Taken> {
    Box::new(move |records| {
        let grouping = &mut *grouping.borrow_mut();
        grouping.ask(records);
        let parts = |record: Record<K, P::Taken>| (record.header, record.key, record.value);
        grouping.take(records.drain(..).map(parts));
    })
}

struct Held<K, P: Plan> {
    hash: u64,
    key: K,
    apart: P::Apart,
    header: Header,
    group: P::Group,
}

/// What was found out about a record before it is taken in.
struct Asked<A> {
    /// Which of the groups of its key it goes into; `None` if it goes alone, or has no key.
    apart: Option<A>,
    hash: u64,
    /// Where in `held` that group is, unless another one of a similar hash is there, or none.
    at: u32,
}

/// Holds the groups of an epoch, or of less.
pub(crate) struct Grouping<K, P: Plan> {
    plan: P,
    number: u32,
    tally: Tally,
    /// Where in `held` the group of a key is.
    index: HashTable<u32>,
    held: Vec<Held<K, P>>,
    hasher: RandomState,
    /// Of the records that are being taken in.
    asked: Vec<Asked<P::Apart>>,
    /// Records that are held.
    taken: usize,
    /// Records that are left to go through.
    passing: usize,
    made: Vec<Record<K, P::Group>>,
    next: Steps<K, P::Group>,
}

impl<K: Key, P: Plan> Grouping<K, P> {
    /// Looks for the groups of records. What memory has to be waited for is asked for together: taken in one after another,
    /// each record waits for its own.
    fn ask<V>(&mut self, records: &[Record<K, V>]) {
        self.asked.clear();
        let passing = self.passing > 0;
        let (plan, hasher, asked) = (&mut self.plan, &self.hasher, &mut self.asked);
        current::in_step(self.number, |here| {
            asked.extend(records.iter().map(|record| {
                here.at(record.header.position);
                let key = record.key.as_ref().filter(|_| !passing);
                let apart = key.and_then(|_| plan.apart(&record.header));
                let hash = key.zip(apart);
                Asked {
                    apart,
                    hash: hash.map_or(0, |(key, apart)| P::mix(hasher.hash_one(key), apart)),
                    at: 0,
                }
            }));
        });
        for of in &mut self.asked {
            let first = self.index.find(of.hash, |_| true);
            of.at = first.copied().unwrap_or(u32::MAX);
        }
        let read = self.asked.iter().fold(0, |read, of| {
            let held = self.held.get(of.at as usize);
            read | held.map_or(0, |held| held.hash)
        });
        // What was read is of no use; that it was read is.
        std::hint::black_box(read);
    }

    /// Takes in the records that were [asked](Self::ask) for, and of their keys those that are new.
    fn take<O: borrow::BorrowMut<Option<K>>>(
        &mut self,
        records: impl ExactSizeIterator<Item = (Header, O, P::Taken)>,
    ) {
        let passing = self.passing > 0;
        self.passing = self.passing.saturating_sub(records.len());
        let tally = self.tally.clone();
        let asked = std::mem::take(&mut self.asked);
        current::in_step(self.number, |here| {
            tally.giving(|given| {
                for ((header, mut key, value), asked) in records.zip(&asked) {
                    let key: &mut Option<K> = borrow::BorrowMut::borrow_mut(&mut key);
                    here.at(header.position);
                    if key.is_none() {
                        given.verdict(header.position, Verdict::Skipped);
                        continue;
                    }
                    if let Some(verdict) = P::VERDICT {
                        given.verdict(header.position, verdict);
                    }
                    self.take_one(header, key, value, asked);
                }
            });
        });
        self.asked = asked;
        self.send_what_is_due(passing);
    }

    /// Takes in a record of a key.
    #[inline]
    fn take_one(
        &mut self,
        header: Header,
        key: &mut Option<K>,
        value: P::Taken,
        asked: &Asked<P::Apart>,
    ) {
        let (Some(wanted), Some(apart)) = (key.as_ref(), asked.apart) else {
            return self.pass(header, key.take(), value);
        };
        self.taken += 1;
        let held = &self.held;
        let is = |at: &u32| {
            held.get(*at as usize)
                .is_some_and(|of| of.hash == asked.hash && of.apart == apart && of.key == *wanted)
        };
        let found = Some(&asked.at).filter(|at| is(at));
        match found.or_else(|| self.index.find(asked.hash, is)) {
            Some(at) => {
                let of = &mut self.held[*at as usize];
                self.plan.add(&mut of.group, &of.header, &header, value);
                of.header.take_in(&header);
            }
            None => self.hold(asked.hash, apart, header, key.take(), value),
        }
    }

    /// Holds a new group of one record.
    #[inline]
    fn hold(
        &mut self,
        hash: u64,
        apart: P::Apart,
        header: Header,
        key: Option<K>,
        value: P::Taken,
    ) {
        let at = u32::try_from(self.held.len()).expect("an epoch has fewer than 2^32 records");
        let held = &self.held;
        self.index
            .insert_unique(hash, at, |at| held[*at as usize].hash);
        let group = self.plan.begin(&header, value);
        self.held.extend(key.map(|key| Held {
            hash,
            key,
            apart,
            header,
            group,
        }));
    }

    /// Lets a record through.
    fn pass(&mut self, header: Header, key: Option<K>, value: P::Taken) {
        let group = self.plan.begin(&header, value);
        self.made.push(Record {
            header,
            extra: None,
            key,
            value: group,
        });
    }

    fn send_what_is_due(&mut self, passing: bool) {
        if !self.made.is_empty() {
            (self.next)(&mut self.made);
        }
        if passing {
            return;
        }
        if self.held.len() >= ENOUGH && self.held.len() * 2 > self.taken {
            self.passing = PASSED;
            self.send();
        } else if self.held.len() >= MOST || self.taken >= MOST_RECORDS {
            self.send();
        }
    }

    /// Sends what is held.
    fn send(&mut self) {
        self.index.clear();
        self.taken = 0;
        for of in self.held.drain(..) {
            self.made.push(Record {
                header: of.header,
                extra: None,
                key: Some(of.key),
                value: of.group,
            });
            if self.made.len() >= TOGETHER {
                (self.next)(&mut self.made);
            }
        }
        (self.next)(&mut self.made);
    }
}

impl<K: Key, P: Plan> Outlet for Shared<K, P> {
    fn flush(&mut self) {
        self.borrow_mut().send();
    }
}
