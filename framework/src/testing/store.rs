//! A look into the state of a step.

use tiderace_operators::key::{Data, Key};

/// What a stateful step held at a moment of a test.
#[derive(Clone, Debug)]
pub struct Store<K, V> {
    pub(super) rows: Vec<(K, V)>,
}

impl<K: Key, V: Data> Store<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows
            .iter()
            .find(|(of, _)| of == key)
            .map(|(_, value)| value)
    }

    /// All rows, ordered by the bytes of their keys.
    pub fn rows(&self) -> &[(K, V)] {
        &self.rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
