//! How records come to a windowed step: one by one, or in groups of a key and its windows.
//!
//! A group is made where its records are read, and judged once where it is taken in. That is the judgement of each of
//! its records: all belong to the same windows, and none is late for any of them by the stream time of its own partition,
//! so that the step's watermark alone decides, and it is one for all. A record that is late for some of its windows by its
//! own partition goes alone.

use super::recent::Recent;
use crate::dataflow::Head;
use crate::emit::Steps;
use crate::fold::Fold;
use crate::grouping::{self, Plan};
use crate::key::Key;
use crate::record::{EventTime, Header};
use crate::tally::{Counting, Tally, Verdict};
use crate::window::TimeWindows;

/// What comes to a windowed step in place of records.
pub trait Arriving<F: Fold>: 'static {
    /// What a record bears.
    type Value: Clone + Send + 'static;
    /// Takes it into what there is of a key and window.
    fn take(fold: &F, partial: &mut F::Partial, header: &Header, value: Self::Value);
    /// How many records it is.
    fn records(value: &Self::Value) -> u64;
    /// The headers of the records that it is.
    fn headers<'a>(header: &'a Header, value: &'a Self::Value) -> &'a [Header];
}

/// Records, one by one.
pub struct OneByOne;

impl<F: Fold> Arriving<F> for OneByOne {
    type Value = F::Taken;

    #[inline]
    fn take(fold: &F, partial: &mut F::Partial, header: &Header, value: F::Taken) {
        fold.add(partial, header.position, value);
    }

    #[inline]
    fn records(_: &F::Taken) -> u64 {
        1
    }

    #[inline]
    fn headers<'a>(header: &'a Header, _: &'a F::Taken) -> &'a [Header] {
        std::slice::from_ref(header)
    }
}

/// Records of a key that belong to the same windows, by what they come to.
#[derive(Clone, Debug)]
pub struct WindowGroup<P> {
    partial: P,
    records: u64,
    /// The headers of all, where somebody may ask for them and they are several.
    headers: Option<Box<Headers>>,
}

#[derive(Clone, Debug)]
struct Headers(Vec<Header>);

/// Groups of records, where the fold combines.
pub struct InGroups;

impl<F: Fold> Arriving<F> for InGroups {
    type Value = WindowGroup<F::Partial>;

    #[inline]
    fn take(fold: &F, partial: &mut F::Partial, _: &Header, value: WindowGroup<F::Partial>) {
        crate::current::are_alone(value.records == 1);
        fold.take_in(partial, value.partial);
    }

    #[inline]
    fn records(value: &WindowGroup<F::Partial>) -> u64 {
        value.records
    }

    fn headers<'a>(header: &'a Header, value: &'a WindowGroup<F::Partial>) -> &'a [Header] {
        match &value.headers {
            Some(headers) => &headers.0,
            None => std::slice::from_ref(header),
        }
    }
}

struct ByWindow<F> {
    windows: TimeWindows,
    fold: F,
    /// Panes by where they begin.
    recent: Recent<i64>,
    with_headers: bool,
}

impl<F: Fold> Plan for ByWindow<F> {
    type Taken = F::Taken;
    type Apart = i64;
    type Group = WindowGroup<F::Partial>;
    /// Groups are judged where they are taken in.
    const VERDICT: Option<Verdict> = None;

    #[inline]
    fn apart(&mut self, header: &Header) -> Option<i64> {
        let (timestamp, time) = (header.timestamp, header.stream_time);
        let recent = self.recent.find(timestamp, time);
        recent.or_else(|| self.pane(timestamp, time))
    }

    #[inline]
    fn mix(hash: u64, begin: i64) -> u64 {
        // Bounds of panes are round numbers: what tells them apart is moved to the low bits.
        hash ^ (begin as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    }

    #[inline]
    fn begin(&self, header: &Header, value: F::Taken) -> WindowGroup<F::Partial> {
        let mut partial = self.fold.begin();
        self.fold.add(&mut partial, header.position, value);
        WindowGroup {
            partial,
            records: 1,
            headers: None,
        }
    }

    #[inline]
    fn add(
        &self,
        group: &mut WindowGroup<F::Partial>,
        so_far: &Header,
        header: &Header,
        value: F::Taken,
    ) {
        self.fold.add(&mut group.partial, header.position, value);
        group.records += 1;
        if self.with_headers {
            let first = || Box::new(Headers(vec![*so_far]));
            group.headers.get_or_insert_with(first).0.push(*header);
        }
    }
}

impl<F> ByWindow<F> {
    /// Where the pane of a record begins, if it is late for none of its windows.
    fn pane(&mut self, timestamp: EventTime, time: EventTime) -> Option<i64> {
        let windows = self.windows;
        let all = windows.in_time(timestamp, EventTime::MIN)?;
        if windows.in_time(timestamp, time) != Some(all) {
            return None;
        }
        let pane = windows.pane(timestamp)?;
        let begin = pane.start;
        self.recent
            .remember(pane, windows.closing(all.first), begin);
        Some(begin)
    }
}

/// What groups for a windowed step are made of.
pub struct WindowGrouping<F> {
    /// The windows.
    pub windows: TimeWindows,
    /// How records become one value: it combines.
    pub aggregation: F,
    /// Whether late records are sent somewhere.
    pub late: bool,
    /// The number of the step.
    pub number: u32,
    /// Its counts.
    pub tally: Tally,
}

impl<F: Fold> WindowGrouping<F> {
    fn grouping<K: Key>(
        self,
        head: &mut Head<'_>,
        next: Steps<K, WindowGroup<F::Partial>>,
    ) -> grouping::Shared<K, ByWindow<F>> {
        let plan = ByWindow {
            windows: self.windows,
            fold: self.aggregation,
            recent: Recent::default(),
            with_headers: self.late || self.tally.counting() == Counting::ByPosition,
        };
        grouping::grouping(head, plan, self.number, self.tally, next)
    }

    /// A step that makes groups, fused behind what `head` makes and followed by `next`. Records without a key are skipped.
    pub fn group<K: Key>(
        self,
        head: &mut Head<'_>,
        next: Steps<K, WindowGroup<F::Partial>>,
    ) -> Steps<K, F::Taken> {
        grouping::whole(self.grouping(head, next))
    }

    /// As [`group`](Self::group), where values are not asked for.
    pub fn group_without_values<K: Key, V: 'static>(
        self,
        head: &mut Head<'_>,
        next: Steps<K, WindowGroup<F::Partial>>,
    ) -> Steps<K, V>
    where
        F: Fold<Taken = ()>,
    {
        grouping::without_values(self.grouping(head, next))
    }
}
