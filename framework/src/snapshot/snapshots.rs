//! What lies in a store: finding the newest snapshot that is whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tiderace_operators::dataflow::Epoch;
use tiderace_operators::failpoint;

use super::chain::{Chain, Link};
use super::data_file::{DataFile, unreadable};
use super::error::SnapshotError;
use super::keeper::Step;
use super::manifest::{FileRef, Manifest};
use super::name::{Kind, ObjectName};
use super::store::{ReadAt, SnapshotStore, Stored};

/// The snapshots of an application, as they were when this was opened.
pub struct Snapshots {
    pub(super) store: Arc<dyn SnapshotStore>,
    pub(super) application_id: String,
    /// All names of ours.
    pub(super) names: Vec<String>,
    /// The manifests, the newest first; the reason in place of one that is damaged.
    pub(super) manifests: Vec<(String, Epoch, Result<Manifest, String>)>,
}

/// The newest snapshot that is whole, and why no newer one was taken.
pub struct Found {
    /// The snapshot; `None` if there is none that is whole.
    pub loaded: Option<Loaded>,
    /// For each damaged one that was passed over, which file and what is wrong with it. To be told to the user.
    pub warnings: Vec<String>,
}

/// A snapshot of which every byte was checked; its entries are still in the store.
pub struct Loaded {
    pub(super) manifest: Manifest,
    pub(super) chain: Chain,
    /// Names of manifests that are whole but whose files are not.
    pub(super) broken: Vec<String>,
}

/// A snapshot as [`Snapshots::check`] found it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The name of its manifest in the store.
    pub name: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// What it says, if it and all of its files are whole; otherwise which file is not, and what is wrong with it.
    pub outcome: Result<Manifest, String>,
}

impl Loaded {
    /// What the snapshot says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The same without the states that fit none of these steps, by name and description.
    pub(super) fn for_steps(mut self, steps: &[Step]) -> Self {
        self.manifest.steps.retain(|state| {
            let fits =
                |step: &Step| step.name == state.name && step.description == state.description;
            steps.iter().any(fits)
        });
        let kept = self.manifest.steps.iter().map(|it| it.name.as_str());
        self.chain.keep_steps(&kept.collect());
        self
    }

    /// Length of its data files in bytes.
    pub fn bytes(&self) -> u64 {
        let (base, deltas) = self.chain.bytes();
        base + deltas
    }
}

impl Snapshots {
    /// Looks at what there is of an application's snapshots. Writes nothing.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] if a manifest is another application's or a newer version's: an older snapshot in
    /// its place would be a step back that nobody asked for. [`SnapshotError::Unreadable`].
    pub fn open(
        store: Arc<dyn SnapshotStore>,
        application_id: &str,
    ) -> Result<Self, SnapshotError> {
        let location = store.location();
        let ours = list(&*store)?;
        failpoint!(super::points::P18_LISTED, |_| Err(unreadable(
            Path::new(&location),
            0,
            super::points::broken()
        )));
        let ours = ours
            .into_iter()
            .filter_map(|stored| ObjectName::parse(&stored.name));
        let mut ours: Vec<_> = ours.collect();
        ours.sort();
        let mut manifests = Vec::new();
        for name in ours.iter().rev().filter(|it| it.kind == Kind::Manifest) {
            let text = name.to_string();
            let path = Path::new(&location).join(&text);
            let manifest = match read_manifest(&*store, &text, &path, application_id) {
                Ok(manifest) if manifest.epoch == name.epoch => Ok(manifest),
                Ok(manifest) => {
                    let (path, epoch) = (path.display(), manifest.epoch);
                    Err(format!("{path}: it is of epoch {epoch}"))
                }
                Err(error @ SnapshotError::Damaged { .. }) => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            manifests.push((text, name.epoch, manifest));
        }
        Ok(Snapshots {
            names: ours.iter().map(ObjectName::to_string).collect(),
            application_id: application_id.to_owned(),
            store,
            manifests,
        })
    }

    /// The newest manifest that is whole, whatever its files are.
    pub fn newest_manifest(&self) -> Option<&Manifest> {
        let mut manifests = self.manifests.iter();
        manifests.find_map(|(.., manifest)| manifest.as_ref().ok())
    }

    /// Deletes all snapshots in a store, manifests before the files that they name.
    ///
    /// # Errors
    /// [`SnapshotError::Unreadable`], or [`SnapshotError::Unwritable`], which may leave some.
    pub fn delete_all(store: &dyn SnapshotStore) -> Result<(), SnapshotError> {
        let stored = list(store)?.into_iter();
        let mut ours: Vec<_> = stored
            .filter_map(|stored| ObjectName::parse(&stored.name))
            .collect();
        ours.sort_by_key(|name| name.kind != Kind::Manifest);
        for name in ours.iter().map(ObjectName::to_string) {
            store
                .delete(&name)
                .map_err(|source| SnapshotError::Unwritable {
                    object: Path::new(&store.location()).join(&name),
                    source,
                    failures: 1,
                })?;
        }
        Ok(())
    }

    /// The epochs of the snapshots whose manifests are whole, the newest first.
    pub fn epochs(&self) -> Vec<Epoch> {
        let whole = self
            .manifests
            .iter()
            .filter(|(.., manifest)| manifest.is_ok());
        whole.map(|(_, epoch, _)| *epoch).collect()
    }

    /// The newest snapshot at or before an epoch that is whole: all of its files are read and checked.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] if a file of it has a newer version, [`SnapshotError::Unreadable`] if the store
    /// fails. A damaged snapshot is no error: the one before it is taken.
    pub fn newest(&self, at_or_before: Epoch) -> Result<Found, SnapshotError> {
        let mut checked = BTreeMap::new();
        let (mut warnings, mut broken) = (Vec::new(), Vec::new());
        let manifests = self.manifests.iter();
        for (name, epoch, manifest) in manifests.filter(|(_, epoch, _)| *epoch <= at_or_before) {
            let reason = match manifest {
                Err(reason) => reason.clone(),
                Ok(manifest) => match self.chain(manifest, &mut checked)? {
                    Ok(chain) => {
                        let loaded = Some(Loaded {
                            manifest: manifest.clone(),
                            chain,
                            broken,
                        });
                        return Ok(Found { loaded, warnings });
                    }
                    Err(reason) => reason,
                },
            };
            broken.push(name.clone());
            warnings.push(format!(
                "the snapshot of epoch {epoch} cannot be used ({reason}); it is passed over, and more of the epoch log is replayed"
            ));
        }
        let loaded = None;
        Ok(Found { loaded, warnings })
    }

    /// Checks every snapshot there is, each byte of it; the newest first. What whoever writes there has deleted since
    /// [`open`](Self::open), because newer ones have taken its place, is left out.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub fn check(&self) -> Result<Vec<Checked>, SnapshotError> {
        let mut files = BTreeMap::new();
        let mut found = Vec::new();
        for (name, epoch, manifest) in &self.manifests {
            let outcome = match manifest {
                Err(reason) => Err(reason.clone()),
                Ok(manifest) => self.chain(manifest, &mut files)?.map(|_| manifest.clone()),
            };
            found.push(Checked {
                name: name.clone(),
                epoch: *epoch,
                outcome,
            });
        }
        // Manifests are deleted before the files that they name.
        let now = list(&*self.store)?;
        found.retain(|it| now.iter().any(|stored| stored.name == it.name));
        Ok(found)
    }

    /// The files of a snapshot, or what is wrong with one. Each file is read once, however many snapshots name it.
    fn chain(
        &self,
        manifest: &Manifest,
        checked: &mut BTreeMap<String, Result<DataFile, String>>,
    ) -> Result<Result<Chain, String>, SnapshotError> {
        let mut links = Vec::new();
        for named in &manifest.files {
            if !checked.contains_key(&named.name) {
                let verified =
                    match DataFile::verify(&*self.store, &named.name, &self.application_id) {
                        Ok(file) => Ok(file),
                        Err(error @ SnapshotError::Damaged { .. }) => Err(error.to_string()),
                        Err(error) => return Err(error),
                    };
                checked.insert(named.name.clone(), verified);
                failpoint!(super::points::P18_VERIFIED, |_| Err(unreadable(
                    Path::new(&named.name),
                    0,
                    super::points::broken()
                )));
            }
            match &checked[&named.name] {
                Ok(file) if fits(named, file) => links.push(Link {
                    named: named.clone(),
                    file: file.clone(),
                }),
                Ok(_) => {
                    let path = Path::new(&self.store.location()).join(&named.name);
                    return Ok(Err(format!(
                        "{}: it is whole, but not the file that the manifest names",
                        path.display()
                    )));
                }
                Err(reason) => return Ok(Err(reason.clone())),
            }
        }
        Ok(Ok(Chain { links }))
    }
}

fn list(store: &dyn SnapshotStore) -> Result<Vec<Stored>, SnapshotError> {
    store.list().map_err(|source| SnapshotError::Unreadable {
        object: store.location().into(),
        source,
    })
}

fn fits(named: &FileRef, file: &DataFile) -> bool {
    named.bytes == file.bytes && named.checksum == file.checksum
}

fn read_manifest(
    store: &dyn SnapshotStore,
    name: &str,
    path: &Path,
    application_id: &str,
) -> Result<Manifest, SnapshotError> {
    let read = store.open(name).and_then(|file| whole(&*file));
    let bytes = read.map_err(|source| unreadable(path, 0, source))?;
    Manifest::from_bytes(&bytes, path, application_id)
}

fn whole(file: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(file.bytes()).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}
