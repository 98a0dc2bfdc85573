//! Keyed state, windows and watermarks as timely operators.
