//! What servers have cost, and may cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::answers::Cost;
use crate::op::Prices;

/// What a run may spend on servers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// `max_cost`, in the money of the prices.
    pub cost: Option<f64>,
    /// `max_tokens_total`: tokens sent and answered.
    pub tokens: Option<u64>,
}

/// What was paid to a service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Paid {
    /// Answers.
    pub answers: u64,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens answered.
    pub tokens_out: u64,
    /// In the money of the prices.
    pub cost: f64,
    /// Requests that were sent, failed ones too.
    pub sent: u64,
    /// Answers that were known already.
    pub reused: u64,
}

/// What is known of the price of a request before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// The length of its body.
    pub bytes: u64,
    /// The most tokens that all its answers may have, where the body says so.
    pub longest: Option<u64>,
}

/// So much of a body as limits the answer.
#[derive(Deserialize)]
struct Lengths {
    max_completion_tokens: Option<Value>,
    max_tokens: Option<Value>,
    n: Option<Value>,
}

impl Foreseen {
    /// The request with `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let number = |value: Option<Value>| value.as_ref().and_then(Value::as_u64);
        let longest = serde_json::from_slice::<Lengths>(body)
            .ok()
            .and_then(|said| {
                let one = number(said.max_completion_tokens).or(number(said.max_tokens))?;
                Some(one.saturating_mul(number(said.n).unwrap_or(1)))
            });
        Self {
            bytes: body.len() as u64,
            longest,
        }
    }
}

/// What a run has spent, with what is on its way. A request is sent only if there is room for what
/// the dearest answer so far would cost for a body of its length, and for as many tokens as it lets
/// the answer have; what it did cost takes that place when it is answered.
#[derive(Debug, Default)]
pub struct Spending {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    paid: BTreeMap<String, Paid>,
    /// What is on its way, as it was reserved.
    reserved: Reserved,
    requests: usize,
    /// The most tokens for a byte of a request so far, and of an answer, by service.
    most: BTreeMap<String, (f64, u64)>,
}

/// Room that a request has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reserved {
    tokens: u64,
    cost: f64,
}

/// Why a request may not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted(pub String);

/// How long whoever waits for room goes without a look at whether the run stops.
const LOOK: Duration = Duration::from_millis(100);

impl Spending {
    /// With `limits`, after `spent`.
    #[must_use]
    pub fn new(limits: Limits, spent: &[Cost]) -> Self {
        let spending = Self {
            limits,
            ..Self::default()
        };
        let mut state = spending.lock();
        for cost in spent {
            state.pay(cost);
        }
        drop(state);
        spending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was paid to `service`.
    #[must_use]
    pub fn paid(&self, service: &str) -> Option<Paid> {
        self.lock().paid.get(service).copied()
    }

    /// What was paid to all services.
    #[must_use]
    pub fn total(&self) -> Paid {
        let state = self.lock();
        let mut total = Paid::default();
        for paid in state.paid.values() {
            total.answers += paid.answers;
            total.tokens_in += paid.tokens_in;
            total.tokens_out += paid.tokens_out;
            total.cost += paid.cost;
            total.sent += paid.sent;
            total.reused += paid.reused;
        }
        total
    }

    /// Counts an answer of `service` that was known already.
    pub fn reuse(&self, service: &str) {
        self.lock().of(service).reused += 1;
    }

    /// Counts a request to `service`.
    pub fn sent(&self, service: &str) {
        self.lock().of(service).sent += 1;
    }

    /// Takes room for a request; waits while others that are on their way may
    /// leave some. `stopping` ends the wait.
    ///
    /// # Errors
    /// If there is none left.
    pub fn reserve(
        &self,
        service: &str,
        request: Foreseen,
        prices: Prices,
        stopping: &AtomicBool,
    ) -> Result<Reserved, Exhausted> {
        let mut state = self.lock();
        loop {
            let wanted = state.estimate(service, request, prices);
            let (spent, tokens) = state.spent();
            let room_for =
                |spent: f64, wanted: f64, most: f64| spent < most && spent + wanted <= most;
            let cost_fits = self.limits.cost.is_none_or(|most| {
                // Sums of prices are not exact: a thousandth of a millionth is not meant.
                room_for(
                    spent + state.reserved.cost,
                    wanted.cost,
                    most * (1.0 + 1e-12),
                )
            });
            let tokens_fit = self.limits.tokens.is_none_or(|most| {
                let taken = tokens + state.reserved.tokens;
                taken < most && taken + wanted.tokens <= most
            });
            if cost_fits && tokens_fit {
                state.reserved.tokens += wanted.tokens;
                state.reserved.cost += wanted.cost;
                state.requests += 1;
                return Ok(wanted);
            }
            if state.requests == 0 || stopping.load(Ordering::Relaxed) {
                return Err(Exhausted(if cost_fits {
                    format!(
                        "max_tokens_total ({}) leaves no room for another request of about {} tokens: {tokens} are used",
                        self.limits.tokens.unwrap_or_default(),
                        wanted.tokens,
                    )
                } else {
                    format!(
                        "max_cost ({}) leaves no room for another request of about {:.6}: {spent:.6} is spent",
                        self.limits.cost.unwrap_or_default(),
                        wanted.cost,
                    )
                }));
            }
            let looked = self.changed.wait_timeout(state, LOOK);
            state = looked.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives room back, for what an answer has cost, if one came.
    pub fn settle(&self, reserved: Reserved, answer: Option<&Cost>) {
        let mut state = self.lock();
        state.requests = state.requests.saturating_sub(1);
        state.reserved.tokens = state.reserved.tokens.saturating_sub(reserved.tokens);
        state.reserved.cost -= reserved.cost;
        if state.requests == 0 {
            // Sums of what was added and taken away are not exactly nothing.
            state.reserved = Reserved::default();
        }
        if let Some(cost) = answer {
            state.pay(cost);
        }
        self.changed.notify_all();
    }
}

#[expect(clippy::cast_precision_loss, reason = "both stay far below 2^53")]
fn ratio(tokens: u64, bytes: u64) -> f64 {
    tokens as f64 / bytes.max(1) as f64
}

impl State {
    fn of(&mut self, service: &str) -> &mut Paid {
        if !self.paid.contains_key(service) {
            self.paid.insert(service.to_owned(), Paid::default());
        }
        self.paid.entry(service.to_owned()).or_default()
    }

    fn pay(&mut self, cost: &Cost) {
        let paid = self.of(&cost.service);
        paid.answers += 1;
        paid.tokens_in += cost.tokens_in;
        paid.tokens_out += cost.tokens_out;
        paid.cost += cost.cost;
        let most = self.most.entry(cost.service.clone()).or_default();
        most.0 = most.0.max(ratio(cost.tokens_in, cost.bytes));
        most.1 = most.1.max(cost.tokens_out);
    }

    fn spent(&self) -> (f64, u64) {
        let paid = self.paid.values();
        paid.fold((0.0, 0), |(cost, tokens), paid| {
            (cost + paid.cost, tokens + paid.tokens_in + paid.tokens_out)
        })
    }

    /// What a request may cost at most, by itself and by the dearest so far.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "tokens are few and none is negative"
    )]
    fn estimate(&self, service: &str, request: Foreseen, prices: Prices) -> Reserved {
        let (a_byte, most) = self.most.get(service).copied().unwrap_or_default();
        let input = (a_byte * request.bytes as f64).round() as u64;
        let output = most.max(request.longest.unwrap_or_default());
        Reserved {
            tokens: input.saturating_add(output),
            cost: prices.of(input, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices {
        input: 100_000.0,
        output: 200_000.0,
    };

    fn answer(tokens_in: u64, tokens_out: u64) -> Cost {
        Cost {
            service: "m".into(),
            bytes: 100,
            tokens_in,
            tokens_out,
            cost: PRICES.of(tokens_in, tokens_out),
        }
    }

    /// A request of 100 bytes.
    const USUAL: Foreseen = Foreseen {
        bytes: 100,
        longest: None,
    };

    fn ask(spending: &Spending) -> Result<Reserved, Exhausted> {
        spending.reserve("m", USUAL, PRICES, &AtomicBool::new(false))
    }

    #[test]
    fn an_answer_that_may_be_longer_than_any_before_has_room() {
        for (body, longest) in [
            (r#"{"max_tokens":30}"#, Some(30)),
            (
                r#"{"n":2,"max_tokens":30,"max_completion_tokens":40}"#,
                Some(80),
            ),
            (r#"{"max_tokens":null}"#, None),
            ("{}", None),
            ("not JSON", None),
        ] {
            let bytes = body.len() as u64;
            assert_eq!(
                Foreseen::of(body.as_bytes()),
                Foreseen { bytes, longest },
                "{body}"
            );
        }
        let limits = Limits {
            cost: None,
            tokens: Some(100),
        };
        let request = Foreseen {
            longest: Some(30),
            ..USUAL
        };
        let spending = Spending::new(limits, &[]);
        let mut sent = 0;
        // Short answers do not make a long one less likely.
        while let Ok(reserved) = spending.reserve("m", request, PRICES, &AtomicBool::new(false)) {
            let tokens = if sent == 3 { 30 } else { 1 };
            spending.settle(reserved, Some(&answer(10, tokens)));
            sent += 1;
        }
        // 33 tokens are used, so that 10 + 30 fit; then 73 are.
        assert_eq!(sent, 4);
        let total = spending.total();
        assert_eq!(total.tokens_in + total.tokens_out, 73);
    }

    #[test]
    fn nothing_is_sent_that_might_cost_more_than_is_left() {
        // 10 and 5 tokens cost 2.
        for (limits, allowed) in [
            (
                Limits {
                    cost: Some(20.0),
                    tokens: None,
                },
                10,
            ),
            (
                Limits {
                    cost: Some(21.9),
                    tokens: None,
                },
                10,
            ),
            (
                Limits {
                    cost: None,
                    tokens: Some(150),
                },
                10,
            ),
            (
                Limits {
                    cost: None,
                    tokens: Some(164),
                },
                10,
            ),
            (
                Limits {
                    cost: Some(0.0),
                    tokens: None,
                },
                0,
            ),
            (Limits::default(), 100),
        ] {
            let spending = Spending::new(limits, &[]);
            let mut sent = 0;
            while sent < 100 {
                let Ok(reserved) = ask(&spending) else { break };
                spending.settle(reserved, Some(&answer(10, 5)));
                sent += 1;
            }
            assert_eq!(sent, allowed, "{limits:?}");
        }
    }

    #[test]
    fn what_is_on_its_way_counts_and_what_failed_does_not() {
        let limits = Limits {
            cost: None,
            tokens: Some(45),
        };
        let spending = Spending::new(limits, &[]);
        let first = ask(&spending).unwrap();
        spending.settle(first, Some(&answer(10, 5)));
        let (second, third) = (ask(&spending).unwrap(), ask(&spending).unwrap());
        let stopping = AtomicBool::new(true);
        assert!(spending.reserve("m", USUAL, PRICES, &stopping).is_err());
        spending.settle(second, None);
        let again = ask(&spending).unwrap();
        spending.settle(third, Some(&answer(10, 5)));
        spending.settle(again, Some(&answer(10, 5)));
        assert!(
            ask(&spending)
                .unwrap_err()
                .0
                .contains("max_tokens_total (45)")
        );
        assert_eq!(spending.total().answers, 3);
        // A run that goes on has spent that already.
        let spending = Spending::new(limits, &[answer(10, 5), answer(10, 20)]);
        assert!(ask(&spending).is_err());
    }
}
