//! Ends of transactions that reach the broker when others are under way: fenced, or they would tear an epoch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tiderace_testing::proxy::{Api, Fault, Moment, When};

use crate::case::{Case, LAST_EPOCH, rule, strike};
use crate::input::shared;

/// The broker's answers to a producer that is not the newest of its id.
const FENCED: [i16; 2] = [47, 90];

/// The copy has reached the broker; the broker's answer to it.
fn answer_to_copy(case: &Case) -> i16 {
    case.proxy.wait_for_swallowed(1);
    let swallowed = case.proxy.swallowed();
    assert_eq!(swallowed.len(), 1, "{}", case.name);
    error_of_end(&swallowed[0].1)
}

fn was_fenced(case: &Case) {
    let error = answer_to_copy(case);
    assert!(FENCED.contains(&error), "{}: error {error}", case.name);
}

/// The error code in the answer to an EndTxn: behind correlation id and throttle time.
fn error_of_end(answer: &[u8]) -> i16 {
    i16::from_be_bytes(answer[8..10].try_into().unwrap())
}

#[test]
fn an_end_that_arrives_when_its_producer_has_been_replaced_has_no_effect() {
    let long = Moment {
        after: Duration::from_millis(10_500),
        behind: Some((Api::INIT_PRODUCER_ID, 2)),
    };
    let at_once = Moment::behind(Api::INIT_PRODUCER_ID, 2);
    let hits = [
        (When::Nth(1), "the first"),
        (When::Nth(2), "the second"),
        (When::Nth(8), "the eighth"),
        (When::FromProducerOf(LAST_EPOCH), "the last"),
    ];
    let cases = hits.into_iter().flat_map(|(when, which)| {
        [("10.5 s later", long), ("behind the init", at_once)].map(|(how, moment)| {
            let name = format!("{which} EndTxn delivered {how}");
            (
                name,
                vec![rule(Api::END_TXN, when, Fault::HoldRequest(moment))],
            )
        })
    });
    strike(cases, was_fenced);
}

/// The client repeats EndTxn by itself when its connection breaks, and then answers success. `Moment`s are such
/// that without the fence the first one would meet a later transaction of the same producer; see the test
/// `an_end_that_comes_late_ends_the_next_transaction_of_the_same_producer` of the proxy.
#[test]
fn an_end_that_the_client_repeats_by_itself_ends_no_later_transaction() {
    let cases = [1, 2, 3, 7, 8].into_iter().flat_map(|number| {
        (1..=3).map(move |answers| {
            let moment = Moment::behind(Api::PRODUCE, answers);
            let name = format!("EndTxn {number} repeated, late by {answers} answers to Produce");
            let fault = Fault::CloseAndDeliver(moment);
            (name, vec![rule(Api::END_TXN, When::Nth(number), fault)])
        })
    });
    let last = Fault::CloseAndDeliver(Moment::behind(Api::INIT_PRODUCER_ID, 2));
    let last = vec![rule(Api::END_TXN, When::FromProducerOf(LAST_EPOCH), last)];
    let cases = cases.chain([("the last EndTxn repeated".to_owned(), last)]);
    let fenced = AtomicUsize::new(0);
    strike(cases, |case| {
        // One that comes before the fence repeats a commit that stands, which changes nothing either.
        let error = answer_to_copy(case);
        fenced.fetch_add(usize::from(FENCED.contains(&error)), Ordering::Relaxed);
    });
    let fenced = fenced.into_inner();
    println!("{fenced} copies met the fence");
    assert!(shared().is_none() || fenced > 0);
}
