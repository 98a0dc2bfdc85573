//! What the benchmarks share: measuring, recording, the machine, and the pipelines written by hand and the
//! other engines that it is compared with. The README of this folder holds the recorded runs.

pub mod by_hand;
pub mod child;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod progress;
pub mod results;
pub mod transfers;
pub mod versions;
pub mod zone_counts;
