//! A snapshot's files, base and deltas: which entries of them count.
//!
//! Of one key the last entry counts. A file's entries whose keys lie below the floor of a later epoch are gone; so are
//! those of steps that the file's floors do not name any more.

use std::collections::{BTreeMap, BTreeSet};

use tiderace_operators::dataflow::Epoch;

use super::data_file::DataFile;
use super::format::Block;
use super::manifest::{FileKind, FileRef, Floor, StepState};

/// A file with what the manifest says of it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) named: FileRef,
    pub(super) file: DataFile,
}

/// The files that a snapshot stands on, the base first.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
}

impl Chain {
    /// Adds a file that stands on those before it.
    pub(super) fn push(&mut self, file: DataFile, epoch: Epoch, steps: &[StepState]) {
        let kind = if self.links.is_empty() {
            FileKind::Base
        } else {
            FileKind::Delta
        };
        self.links.push(Link::new(file, kind, epoch, steps));
    }

    /// What a manifest names.
    pub(super) fn named(&self) -> Vec<FileRef> {
        self.links.iter().map(|link| link.named.clone()).collect()
    }

    /// Gives up the entries of all steps but these.
    pub(super) fn keep_steps(&mut self, names: &BTreeSet<&str>) {
        for link in &mut self.links {
            let floors = &mut link.named.floors;
            floors.retain(|name, _| names.contains(name.as_str()));
            let after = &mut link.named.after;
            after.retain(|name, _| names.contains(name.as_str()));
        }
    }

    /// The steps stand so at an epoch that has no file of its own.
    pub(super) fn stand(&mut self, steps: &[StepState]) {
        let Some(last) = self.links.last_mut() else {
            return;
        };
        for step in steps.iter().filter(|step| !step.floor.is_empty()) {
            let floor = last.named.after.entry(step.name.clone()).or_default();
            if floor.0 < step.floor {
                floor.0.clone_from(&step.floor);
            }
        }
    }

    /// For each file the floor below which its entries of a step are gone.
    pub(super) fn floors(&self, step: &str) -> Vec<Vec<u8>> {
        let mut floor = Vec::new();
        let mut raise = |to: Option<&Floor>| {
            if let Some(to) = to.filter(|to| to.0 > floor) {
                floor.clone_from(&to.0);
            }
            floor.clone()
        };
        let mut floors = Vec::with_capacity(self.links.len());
        for link in self.links.iter().rev() {
            floors.push(raise(link.named.after.get(step)));
            // What was below the floor of its own epoch is in the file nevertheless, so it counts.
            raise(link.named.floors.get(step));
        }
        floors.reverse();
        floors
    }

    /// Bytes of the base, and of the files that stand on it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let mut bytes = self.links.iter().map(|link| link.named.bytes);
        let base = bytes.next().unwrap_or(0);
        (base, bytes.sum())
    }
}

impl Link {
    /// A file that was written when the steps stood so.
    pub(super) fn new(file: DataFile, kind: FileKind, epoch: Epoch, steps: &[StepState]) -> Self {
        let floors = steps
            .iter()
            .map(|step| (step.name.clone(), Floor(step.floor.clone())));
        let named = FileRef {
            name: file.name.clone(),
            epoch,
            bytes: file.bytes,
            checksum: file.checksum,
            kind,
            floors: floors.collect(),
            after: BTreeMap::new(),
        };
        Link { named, file }
    }

    /// The number of a step in this file, if its entries count.
    pub(super) fn step(&self, name: &str) -> Option<u32> {
        let counts = self.named.floors.contains_key(name);
        self.file.step(name).filter(|_| counts)
    }

    /// The lanes in which this file has blocks of a step.
    pub(super) fn lanes(&self, name: &str) -> BTreeSet<u32> {
        let step = self.step(name);
        let of = |block: &&Block| Some(block.step) == step;
        let blocks = self.file.blocks.iter().filter(of);
        blocks.map(|block| block.lane).collect()
    }
}
