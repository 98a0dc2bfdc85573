//! An epoch that every operator has passed: compared with the log's in a replay, otherwise made ready to be sent.

use tiderace_operators::failpoint;

use super::{CommitParts, Committer};
use crate::connect::TopicPartition;
use crate::error::RunError;
use crate::runtime::committed::{Came, Sent};
use crate::runtime::entry::{Entry, EpochEntry, Share, hash};
use crate::runtime::merge::outputs;
use crate::runtime::replay;

impl Committer {
    /// Takes in the next epoch, which has passed: it waits to be sent from here on, unless it was replayed.
    pub(super) fn close(&mut self) -> Result<(), RunError> {
        let epoch = self.next;
        self.next += 1;
        let runs = self.parts.outbox.take(epoch);
        let came = Came::of(
            self.parts.ledger.take(epoch),
            outputs(&self.parts.sinks, &runs),
        );
        if !came.counts.conserved() {
            let counts = came.counts;
            return Err(RunError::Bug(format!(
                "epoch {epoch} lost records: {counts:?} does not add up"
            )));
        }
        let (read, decisions, first_read) = self.parts.epochs.take(epoch);
        let memory = runs.values().flatten().map(|(_, run)| run.memory()).sum();
        if let Some(logged) = self.parts.logged.remove(&epoch) {
            self.parts.epochs.outputs(0, memory);
            replay::verify(&logged, &came, &self.parts.program())?;
            let CommitParts { sinks, shown, .. } = &mut self.parts;
            if let Some(shown) = shown {
                shown.epoch(epoch, &came, sinks, &runs)?;
            }
            self.tell_settled(epoch, None);
            return Ok(());
        }
        let of = |share: &Share| {
            (
                TopicPartition::new(share.topic.as_str(), share.partition),
                share.end,
            )
        };
        let offsets = read.iter().map(of).collect();
        let entry = Entry::Epoch(EpochEntry {
            epoch,
            incarnation: self.parts.incarnation.clone(),
            topology: self.parts.fingerprint.clone(),
            read,
            decisions,
            counts: came.counts,
            rows: came.rows,
            windows_closed: came.windows_closed,
            outputs: came.outputs.clone(),
            steps: Some(came.steps(&self.parts.nodes)),
            guarantee: self.parts.delivery.guarantee(),
            previous: self.parts.last_hash.clone(),
        });
        let entry = entry.to_bytes();
        self.parts.last_hash = hash(&entry);
        failpoint!(crate::failpoint::P03_EPOCH_CLOSED, |_| Err(
            crate::failpoint::broken().into()
        ));
        let begun = crate::clock::instant();
        self.waiting.push_back(Sent {
            epoch,
            runs,
            memory,
            entry,
            offsets,
            begun,
            first_read,
            came,
            written: false,
        });
        Ok(())
    }
}
