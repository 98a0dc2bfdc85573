//! What a source has read and not sent on: of however many batches, so that small ones cost what their records do.

use tiderace_operators::current;
use tiderace_operators::dataflow::Ports;

use crate::topology::Reader;

/// Records after which they are sent on: about as many as a batch of streams is made for, few enough that what is behind
/// finds them in the cache.
pub(super) const RECORDS_PER_FLUSH: usize = 256;

/// How many records were read and not sent on.
#[derive(Default)]
pub(crate) struct Staged(usize);

impl Staged {
    /// Counts records that were read; sends all on when they are enough.
    pub(super) fn add(&mut self, records: usize, reader: &mut dyn Reader, ports: &mut Ports) {
        self.0 += records;
        if self.0 >= RECORDS_PER_FLUSH {
            self.send_on(reader, ports);
        }
    }

    /// Sends them on.
    pub(super) fn send_on(&mut self, reader: &mut dyn Reader, ports: &mut Ports) {
        if std::mem::take(&mut self.0) > 0 {
            reader.pass();
            // What goes wrong from here on is no record's fault.
            current::leave();
            ports.flush();
        }
    }
}
