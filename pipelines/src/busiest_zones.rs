//! The table that ends a run of rides-per-zone: the busiest zones by name, read back from the output topic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::thread;

use serde::Deserialize;
use tiderace::connect::{Log, RecordBatch, TopicPartition};
use tiderace_pipelines::read::read_partition;

use crate::access::existing;
use crate::failure::Failure;

/// Zones in the table.
const SHOWN: usize = 10;

/// A value of the output topic, the fields that the table uses.
#[derive(Deserialize)]
struct WindowResult<'a> {
    zone_id: u32,
    #[serde(borrow)]
    zone: Option<Text<'a>>,
    #[serde(borrow)]
    borough: Option<Text<'a>>,
    #[serde(borrow)]
    window_start: Text<'a>,
    rides: u64,
}

/// A text that lies in the record that is read, unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default)]
struct Busy {
    zone: Option<String>,
    borough: Option<String>,
    rides: u64,
    peak: u64,
    peak_start: String,
}

/// The rides of every window in the output topic, added up by zone.
#[derive(Default)]
pub(crate) struct Zones {
    by_id: HashMap<u32, Busy>,
    /// Results in the topic.
    pub(crate) results: u64,
}

impl Zones {
    /// Reads the output topic from its beginning, on as many threads as the machine has cores and the topic has
    /// partitions for.
    pub(crate) fn read(log: &dyn Log, topic: &str) -> Result<Self, Failure> {
        let partitions = existing(log, topic)?.partitions;
        let readers = thread::available_parallelism().map_or(1, NonZero::get);
        let readers = readers.min(partitions.len()).max(1);
        let read = |reader: usize| -> Result<Self, Failure> {
            let mut zones = Zones::default();
            let of_reader = partitions.iter().enumerate().skip(reader).step_by(readers);
            for (number, offsets) in of_reader {
                let partition = TopicPartition::new(topic, number as u32);
                zones.read_partition(log, &partition, offsets.first..offsets.end)?;
            }
            Ok(zones)
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..readers)
                .map(|reader| scope.spawn(move || read(reader)))
                .collect();
            let mut zones = read(0)?;
            for other in others {
                zones.merge(other.join().expect("reading does not panic")?);
            }
            Ok(zones)
        })
    }

    fn read_partition(
        &mut self,
        log: &dyn Log,
        partition: &TopicPartition,
        offsets: Range<i64>,
    ) -> Result<(), Failure> {
        let mut bad = None;
        let mut visit = |batch: &dyn RecordBatch, index: usize| {
            let record = batch.get(index);
            match serde_json::from_slice(record.value.unwrap_or_default()) {
                Ok(result) => {
                    self.add(&result);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    bad = Some(format!(
                        "{partition}, offset {}: not a result of windows: {error}",
                        record.offset
                    ));
                    ControlFlow::Break(())
                }
            }
        };
        let Range { start, end } = offsets;
        let _ = read_partition(log, partition, start, end, &|| true, &mut visit)?;
        match bad {
            None => Ok(()),
            Some(reason) => Err(Failure::BadData(reason)),
        }
    }

    fn add(&mut self, result: &WindowResult<'_>) {
        self.results += 1;
        let busy = self.by_id.entry(result.zone_id).or_default();
        name(&mut busy.zone, result.zone.as_ref());
        name(&mut busy.borough, result.borough.as_ref());
        busy.rides += result.rides;
        busy.note_peak(result.rides, &result.window_start.0);
    }

    fn merge(&mut self, other: Zones) {
        self.results += other.results;
        for (id, of) in other.by_id {
            let busy = self.by_id.entry(id).or_default();
            busy.zone = of.zone.or(busy.zone.take());
            busy.borough = of.borough.or(busy.borough.take());
            busy.rides += of.rides;
            busy.note_peak(of.peak, &of.peak_start);
        }
    }

    /// The busiest zones by name, the busiest first.
    pub(crate) fn table(&self) -> String {
        let mut zones: Vec<_> = self.by_id.iter().collect();
        zones.sort_by_key(|(id, busy)| (std::cmp::Reverse(busy.rides), **id));
        let shown: Vec<_> = zones
            .into_iter()
            .take(SHOWN)
            .map(|(id, busy)| busy.row(*id))
            .collect();
        if shown.is_empty() {
            return "no window has closed yet\n".into();
        }
        let head = ["zone", "borough", "rides", "busiest window"].map(str::to_owned);
        let width = |column: usize| {
            shown
                .iter()
                .chain([&head])
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (zone, borough, rides) = (width(0), width(1), width(2));
        let mut table = String::new();
        for row in [&head].into_iter().chain(&shown) {
            let _ = writeln!(
                table,
                "{:zone$}  {:borough$}  {:>rides$}  {}",
                row[0], row[1], row[2], row[3]
            );
        }
        table
    }
}

/// Takes over the name that a result gives; nearly always it is the one that is known.
fn name(known: &mut Option<String>, given: Option<&Text<'_>>) {
    if let Some(Text(given)) = given
        && known.as_deref() != Some(given)
    {
        *known = Some(given.clone().into_owned());
    }
}

impl Busy {
    /// Notes the rides of one window; of equally busy ones the earliest counts.
    fn note_peak(&mut self, rides: u64, window_start: &str) {
        let earlier = rides == self.peak && window_start < self.peak_start.as_str();
        if rides > self.peak || earlier {
            self.peak = rides;
            window_start.clone_into(&mut self.peak_start);
        }
    }

    fn row(&self, id: u32) -> [String; 4] {
        let zone = self.zone.clone().unwrap_or_else(|| format!("zone {id}"));
        let borough = self.borough.clone().unwrap_or_else(|| "-".into());
        [
            zone,
            borough,
            self.rides.to_string(),
            format!("{} from {}", self.peak, self.peak_start),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result<'a>(
        zone_id: u32,
        zone: Option<&'a str>,
        window_start: &'a str,
        rides: u64,
    ) -> WindowResult<'a> {
        let text = |text: &'a str| Text(Cow::Borrowed(text));
        WindowResult {
            zone_id,
            borough: zone.map(text),
            zone: zone.map(text),
            window_start: text(window_start),
            rides,
        }
    }

    #[test]
    fn texts_are_borrowed_unless_they_have_escapes() {
        let json =
            r#"{"zone_id":1,"zone":"Astoria","borough":null,"window_start":"a\"b","rides":2}"#;
        let result: WindowResult<'_> = serde_json::from_str(json).unwrap();
        assert!(matches!(result.zone, Some(Text(Cow::Borrowed("Astoria")))));
        assert!(result.borough.is_none());
        assert_eq!(result.window_start.0, "a\"b");
    }

    #[test]
    fn what_two_readers_found_is_what_one_would_have() {
        let (mut one, mut two) = (Zones::default(), Zones::default());
        one.add(&result(1, Some("Astoria"), "2020-07-01T00:10:00Z", 6));
        two.add(&result(1, None, "2020-07-01T00:00:00Z", 6));
        two.add(&result(3, None, "2020-07-01T00:00:00Z", 1));
        let mut all = Zones::default();
        all.merge(two);
        all.merge(one);
        let table = all.table();
        let row = table.lines().nth(1).unwrap();
        assert!(
            row.starts_with("Astoria  Astoria     12  6 from 2020-07-01T00:00:00Z"),
            "{table}"
        );
        assert_eq!(all.results, 3);
    }

    #[test]
    fn the_busiest_zones_come_first() {
        let mut zones = Zones::default();
        for result in [
            result(2, None, "2020-07-01T00:00:00Z", 9),
            result(1, Some("Astoria"), "2020-07-01T00:10:00Z", 6),
            result(1, Some("Astoria"), "2020-07-01T00:00:00Z", 6),
        ] {
            zones.add(&result);
        }
        let table = zones.table();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[1],
            [
                "Astoria",
                "Astoria",
                "12",
                "6",
                "from",
                "2020-07-01T00:00:00Z"
            ]
        );
        assert_eq!(
            rows[2],
            ["zone", "2", "-", "9", "9", "from", "2020-07-01T00:00:00Z"]
        );
        assert_eq!(zones.results, 3);
        assert_eq!(Zones::default().table(), "no window has closed yet\n");
    }
}
