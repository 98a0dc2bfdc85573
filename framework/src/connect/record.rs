//! Records as a log holds them: bytes, before a codec has looked at them and after one has written them.
//!
//! Reading is by batch and borrows; nothing here knows a topic's types.

/// The timestamp of a record that has none, as on Kafka's wire.
pub const NO_TIMESTAMP: i64 = -1;

/// One record of a [`RecordBatch`], borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch, [`NO_TIMESTAMP`] for none.
    pub timestamp: i64,
    /// The key's bytes; `None` is a null key, which differs from an empty one.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// One header of a record: a name, which may repeat, and bytes or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// The header's value; `None` is null.
    pub value: Option<Vec<u8>>,
}

/// Records of one partition in offset order, as a source handed them over.
pub trait RecordBatch: Send + Sync {
    /// Index of the batch's partition in the assignment that opened the [`Source`](super::Source).
    fn slot(&self) -> usize;
    /// How many records it holds, at least one.
    fn len(&self) -> usize;
    /// Whether it holds none. A source never hands such a batch over.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The record at `index < len()`.
    fn get(&self, index: usize) -> RawRecord<'_>;
    /// The headers of the record at `index < len()`, in order.
    fn headers(&self, index: usize) -> Vec<Header>;
    /// Bytes of memory that the batch keeps alive, for the budget.
    fn memory(&self) -> usize;
}

/// Records that are complete: as long as anybody holds them they stay as they are and where they are, so that a log may
/// read their bytes in place instead of copying them.
pub trait Records: Send + Sync + 'static {
    /// The record at `index`, to be written to `topic`; the same bytes at each call.
    fn get<'a>(&'a self, index: usize, topic: &'a str) -> SinkRecord<'a>;
}

/// A record to be written: a sink's, the epoch log's, or one that `tiderace produce` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkRecord<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The partition, always set by the caller.
    pub partition: u32,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key's bytes, `None` for a null key.
    pub key: Option<&'a [u8]>,
    /// The value's bytes, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header],
}
