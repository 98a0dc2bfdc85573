//! Event time: the stream time of a partition and the watermark of an operator.

use crate::batch::{Advance, Mark};
use crate::record::EventTime;

/// The largest timestamp that a partition has delivered, less its bound of disorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTime {
    largest: EventTime,
    out_of_orderness: i64,
}

impl StreamTime {
    /// A partition that has delivered nothing, with its bound of disorder in milliseconds.
    pub fn new(out_of_orderness: i64) -> Self {
        StreamTime {
            largest: EventTime::MIN,
            out_of_orderness,
        }
    }

    /// A partition that has delivered `largest` before, or nothing if that is [`EventTime::MIN`].
    pub fn resume(out_of_orderness: i64, largest: EventTime) -> Self {
        StreamTime {
            largest,
            out_of_orderness,
        }
    }

    /// The largest timestamp that was delivered, [`EventTime::MIN`] before the first.
    pub fn largest(&self) -> EventTime {
        self.largest
    }

    /// Takes a record's timestamp in and returns the stream time with it.
    pub fn observe(&mut self, timestamp: EventTime) -> EventTime {
        self.largest = self.largest.max(timestamp);
        self.now()
    }

    /// The stream time, [`EventTime::MIN`] before the first record.
    pub fn now(&self) -> EventTime {
        self.largest.saturating_sub(self.out_of_orderness)
    }
}

/// The watermark of an operator: the minimum over the senders of its input, never lowered.
///
/// Senders speak within an epoch; what they said takes effect when the epoch closes, so that the watermark
/// that a record meets does not depend on which sender's word came first. Nothing is lost by that: results
/// become visible by the epoch.
///
/// Senders that have not spoken hold it at [`EventTime::MIN`]; idle ones and those without partitions are left
/// out. If all are idle it is the largest of their stream times, never infinity.
#[derive(Clone, Debug)]
pub struct Watermark {
    senders: Vec<Option<Advance>>,
    /// By how much results trail the watermark here, in milliseconds.
    held_back: i64,
    now: EventTime,
}

impl Watermark {
    /// The watermark over `senders` senders of an operator that holds results back by `held_back` milliseconds.
    pub fn new(senders: usize, held_back: i64) -> Self {
        Watermark {
            senders: vec![None; senders],
            held_back,
            now: EventTime::MIN,
        }
    }

    /// Goes on from where the watermark stood at the close of an epoch. What senders said until then is not known
    /// and need not be: every sender speaks in every epoch, so the next close finds them all.
    pub fn restore(&mut self, now: EventTime) {
        self.now = self.now.max(now);
    }

    /// As [`new`](Self::new) for an input that stays on its worker: of the senders, which are numbered worker by worker
    /// from 0 for each stream, only those of worker `index` of `workers` are ever heard.
    pub fn staying(senders: usize, held_back: i64, index: usize, workers: usize) -> Self {
        let elsewhere = |sender: usize| sender % workers != index;
        Watermark {
            senders: (0..senders)
                .map(|sender| elsewhere(sender).then_some(Advance::Absent))
                .collect(),
            ..Watermark::new(0, held_back)
        }
    }

    /// The watermark.
    pub fn now(&self) -> EventTime {
        self.now
    }

    /// Notes what a sender says.
    pub fn note(&mut self, mark: Mark) {
        self.senders[mark.from as usize] = Some(mark.advance);
    }

    /// At the close of an epoch: goes on to where the senders have come.
    pub fn settle(&mut self) -> EventTime {
        self.now = self.now.max(self.minimum());
        self.now
    }

    fn minimum(&self) -> EventTime {
        let mut active: Option<EventTime> = None;
        let mut idle = EventTime::MIN;
        let mut end = None;
        for sender in &self.senders {
            match sender {
                None => return EventTime::MIN,
                Some(Advance::Absent) => {}
                Some(Advance::Idle(largest)) => idle = idle.max(*largest),
                Some(Advance::Active(time)) => {
                    active = Some(active.map_or(*time, |least| least.min(*time)))
                }
                Some(Advance::End(largest)) => end = end.max(Some(*largest)),
            }
        }
        match (active, end) {
            (Some(least), _) => least,
            (None, Some(largest)) => largest.saturating_add(self.held_back),
            (None, None) => idle,
        }
    }

    /// What this operator tells those behind it, once every sender has spoken: its watermark less what it
    /// holds back, or that the input has ended.
    pub fn outgoing(&self) -> Option<Advance> {
        let mut ended = None;
        let mut timed = false;
        for sender in &self.senders {
            match (*sender)? {
                Advance::Absent => {}
                Advance::End(largest) => ended = ended.max(Some(largest)),
                Advance::Active(_) | Advance::Idle(_) => timed = true,
            }
        }
        Some(match ended {
            _ if timed => Advance::Active(self.now.saturating_sub(self.held_back)),
            Some(largest) => Advance::End(largest),
            None => Advance::Absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> EventTime {
        EventTime::from_millis(millis)
    }

    fn says(watermark: &mut Watermark, from: u32, advance: Advance) -> EventTime {
        watermark.note(Mark {
            from,
            to: 0,
            advance,
        });
        watermark.settle()
    }

    #[test]
    fn the_watermark_is_the_minimum_over_all_who_have_partitions() {
        let mut watermark = Watermark::new(3, 0);
        assert_eq!(
            says(&mut watermark, 0, Advance::Active(at(10))),
            EventTime::MIN
        );
        assert_eq!(says(&mut watermark, 1, Advance::Absent), EventTime::MIN);
        assert_eq!(says(&mut watermark, 2, Advance::Active(at(5))), at(5));
        assert_eq!(says(&mut watermark, 2, Advance::Active(at(20))), at(10));
    }

    #[test]
    fn a_restored_watermark_says_and_does_from_the_next_epoch_on_what_the_one_before_would() {
        let epoch = |watermark: &mut Watermark, advances: [Advance; 2]| {
            for (from, advance) in (0..).zip(advances) {
                let mark = Mark {
                    from,
                    to: 0,
                    advance,
                };
                watermark.note(mark);
            }
            (watermark.settle(), watermark.outgoing())
        };
        let epochs = [
            [Advance::Active(at(10)), Advance::Active(at(20))],
            [Advance::Idle(at(10)), Advance::Active(at(25))],
            [Advance::Active(at(12)), Advance::Active(at(30))],
            [Advance::Absent, Advance::Active(at(31))],
            [Advance::End(at(31)), Advance::End(at(31))],
        ];
        for cut in 0..epochs.len() {
            let (mut undisturbed, mut restored) = (Watermark::new(2, 5), Watermark::new(2, 5));
            for advances in &epochs[..cut] {
                epoch(&mut undisturbed, *advances);
            }
            restored.restore(undisturbed.now());
            assert_eq!(restored.now(), undisturbed.now());
            assert_eq!(restored.outgoing(), None);
            for advances in &epochs[cut..] {
                let expected = epoch(&mut undisturbed, *advances);
                assert_eq!(epoch(&mut restored, *advances), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn an_idle_sender_is_left_out_and_does_not_lower_the_watermark_when_it_wakes() {
        let mut watermark = Watermark::new(2, 0);
        says(&mut watermark, 0, Advance::Active(at(10)));
        assert_eq!(says(&mut watermark, 1, Advance::Active(at(3))), at(3));
        assert_eq!(says(&mut watermark, 1, Advance::Idle(at(3))), at(10));
        assert_eq!(says(&mut watermark, 1, Advance::Active(at(4))), at(10));
    }

    #[test]
    fn if_all_are_idle_it_is_the_largest_of_their_stream_times() {
        let mut watermark = Watermark::new(2, 0);
        says(&mut watermark, 0, Advance::Idle(at(10)));
        assert_eq!(says(&mut watermark, 1, Advance::Idle(at(3))), at(10));
    }

    #[test]
    fn at_the_end_it_passes_the_largest_stream_time_by_what_is_held_back() {
        let mut watermark = Watermark::new(2, 100);
        says(&mut watermark, 0, Advance::End(at(10)));
        assert_eq!(watermark.outgoing(), None);
        assert_eq!(says(&mut watermark, 1, Advance::Absent), at(110));
        assert_eq!(watermark.outgoing(), Some(Advance::End(at(10))));
        assert_eq!(says(&mut watermark, 0, Advance::Active(at(50))), at(110));
        assert_eq!(watermark.outgoing(), Some(Advance::Active(at(10))));
    }
}
