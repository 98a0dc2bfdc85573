//! A store in memory whose bytes a test may change behind everybody's back.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::snapshot::store::{Draft, ReadAt, SnapshotStore, Stored};

type Objects = Arc<Mutex<BTreeMap<String, Arc<Vec<u8>>>>>;

#[derive(Clone, Default)]
pub(super) struct Memory(pub(super) Objects);

impl Memory {
    pub(super) fn get(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap()[name].to_vec()
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(bytes));
    }

    /// The names that end so, the oldest first.
    pub(super) fn names(&self, end: &str) -> Vec<String> {
        let objects = self.0.lock().unwrap();
        objects
            .keys()
            .filter(|it| it.ends_with(end))
            .cloned()
            .collect()
    }
}

impl SnapshotStore for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<Stored>> {
        let objects = self.0.lock().unwrap();
        let stored = objects.iter().map(|(name, bytes)| Stored {
            name: name.clone(),
            bytes: bytes.len() as u64,
        });
        Ok(stored.collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let objects = self.0.lock().unwrap();
        let bytes = objects.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Bytes(Arc::clone(bytes))))
    }

    fn create(&self) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(MemoryDraft(self.clone(), Vec::new())))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

struct Bytes(Arc<Vec<u8>>);

impl ReadAt for Bytes {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = self.0.get(offset as usize..).unwrap_or(&[]);
        let read = from
            .get(..buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(read);
        Ok(())
    }
}

struct MemoryDraft(Memory, Vec<u8>);

impl Draft for MemoryDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(&mut self, name: &str) -> io::Result<()> {
        self.0.put(name, self.1.clone());
        Ok(())
    }
}
