//! The union of streams: order is kept within each, event time is the least of all.
//!
//! It keeps no state beyond an epoch: marks pass through, and batches that wait are of epochs that are not open yet.

use crate::batch::{Batch, Item, Mark};
use crate::current;
use crate::dataflow::{Head, Ports, Records};
use crate::emit::{Emit, Steps};
use crate::stage::{Epochs, frontier};

/// Builds the operator on `head`. Each stream comes with the number of its senders; behind the operator the
/// senders of the first stream are numbered from 0, those of the second follow, and so on.
pub fn merge<'s, K: 'static, V: 'static>(
    mut head: Head<'s>,
    streams: Vec<(Records<'s, K, V>, usize)>,
    results: Steps<K, V>,
) {
    let mut first_sender = 0;
    let mut inputs = Vec::new();
    for (stream, senders) in streams {
        inputs.push((head.follow(stream), first_sender));
        first_sender += u32::try_from(senders).expect("senders are counted in u32");
    }
    let mut results = head.emit(results);
    let mut epochs = Epochs::<(Batch<K, V>, u32)>::default();
    head.build(move |frontiers, ports| {
        for (input, first_sender) in &mut inputs {
            input(&mut |epoch, batch| {
                if epoch == epochs.open() {
                    current::during(epoch);
                    forward(batch, *first_sender, &mut results, ports);
                } else {
                    epochs.arrives(epoch, &mut (std::mem::take(batch), *first_sender));
                }
            });
        }
        let reached = frontiers
            .iter()
            .map(frontier)
            .min()
            .expect("a union has inputs");
        loop {
            let Some(waiting) = epochs.next(reached) else {
                break;
            };
            ports.advance_to(epochs.open());
            current::during(epochs.open());
            for (mut batch, first_sender) in waiting {
                forward(&mut batch, first_sender, &mut results, ports);
            }
        }
        ports.flush();
    });
}

fn forward<K, V>(
    batch: &mut Batch<K, V>,
    first_sender: u32,
    results: &mut Emit<K, V>,
    ports: &mut Ports,
) {
    batch.drain(|item| match item {
        Item::Record(record) => results.send(record),
        Item::Mark(mark) => ports.pass(Mark {
            from: mark.from + first_sender,
            ..mark
        }),
    });
}
