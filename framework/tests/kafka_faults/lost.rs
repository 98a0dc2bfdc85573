//! Requests and answers that get lost or late, and connections that break, at every step of a transaction.

use std::time::Duration;

use tiderace_testing::proxy::{Api, Fault, Moment, Rule, When};

use crate::case::{Case, LAST_EPOCH, LAST_READ, REQUEST_LIMIT, rule, strike};

/// Which request of a kind a case strikes, and its name.
pub(crate) const FIRST: (When, &str) = (When::Nth(1), "the first");
pub(crate) const SECOND: (When, &str) = (When::Nth(2), "the second");
pub(crate) const MIDDLE: (When, &str) = (When::Nth(8), "the eighth");
pub(crate) const LAST: (When, &str) = (When::FromProducerOf(LAST_EPOCH), "the last");

pub(crate) fn cases(
    what: &str,
    api: Api,
    hits: &[(When, &str)],
    fault: Fault,
) -> Vec<(String, Vec<Rule>)> {
    hits.iter()
        .map(|(when, which)| (format!("{what}, {which}"), vec![rule(api, *when, fault)]))
        .collect()
}

fn is_last(case: &Case) -> bool {
    case.name.ends_with(LAST.1)
}

/// Fences both producers once, beside the start.
pub(crate) fn fences_once(case: &Case) {
    let inits = case.proxy.requests(Api::INIT_PRODUCER_ID);
    assert!(inits >= 4, "{}: {inits} producers were made", case.name);
}

#[test]
fn an_end_that_never_reaches_the_broker_is_in_doubt_absent_and_done_again() {
    let hits = [FIRST, SECOND, MIDDLE, LAST];
    let lost = cases("EndTxn lost", Api::END_TXN, &hits, Fault::DropRequest);
    let cut = cases("EndTxn cut off", Api::END_TXN, &hits, Fault::CloseBefore);
    strike(lost.into_iter().chain(cut), |case| {
        fences_once(case);
        let again = case.name.starts_with("EndTxn lost");
        if is_last(case) && again {
            assert_eq!(case.last_epoch_was_sent(), 2, "{}", case.name);
        }
    });
}

#[test]
fn an_end_whose_answer_is_lost_is_in_doubt_present_and_not_done_again() {
    let hits = [FIRST, SECOND, MIDDLE, LAST];
    let late = Moment::after(REQUEST_LIMIT * 2);
    let faults = [
        ("answer to EndTxn lost", Fault::DropAnswer),
        ("answer to EndTxn cut off", Fault::CloseBehind),
        ("answer to EndTxn late", Fault::DelayAnswer(late)),
    ];
    let cases = faults.map(|(what, fault)| cases(what, Api::END_TXN, &hits, fault));
    strike(cases.into_iter().flatten(), |case| {
        fences_once(case);
        if is_last(case) {
            assert_eq!(case.last_epoch_was_sent(), 1, "{}", case.name);
        }
    });
}

#[test]
fn an_end_that_is_slow_but_in_time_is_no_doubt() {
    let slow = Moment::after(Duration::from_millis(300));
    let faults = [
        ("EndTxn slow", Fault::DelayRequest(slow)),
        ("answer to EndTxn slow", Fault::DelayAnswer(slow)),
    ];
    let cases = faults.map(|(what, fault)| cases(what, Api::END_TXN, &[MIDDLE, LAST], fault));
    strike(cases.into_iter().flatten(), |case| {
        assert_eq!(
            case.proxy.requests(Api::INIT_PRODUCER_ID),
            2,
            "{}",
            case.name
        );
    });
}

#[test]
fn records_that_are_lost_or_not_acknowledged_are_sent_again_once() {
    let hits = [FIRST, SECOND, MIDDLE, LAST];
    let faults = [
        ("Produce lost", Fault::DropRequest),
        ("answer to Produce lost", Fault::DropAnswer),
        ("answer to Produce cut off", Fault::CloseBehind),
    ];
    let cases = faults.map(|(what, fault)| cases(what, Api::PRODUCE, &hits, fault));
    strike(cases.into_iter().flatten(), fences_once);
}

#[test]
fn a_producer_that_is_not_told_its_id_asks_again() {
    let faults = [
        ("InitProducerId lost", Fault::DropRequest),
        ("answer to InitProducerId lost", Fault::DropAnswer),
        ("InitProducerId cut off", Fault::CloseBefore),
        ("answer to InitProducerId cut off", Fault::CloseBehind),
    ];
    let at_start =
        faults.map(|(what, fault)| cases(what, Api::INIT_PRODUCER_ID, &[FIRST, SECOND], fault));
    // The third and fourth are those of a doubt.
    let lost_end = rule(Api::END_TXN, When::Nth(6), Fault::DropRequest);
    let at_renewal = faults.into_iter().flat_map(|(what, fault)| {
        [3, 4].map(|number| {
            let lost = rule(Api::INIT_PRODUCER_ID, When::Nth(number), fault);
            let name = format!("{what}, number {number}, in doubt");
            (name, vec![lost_end.clone(), lost])
        })
    });
    strike(at_start.into_iter().flatten().chain(at_renewal), |_| ());
}

#[test]
fn partitions_that_are_not_added_to_a_transaction_hold_no_record_of_it() {
    let hits = [FIRST, SECOND, MIDDLE];
    let faults = [
        ("AddPartitionsToTxn lost", Fault::DropRequest),
        ("answer to AddPartitionsToTxn lost", Fault::DropAnswer),
    ];
    let cases = faults.map(|(what, fault)| cases(what, Api::ADD_PARTITIONS_TO_TXN, &hits, fault));
    strike(cases.into_iter().flatten(), fences_once);
}

#[test]
fn offsets_for_the_tools_that_get_lost_cost_a_doubt_and_nothing_else() {
    let faults = [
        ("lost", Fault::DropRequest),
        ("not answered", Fault::DropAnswer),
    ];
    // An epoch that reads nothing more has no offsets to send.
    let hits = [FIRST, SECOND, (When::From(LAST_READ), "near the end")];
    let apis = [
        ("AddOffsetsToTxn", Api::ADD_OFFSETS_TO_TXN),
        ("TxnOffsetCommit", Api::TXN_OFFSET_COMMIT),
    ];
    let cases = apis.into_iter().flat_map(|(name, api)| {
        faults
            .into_iter()
            .flat_map(move |(how, fault)| cases(&format!("{name} {how}"), api, &hits, fault))
    });
    strike(cases, fences_once);
}
