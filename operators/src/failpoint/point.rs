//! A [`Point`], on the `fail` crate, with a count of its passes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A place where a test can strike.
pub struct Point {
    name: &'static str,
    passes: AtomicU64,
}

impl Point {
    /// A point of this name, which no other has.
    pub const fn new(name: &'static str) -> Self {
        Point {
            name,
            passes: AtomicU64::new(0),
        }
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Has passes from now on do what `actions` says, in the language of the `fail` crate.
    ///
    /// # Panics
    /// The actions are none.
    pub fn arm(&self, actions: &str) {
        fail::cfg(self.name, actions).unwrap_or_else(|error| panic!("`{actions}`: {error}"));
    }

    /// Has every pass from now on call `action`, which may panic and wait.
    pub fn arm_with(&self, action: impl Fn() + Send + Sync + 'static) {
        fail::cfg_callback(self.name, action).expect("a closure is no text that could be wrong");
    }

    /// Has passes from now on do nothing.
    pub fn disarm(&self) {
        fail::remove(self.name);
    }

    /// How often the point was passed since the last call.
    pub fn take_passes(&self) -> u64 {
        self.passes.swap(0, Ordering::SeqCst)
    }

    /// Passes the point; `Some` if its place is to fail, with what the action said in parentheses.
    #[doc(hidden)]
    pub fn pass(&self) -> Option<String> {
        self.passes.fetch_add(1, Ordering::SeqCst);
        fail::fail_point!(self.name, |said| Some(said.unwrap_or_default()));
        None
    }
}
