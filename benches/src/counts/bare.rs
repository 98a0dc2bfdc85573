//! What nobody can be faster than: a loop that reads the same bytes, and one that also puts as many keys into a map.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring time is what it is for"
)]

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use hashbrown::HashMap;

use crate::Failure;

/// Times of the loops, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bare {
    /// Bytes of the snapshot.
    pub(super) bytes: u64,
    /// To read them, and look at every eight of them.
    pub(super) read: f64,
    /// To put as many keys into a map that has room for them.
    pub(super) insert: f64,
}

/// Reads these files, and makes a map of so many keys.
pub(super) fn bare(files: &[PathBuf], keys: u64) -> Result<Bare, Failure> {
    let begun = Instant::now();
    let (mut bytes, mut sum) = (0, 0_u64);
    let mut buffer = vec![0; 4 << 20];
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            for word in buffer[..read].as_chunks::<8>().0 {
                sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
    }
    black_box(sum);
    let read = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut map: HashMap<u64, (u64, i64)> = HashMap::with_capacity(usize::try_from(keys)?);
    for key in 0..keys {
        map.insert(key, (1, 0));
    }
    black_box(&map);
    let insert = begun.elapsed().as_secs_f64();
    Ok(Bare {
        bytes,
        read,
        insert,
    })
}
