//! The engine's side, as one would write it.

use std::time::Duration;

use tiderace::{BuildError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed};

use super::WINDOW;
use super::events::{Bid, Bidder, EVENTS, Event, Offer};

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// q0: every bid, unchanged.
    PassOn,
    /// q1: every bid, its price in euros.
    Convert,
    /// q2: bids on some auctions.
    Select,
    /// q12 in event time: bids of each bidder in windows of 10 s.
    CountByBidder,
}

type Price<P> = Topic<Option<u64>, Bid<P, String>>;

const PASSED: Price<u64> = Topic::json("q0");
const CONVERTED: Price<f64> = Topic::json("q1");
const SELECTED: Topic<Option<u64>, Offer> = Topic::json("q2");
const BY_BIDDER: Topic<Windowed<u64>, u64> = Topic::bytes("q12");

impl Query {
    /// The topic that it writes.
    pub(super) fn output(self) -> &'static str {
        match self {
            Query::PassOn => PASSED.name(),
            Query::Convert => CONVERTED.name(),
            Query::Select => SELECTED.name(),
            Query::CountByBidder => BY_BIDDER.name(),
        }
    }
}

/// A query from topic to topic.
pub(super) fn topology(query: Query) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new(query.output());
    match query {
        Query::PassOn => builder
            .stream(Topic::<Option<u64>, Event<Bid<u64, String>>>::json(EVENTS))
            .flat_map_values(Event::bid)
            .to(PASSED),
        Query::Convert => builder
            .stream(Topic::<Option<u64>, Event<Bid<u64, String>>>::json(EVENTS))
            .flat_map_values(Event::bid)
            .map_values(Bid::converted)
            .to(CONVERTED),
        Query::Select => builder
            .stream(Topic::<Option<u64>, Event<Offer>>::json(EVENTS))
            .flat_map_values(Event::bid)
            .filter(Offer::is_selected)
            .to(SELECTED),
        Query::CountByBidder => builder
            .stream(Topic::<Option<u64>, Event<Bidder>>::json(EVENTS))
            .flat_map_values(Event::bid)
            .group_by(|bid| bid.bidder)
            .windowed_by(TimeWindows::of_size(Duration::from_millis(
                WINDOW.unsigned_abs(),
            )))
            .count()
            .emit_on_close()
            .to(BY_BIDDER),
    }
    builder.build()
}
