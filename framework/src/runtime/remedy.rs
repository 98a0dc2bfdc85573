//! What becomes of a run that has failed: the one table that says which failures restart and which do not.
//!
//! A restart makes sense where the same may go well the next time. Where it cannot, or where it would harm
//! somebody else (a newer instance, which it would fence), the run ends. No arm is a catch-all: a new error has
//! to be given its place here. `docs/configuration.md` tells users the same.

use crate::error::{Blame, LogError, RunError};

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The run ends with the error.
    End,
    /// The run restarts from the last commit, at most `max.restarts` times.
    Restart,
    /// The log cannot be reached: the run restarts as often as it takes. Nothing is wrong with it, and nobody is
    /// helped by its end.
    Wait,
    /// A record is to blame: the error policy says whether the run restarts and rejects it, or ends.
    Reject,
}

/// What is done about `error`.
pub(super) fn remedy(error: &RunError) -> Remedy {
    match error {
        RunError::Refused(_) | RunError::Fenced(_) | RunError::Gone { .. } => Remedy::End,
        // The same bytes would be read, or made, again.
        RunError::Data { .. } | RunError::Output { .. } | RunError::Replay { .. } => Remedy::End,
        // What is gone does not come back.
        RunError::Lost { .. } | RunError::Irreproducible { .. } | RunError::Vanished { .. } => {
            Remedy::End
        }
        RunError::Panicked { record, .. } => match record.as_ref().map(|record| record.blame) {
            Some(Blame::Alone) => Remedy::Reject,
            // The result of several records comes again as it came; what was committed cannot be rejected.
            Some(Blame::LastOfSeveral | Blame::Replayed) => Remedy::End,
            None => Remedy::Restart,
        },
        RunError::InDoubt(_) | RunError::Bug(_) => Remedy::Restart,
        RunError::Log(error) => of_log(error),
    }
}

fn of_log(error: &LogError) -> Remedy {
    match error {
        LogError::Unreachable { .. } => Remedy::Wait,
        // Space can be made, a file system can come back, and of a client's error nothing is known.
        LogError::CannotWrite { .. } | LogError::CannotRead { .. } | LogError::Client { .. } => {
            Remedy::Restart
        }
        LogError::Refused(_)
        | LogError::NoTopic { .. }
        | LogError::TooLarge { .. }
        | LogError::Damaged { .. }
        | LogError::Gone { .. }
        | LogError::Beyond { .. }
        | LogError::Recreated { .. }
        | LogError::InUse { .. }
        | LogError::Fenced(_)
        | LogError::Credentials { .. } => Remedy::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::TopicPartition;
    use crate::error::PoisonRecord;

    #[test]
    fn what_ends_with_the_code_of_a_fence_restarts_only_where_it_is_none() {
        let why = || "why".to_owned();
        let unreachable = LogError::Unreachable {
            location: why(),
            reason: why(),
        };
        let cases = [
            (RunError::Fenced(why()), Remedy::End),
            (LogError::Fenced(why()).into(), Remedy::End),
            (RunError::InDoubt(why()), Remedy::Restart),
            (unreachable.into(), Remedy::Wait),
        ];
        for (error, expected) in cases {
            assert_eq!(error.exit_code(), 69);
            assert_eq!(remedy(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_panic_restarts_unless_a_record_is_named() {
        let panicked = |blame: Option<Blame>| RunError::Panicked {
            node: "bad".to_owned(),
            message: "why".to_owned(),
            record: blame.map(|blame| {
                Box::new(PoisonRecord {
                    partition: TopicPartition::new("rides", 0),
                    offset: 3,
                    key: None,
                    blame,
                })
            }),
        };
        assert_eq!(remedy(&panicked(None)), Remedy::Restart);
        assert_eq!(remedy(&panicked(Some(Blame::Alone))), Remedy::Reject);
        assert_eq!(remedy(&panicked(Some(Blame::LastOfSeveral))), Remedy::End);
        assert_eq!(remedy(&panicked(Some(Blame::Replayed))), Remedy::End);
    }
}
