//! From topic to topic, exactly once: the workloads that are also done by a loop written by hand and by Kafka Streams.

mod compare;
mod engine;
mod figures;
mod input;
mod outputs;
mod place;
mod plan;
mod side;
mod site;
mod streams;
mod workload;

pub(crate) use self::compare::run;
pub(super) use self::input::write_ride;
pub(crate) use self::plan::full_plan;
pub(crate) use self::side::{Side, run as run_side};
pub(crate) use self::workload::Workload;
