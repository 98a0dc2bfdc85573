//! Windowed aggregation that emits each window once, when it is final.
//!
//! Results leave in the order of closing time, start and key bytes. Until a window closes its records are
//! folded as [`Order`](crate::fold::Order) says, so that the result does not depend on how partitions were
//! interleaved or epochs cut.
//!
//! Where windows overlap and partial results can be put together, a record is folded once: into the pane of all records
//! that belong to the same windows. Windows are put together from panes when they close; see `panes.rs`.
//!
//! State in a snapshot: of each open window and key its partial result, by the window's start and then the key. Of
//! panes: by the starts of the last and the first window that the pane belongs to, and then the key.

mod arriving;
mod closing;
mod ordering;
mod panes;
mod recent;
mod results;
mod stage;
mod tables;

use std::cell::RefCell;
use std::rc::Rc;

pub use self::arriving::{Arriving, InGroups, OneByOne, WindowGroup, WindowGrouping};
use self::stage::OnClose;
use crate::dataflow::{Head, Records, Routing};
use crate::emit::Emit;
use crate::fold::Fold;
use crate::handover::Handover;
use crate::key::{Key, Windowed};
use crate::stage::drive;
use crate::store::StoreView;
use crate::tally::Tally;
use crate::window::TimeWindows;

/// What a windowed aggregation needs beside its input.
pub struct WindowStep<K, F: Fold> {
    /// The windows.
    pub windows: TimeWindows,
    /// How records become one value.
    pub aggregation: F,
    /// How many senders the input has.
    pub senders: usize,
    /// Where results go.
    pub results: Emit<Windowed<K>, F::Value>,
    /// Where the headers of records too late for every window go, if anybody asks.
    pub late: Option<Emit<(), ()>>,
    /// Its counts.
    pub tally: Tally,
}

/// Builds the operator on `head`, reading `stream` with `routing`, and gives it back what was kept of it. Returns a
/// look into its open windows. How records come, `A` says: [`OneByOne`] or [`InGroups`].
pub fn aggregate_windows<'s, K: Key, F: Fold, A: Arriving<F>>(
    mut head: Head<'s>,
    stream: Records<'s, K, A::Value>,
    routing: Routing,
    handover: Handover,
    step: WindowStep<K, F>,
) -> Rc<dyn StoreView<Windowed<K>, F::Value>> {
    let index = u32::try_from(head.scope().index()).expect("workers are counted in u32");
    let input = head.keyed_input(stream, routing, handover.shards);
    let watermark = head.watermark(routing, step.senders, step.windows.held_back());
    let stage = OnClose::<K, F, A>::new(step, index, watermark, &handover);
    let stage = Rc::new(RefCell::new(stage));
    drive(head, input, Rc::clone(&stage));
    stage
}

/// What such a step keeps until windows close, in words: the form of its state.
pub fn keeps<F: Fold>(windows: TimeWindows, aggregation: &F) -> &'static str {
    if in_panes(windows, aggregation) {
        "a value per pane"
    } else {
        aggregation.keeps()
    }
}

fn in_panes<F: Fold>(windows: TimeWindows, aggregation: &F) -> bool {
    windows.overlap() && aggregation.combines()
}
