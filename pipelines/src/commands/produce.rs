//! `tiderace produce`: JSON lines from stdin to a topic.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use chrono::Utc;
use tiderace::connect::{Log, SinkRecord, Writer, partition_for};
use tiderace::error::LogError;

use crate::access::{Access, configure, existing, open};
use crate::cli::Produce;
use crate::failure::Failure;
use crate::formats::{Format, declared};
use crate::interrupt::Interrupt;
use crate::json_lines::{self, Formats};

/// How long stdin is silent before what was sent is made durable: long enough that a reader thread which only
/// waits for its turn on the processor costs no sync, short enough that nobody who types notices.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends the lines of stdin, in order, and returns when all are durable.
pub(crate) fn produce(options: &Produce) -> Result<(), Failure> {
    let log = open(&configure(&options.log, Vec::new())?, Access::Write)?;
    let partitions = existing(&*log, &options.topic)?.partitions.len() as u32;
    let (key, value) = declared(&options.topic);
    let formats = Formats {
        key: options.key_format.unwrap_or(key),
        value: options.value_format.unwrap_or(value),
    };
    let interrupt = Interrupt::watch()?;
    let writer = log.writer(&options.topic)?;
    let mut sender = Sender {
        log: &*log,
        topic: &options.topic,
        partitions,
        formats,
        writer,
        lines: 0,
        sent: 0,
    };
    let outcome = send_all(&mut sender, &stdin_blocks(), &interrupt);
    // Whatever stopped it, the lines before are kept.
    let flushed = sender.writer.flush();
    match (outcome, flushed) {
        // The line's error says that the lines before it were sent, which would not be so.
        (Err(Failure::Line { .. }), Err(error)) => return Err(error.into()),
        (outcome, flushed) => {
            outcome?;
            flushed?;
        }
    }
    eprintln!("sent {} records to topic {}", sender.sent, options.topic);
    Ok(())
}

/// Blocks of stdin, read by a thread of its own so that a pause can be seen.
fn stdin_blocks() -> Receiver<std::io::Result<Vec<u8>>> {
    let (blocks, received) = sync_channel(16);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut block = vec![0; 1 << 16];
        loop {
            let read = stdin
                .read(&mut block)
                .map(|length| block[..length].to_vec());
            let last = !matches!(&read, Ok(block) if !block.is_empty());
            if blocks.send(read).is_err() || last {
                return;
            }
        }
    });
    received
}

fn send_all(
    sender: &mut Sender<'_>,
    blocks: &Receiver<std::io::Result<Vec<u8>>>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut pending = Vec::new();
    loop {
        let block = match blocks.recv_timeout(PAUSE) {
            Ok(block) => block,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                sender.writer.flush()?;
                match next_block(blocks, interrupt)? {
                    Some(block) => block,
                    None => break,
                }
            }
        };
        let block = block.map_err(Failure::Input)?;
        if block.is_empty() {
            break;
        }
        let last_end = block.iter().rposition(|byte| *byte == b'\n');
        let complete = last_end.map_or(0, |last| pending.len() + last + 1);
        pending.extend_from_slice(&block);
        for line in pending[..complete].split_inclusive(|byte| *byte == b'\n') {
            sender.send(line)?;
        }
        pending.drain(..complete);
        if interrupt.came() {
            return Err(interrupted());
        }
    }
    if pending.is_empty() {
        Ok(())
    } else {
        sender.send(&pending)
    }
}

fn next_block(
    blocks: &Receiver<std::io::Result<Vec<u8>>>,
    interrupt: &Interrupt,
) -> Result<Option<std::io::Result<Vec<u8>>>, Failure> {
    loop {
        match blocks.recv_timeout(Duration::from_millis(100)) {
            Ok(block) => return Ok(Some(block)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if interrupt.came() => {
                return Err(interrupted());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn interrupted() -> Failure {
    Failure::Interrupted("interrupted; the lines read until now are sent".into())
}

/// What decides a key's partition: a window's key lies where the key itself does, whatever its window.
fn partitioned_by(key: &[u8], format: Format) -> &[u8] {
    match (format, key.split_first_chunk::<4>()) {
        (Format::WindowedI32, Some((key, start))) if start.len() == 8 => key,
        _ => key,
    }
}

struct Sender<'a> {
    log: &'a dyn Log,
    topic: &'a str,
    partitions: u32,
    formats: Formats,
    writer: Box<dyn Writer>,
    lines: u64,
    sent: u64,
}

impl Sender<'_> {
    fn send(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.lines += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line = json_lines::read(line, self.formats).map_err(|reason| self.bad(reason))?;
        let partition = match (line.partition, &line.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => {
                partition_for(partitioned_by(key, self.formats.key), self.partitions)
            }
            (None, None) => (self.sent % u64::from(self.partitions)) as u32,
        };
        if partition >= self.partitions {
            let last = self.partitions - 1;
            return Err(self.bad(format!(
                "there is no partition {partition}, the topic's last one is {last}"
            )));
        }
        let timestamp = line
            .timestamp
            .unwrap_or_else(|| Utc::now().timestamp_millis());
        if timestamp <= 0 && !self.log.takes_nonpositive_timestamps() {
            return Err(self.bad(format!(
                "{} takes no timestamp of {timestamp}",
                self.log.location()
            )));
        }
        let sent = self.writer.send(&SinkRecord {
            topic: self.topic,
            partition,
            timestamp,
            key: line.key.as_deref(),
            value: line.value.as_deref(),
            headers: &line.headers,
        });
        match sent {
            Ok(()) => self.sent += 1,
            Err(error @ LogError::TooLarge { .. }) => return Err(self.bad(error.to_string())),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn bad(&self, reason: String) -> Failure {
        let kept = match self.sent {
            0 => "nothing was sent".to_owned(),
            1 => "the record before it was sent".to_owned(),
            sent => format!("the {sent} records before it were sent"),
        };
        Failure::Line {
            number: self.lines,
            reason,
            kept,
        }
    }
}
