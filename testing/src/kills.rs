//! When to kill a run: moments spread over its output, the same for the same seed.

/// A row of numbers that a seed determines (splitmix64).
pub struct Random(u64);

impl Random {
    /// The row of this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number as a fraction, from 0 up to 1, exclusive.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A kill that is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kill {
    /// When this share of all output is committed.
    AtOutput(f64),
    /// After this share of the time that a start takes to its first new output: the start behind the kill
    /// before is killed in its turn.
    InRecovery(f64),
}

/// Plans `kills` kills: one at a random place of each of as many equal parts of the output, and behind a share
/// of them, `again`, a second one during the recovery. The last part of the output is left to the last start.
pub fn plan(seed: u64, kills: usize, again: f64) -> Vec<Kill> {
    let mut random = Random::new(seed);
    let mut plan = Vec::with_capacity(kills);
    while plan.len() < kills {
        plan.push(Kill::AtOutput(random.fraction()));
        // Drawn only where it may be used, so that a plan without second kills is the row of its fractions.
        if again > 0.0 && plan.len() < kills && random.fraction() < again {
            plan.push(Kill::InRecovery(random.fraction()));
        }
    }
    let at_output = |kill: &&mut Kill| matches!(kill, Kill::AtOutput(_));
    let parts = 1 + plan.iter_mut().filter(at_output).count();
    for (part, kill) in plan.iter_mut().filter(at_output).enumerate() {
        if let Kill::AtOutput(share) = kill {
            *share = (part as f64 + *share) / parts as f64;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_spread_over_the_output_in_order() {
        let plan = plan(7, 1_000, 0.2);
        assert_eq!(plan.len(), 1_000);
        let shares: Vec<f64> = plan
            .iter()
            .filter_map(|kill| match kill {
                Kill::AtOutput(share) => Some(*share),
                Kill::InRecovery(_) => None,
            })
            .collect();
        assert!(shares.is_sorted() && shares[0] < 0.01 && *shares.last().unwrap() < 1.0);
        let seconds = plan.len() - shares.len();
        assert!((120..220).contains(&seconds), "{seconds} in a recovery");
        let twice = |two: &[Kill]| matches!(two, [Kill::InRecovery(_), Kill::InRecovery(_)]);
        assert!(!plan.windows(2).any(twice) && matches!(plan[0], Kill::AtOutput(_)));
    }

    #[test]
    fn a_seed_determines_the_plan() {
        assert_eq!(plan(1, 50, 0.2), plan(1, 50, 0.2));
        assert_ne!(plan(1, 50, 0.2), plan(2, 50, 0.2));
        assert!(
            plan(1, 50, 0.0)
                .iter()
                .all(|kill| matches!(kill, Kill::AtOutput(_)))
        );
    }
}
