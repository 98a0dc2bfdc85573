//! The ticker: a source without data on worker 0 whose frontier is the open epoch. It owns the clock.

use std::cell::RefCell;
use std::rc::Rc;

use tiderace_operators::batch::Batch;
use tiderace_operators::dataflow::Records;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::alarm::Alarm;
use super::epoch_state::Tick;
use super::epochs::Epochs;
use super::pickup::Pickup;

/// The sources of one worker, for calls from there.
pub(super) type Beside = Rc<RefCell<Vec<Activator>>>;

/// Builds the ticker; on workers other than the first it ends at once. What it returns is followed by every source. What is left
/// for its calls, `pickup` says; those `beside` it read that.
pub(crate) fn ticker<'s>(
    scope: Scope<'s, u64>,
    epochs: &Epochs,
    pickup: Pickup,
    beside: Beside,
) -> Records<'s, (), ()> {
    let mut builder = OperatorBuilder::new("ticker".to_owned(), scope);
    let (_output, ticks) = builder.new_output::<Batch<(), ()>>();
    let address = builder.operator_info().address;
    let first = scope.index() == 0;
    if first {
        epochs.set_ticker(scope.worker().sync_activator_for(address.to_vec()));
    }
    let mut alarm = Alarm::new(scope.worker().activator_for(address));
    let epochs = epochs.clone();
    builder.build(move |mut capabilities| {
        if !first {
            capabilities.clear();
        }
        // Whether the sources have their turn behind this call.
        let mut waits = false;
        move |_| {
            if std::mem::take(&mut waits) {
                return alarm.now();
            }
            if pickup.take() {
                beside.borrow().iter().for_each(Activator::activate);
                waits = true;
                return alarm.now();
            }
            while let Some(capability) = capabilities.first_mut() {
                match epochs.tick() {
                    Tick::Open(epoch) => capability.downgrade(&epoch),
                    Tick::Wait(time) => {
                        pickup.comes_in(time);
                        return alarm.within(time);
                    }
                    Tick::End => capabilities.clear(),
                }
            }
        }
    });
    ticks
}
