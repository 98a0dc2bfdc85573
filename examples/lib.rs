//! A ladder of small programs: `cargo run --example hello` is the first rung.
