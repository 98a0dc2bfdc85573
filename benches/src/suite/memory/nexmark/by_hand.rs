//! The queries as loops over the same bytes. Texts are borrowed where they can be.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::events::{Bid, Bidder, Event, Offer};
use super::{EPOCH, WINDOW};
use crate::Failure;
use crate::suite::memory::keyed::tumbling;
use crate::suite::memory::records::Records;
use crate::suite::memory::side::Sink;
use crate::suite::memory::texts::Texts;

/// A text that is borrowed unless it has escapes.
#[derive(Deserialize, Serialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads an event, one check of UTF-8 for all of it.
#[inline]
fn decode<'a, B: Deserialize<'a>>(value: &'a [u8]) -> Result<Option<B>, Failure> {
    let event: Event<B> = serde_json::from_str(simdutf8::basic::from_utf8(value)?)?;
    Ok(event.bid())
}

/// Sends what `of` makes of each bid.
fn map<'a, B: Deserialize<'a>, O: Serialize>(
    events: &'a Texts,
    sink: &mut Sink,
    of: impl Fn(B) -> Option<O>,
) -> Result<(), Failure> {
    let mut value = Vec::new();
    for index in 0..events.count() {
        let (event, timestamp) = events.value(index);
        if let Some(out) = decode(event)?.and_then(&of) {
            value.clear();
            serde_json::to_writer(&mut value, &out)?;
            sink.send(None, &value, timestamp)?;
        }
        if (index + 1).is_multiple_of(EPOCH) {
            sink.commit()?;
        }
    }
    Ok(())
}

/// q0.
pub(super) fn pass_on(events: &Texts, sink: &mut Sink) -> Result<(), Failure> {
    map(events, sink, |bid: Bid<u64, Text<'_>>| Some(bid))
}

/// q1.
pub(super) fn convert(events: &Texts, sink: &mut Sink) -> Result<(), Failure> {
    map(events, sink, |bid: Bid<u64, Text<'_>>| {
        Some(bid.converted())
    })
}

/// q2.
pub(super) fn select(events: &Texts, sink: &mut Sink) -> Result<(), Failure> {
    map(events, sink, |offer: Offer| {
        offer.is_selected().then_some(offer)
    })
}

/// q12 in event time: events come in order, so one window is open at a time.
pub(super) fn count_by_bidder(events: &Texts, sink: &mut Sink) -> Result<(), Failure> {
    let mut failed = Ok(());
    let bids = (0..events.count()).filter_map(|index| {
        let (event, timestamp) = events.value(index);
        match decode::<Bidder>(event) {
            Ok(bid) => bid.map(|bid| (bid.bidder, timestamp)),
            Err(failure) => {
                failed = Err(failure);
                None
            }
        }
    });
    tumbling(bids, WINDOW, EPOCH, sink)?;
    failed
}
