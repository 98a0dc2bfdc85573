//! From topic to topic, exactly once: the workloads that are also done by a loop written by hand and by Kafka Streams.

mod commits;
mod compare;
mod engine;
mod figures;
mod input;
mod keys;
mod outputs;
mod place;
mod plan;
mod side;
mod site;
mod streams;
mod warm_up;
mod workload;

pub(crate) use self::commits::run as commits;
pub(crate) use self::compare::run;
pub(super) use self::input::write_ride;
pub(crate) use self::keys::run as keys;
pub(super) use self::place::{Broker, PARTITIONS, Place};
pub(crate) use self::plan::full_plan;
pub(super) use self::side::{By, Job};
pub(crate) use self::side::{Side, run as run_side};
pub(crate) use self::workload::Workload;
