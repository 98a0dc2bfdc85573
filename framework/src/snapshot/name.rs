//! Names of what a snapshot is made of: `EPOCH-SUFFIX.data` and `EPOCH-SUFFIX.manifest`.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use tiderace_operators::dataflow::Epoch;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Data,
    Manifest,
}

/// A name of ours; ordered by epoch first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectName {
    pub(super) epoch: Epoch,
    /// Tells apart what two lives of the application wrote for one epoch: 8 hexadecimal digits by chance.
    pub(super) suffix: String,
    pub(super) kind: Kind,
}

impl ObjectName {
    /// A name for an epoch that is not among `taken`.
    pub(super) fn fresh(epoch: Epoch, kind: Kind, taken: &BTreeSet<String>) -> String {
        loop {
            let chance = RandomState::new().hash_one(epoch) as u32;
            let suffix = format!("{chance:08x}");
            let name = ObjectName {
                epoch,
                suffix,
                kind,
            };
            let name = name.to_string();
            if !taken.contains(&name) {
                return name;
            }
        }
    }

    /// Reads a name; `None` if it is not one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (stem, kind) = if let Some(stem) = name.strip_suffix(".data") {
            (stem, Kind::Data)
        } else {
            (name.strip_suffix(".manifest")?, Kind::Manifest)
        };
        let (epoch, suffix) = stem.split_once('-')?;
        let ours = epoch.len() == 20
            && epoch.bytes().all(|byte| byte.is_ascii_digit())
            && !suffix.is_empty()
            && suffix.bytes().all(|byte| byte.is_ascii_hexdigit());
        let suffix = suffix.to_owned();
        let epoch = epoch.parse().ok()?;
        ours.then_some(ObjectName {
            epoch,
            suffix,
            kind,
        })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Data => "data",
            Kind::Manifest => "manifest",
        };
        write!(f, "{:020}-{}.{kind}", self.epoch, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_sort_by_epoch() {
        let nine = ObjectName::fresh(9, Kind::Manifest, &BTreeSet::new());
        let ten = ObjectName::fresh(10, Kind::Data, &BTreeSet::new());
        assert!(nine < ten);
        for name in [nine, ten] {
            assert_eq!(ObjectName::parse(&name).unwrap().to_string(), name);
        }
        for foreign in [
            "lock",
            "1-a.data",
            "00000000000000000138.data",
            "00000000000000000138-3f2a.segment",
            "00000000000000000138-x.data",
            "+0000000000000000138-3f2a.data",
        ] {
            assert_eq!(ObjectName::parse(foreign), None, "{foreign}");
        }
    }
}
