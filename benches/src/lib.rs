//! What the benchmarks share. The README of this folder holds the recorded runs.

pub mod measure;
