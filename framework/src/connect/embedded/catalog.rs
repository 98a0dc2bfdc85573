//! What the commits file says: which topics there are, and how far each partition is committed.
//! A value; it opens no file.

use std::collections::BTreeMap;

use super::format::Fields;

/// How far a partition is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset of the first record held.
    pub(super) first: i64,
    /// Offset behind the last record.
    pub(super) end: i64,
    /// Base offset of the last segment, the one that is appended to.
    pub(super) segment: i64,
    /// Length of that segment in bytes; 0 before there is one.
    pub(super) bytes: u64,
}

/// A topic as the commits file knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicState {
    /// The topic's name.
    pub(super) name: String,
    /// Per partition how far it is committed.
    pub(super) partitions: Vec<Extent>,
}

/// All topics by id. An id is never given twice, so a topic that was deleted and created again is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    next_id: u64,
    topics: BTreeMap<u64, TopicState>,
}

/// One record of the commits file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A topic is there, empty.
    Create {
        /// Its id, [`Catalog::next_id`].
        id: u64,
        /// Its name.
        name: String,
        /// How many partitions it has.
        partitions: u32,
    },
    /// A topic is gone.
    Delete {
        /// Its id.
        id: u64,
    },
    /// Partitions, by topic id and number, have become longer, all at once. What it says of first offsets is
    /// older than what the catalog knows.
    Commit(Vec<(u64, u32, Extent)>),
    /// Records of a partition are gone.
    Trim {
        /// The topic's id.
        id: u64,
        /// The partition's number.
        partition: u32,
        /// Offset of the first record that is left.
        first: i64,
    },
    /// A topic has more partitions.
    Grow {
        /// The topic's id.
        id: u64,
        /// How many partitions it has now.
        partitions: u32,
    },
}

const CREATE: u8 = 1;
const DELETE: u8 = 2;
const COMMIT: u8 = 3;
const TRIM: u8 = 4;
const GROW: u8 = 5;

impl Catalog {
    /// The id that the next topic gets.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A topic's id and state, by its name.
    pub(super) fn named(&self, name: &str) -> Option<(u64, &TopicState)> {
        self.topics
            .iter()
            .find(|(_, topic)| topic.name == name)
            .map(|(id, topic)| (*id, topic))
    }

    /// Names of all topics, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .topics
            .values()
            .map(|topic| topic.name.clone())
            .collect();
        names.sort();
        names
    }

    /// How far a partition is committed; `None` if there is no such topic (any more).
    pub(super) fn extent(&self, id: u64, partition: u32) -> Option<Extent> {
        self.topics
            .get(&id)?
            .partitions
            .get(partition as usize)
            .copied()
    }

    fn extent_mut(&mut self, id: u64, partition: u32) -> Option<&mut Extent> {
        self.topics
            .get_mut(&id)?
            .partitions
            .get_mut(partition as usize)
    }

    /// Applies a change; says what is wrong with one that does not fit.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), &'static str> {
        match change {
            Change::Create {
                id,
                name,
                partitions,
            } => {
                if id != self.next_id || self.named(&name).is_some() {
                    return Err("it creates a topic that exists already");
                }
                self.next_id += 1;
                let partitions = vec![Extent::default(); partitions as usize];
                self.topics.insert(id, TopicState { name, partitions });
            }
            Change::Delete { id } => {
                self.topics
                    .remove(&id)
                    .ok_or("it deletes a topic that does not exist")?;
            }
            Change::Commit(extents) => {
                for (id, partition, new) in extents {
                    let extent = self
                        .extent_mut(id, partition)
                        .ok_or("it commits to a partition that does not exist")?;
                    if new.end < extent.end || new.segment < extent.segment {
                        return Err("it makes a partition shorter");
                    }
                    *extent = Extent {
                        first: extent.first.max(new.first),
                        ..new
                    };
                }
            }
            Change::Trim {
                id,
                partition,
                first,
            } => {
                let extent = self
                    .extent_mut(id, partition)
                    .ok_or("it deletes records of a partition that does not exist")?;
                if first < extent.first || first > extent.end {
                    return Err("it deletes records that are not there");
                }
                extent.first = first;
            }
            Change::Grow { id, partitions } => {
                let topic = self
                    .topics
                    .get_mut(&id)
                    .ok_or("it adds partitions to a topic that does not exist")?;
                let partitions = partitions as usize;
                if partitions <= topic.partitions.len() {
                    return Err("it adds partitions that are there already");
                }
                topic.partitions.resize(partitions, Extent::default());
            }
        }
        Ok(())
    }

    /// The whole catalog as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.next_id.to_le_bytes());
        bytes.extend((self.topics.len() as u32).to_le_bytes());
        for (id, topic) in &self.topics {
            bytes.extend(id.to_le_bytes());
            encode_text(&mut bytes, &topic.name);
            bytes.extend((topic.partitions.len() as u32).to_le_bytes());
            topic
                .partitions
                .iter()
                .for_each(|extent| extent.encode(&mut bytes));
        }
        bytes
    }

    /// What [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Catalog> {
        let mut fields = Fields(bytes);
        let mut catalog = Catalog {
            next_id: fields.u64()?,
            topics: BTreeMap::new(),
        };
        for _ in 0..fields.u32()? {
            let (id, name) = (fields.u64()?, fields.text()?.to_owned());
            let partitions = (0..fields.u32()?)
                .map(|_| Extent::decode(&mut fields))
                .collect::<Option<_>>()?;
            catalog.topics.insert(id, TopicState { name, partitions });
        }
        fields.0.is_empty().then_some(catalog)
    }
}

impl Extent {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.end.to_le_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Extent> {
        Some(Extent {
            first: fields.i64()?,
            end: fields.i64()?,
            segment: fields.i64()?,
            bytes: fields.u64()?,
        })
    }
}

impl Change {
    /// The change as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Change::Create {
                id,
                name,
                partitions,
            } => {
                bytes.push(CREATE);
                bytes.extend(id.to_le_bytes());
                encode_text(&mut bytes, name);
                bytes.extend(partitions.to_le_bytes());
            }
            Change::Delete { id } => {
                bytes.push(DELETE);
                bytes.extend(id.to_le_bytes());
            }
            Change::Commit(extents) => {
                bytes.push(COMMIT);
                bytes.extend((extents.len() as u32).to_le_bytes());
                for (id, partition, extent) in extents {
                    bytes.extend(id.to_le_bytes());
                    bytes.extend(partition.to_le_bytes());
                    extent.encode(&mut bytes);
                }
            }
            Change::Trim {
                id,
                partition,
                first,
            } => {
                bytes.push(TRIM);
                bytes.extend(id.to_le_bytes());
                bytes.extend(partition.to_le_bytes());
                bytes.extend(first.to_le_bytes());
            }
            Change::Grow { id, partitions } => {
                bytes.push(GROW);
                bytes.extend(id.to_le_bytes());
                bytes.extend(partitions.to_le_bytes());
            }
        }
        bytes
    }

    /// What [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Change> {
        let mut fields = Fields(bytes);
        let change = match fields.u8()? {
            CREATE => {
                let (id, name) = (fields.u64()?, fields.text()?.to_owned());
                Change::Create {
                    id,
                    name,
                    partitions: fields.u32()?,
                }
            }
            DELETE => Change::Delete { id: fields.u64()? },
            COMMIT => {
                let extent = |fields: &mut Fields<'_>| {
                    Some((fields.u64()?, fields.u32()?, Extent::decode(fields)?))
                };
                Change::Commit(
                    (0..fields.u32()?)
                        .map(|_| extent(&mut fields))
                        .collect::<Option<_>>()?,
                )
            }
            TRIM => Change::Trim {
                id: fields.u64()?,
                partition: fields.u32()?,
                first: fields.i64()?,
            },
            GROW => Change::Grow {
                id: fields.u64()?,
                partitions: fields.u32()?,
            },
            _ => return None,
        };
        fields.0.is_empty().then_some(change)
    }
}

fn encode_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}
