//! Nexmark's q0, q1, q2, and q12 in event time, over pre-generated events: what the engine costs beside a loop (COST).
//!
//! Events are the JSON of the crate `nexmark`, as a topic would hold them; both sides decode what the query uses and
//! write JSON, and making the events is no part of either. Nexmark's q12 counts by the wall clock; by event time its
//! results can be compared. The reference has no floor for these loops: its own read events by reference, without JSON.

mod by_hand;
mod events;
mod topologies;

use tiderace::Config;

use self::topologies::{Query, topology};
use super::contest::{self, Costs, side};
use super::outputs::Same;
use super::records::Records;
use super::side::{Sink, by_hand, engine};
use super::texts::Texts;
use crate::Failure;
use crate::suite::{Context, Effort, Figure, Goal, Report};

/// A window of q12, in milliseconds.
const WINDOW: i64 = 10_000;

/// Records of an epoch at most, as by default; loops commit as often.
const EPOCH: usize = 100_000;

/// A query by its name, its two forms, and the topic that both write.
struct Forms {
    name: &'static str,
    query: Query,
    by_hand: fn(&Texts, &mut Sink) -> Result<(), Failure>,
}

const QUERIES: [Forms; 4] = [
    Forms {
        name: "q0",
        query: Query::PassOn,
        by_hand: by_hand::pass_on,
    },
    Forms {
        name: "q1",
        query: Query::Convert,
        by_hand: by_hand::convert,
    },
    Forms {
        name: "q2",
        query: Query::Select,
        by_hand: by_hand::select,
    },
    Forms {
        name: "q12 in event time",
        query: Query::CountByBidder,
        by_hand: by_hand::count_by_bidder,
    },
];

/// Runs the benchmark.
pub(crate) fn run(with: &Context<'_>) -> Result<Report, Failure> {
    let many = match with.options.effort() {
        Effort::Quick => 100_000,
        Effort::Usual | Effort::Full => 2_000_000,
    };
    with.progress.say(&format!("{many} events are made"));
    let events = events::make(many)?;
    let inputs = [events::input(&events)];
    let directory = contest::directory(with)?;
    let (mut tables, mut figures) = (Vec::new(), Vec::new());
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); with.options.pairs()];
    for Forms {
        name,
        query,
        by_hand: work,
    } in QUERIES
    {
        let sides = [
            side(format!("{name}, engine"), || {
                let config = Config::default();
                engine(topology(query)?, &inputs, config, directory.path())
            }),
            side(format!("{name}, loop"), || {
                by_hand(query.output(), |sink| work(&events, sink))
            }),
        ];
        let costs: Vec<Costs> = contest::run(with, events.count(), Same::All, &sides)?;
        let ratio = Figure::ratio(
            format!("COST of {name}: CPU, engine to loop"),
            &costs[0].cpu,
            &costs[1].cpu,
            None,
        );
        for (pair, ratio) in ratios.iter_mut().zip(&ratio.samples) {
            pair.push(*ratio);
        }
        figures.push(ratio);
        tables.push(contest::table(name, &costs));
    }
    figures.push(Figure {
        name: "COST, geometric mean".to_owned(),
        samples: ratios.iter().map(|pair| geometric_mean(pair)).collect(),
        goal: Some(Goal::AtMost(2.0)),
    });
    Ok(Report {
        load: format!(
            "{} events of {} bytes of JSON, 10,000 a second of event time, one worker; making them is not counted",
            events.count(),
            events.total() / events.count(),
        ),
        tables,
        figures,
        void: None,
    })
}

fn geometric_mean(of: &[f64]) -> f64 {
    let logarithms: f64 = of.iter().map(|it| it.ln()).sum();
    (logarithms / of.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geometric_mean_weighs_twice_and_half_alike() {
        assert!((geometric_mean(&[2.0, 0.5]) - 1.0).abs() < 1e-12);
        assert!((geometric_mean(&[1.0, 2.0, 4.0]) - 2.0).abs() < 1e-12);
    }
}
