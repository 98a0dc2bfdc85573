//! A ladder of small programs, one screen each; every file begins with the one command that runs it.
//!
//! - `hello`: one step, topic to topic.
//! - `rides_per_zone`: the program of the README, counts in windows of event time.
//! - `word_count`: words out of lines, a table of counts.
//! - `errors`: bad records, late records and null keys, each where one can find it.
