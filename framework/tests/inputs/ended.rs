//! Input that goes on where a bounded run had ended.

use std::time::Duration;

use serde_json::{Value, json};
use tiderace::{Config, Engine};

use crate::growth::{Sent, Trap, config, entries, follow, place, program, reads, until};

/// A partition that is read again, falls silent and speaks once more, beside one of another worker that has ended: in the
/// epoch of its last record it is still left out of the watermark, which goes on by what the other one says.
#[test]
fn a_partition_that_goes_on_alone_is_replayed_alike_by_any_number_of_workers() {
    for workers in [1, 2] {
        let place = place();
        let (mut sent, trap) = (Sent::default(), Trap::default());
        let start = |config: &Config| {
            let log = place.log.clone();
            let running = Engine::start(program(&trap), log, config).unwrap();
            running.join().unwrap()
        };
        sent.send(&place, &[0, 1], 0..30);
        let bounded = config(&place, workers);
        start(&bounded);

        let impatient = Config {
            idle_timeout: Duration::from_millis(20),
            ..bounded.clone()
        };
        let running = follow(&place, &trap, &impatient);
        let before = sent.count();
        for seconds in [100..101, 200..201, 300..301] {
            sent.send(&place, &[0], seconds);
            reads(&running, sent.count() - before);
            until(&running, "the partition does not fall silent", || {
                let is = |value: &Value| *value == json!({"topic": "rides", "partition": 0});
                let decided = |of: &Value| of["decisions"].as_array().cloned();
                let all = entries(&place);
                let mut decisions = all.iter().filter_map(decided).flatten();
                let status = decisions.rfind(|it| is(&it["idle"]) || is(&it["active"]));
                status.is_some_and(|it| is(&it["idle"]))
            });
        }
        running.stop_handle().stop();
        running.join().unwrap();

        for others in [1, 2, 3] {
            place.forget_snapshots();
            start(&config(&place, others));
        }
        sent.verify(&place);
    }
}
