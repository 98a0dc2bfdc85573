//! `tiderace consume`: committed records of a topic as JSON lines.

use std::io::{BufWriter, StdoutLock, Write};
use std::ops::ControlFlow;

use tiderace::connect::{Fetched, Log, PartitionOffsets, RecordBatch, TopicPartition};
use tiderace_pipelines::read::{PATIENCE, READ_MEMORY, read_partition};

use crate::access::{Access, configure, existing, open};
use crate::cli::{Consume, Start};
use crate::failure::Failure;
use crate::formats::declared;
use crate::interrupt::Interrupt;
use crate::json_lines::{self, Formats};

/// Prints the records that the options ask for.
pub(crate) fn consume(options: &Consume) -> Result<(), Failure> {
    let log = open(&configure(&options.log, Vec::new())?, Access::Read)?;
    let topic = existing(&*log, &options.topic)?;
    let (key, value) = declared(&options.topic);
    let formats = Formats {
        key: options.key_format.unwrap_or(key),
        value: options.value_format.unwrap_or(value),
    };
    let interrupt = Interrupt::watch()?;
    let mut printer = Printer::new(formats, options.limit.unwrap_or(u64::MAX));
    let mut starts = Vec::with_capacity(topic.partitions.len());
    for (number, offsets) in topic.partitions.iter().enumerate() {
        let partition = TopicPartition::new(options.topic.as_str(), number as u32);
        let from = first_offset(&*log, &partition, *offsets, options.from)?;
        starts.push((partition, from, offsets.end));
    }
    if options.limit != Some(0) {
        if options.follow {
            follow(&*log, &starts, &interrupt, &mut printer)?;
        } else {
            up_to_the_end(&*log, &starts, &interrupt, &mut printer)?;
        }
    }
    printer.finish()
}

fn first_offset(
    log: &dyn Log,
    partition: &TopicPartition,
    held: PartitionOffsets,
    start: Option<Start>,
) -> Result<i64, Failure> {
    Ok(match start {
        None => held.first,
        Some(Start::Offset(offset)) => offset.clamp(held.first, held.end),
        Some(Start::Time(time)) => log.offset_for_time(partition, time)?.unwrap_or(held.end),
    })
}

/// A partition after the other, each to the end that it had at the start.
fn up_to_the_end(
    log: &dyn Log,
    starts: &[(TopicPartition, i64, i64)],
    interrupt: &Interrupt,
    printer: &mut Printer,
) -> Result<(), Failure> {
    for (partition, from, end) in starts {
        let wanted = || !interrupt.came();
        let read = read_partition(log, partition, *from, *end, &wanted, &mut |batch, index| {
            if interrupt.came() {
                return ControlFlow::Break(());
            }
            printer.print(batch, index, partition.partition)
        })?;
        if read.is_break() {
            break;
        }
    }
    if interrupt.came() && !printer.is_done() {
        printer.flush()?;
        return Err(Failure::Interrupted(
            "interrupted before the topic's end".into(),
        ));
    }
    Ok(())
}

/// All partitions as records come, until the user has seen enough.
fn follow(
    log: &dyn Log,
    starts: &[(TopicPartition, i64, i64)],
    interrupt: &Interrupt,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let assignment: Vec<_> = starts
        .iter()
        .map(|(partition, from, _)| (partition.clone(), *from))
        .collect();
    let mut source = log.source(&assignment, READ_MEMORY)?;
    while !interrupt.came() && !printer.is_done() {
        match source.poll(PATIENCE)? {
            Fetched::Batch(batch) => {
                let partition = assignment[batch.slot()].0.partition;
                for index in 0..batch.len() {
                    if printer.print(&*batch, index, partition).is_break() {
                        break;
                    }
                }
            }
            Fetched::CaughtUp { .. } | Fetched::Nothing => printer.flush()?,
        }
    }
    Ok(())
}

/// Prints records until the limit is reached or nobody reads any more.
struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
    formats: Formats,
    left: u64,
    failed: Option<std::io::Error>,
}

impl Printer {
    fn new(formats: Formats, limit: u64) -> Self {
        let out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        Printer {
            out,
            line: Vec::new(),
            formats,
            left: limit,
            failed: None,
        }
    }

    fn print(&mut self, batch: &dyn RecordBatch, index: usize, partition: u32) -> ControlFlow<()> {
        self.line.clear();
        json_lines::write(batch, index, partition, self.formats, &mut self.line);
        self.failed = self.out.write_all(&self.line).err();
        self.left -= 1;
        if self.is_done() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.failed.is_some()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    fn finish(mut self) -> Result<(), Failure> {
        match self.failed.take() {
            Some(error) => Err(Failure::Output(error)),
            None => self.flush(),
        }
    }
}
