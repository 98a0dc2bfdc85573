//! Tiderace, a stream-processing framework.

pub mod config;
pub mod connect;
pub mod error;
mod lock_file;
pub mod runtime;
pub mod web;
