//! Moving records to the worker that owns their key, and marks to the worker they are addressed to.

use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;

use crate::batch::{Batch, Item};
use crate::record::Record;

/// Distributes batches over the workers by a routing function; see [`exchange`].
pub struct Router<K, V, F> {
    batches: Vec<Batch<K, V>>,
    route: F,
}

/// The pact that sends a record to the worker that `route` names and a mark to its addressee, keeping the
/// order from each sender to each receiver.
pub fn exchange<K, V, F>(route: F) -> DistributorPact<impl FnOnce(usize) -> Router<K, V, F>>
where
    F: FnMut(&Record<K, V>) -> usize + 'static,
{
    DistributorPact(|peers| Router {
        batches: (0..peers).map(|_| Batch::default()).collect(),
        route,
    })
}

impl<K: 'static, V: 'static, F: FnMut(&Record<K, V>) -> usize> Distributor<Batch<K, V>>
    for Router<K, V, F>
{
    fn partition<T: Clone, P: Push<Message<T, Batch<K, V>>>>(
        &mut self,
        container: &mut Batch<K, V>,
        time: &T,
        pushers: &mut [P],
    ) {
        let Router { batches, route } = self;
        container.drain(|item| match item {
            Item::Record(record) => {
                let to = route(&record);
                batches[to].push(record);
                if batches[to].is_full() {
                    Message::push_at(&mut batches[to], time.clone(), &mut pushers[to]);
                }
            }
            Item::Mark(mark) => batches[mark.to as usize].mark(mark),
        });
    }

    fn flush<T: Clone, P: Push<Message<T, Batch<K, V>>>>(&mut self, time: &T, pushers: &mut [P]) {
        for (batch, pusher) in self.batches.iter_mut().zip(pushers) {
            if !batch.is_blank() {
                Message::push_at(batch, time.clone(), pusher);
            }
        }
    }
}
