//! Which snapshots are kept, and what may be deleted.
//!
//! Kept are the snapshots of two chains with bases of their own: were a base damaged, all that stand on it were. Of
//! those that stand on the same files two are enough: where no state changes there is one with every interval.
//! Deleted is only what was there at the start or was written since, so that an instance that has been superseded
//! without knowing it does not delete what its successor writes.

use std::collections::BTreeSet;

use tiderace_operators::dataflow::Epoch;

use super::chain::Chain;
use super::manifest::Manifest;
use super::shared::Published;
use super::snapshots::{Loaded, Snapshots};

/// How many chains are kept.
const CHAINS: usize = 2;

/// How many snapshots are kept that stand on the same files: one manifest may be damaged.
const ALIKE: usize = 2;

/// A manifest that is whole, as far as is known.
struct Kept {
    name: String,
    published: Published,
    files: Vec<String>,
}

/// What there is, and which of it counts.
pub(super) struct Catalogue {
    names: BTreeSet<String>,
    /// The newest last.
    kept: Vec<Kept>,
}

impl Catalogue {
    /// What was found at the start; what is newer than the snapshot that was loaded, or damaged, does not count.
    pub(super) fn new(snapshots: &Snapshots, loaded: Option<&Loaded>) -> Self {
        let mut catalogue = Catalogue {
            names: snapshots.names.iter().cloned().collect(),
            kept: Vec::new(),
        };
        if let Some(loaded) = loaded {
            let counts = |name: &String, epoch: Epoch| {
                epoch <= loaded.manifest.epoch && !loaded.broken.contains(name)
            };
            for (name, epoch, manifest) in snapshots.manifests.iter().rev() {
                if let (true, Ok(manifest)) = (counts(name, *epoch), manifest) {
                    catalogue.kept.push(Kept::new(name, manifest));
                }
            }
        }
        catalogue
    }

    /// Names that a new object must not have.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// A data file is written, or about to be.
    pub(super) fn add_data(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// A snapshot is published.
    pub(super) fn add(&mut self, name: &str, manifest: &Manifest) {
        self.names.insert(name.to_owned());
        self.kept.push(Kept::new(name, manifest));
    }

    /// The oldest snapshot that is kept.
    pub(super) fn oldest(&self) -> Option<Published> {
        self.kept.first().map(|kept| kept.published.clone())
    }

    /// Gives up the snapshots of older chains, and returns what may be deleted: manifests before the files that
    /// they name. `chain` is what the next snapshot stands on.
    pub(super) fn collect(&mut self, chain: &Chain) -> Vec<String> {
        let mut chains: Vec<Option<String>> = Vec::new();
        let mut first = self.kept.len();
        for (index, kept) in self.kept.iter().enumerate().rev() {
            // Snapshots without files stand on nothing, each alone.
            let base = kept.files.first().cloned();
            if base.is_none() || chains.last() != Some(&base) {
                chains.push(base);
            }
            if chains.len() > CHAINS {
                break;
            }
            first = index;
        }
        self.kept.drain(..first);
        self.thin_out();
        let mut needed: BTreeSet<&str> =
            chain.links.iter().map(|it| it.file.name.as_str()).collect();
        for kept in &self.kept {
            needed.insert(&kept.name);
            needed.extend(kept.files.iter().map(String::as_str));
        }
        let gone = self.names.iter().filter(|it| !needed.contains(it.as_str()));
        let mut gone: Vec<String> = gone.cloned().collect();
        gone.sort_by_key(|name| !name.ends_with(".manifest"));
        gone
    }

    /// Gives up all but the newest of the snapshots that stand on the same files.
    fn thin_out(&mut self) {
        let mut left: Vec<Kept> = Vec::new();
        for kept in self.kept.drain(..).rev() {
            let newer = left.iter().rev();
            let alike = newer.take_while(|it| it.files == kept.files).count();
            if alike < ALIKE {
                left.push(kept);
            }
        }
        left.reverse();
        self.kept = left;
    }

    /// It is deleted.
    pub(super) fn deleted(&mut self, name: &str) {
        self.names.remove(name);
    }
}

impl Kept {
    fn new(name: &str, manifest: &Manifest) -> Self {
        Kept {
            name: name.to_owned(),
            published: Published {
                epoch: manifest.epoch,
                log: manifest.log.clone(),
                written: manifest.written,
            },
            files: manifest.files.iter().map(|it| it.name.clone()).collect(),
        }
    }
}
