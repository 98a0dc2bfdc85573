//! The weaker guarantees while the run lives: what a process that goes on can find out, it neither doubles nor loses.

use tiderace::Guarantee;
use tiderace_testing::proxy::{Api, Fault, When};

use crate::case::strike_as;
use crate::lost::{FIRST, LAST, MIDDLE, SECOND, cases, fences_once};

const WEAKER: [Guarantee; 2] = [Guarantee::AtLeastOnce, Guarantee::AtMostOnce];

/// The second transaction of epochs, behind entry 0 and the start entry. At least once it may commit all the rest.
const FOURTH: (When, &str) = (When::Nth(4), "the fourth");

/// The outputs that were acknowledged before a commit in doubt are not written again with its entry; those that are
/// due behind it are written once, whether the commit turns out to be there or is done again.
#[test]
fn a_commit_in_doubt_neither_doubles_nor_loses_outputs() {
    let hits = [FIRST, SECOND, FOURTH, LAST];
    let faults = [
        ("EndTxn lost", Fault::DropRequest),
        ("answer to EndTxn lost", Fault::DropAnswer),
        ("answer to EndTxn cut off", Fault::CloseBehind),
    ];
    for guarantee in WEAKER {
        let cases = faults.map(|(what, fault)| {
            let what = format!("{guarantee}, {what}");
            cases(&what, Api::END_TXN, &hits, fault)
        });
        strike_as(guarantee, cases.into_iter().flatten(), fences_once);
    }
}

/// The client sends them again by itself, and the broker knows them by their numbers.
#[test]
fn records_that_are_lost_or_not_acknowledged_are_neither_doubled_nor_lost() {
    let hits = [FIRST, SECOND, MIDDLE, LAST];
    let faults = [
        ("Produce lost", Fault::DropRequest),
        ("answer to Produce lost", Fault::DropAnswer),
        ("answer to Produce cut off", Fault::CloseBehind),
    ];
    for guarantee in WEAKER {
        let cases = faults.map(|(what, fault)| {
            let what = format!("{guarantee}, {what}");
            cases(&what, Api::PRODUCE, &hits, fault)
        });
        strike_as(guarantee, cases.into_iter().flatten(), |_| ());
    }
}
