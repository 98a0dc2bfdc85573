//! The results of a window that closes.

use super::WindowStep;
use super::tables::Total;
use crate::fold::Fold;
use crate::key::{Key, Windowed};
use crate::record::{EventTime, Header, Position, Record};
use crate::window::{TimeWindows, Window};

/// What the results of a window have in common.
pub(super) struct Results {
    window: Window,
    position: Position,
}

impl Results {
    /// Begins to send the results of the window that starts at `start`.
    pub(super) fn of(start: EventTime, windows: TimeWindows) -> Self {
        let position = Position::result(windows.closing(start));
        crate::current::at(position);
        Results {
            window: windows.window(start),
            position,
        }
    }

    /// Sends what came of a key's records.
    pub(super) fn send<K: Key, F: Fold>(
        &self,
        step: &mut WindowStep<K, F>,
        bytes: &[u8],
        key: K,
        total: Total<F::Value>,
    ) {
        let times = [self.window.start, total.timestamp];
        step.tally.result(bytes, times, &total.partial);
        step.results.send(Record {
            header: Header {
                timestamp: total.timestamp,
                stream_time: total.stream_time,
                position: self.position,
            },
            extra: None,
            key: Some(Windowed {
                key,
                window: self.window,
            }),
            value: total.partial,
        });
    }
}
