//! Snapshots in an object store: S3, Google's, Azure's, or whatever else the `object_store` crate reaches.
//!
//! Objects appear whole and cannot be appended to, so a draft waits in a local file without a name, which vanishes
//! with the process, and is uploaded when it is published. Parts of uploads that a crash has left are for the
//! bucket's lifecycle rules to remove.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Runtime;

use super::spool::Spool;
use super::store::{Draft, ReadAt, SnapshotStore, Stored};

/// Size of a part of an upload, in bytes: S3 takes at most 10,000 parts of at least 5 MiB, so this allows 80 GiB.
const PART: u64 = 8 << 20;

/// Objects below a prefix as a store of snapshots.
#[derive(Clone)]
pub struct ObjectSnapshots {
    shared: Arc<Shared>,
}

struct Shared {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    spool: PathBuf,
    runtime: Runtime,
}

impl ObjectSnapshots {
    /// Snapshots in `objects`, below `prefix`; drafts wait in the directory `spool`.
    ///
    /// # Errors
    /// The system gives no means to wait for the network.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, spool: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Shared {
            objects,
            prefix: Path::from(prefix),
            spool,
            runtime,
        };
        Ok(ObjectSnapshots {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn get(&self, name: &Path, range: Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
        let read = self
            .runtime
            .block_on(self.objects.get_range(name, range))
            .map_err(io_error)?;
        // A store gives what is there when the range reaches beyond the end.
        if read.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&read);
        Ok(())
    }

    async fn upload(&self, name: &Path, file: &File, length: u64) -> io::Result<()> {
        if length <= PART {
            let whole = read_part(file, 0..length)?;
            let put = self.objects.put(name, PutPayload::from(whole)).await;
            return put.map(drop).map_err(io_error);
        }
        let mut upload = self.objects.put_multipart(name).await.map_err(io_error)?;
        let sent = async {
            let mut at = 0;
            while at < length {
                let end = length.min(at + PART);
                let part = read_part(file, at..end)?;
                upload
                    .put_part(PutPayload::from(part))
                    .await
                    .map_err(io_error)?;
                at = end;
            }
            upload.complete().await.map(drop).map_err(io_error)
        };
        let sent = sent.await;
        if sent.is_err() {
            // What is left of the upload costs room only; the error is told.
            let _ = upload.abort().await;
        }
        sent
    }
}

fn read_part(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end - range.start).expect("a part fits in memory");
    let mut part = vec![0; length];
    file.read_exact_at(&mut part, range.start)?;
    Ok(part)
}

fn io_error(error: object_store::Error) -> io::Error {
    let kind = match error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl SnapshotStore for ObjectSnapshots {
    fn location(&self) -> String {
        format!("{}, {}", self.shared.objects, self.shared.prefix)
    }

    fn list(&self) -> io::Result<Vec<Stored>> {
        let shared = &*self.shared;
        let list = shared.objects.list_with_delimiter(Some(&shared.prefix));
        let list = shared.runtime.block_on(list).map_err(io_error)?;
        let stored = list.objects.into_iter().filter_map(|object| {
            let name = object.location.filename()?.to_owned();
            let bytes = object.size;
            Some(Stored { name, bytes })
        });
        Ok(stored.collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let path = self.shared.path(name);
        let head = self.shared.objects.head(&path);
        let bytes = self.shared.runtime.block_on(head).map_err(io_error)?.size;
        Ok(Box::new(Object {
            shared: Arc::clone(&self.shared),
            path,
            bytes,
        }))
    }

    fn create(&self) -> io::Result<Box<dyn Draft>> {
        let spool = Spool::new(tempfile::tempfile_in(&self.shared.spool)?);
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(ObjectDraft { shared, spool }))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.shared.path(name);
        let deleted = self
            .shared
            .runtime
            .block_on(self.shared.objects.delete(&path));
        match deleted {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(io_error),
        }
    }
}

struct Object {
    shared: Arc<Shared>,
    path: Path,
    bytes: u64,
}

impl ReadAt for Object {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end > self.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer.is_empty() {
            return Ok(());
        }
        self.shared.get(&self.path, offset..end, buffer)
    }
}

struct ObjectDraft {
    shared: Arc<Shared>,
    spool: Spool,
}

impl Draft for ObjectDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spool.append(bytes)
    }

    fn publish(&mut self, name: &str) -> io::Result<()> {
        let path = self.shared.path(name);
        let upload = self
            .shared
            .upload(&path, self.spool.file(), self.spool.length());
        self.shared.runtime.block_on(upload)
    }
}
