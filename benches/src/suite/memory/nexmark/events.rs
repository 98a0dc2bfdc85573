//! The events, and what the queries read of them.

use std::sync::Arc;

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::suite::memory::log::Input;
use crate::suite::memory::records::partition;
use crate::suite::memory::texts::Texts;

/// The topic of all events.
pub(super) const EVENTS: &str = "events";

/// When the first event is: 2015-07-15, in milliseconds since 1970, where Nexmark's generators begin.
const BEGIN: u64 = 1_436_918_400_000;

/// Events a second of event time, however fast they are fed: at the rate that they are fed at, windows of 10 s would
/// hold everything.
const RATE: usize = 10_000;

/// Makes events as JSON, each with its own time as the record's. The same events every time.
pub(super) fn make(many: usize) -> Result<Arc<Texts>, Failure> {
    let config = NexmarkConfig {
        // Without it events begin now.
        base_time: BEGIN,
        first_rate: RATE,
        next_rate: RATE,
        ..NexmarkConfig::default()
    };
    let mut events = Texts::default();
    for event in EventGenerator::new(config).take(many) {
        let at = i64::try_from(event.timestamp())?;
        events.push(at, |bytes| serde_json::to_writer(bytes, &event))?;
    }
    Ok(Arc::new(events))
}

/// The topic with one partition.
pub(super) fn input(events: &Arc<Texts>) -> Input {
    Input {
        topic: EVENTS,
        partitions: vec![partition(events)],
        poll: 1_000,
    }
}

/// An event, of which a query reads bids as `B` and nothing of the others.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Event<B> {
    Person(Other),
    Auction(Other),
    Bid(B),
}

/// What is not looked at.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Other {}

impl<B> Event<B> {
    #[inline]
    pub(super) fn bid(self) -> Option<B> {
        match self {
            Event::Bid(bid) => Some(bid),
            Event::Person(_) | Event::Auction(_) => None,
        }
    }
}

/// What q0 and q1 read and write of a bid; the price is a number of cents, or what q1 makes of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Bid<Price, Text> {
    pub(super) auction: u64,
    pub(super) bidder: u64,
    pub(super) price: Price,
    pub(super) date_time: u64,
    pub(super) extra: Text,
}

/// What q2 reads and writes of a bid.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) auction: u64,
    pub(super) price: u64,
}

/// What q12 reads of a bid.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Bidder {
    pub(super) bidder: u64,
}

impl<Text> Bid<u64, Text> {
    /// The bid in euros, as q1 has it.
    #[inline]
    pub(super) fn converted(self) -> Bid<f64, Text> {
        Bid {
            auction: self.auction,
            bidder: self.bidder,
            price: self.price as f64 * 0.908,
            date_time: self.date_time,
            extra: self.extra,
        }
    }
}

impl Offer {
    /// Whether q2 selects it.
    #[inline]
    pub(super) fn is_selected(&self) -> bool {
        self.auction.is_multiple_of(123)
    }
}
