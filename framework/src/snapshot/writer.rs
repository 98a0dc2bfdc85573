//! The thread that writes: chunks into data files, a manifest when everything of a snapshot is there, a new base now
//! and then.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tiderace_operators::failpoint;
use tiderace_operators::record::EventTime;

use super::attempt::{BackOff, Ended, attempt};
use super::chain::Chain;
use super::collect::Catalogue;
use super::data_writer::DataWriter;
use super::error::SnapshotError;
use super::keeper::Settings;
use super::manifest::{self, Manifest, StepState};
use super::merge::{self, Merge};
use super::name::{Kind, ObjectName};
use super::shared::{Complete, Published, Shared, Work};
use super::store::SnapshotStore;

/// What the thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn SnapshotStore>,
    pub(super) settings: Settings,
    /// The steps' names by their numbers.
    pub(super) numbers: BTreeMap<u32, String>,
    pub(super) chain: Chain,
    pub(super) catalogue: Catalogue,
    pub(super) back_off: BackOff,
}

impl Writer {
    /// Works until it is told to stop or cannot go on, which it tells.
    pub(super) fn run(mut self) {
        match self.work() {
            Ok(()) | Err(Ended::Stopped) => {}
            Err(Ended::Failed(error)) => self.shared.fail(error),
        }
    }

    fn work(&mut self) -> Result<(), Ended> {
        let mut files: BTreeMap<u64, DataWriter> = BTreeMap::new();
        let mut merge: Option<Merge> = None;
        loop {
            match self.shared.next(merge.is_some()) {
                Work::Chunks(chunks) => {
                    for (number, chunk) in chunks {
                        let file = files.entry(number).or_insert_with(|| self.new_file());
                        file.add(&chunk);
                        if file.is_due() {
                            self.attempt(|store| file.flush(store))?;
                        }
                        self.shared.written(chunk.bytes.len());
                    }
                }
                Work::Publish(number, complete) => {
                    self.publish(files.remove(&number), complete)?;
                    if merge.is_none() && merge::is_due(&self.chain) {
                        let id = &self.settings.application_id;
                        merge = Some(Merge::begin(&self.chain, id, &self.numbers));
                    }
                }
                Work::Nothing => {}
                Work::Stop => return Ok(()),
            }
            if let Some(under_way) = merge.take() {
                merge = self.merge(under_way)?;
            }
        }
    }

    fn new_file(&self) -> DataWriter {
        DataWriter::new(&self.settings.application_id, self.numbers.clone())
    }

    fn attempt<T>(
        &self,
        mut what: impl FnMut(&dyn SnapshotStore) -> io::Result<T>,
    ) -> Result<T, Ended> {
        let location = self.store.location();
        attempt(&self.shared, &location, self.back_off, || {
            what(&*self.store)
        })
    }

    /// Publishes the file, if there is one, and the manifest behind it; then deletes what is not needed any more.
    fn publish(&mut self, file: Option<DataWriter>, complete: Complete) -> Result<(), Ended> {
        failpoint!(super::points::P14_COMPLETE);
        let (epoch, log) = (complete.epoch, complete.log.clone());
        let steps = self.steps(&complete.steps);
        match file {
            Some(mut file) => {
                let name = self.new_name(epoch, Kind::Data);
                let file = self.attempt(|store| file.publish(store, &name))?;
                self.chain.push(file, epoch, &steps);
            }
            None => self.chain.stand(&steps),
        }
        let manifest = self.manifest(steps, complete);
        let name = ObjectName::fresh(epoch, Kind::Manifest, self.catalogue.names());
        let bytes = manifest.to_bytes();
        self.attempt(|store| {
            let mut draft = store.create()?;
            draft.append(&bytes)?;
            draft.publish(&name)
        })?;
        self.catalogue.add(&name, &manifest);
        self.collect();
        tracing::debug!(
            epoch,
            files = manifest.files.len(),
            "a snapshot is published"
        );
        let last = Some(Published {
            epoch,
            log,
            written: manifest.written,
        });
        self.shared.published(last, self.catalogue.oldest());
        Ok(())
    }

    /// A name that is not taken, and is from now on: what bears it is deleted if it turns out not to be needed.
    fn new_name(&mut self, epoch: u64, kind: Kind) -> String {
        let name = ObjectName::fresh(epoch, kind, self.catalogue.names());
        self.catalogue.add_data(&name);
        name
    }

    fn steps(&self, stand: &BTreeMap<u32, (EventTime, Vec<u8>)>) -> Vec<StepState> {
        let steps = self.settings.steps.iter();
        let state = steps.filter_map(|step| {
            let (watermark, floor) = stand.get(&step.node)?;
            Some(StepState {
                name: step.name.clone(),
                description: step.description.clone(),
                watermark: *watermark,
                floor: floor.clone(),
            })
        });
        state.collect()
    }

    fn manifest(&self, steps: Vec<StepState>, complete: Complete) -> Manifest {
        let settings = &self.settings;
        let now = crate::clock::wall().duration_since(SystemTime::UNIX_EPOCH);
        let written = now.map_or(0, |since| since.as_millis());
        Manifest {
            version: manifest::VERSION,
            application_id: settings.application_id.clone(),
            epoch: complete.epoch,
            written: i64::try_from(written).unwrap_or(i64::MAX),
            topology: settings.topology.clone(),
            origin: settings.origin.clone(),
            shards: settings.shards,
            workers: settings.workers,
            log: complete.log,
            inputs: complete.inputs,
            standing: complete.standing,
            steps,
            files: self.chain.named(),
        }
    }

    /// Deletes what no snapshot that is kept needs. If that fails the rest is left, too, so that no manifest loses a file
    /// that it names; all of it is tried again behind the next snapshot.
    fn collect(&mut self) {
        for name in self.catalogue.collect(&self.chain) {
            match self.store.delete(&name) {
                Ok(()) => self.catalogue.deleted(&name),
                Err(error) => {
                    let location = self.store.location();
                    tracing::warn!(location, name, %error, "an old file of a snapshot cannot be deleted, and is left");
                    return;
                }
            }
        }
    }

    /// Merges one more lane; publishes the new base behind the last one.
    fn merge(&mut self, mut merge: Merge) -> Result<Option<Merge>, Ended> {
        let mut wrong = None;
        let more = self.attempt(|store| {
            failpoint!(super::points::P17_MERGING, |_| Err(super::points::broken()));
            match merge.advance(store) {
                Err(SnapshotError::Unreadable { source, .. }) => Err(source),
                Err(error) => {
                    wrong = Some(error);
                    Ok(false)
                }
                Ok(more) => Ok(more),
            }
        })?;
        if let Some(error) = wrong {
            return Err(Ended::Failed(error));
        }
        self.attempt(|store| merge.flush(store))?;
        if more {
            return Ok(Some(merge));
        }
        let name = self.new_name(merge.epoch(), Kind::Data);
        let base = self.attempt(|store| merge.publish(store, &name))?;
        failpoint!(super::points::P17_MERGED);
        merge.replace(base, &mut self.chain);
        Ok(None)
    }
}
