//! Ready-made pipelines.
