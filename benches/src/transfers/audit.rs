//! Reads what is committed, epoch by epoch, and holds it against the input: shares no code with the engine but the
//! reader of the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiderace::connect::{Fetched, Log, RawRecord, Source, TopicPartition};

use super::{ACCOUNTS, PARTITIONS, Total, transfer};

type Failure = Box<dyn std::error::Error>;

/// What the audit reads, in the order of its slots; each has one partition.
const TOPICS: [&str; 3] = ["balances", "totals", "transfers-epochs"];

/// An entry of the epoch log, as much of it as is audited.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Entry {
    Start {},
    Epoch(EpochEntry),
    #[serde(other)]
    Other,
}

/// What an epoch has read and written.
#[derive(Deserialize)]
struct EpochEntry {
    epoch: u64,
    read: Vec<Share>,
    outputs: BTreeMap<String, Written>,
}

#[derive(Deserialize)]
struct Share {
    partition: u32,
    end: u64,
}

#[derive(Deserialize)]
struct Written {
    records: usize,
}

/// What the audit has gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Epochs whose balances and total were checked.
    pub epochs: u64,
    /// Starts of the application.
    pub starts: u64,
    /// Transfers that the epochs have read.
    pub transfers: u64,
    /// Changes of balances.
    pub balances: u64,
    /// Totals.
    pub totals: u64,
}

/// The accounts as the input has them, and as the run says.
pub struct Audit {
    source: Box<dyn Source>,
    /// What was read of balances and totals and belongs to epochs whose entry was not read yet.
    balances: VecDeque<(u32, i64)>,
    totals: VecDeque<Total>,
    entries: VecDeque<Entry>,
    /// By the transfers that the epochs say they have read.
    expected: Vec<i64>,
    /// By the balances that were committed.
    said: Vec<i64>,
    /// The next offset of each partition of the transfers.
    next: [u64; PARTITIONS as usize],
    audited: Audited,
}

impl Audit {
    /// Audits a log from its beginning; the topics must exist.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn new(log: &dyn Log) -> Result<Self, Failure> {
        let assignment = TOPICS.map(|topic| (TopicPartition::new(topic, 0), 0));
        Ok(Audit {
            source: log.source(&assignment, 1 << 20)?,
            balances: VecDeque::new(),
            totals: VecDeque::new(),
            entries: VecDeque::new(),
            expected: vec![0; ACCOUNTS as usize],
            said: vec![0; ACCOUNTS as usize],
            next: [0; PARTITIONS as usize],
            audited: Audited::default(),
        })
    }

    /// Audits what was committed since the last time. Nothing may be running.
    ///
    /// # Errors
    /// An epoch whose balances are not those of the transfers that it has read, whose total is not theirs, or that is
    /// not there as a whole.
    pub fn go_on(&mut self) -> Result<Audited, Failure> {
        self.read()?;
        while let Some(entry) = self.entries.pop_front() {
            match entry {
                Entry::Epoch(entry) => self.epoch(&entry)?,
                Entry::Start {} => self.audited.starts += 1,
                Entry::Other => {}
            }
        }
        if !(self.balances.is_empty() && self.totals.is_empty()) {
            return Err(format!(
                "{} balances and {} totals are committed without their epoch",
                self.balances.len(),
                self.totals.len()
            )
            .into());
        }
        Ok(self.audited)
    }

    fn read(&mut self) -> Result<(), Failure> {
        loop {
            let batch = match self.source.poll(Duration::ZERO)? {
                Fetched::Nothing => return Ok(()),
                Fetched::CaughtUp { .. } => continue,
                Fetched::Batch(batch) => batch,
            };
            for index in 0..batch.len() {
                let RawRecord { key, value, .. } = batch.get(index);
                let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                match batch.slot() {
                    0 => self.balances.push_back((
                        u32::from_be_bytes(key.try_into()?),
                        i64::from_be_bytes(value.try_into()?),
                    )),
                    1 => self.totals.push_back(serde_json::from_slice(value)?),
                    _ => self.entries.push_back(serde_json::from_slice(value)?),
                }
            }
        }
    }

    fn epoch(&mut self, entry: &EpochEntry) -> Result<(), Failure> {
        let epoch = entry.epoch;
        let wrong = |what: String| Err(Failure::from(format!("epoch {epoch}: {what}")));
        self.audited.epochs += 1;
        if epoch != self.audited.epochs {
            return wrong(format!("it comes as number {}", self.audited.epochs));
        }
        self.apply(&entry.read);
        let written = |topic: &str| entry.outputs.get(topic).map_or(0, |of| of.records);
        let (balances, totals) = (written(TOPICS[0]), written(TOPICS[1]));
        if balances > self.balances.len() || totals > self.totals.len() {
            return wrong(format!(
                "{balances} balances and {totals} totals are logged, {} and {} are there",
                self.balances.len(),
                self.totals.len()
            ));
        }
        for (account, balance) in self.balances.drain(..balances) {
            self.said[account as usize] = balance;
        }
        self.audited.balances += balances as u64;
        if totals != usize::from(balances > 0) {
            return wrong(format!("{totals} totals of {balances} changed balances"));
        }
        let sum: i64 = self.said.iter().sum();
        if sum != 0 {
            return wrong(format!("the balances add up to {sum}"));
        }
        if let Some(total) = self.totals.drain(..totals).next() {
            self.audited.totals += 1;
            if total.total != sum || total.updates != self.audited.balances {
                let updates = self.audited.balances;
                return wrong(format!(
                    "{total:?}, where {updates} changed balances add up to {sum}"
                ));
            }
        }
        let differs = (0..self.said.len()).find(|of| self.said[*of] != self.expected[*of]);
        if let Some(account) = differs {
            return wrong(format!(
                "account {account} has {}, the transfers up to {:?} give {}",
                self.said[account], self.next, self.expected[account]
            ));
        }
        Ok(())
    }

    /// Moves the money of the transfers that an epoch has read.
    fn apply(&mut self, read: &[Share]) {
        for share in read {
            let next = &mut self.next[share.partition as usize];
            for serial in *next..share.end {
                let transfer = transfer(share.partition, serial);
                self.expected[transfer.from as usize] -= transfer.amount;
                self.expected[transfer.to as usize] += transfer.amount;
                self.audited.transfers += 1;
            }
            *next = share.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tiderace::connect::embedded::EmbeddedLog;
    use tiderace::connect::{NewTopic, SinkRecord};

    use super::*;

    /// Audits an epoch that has read the first transfer of partition 0 and wrote these balances and this total.
    fn audit(balances: &[(u32, i64)], total: Option<Total>) -> Result<Audited, String> {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(directory.path()).unwrap();
        let totals: Vec<Vec<u8>> = total
            .iter()
            .map(|total| serde_json::to_vec(total).unwrap())
            .collect();
        let entry = format!(
            r#"{{"kind":"epoch","epoch":1,"read":[{{"partition":0,"end":1}}],
                "outputs":{{"balances":{{"records":{}}},"totals":{{"records":{}}}}}}}"#,
            balances.len(),
            totals.len()
        );
        let of_balance = |(account, balance): &(u32, i64)| {
            (
                account.to_be_bytes().to_vec(),
                balance.to_be_bytes().to_vec(),
            )
        };
        let records = [
            balances.iter().map(of_balance).collect(),
            totals
                .into_iter()
                .map(|total| (vec![0; 4], total))
                .collect(),
            vec![(vec![0; 8], entry.into_bytes())],
        ];
        for (topic, records) in TOPICS.into_iter().zip(records) {
            write(&log, topic, records);
        }
        let mut audit = Audit::new(&log).unwrap();
        audit.go_on().map_err(|error| error.to_string())
    }

    fn write(log: &EmbeddedLog, topic: &str, records: Vec<(Vec<u8>, Vec<u8>)>) {
        log.create_topic(&NewTopic {
            name: topic.to_owned(),
            partitions: 1,
            config: BTreeMap::new(),
        })
        .unwrap();
        let mut writer = log.writer(topic).unwrap();
        for (key, value) in &records {
            writer
                .send(&SinkRecord {
                    topic,
                    partition: 0,
                    timestamp: 0,
                    key: Some(key),
                    value: Some(value),
                    headers: &[],
                })
                .unwrap();
        }
        writer.flush().unwrap();
    }

    #[test]
    fn an_epoch_that_adds_up_passes_and_any_other_does_not() {
        let of = transfer(0, 0);
        let total = |total, updates| Some(Total { total, updates });
        let both = [(of.from, -of.amount), (of.to, of.amount)];
        let passed = audit(&both, total(0, 2)).unwrap();
        assert_eq!((passed.epochs, passed.balances, passed.totals), (1, 2, 1));
        let message = |balances: &[(u32, i64)], total| audit(balances, total).unwrap_err();
        assert!(message(&both[..1], total(-of.amount, 1)).contains("add up to"));
        assert!(message(&both, total(1, 2)).contains("Total"));
        assert!(message(&both, total(0, 1)).contains("Total"));
        assert!(message(&both, None).contains("0 totals of 2 changed balances"));
        let doubled = [(of.from, -2 * of.amount), (of.to, 2 * of.amount)];
        assert!(message(&doubled, total(0, 2)).contains("the transfers up to"));
    }
}
