//! Tiderace, a stream-processing framework.

pub mod config;
pub mod connect;
pub mod error;
pub mod runtime;
pub mod web;
