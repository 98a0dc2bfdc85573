//! What a proxy is to do to which request, and what has come of it so far.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{self, Api};

/// A fault and the one request that it strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The kind of the request.
    pub api: Api,
    /// Which of that kind.
    pub when: When,
    /// What happens to it.
    pub fault: Fault,
}

/// Which request of a kind a rule strikes. A client that repeats a request sends one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The n-th, counted from 1.
    Nth(u64),
    /// The first that holds these bytes, or comes behind a request of any kind that held them.
    From(&'static [u8]),
    /// The same, of the transactional producer whose request held them first.
    FromProducerOf(&'static [u8]),
}

/// What happens to a request or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request never reaches the broker; the connection stays.
    DropRequest,
    /// The broker serves the request, its answer never reaches the client; the connection stays.
    DropAnswer,
    /// The request reaches the broker later, and all behind it on its connection wait.
    DelayRequest(Moment),
    /// The request reaches the broker later, its answer nobody; the connection stays and nothing on it waits.
    HoldRequest(Moment),
    /// The answer reaches the client later, and all behind it on its connection wait.
    DelayAnswer(Moment),
    /// The broker serves the end of a transaction; the client is told of an error without a name.
    FailEnd,
    /// The connection breaks; the request never reaches the broker.
    CloseBefore,
    /// The connection breaks when the broker has served the request, before the answer.
    CloseBehind,
    /// The connection breaks while the request is on its way; it reaches the broker later, its answer nobody.
    CloseAndDeliver(Moment),
    /// The request is served and answered; a copy reaches the broker later, its answer nobody.
    Repeat(Moment),
}

/// A time that has come when both have: so much time has passed, and so many more answers of a kind have been sent
/// to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time from the fault on.
    pub after: Duration,
    /// Kind and number of the answers, counted from the fault on.
    pub behind: Option<(Api, u64)>,
}

impl Moment {
    /// When so much time has passed.
    pub fn after(time: Duration) -> Moment {
        Moment {
            after: time,
            behind: None,
        }
    }

    /// When so many more answers of this kind have been sent.
    pub fn behind(api: Api, answers: u64) -> Moment {
        Moment {
            after: Duration::ZERO,
            behind: Some((api, answers)),
        }
    }
}

/// How long [`Script::wait_for_swallowed`] waits.
const LIMIT: Duration = Duration::from_secs(30);

/// The `transactional.id` that a request is under, if it is under one.
type Producer = Option<Vec<u8>>;

/// The rules of a proxy and its counts.
pub(super) struct Script {
    rules: Vec<Rule>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: BTreeMap<Api, u64>,
    answers: BTreeMap<Api, u64>,
    /// For each rule: whether the bytes it waits for have come, and from whom, and how often it has struck.
    begun: Vec<Option<Producer>>,
    hits: Vec<u64>,
    swallowed: Vec<(Api, Vec<u8>)>,
    hides_brokers: bool,
    over: bool,
}

impl State {
    /// Who has begun this rule with its bytes, in this request or before it.
    fn has_begun(
        &mut self,
        rule: usize,
        bytes: &[u8],
        message: &[u8],
        producer: Option<&[u8]>,
    ) -> Option<&Producer> {
        let begun = &mut self.begun[rule];
        if begun.is_none() && contains(message, bytes) {
            *begun = Some(producer.map(<[u8]>::to_vec));
        }
        begun.as_ref()
    }
}

impl Script {
    pub(super) fn new(rules: impl IntoIterator<Item = Rule>) -> Script {
        let rules: Vec<Rule> = rules.into_iter().collect();
        let state = State {
            begun: vec![None; rules.len()],
            hits: vec![0; rules.len()],
            ..State::default()
        };
        Script {
            rules,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Counts a request, and says what is to happen to it. Of several rules that strike one request the first counts.
    pub(super) fn look(&self, api: Api, message: &[u8]) -> Option<Fault> {
        let mut state = self.state();
        let number = {
            let requests = state.requests.entry(api).or_default();
            *requests += 1;
            *requests
        };
        let producer = wire::transactional_id(message);
        let mut struck = None;
        for (index, rule) in self.rules.iter().enumerate() {
            let due = match rule.when {
                When::Nth(wanted) => number == wanted,
                When::From(bytes) => state.has_begun(index, bytes, message, producer).is_some(),
                When::FromProducerOf(bytes) => {
                    let begun = state.has_begun(index, bytes, message, producer);
                    begun.is_some_and(|by| by.as_deref() == producer)
                }
            };
            if due && rule.api == api && state.hits[index] == 0 && struck.is_none() {
                state.hits[index] += 1;
                struck = Some(rule.fault);
            }
        }
        struck
    }

    /// Counts an answer that was sent to a client.
    pub(super) fn answered(&self, api: Api) {
        *self.state().answers.entry(api).or_default() += 1;
        self.changed.notify_all();
    }

    /// Keeps an answer that no client gets.
    pub(super) fn swallow(&self, api: Api, answer: Vec<u8>) {
        self.state().swallowed.push((api, answer));
        self.changed.notify_all();
    }

    /// Waits for a moment; false if the proxy ends before it comes.
    pub(super) fn wait(&self, moment: Moment) -> bool {
        let until = Instant::now() + moment.after;
        let mut state = self.state();
        let sent = |state: &State, api: Api| state.answers.get(&api).copied().unwrap_or_default();
        let wanted = moment
            .behind
            .map(|(api, number)| (api, sent(&state, api) + number));
        loop {
            if state.over {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            let behind = wanted.is_none_or(|(api, wanted)| sent(&state, api) >= wanted);
            state = match (left.is_zero(), behind) {
                (true, true) => return true,
                (false, true) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                (_, false) => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    pub(super) fn wait_for_swallowed(&self, wanted: usize) {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, LIMIT, |state| state.swallowed.len() < wanted);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = state.swallowed.len();
        assert!(found >= wanted, "{found} of {wanted} copies were answered");
    }

    pub(super) fn requests(&self, api: Api) -> u64 {
        self.state().requests.get(&api).copied().unwrap_or_default()
    }

    pub(super) fn hits(&self) -> Vec<u64> {
        self.state().hits.clone()
    }

    pub(super) fn swallowed(&self) -> Vec<(Api, Vec<u8>)> {
        self.state().swallowed.clone()
    }

    pub(super) fn hide_brokers(&self, hidden: bool) {
        self.state().hides_brokers = hidden;
    }

    pub(super) fn hides_brokers(&self) -> bool {
        self.state().hides_brokers
    }

    /// Ends every wait.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn contains(message: &[u8], bytes: &[u8]) -> bool {
    message.windows(bytes.len()).any(|window| window == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(api: Api, when: When) -> Rule {
        Rule {
            api,
            when,
            fault: Fault::DropRequest,
        }
    }

    #[test]
    fn a_rule_strikes_one_request_of_its_kind_by_number_or_from_bytes_on() {
        let script = Script::new([
            rule(Api::END_TXN, When::Nth(2)),
            rule(Api::END_TXN, When::From(b"last")),
            rule(Api::PRODUCE, When::From(b"last")),
        ]);
        let look = |api, message: &[u8]| script.look(api, message).is_some();
        let struck = [
            look(Api::END_TXN, b"the last of others' words"),
            look(Api::END_TXN, b""),
            look(Api::PRODUCE, b"first"),
            look(Api::END_TXN, b""),
        ];
        assert_eq!(struck, [true, true, true, false]);
        assert_eq!(script.hits(), [1, 1, 1]);
        assert_eq!(script.requests(Api::END_TXN), 3);
    }

    #[test]
    fn bytes_in_one_request_make_the_next_of_another_kind_due() {
        let script = Script::new([rule(Api::END_TXN, When::From(b"last"))]);
        assert!(script.look(Api::END_TXN, b"").is_none());
        assert!(script.look(Api::PRODUCE, b"the last").is_none());
        assert!(script.look(Api::END_TXN, b"").is_some());
        assert!(script.look(Api::END_TXN, b"").is_none());
    }

    #[test]
    fn only_the_producer_of_the_bytes_is_struck() {
        let of = |api: Api, id: &str, rest: &[u8]| {
            let mut message = api.0.to_be_bytes().to_vec();
            message.extend_from_slice(b"\0\x01\0\0\0\x09\0\x02me\0");
            message.push(u8::try_from(id.len()).expect("it is short"));
            message.extend_from_slice(id.as_bytes());
            message.extend_from_slice(rest);
            message
        };
        let script = Script::new([rule(Api::END_TXN, When::FromProducerOf(b"last"))]);
        let look = |api, id, rest: &[u8]| script.look(api, &of(api, id, rest)).is_some();
        assert!(!look(Api::PRODUCE, "app-1", b"the last"));
        assert!(!look(Api::END_TXN, "app-0", b""));
        assert!(look(Api::END_TXN, "app-1", b""));
        assert!(!look(Api::END_TXN, "app-1", b""));
    }

    #[test]
    fn a_moment_comes_with_the_answers_it_waits_for_and_never_once_the_proxy_ends() {
        let script = Script::new([]);
        script.answered(Api::END_TXN);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| script.wait(Moment::behind(Api::END_TXN, 2)));
            while !waits.is_finished() {
                script.answered(Api::END_TXN);
                std::thread::yield_now();
            }
            assert!(waits.join().unwrap());
            let waits = scope.spawn(|| script.wait(Moment::behind(Api::PRODUCE, 1)));
            script.end();
            assert!(!waits.join().unwrap());
        });
    }
}
