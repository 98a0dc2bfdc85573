//! Money that moves between accounts, and whether a run ever says that some of it was missing.
//!
//! A transfer is one record that takes an amount from one account and gives it to another. The program keeps the
//! balance of each account, and, behind that table, the total over all of them. Whatever prefix of the input an epoch
//! has read, its balances add up to nothing: so must the total that is committed with them, in every epoch, with any
//! number of workers and whatever crashes.

mod audit;
mod run;

use serde::{Deserialize, Serialize};
use tiderace::{BuildError, StreamsBuilder, Topic, Topology};
use tiderace_testing::kills::Random;

pub use audit::{Audit, Audited};
pub use run::{Outcome, Plan, run};

/// Accounts that there are.
pub const ACCOUNTS: u32 = 1_000;
/// Partitions of the transfers.
pub const PARTITIONS: u32 = 4;

/// A transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its place in its partition: its offset.
    pub serial: u64,
    /// The account that pays.
    pub from: u32,
    /// The account that is paid.
    pub to: u32,
    /// How much.
    pub amount: i64,
}

/// One half of a transfer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Posting {
    account: u32,
    amount: i64,
}

/// The balances that the total is taken of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Book {
    balances: Vec<i64>,
    total: i64,
    updates: u64,
}

impl Book {
    fn put(mut self, (account, balance): (u32, i64)) -> Self {
        let at = account as usize;
        if self.balances.len() <= at {
            self.balances.resize(at + 1, 0);
        }
        self.total += balance - self.balances[at];
        self.balances[at] = balance;
        self.updates += 1;
        self
    }
}

/// The total over all accounts at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// What the balances add up to: nothing.
    pub total: i64,
    /// Changes of balances that it has taken in since the beginning.
    pub updates: u64,
}

const TRANSFERS: Topic<u32, Transfer> = Topic::json("transfers");
const BALANCES: Topic<u32, i64> = Topic::bytes("balances");
const TOTALS: Topic<u32, Total> = Topic::json("totals");

/// The program. It panics at the first transfer whose serial number is `fuse` or a later one: a crash in the middle
/// of whatever goes on.
///
/// # Errors
/// None: it is the same program every time.
pub fn topology(fuse: Option<u64>) -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("transfers");
    let postings = builder
        .stream(TRANSFERS)
        .peek(move |transfer| {
            assert!(
                fuse.is_none_or(|fuse| transfer.serial < fuse),
                "{BURNT}: transfer {}",
                transfer.serial
            );
        })
        .flat_map_values(
            |Transfer {
                 from, to, amount, ..
             }| {
                let posting = |account, amount| Posting { account, amount };
                [posting(from, -amount), posting(to, amount)]
            },
        );
    let balances = postings
        .group_by(|posting| posting.account)
        .aggregate(0, |balance, posting: Posting| balance + posting.amount)
        .named("balances");
    balances.to(BALANCES);
    balances
        .to_stream()
        .map_values_with_key(|account, balance| (*account, balance))
        .group_by(|_| 0)
        .aggregate(Book::default(), Book::put)
        .named("total")
        .to_stream()
        .map_values(|book| Total {
            total: book.total,
            updates: book.updates,
        })
        .to(TOTALS);
    builder.build()
}

/// How the message of a planned crash begins.
pub const BURNT: &str = "the fuse has burnt";

/// The transfer at an offset of a partition, the same in every process.
pub fn transfer(partition: u32, serial: u64) -> Transfer {
    let mut random = Random::new((u64::from(partition) << 48) ^ serial);
    let from = (random.number() % u64::from(ACCOUNTS)) as u32;
    // Another account than that which pays.
    let step = 1 + (random.number() % u64::from(ACCOUNTS - 1)) as u32;
    Transfer {
        serial,
        from,
        to: (from + step) % ACCOUNTS,
        amount: 1 + (random.number() % 10_000) as i64,
    }
}
