//! How often results arrive when a crash comes between: the values of `processing.guarantee`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a run promises of its outputs: results, late records and dead letters.
///
/// Of the state it always promises the same: it is the fold of the input in the order of the epoch log, every record
/// once, because the log's entry is committed in a transaction with the input offsets under each guarantee. What the
/// guarantees differ in is where the outputs of an epoch stand to that transaction. Without a failure all three write
/// the same bytes. It may be another one at every start; each entry of the epoch log says under which it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Guarantee {
    /// `exactly_once_v2`: outputs are in the transaction of their epoch's entry, so they become visible together with
    /// it or never. Nothing is lost, nothing is doubled, and readers see whole epochs.
    ///
    /// Its price is time: no reader of committed records sees a result before its epoch has closed and is committed,
    /// and on Kafka readers have to read with `isolation.level=read_committed`.
    #[default]
    #[serde(rename = "exactly_once_v2")]
    ExactlyOnce,
    /// `at_least_once`: outputs are written without a transaction, and acknowledged before the commit of their
    /// epoch's entry begins. Nothing is lost, and every reader sees outputs as they are written, which waits for no
    /// transaction.
    ///
    /// Its weakness: what is written and not committed when a run crashes, is fenced or loses its connection is
    /// written again: the outputs of the epochs since the last commit, as a rule of the last 200 ms, or of two or
    /// three epochs, of 256 at most. The first copy may end in the middle of an epoch. The second may differ where
    /// results depend on the cuts between epochs, as the updates of a table do; results of closed windows do not.
    #[serde(rename = "at_least_once")]
    AtLeastOnce,
    /// `at_most_once`: outputs are written without a transaction, once the commit of their epoch's entry is
    /// confirmed, and never a second time. Nothing is doubled.
    ///
    /// Its weakness: what is committed and not written when a run crashes, or when the log takes the outputs no
    /// longer, is lost: the outputs of one epoch, all or those from some record of a partition on; and while an output
    /// cannot be written and the epoch log can, those of each epoch that is committed meanwhile.
    #[serde(rename = "at_most_once")]
    AtMostOnce,
}

impl Guarantee {
    /// All of them, the strongest first.
    pub const ALL: [Guarantee; 3] = [
        Guarantee::ExactlyOnce,
        Guarantee::AtLeastOnce,
        Guarantee::AtMostOnce,
    ];

    /// The value of `processing.guarantee`: Kafka Streams' own for the first two, which are all that it has.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::ExactlyOnce => "exactly_once_v2",
            Guarantee::AtLeastOnce => "at_least_once",
            Guarantee::AtMostOnce => "at_most_once",
        }
    }

    /// What a failure may do to outputs, a sentence without its full stop; `None` if nothing.
    pub fn weakness(self) -> Option<&'static str> {
        match self {
            Guarantee::ExactlyOnce => None,
            Guarantee::AtLeastOnce => {
                Some("after a failure outputs that were not committed are written again")
            }
            Guarantee::AtMostOnce => {
                Some("after a failure outputs that were not written are lost, though committed")
            }
        }
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        *self == Guarantee::ExactlyOnce
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Guarantee {
    type Err = String;

    /// Takes a [`name`](Guarantee::name), and nothing else.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(found) = Guarantee::ALL.into_iter().find(|of| of.name() == text) {
            return Ok(found);
        }
        if matches!(text, "exactly_once" | "exactly_once_beta") {
            return Err(format!(
                "{text} is an old name that Kafka removed; write exactly_once_v2"
            ));
        }
        let likeness = |of: &Guarantee| strsim::normalized_damerau_levenshtein(text, of.name());
        let nearest = Guarantee::ALL
            .into_iter()
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
            .filter(|of| likeness(of) >= 0.6);
        Err(match nearest {
            Some(nearest) => {
                format!("there is no guarantee `{text}`; did you mean `{nearest}`?")
            }
            None => format!(
                "there is no guarantee `{text}`; take exactly_once_v2, at_least_once or at_most_once"
            ),
        })
    }
}
