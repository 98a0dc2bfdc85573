//! Between a fetch thread and its worker: a queue per partition, and a bound on all of them together.
//!
//! At the bound nothing is fetched, and the log's client holds what it has until there is room again: a client that pauses
//! would drop what it has fetched ahead, and fetch it again. Two kinds of partitions are fetched even then, and the others
//! pause: one of which nothing is here and that the worker waits for, since it is behind in stream time or a table's; and
//! one that was caught up, whose silence could otherwise not be told from waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::arrived::Arrived;
use super::in_flight::{InFlight, Part};
use crate::connect::TopicPartition;

/// The queues of one worker's partitions, by the index that its [`Source`](crate::connect::Source) knows them by.
#[derive(Clone)]
pub(crate) struct Queues(Arc<Inner>);

/// What a fetch thread is to do before it fetches.
pub(crate) struct Look {
    /// Partitions behind the last that it knows, and where they begin.
    pub(crate) added: Vec<(TopicPartition, i64)>,
    /// Those of the others that are to be paused, or to go on.
    pub(crate) switch: Vec<usize>,
    /// Whether there is room for more, or a partition that is to be fetched in any case.
    pub(crate) has_room: bool,
}

struct Inner {
    held: Mutex<Held>,
    /// Told when there may be room again, or a partition is waited for.
    changed: Condvar,
    /// Bytes that all queues together may hold, what is being read included.
    limit: usize,
    in_flight: InFlight,
}

struct Held {
    queues: Vec<Queue>,
    /// Partitions of the last of them that the fetch thread does not know of yet, and where they begin.
    added: Vec<(TopicPartition, i64)>,
    /// Of all queues, and of the batches that are being read.
    memory: usize,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Arrived>,
    /// Whether the worker has taken some that were before these, and so asks for these by itself.
    taken: bool,
    /// Of these and of those that were taken and are not done.
    memory: usize,
    /// The high watermark that was reached behind the last batch.
    caught_up: Option<i64>,
    /// Whether the worker waits for this partition.
    wanted: bool,
}

impl Inner {
    /// Who waited for room goes on when less than this is held.
    fn enough(&self) -> usize {
        (self.limit - self.limit / 4).max(1)
    }
}

impl Held {
    /// Whether there is a partition to be fetched in any case.
    fn is_in_need(&self) -> bool {
        self.queues.iter().any(Queue::is_in_need)
    }
}

impl Queue {
    /// Whether it is to be fetched in any case.
    fn is_in_need(&self) -> bool {
        // Where some are taken it has not been looked behind them.
        let silent = self.caught_up.is_some() && !self.taken;
        self.batches.is_empty() && (self.wanted || silent)
    }
}

impl Queues {
    /// Queues of `partitions` partitions that hold about `limit` bytes together, counted as fetched.
    pub(crate) fn new(partitions: usize, limit: usize, in_flight: InFlight) -> Self {
        let held = Held {
            queues: (0..partitions).map(|_| Queue::default()).collect(),
            added: Vec::new(),
            memory: 0,
        };
        Queues(Arc::new(Inner {
            held: Mutex::new(held),
            changed: Condvar::new(),
            limit,
            in_flight,
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.held().queues.len()
    }

    /// Has another partition fetched from `start` on, and returns its number.
    pub(crate) fn add(&self, partition: TopicPartition, start: i64) -> usize {
        let held = &mut *self.held();
        held.queues.push(Queue::default());
        held.added.push((partition, start));
        self.0.changed.notify_one();
        held.queues.len() - 1
    }

    /// Appends a batch, and [looks](Self::look) at what is to be done next: small ones come by the million. True if the worker
    /// may not know that there is something to read; it takes what follows with that.
    pub(crate) fn push(&self, batch: Arrived, paused: &[bool]) -> (bool, Look) {
        let held = &mut *self.held();
        let queue = &mut held.queues[batch.slot()];
        let memory = batch.memory();
        queue.memory += memory;
        held.memory += memory;
        let is_news = queue.batches.is_empty() && !queue.taken;
        queue.batches.push_back(batch);
        queue.caught_up = None;
        queue.wanted = false;
        self.0.in_flight.add(Part::Fetched, memory);
        (is_news, self.look_at(held, paused))
    }

    /// Notes that the partition was read up to `position` and held nothing behind it. True if the worker may not know; who
    /// has something to read before it looks at this behind that.
    pub(crate) fn caught_up(&self, slot: usize, position: i64) -> bool {
        let queue = &mut self.held().queues[slot];
        queue.caught_up = Some(position);
        // Who waits for more of it says so again.
        queue.wanted = false;
        queue.batches.is_empty() && !queue.taken
    }

    /// What the fetch thread is to do before it fetches, which has paused these partitions.
    pub(crate) fn look(&self, paused: &[bool]) -> Look {
        self.look_at(&mut self.held(), paused)
    }

    fn look_at(&self, held: &mut Held, paused: &[bool]) -> Look {
        let added = std::mem::take(&mut held.added);
        Look {
            switch: self.to_switch(held, paused),
            has_room: self.has_room(held),
            added,
        }
    }

    fn has_room(&self, held: &Held) -> bool {
        held.memory < self.0.limit || held.is_in_need()
    }

    /// The partitions that are to be paused, or are `paused` and to go on.
    fn to_switch(&self, held: &Held, paused: &[bool]) -> Vec<usize> {
        let (limit, in_need) = (self.0.limit, held.is_in_need());
        if !in_need && !paused.contains(&true) {
            return Vec::new();
        }
        let fetched = |slot: usize| {
            let queue = &held.queues[slot];
            if queue.is_in_need() {
                true
            } else if paused[slot] {
                held.memory < self.0.enough() && queue.memory < (limit / 4).max(1)
            } else {
                // One alone is not to take the room of all others that come after.
                !in_need || held.memory < limit && queue.memory < (limit / 2).max(1)
            }
        };
        (0..paused.len())
            .filter(|slot| paused[*slot] == fetched(*slot))
            .collect()
    }

    /// Where there is no room, waits at most for so long until a quarter of what the bound allows is free: so that not every
    /// batch that is read wakes the caller. Which partitions are to pause may be another question then.
    pub(crate) fn await_room(&self, timeout: Duration) {
        let held = self.held();
        if self.has_room(&held) {
            return;
        }
        let enough = self.0.enough();
        let waits =
            |held: &mut Held| held.memory >= enough && !held.is_in_need() && held.added.is_empty();
        drop(self.0.changed.wait_timeout_while(held, timeout, waits));
    }

    /// Says that the worker waits for a partition of which nothing is here.
    pub(crate) fn want(&self, slot: usize) {
        let queue = &mut self.held().queues[slot];
        queue.wanted = queue.batches.is_empty();
        if queue.wanted {
            self.0.changed.notify_one();
        }
    }

    /// Takes all batches of a partition, to who has none left; they count until they are [`done`](Self::done). At once,
    /// because with small ones each look at what the fetch thread has in its hands costs more than they do.
    pub(crate) fn take(&self, slot: usize, left: &mut VecDeque<Arrived>) {
        let queue = &mut self.held().queues[slot];
        std::mem::swap(&mut queue.batches, left);
        queue.taken = !left.is_empty();
    }

    /// Notes that every record of batches of a partition was read, which held so many bytes.
    pub(crate) fn done(&self, slot: usize, memory: usize) {
        let held = &mut *self.held();
        let had = held.memory;
        held.memory -= memory;
        held.queues[slot].memory -= memory;
        if had >= self.0.enough() && held.memory < self.0.enough() {
            self.0.changed.notify_one();
        }
        self.0.in_flight.release(Part::Fetched, memory);
    }

    /// The high watermark, if the partition was caught up and its queue is empty; what was taken lies before it.
    pub(crate) fn position(&self, slot: usize) -> Option<i64> {
        let queue = &self.held().queues[slot];
        queue.caught_up.filter(|_| queue.batches.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Header, RawRecord, RecordBatch};

    /// Of the slot, so many bytes.
    struct Bytes(usize, usize);

    impl RecordBatch for Bytes {
        fn slot(&self) -> usize {
            self.0
        }
        fn len(&self) -> usize {
            1
        }
        fn get(&self, _: usize) -> RawRecord<'_> {
            unreachable!("nobody reads it")
        }
        fn headers(&self, _: usize) -> Vec<Header> {
            Vec::new()
        }
        fn memory(&self) -> usize {
            self.1
        }
    }

    /// Takes what is there of a partition, as its bytes.
    fn take(queues: &Queues, slot: usize) -> Vec<usize> {
        let mut taken = VecDeque::new();
        queues.take(slot, &mut taken);
        taken.iter().map(Arrived::memory).collect()
    }

    /// Whether it is news.
    fn push(queues: &Queues, slot: usize, memory: usize) -> bool {
        queues
            .push(Arrived::new(Arc::new(Bytes(slot, memory))), &[])
            .0
    }

    fn queues(partitions: usize, limit: usize) -> (Queues, InFlight) {
        let in_flight = InFlight::default();
        (Queues::new(partitions, limit, in_flight.clone()), in_flight)
    }

    #[test]
    fn at_the_bound_nothing_pauses_and_who_waits_goes_on_when_a_quarter_is_free() {
        let (queues, _) = queues(2, 80);
        assert!(queues.look(&[]).has_room);
        for slot in [0, 1, 0, 1] {
            push(&queues, slot, 20);
        }
        assert!(!queues.look(&[]).has_room);
        assert_eq!(queues.look(&[false, false]).switch, Vec::<usize>::new());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queues.await_room(Duration::from_secs(3600)));
            assert_eq!(take(&queues, 0), [20, 20]);
            queues.done(0, 20);
            queues.done(0, 20);
            waiting.join().expect("it does not panic");
        });
        assert!(queues.look(&[]).has_room);
    }

    #[test]
    fn at_the_bound_only_an_empty_partition_that_is_waited_for_is_fetched() {
        let (queues, in_flight) = queues(3, 90);
        push(&queues, 0, 100);
        assert!(!queues.look(&[]).has_room);
        queues.want(1);
        assert!(queues.look(&[]).has_room);
        assert_eq!(queues.look(&[false; 3]).switch, [0, 2]);
        assert_eq!(queues.look(&[true; 3]).switch, [1]);
        push(&queues, 1, 10);
        // Nothing is fetched now; who pauses goes on when there is room.
        assert!(!queues.look(&[]).has_room);
        assert_eq!(
            queues.look(&[true, false, true]).switch,
            Vec::<usize>::new()
        );
        // What is being read is held as well.
        assert_eq!(take(&queues, 0), [100]);
        assert_eq!(
            queues.look(&[true, false, true]).switch,
            Vec::<usize>::new()
        );
        queues.done(0, 100);
        assert_eq!(queues.look(&[true, false, true]).switch, [0, 2]);
        assert_eq!(in_flight.of(Part::Fetched), 10);
    }

    #[test]
    fn a_partition_that_was_caught_up_is_fetched_at_the_bound_too() {
        let (queues, _) = queues(2, 80);
        queues.want(1);
        queues.caught_up(1, 7);
        push(&queues, 0, 80);
        assert!(queues.look(&[]).has_room);
        assert_eq!(queues.look(&[false, false]).switch, [0]);
        push(&queues, 1, 1);
        assert!(!queues.look(&[]).has_room);
    }

    #[test]
    fn a_partition_that_was_caught_up_is_in_need_only_behind_what_was_taken() {
        let (queues, _) = queues(2, 80);
        push(&queues, 1, 1);
        assert!(!queues.caught_up(1, 7));
        push(&queues, 0, 80);
        assert_eq!(take(&queues, 1), [1]);
        // It has something to read, so that the other need not pause.
        assert!(!queues.look(&[false; 2]).has_room);
        assert!(take(&queues, 1).is_empty());
        assert!(queues.look(&[false; 2]).has_room);
    }

    #[test]
    fn where_a_partition_is_waited_for_one_alone_holds_half_of_the_bound() {
        let (queues, _) = queues(3, 80);
        push(&queues, 0, 20);
        push(&queues, 0, 20);
        assert_eq!(queues.look(&[false; 3]).switch, Vec::<usize>::new());
        queues.want(1);
        assert_eq!(queues.look(&[false; 3]).switch, [0]);
        // It goes on behind a quarter.
        assert_eq!(take(&queues, 0), [20, 20]);
        queues.done(0, 20);
        assert_eq!(
            queues.look(&[true, false, false]).switch,
            Vec::<usize>::new()
        );
        queues.done(0, 20);
        assert_eq!(queues.look(&[true, false, false]).switch, [0]);
    }

    #[test]
    fn a_batch_is_news_to_who_has_found_nothing() {
        let (queues, _) = queues(2, 80);
        assert!(push(&queues, 0, 1));
        assert!(!push(&queues, 0, 1));
        assert!(push(&queues, 1, 1));
        assert_eq!(take(&queues, 0), [1, 1]);
        // It comes again when it has read them.
        assert!(!push(&queues, 0, 1));
        assert_eq!(take(&queues, 0), [1]);
        assert_eq!(take(&queues, 0), [0_usize; 0]);
        assert!(push(&queues, 0, 1));
    }

    #[test]
    fn that_a_partition_is_caught_up_is_news_to_who_has_nothing_to_read() {
        let (queues, _) = queues(1, 80);
        assert!(queues.caught_up(0, 0));
        push(&queues, 0, 1);
        assert!(!queues.caught_up(0, 1));
        assert_eq!(take(&queues, 0), [1]);
        assert!(!queues.caught_up(0, 1));
        // It comes again, and finds both.
        assert_eq!(take(&queues, 0), [0_usize; 0]);
        assert_eq!(queues.position(0), Some(1));
        assert!(queues.caught_up(0, 1));
    }

    #[test]
    fn who_has_something_is_not_waited_for() {
        let (queues, _) = queues(1, 10);
        push(&queues, 0, 10);
        queues.want(0);
        assert_eq!(queues.look(&[true]).switch, Vec::<usize>::new());
    }
}
