//! A short run that nobody disturbs, and what it reads and writes: what disturbed runs are held against.

use std::sync::OnceLock;

use crate::rows::{Rows, count};
use crate::site::Site;

/// A load for the tests that need no long run.
pub(crate) const SMALL: &str = "--scale 200 --grace 10s --disorder 90s --seed 3";

/// What a run on the embedded log reads and writes that nobody disturbs.
pub(crate) struct Calm {
    pub(crate) outputs: Vec<Rows>,
    pub(crate) rides: Rows,
    /// The rides as `tiderace consume` prints them.
    lines: Vec<String>,
}

/// The calm run of [`SMALL`], made once.
pub(crate) fn calm() -> &'static Calm {
    static CALM: OnceLock<Calm> = OnceLock::new();
    CALM.get_or_init(|| {
        let calm = Calm::run(SMALL);
        assert!(calm.results() > 100, "too little output to stop in it");
        assert!(count(&calm.outputs[1]) > 0, "no ride came late");
        calm
    })
}

impl Calm {
    /// Runs the pipeline with these options to its end.
    pub(crate) fn run(options: &str) -> Self {
        let site = Site::embedded();
        site.run(options).ok();
        let lines = site.tool("consume rides").ok();
        Calm {
            outputs: site.outputs(),
            rides: site.rows("rides"),
            lines: lines.lines().map(|line| line.to_owned() + "\n").collect(),
        }
    }

    /// How many results the pipeline has.
    pub(crate) fn results(&self) -> u64 {
        count(&self.outputs[0])
    }

    /// The rides in so many parts of lines, each with its share of every partition.
    pub(crate) fn chunks(&self, parts: usize) -> Vec<String> {
        let mut chunks = vec![String::new(); parts];
        let mut lines = self.lines.iter();
        for partition in &self.rides {
            for index in 0..partition.len() {
                let line = lines.next().expect("a line a ride");
                chunks[index * parts / partition.len()].push_str(line);
            }
        }
        chunks
    }
}
