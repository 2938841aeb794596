//! What servers have cost, and may cost.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answers::Cost;
use crate::op::{EndpointService, Prices};

/// What a run may spend on servers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// `max_cost`, in the money of the prices.
    pub cost: Option<f64>,
    /// `max_tokens_total`: tokens sent and answered.
    pub tokens: Option<u64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cost, self.tokens) {
            (Some(cost), _) => write!(f, "max_cost ({cost})"),
            (None, Some(tokens)) => write!(f, "max_tokens_total ({tokens})"),
            (None, None) => f.write_str("no limit"),
        }
    }
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

/// What is known of the price of a request before it is sent: the most tokens that it and its answers
/// may have, where anything says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// The length of its body.
    pub bytes: u64,
    /// Tokens sent.
    pub input: Option<u64>,
    /// Tokens answered.
    pub output: Option<u64>,
}

/// How a part of a message begins that is a picture; in a text its quotes would be escaped.
const PICTURE: &[u8] = br#""type":"image_url""#;

impl Foreseen {
    /// The request with `body` to `service`. Text has no more tokens than bytes; of a picture
    /// only the model knows.
    #[must_use]
    pub fn of(body: &[u8], service: &EndpointService) -> Self {
        let bytes = body.len() as u64;
        let window = service.max_model_len;
        let input = match memchr::memmem::find(body, PICTURE) {
            Some(_) => window,
            None => Some(window.map_or(bytes, |window| window.min(bytes))),
        };
        Self {
            bytes,
            input,
            output: service.most_answered(),
        }
    }
}

/// What a run has spent, with what is on its way. A request is sent only if there is room for all
/// that it and its answer may cost; what it did cost takes that place when it is answered. So no
/// limit is ever passed. What servers do not tell counts as the most that it may be.
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
    /// The most tokens for a byte of a request so far, and of an answer, by service: a server may
    /// count in a way of its own.
    most: BTreeMap<String, (f64, u64)>,
    /// What may have been paid and was not told, for so many requests.
    untold: Reserved,
    untold_requests: usize,
}

/// Room that a request has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reserved {
    /// Tokens sent.
    pub input: u64,
    /// Tokens answered.
    pub output: u64,
    /// What they cost.
    pub cost: f64,
}

impl Reserved {
    fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    fn add(&mut self, other: &Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cost += other.cost;
    }

    fn take(&mut self, other: &Self) {
        self.input = self.input.saturating_sub(other.input);
        self.output = self.output.saturating_sub(other.output);
        self.cost -= other.cost;
    }
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
            total.tokens_in = total.tokens_in.saturating_add(paid.tokens_in);
            total.tokens_out = total.tokens_out.saturating_add(paid.tokens_out);
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
        let unlimited = self.limits == Limits::default();
        if !unlimited && (request.input.is_none() || request.output.is_none()) {
            return Err(Exhausted(format!(
                "{} cannot be held: nothing says how many tokens {} may have",
                self.limits,
                if request.output.is_none() {
                    "an answer"
                } else {
                    "a picture"
                }
            )));
        }
        let mut state = self.lock();
        loop {
            let wanted = state.most_of(service, request, prices);
            let spent = state.spent();
            let cost_fits = self.limits.cost.is_none_or(|most| {
                // Sums of prices are not exact: a thousandth of a millionth is not meant.
                let most = most * (1.0 + 1e-12);
                let taken = spent.cost + state.reserved.cost;
                taken < most && taken + wanted.cost <= most
            });
            let tokens_fit = self.limits.tokens.is_none_or(|most| {
                let taken = spent.tokens().saturating_add(state.reserved.tokens());
                taken < most && taken.saturating_add(wanted.tokens()) <= most
            });
            if cost_fits && tokens_fit {
                state.reserved.add(&wanted);
                state.requests += 1;
                return Ok(wanted);
            }
            if state.requests == 0 || stopping.load(Ordering::Relaxed) {
                let mut why = if cost_fits {
                    format!(
                        "max_tokens_total ({}) leaves no room for another request of up to {} tokens: {} are used",
                        self.limits.tokens.unwrap_or_default(),
                        wanted.tokens(),
                        spent.tokens(),
                    )
                } else {
                    format!(
                        "max_cost ({}) leaves no room for another request of up to {:.6}: {:.6} is spent",
                        self.limits.cost.unwrap_or_default(),
                        wanted.cost,
                        spent.cost,
                    )
                };
                if state.untold_requests > 0 {
                    let _ = write!(
                        why,
                        ", counting {} requests whose answers were cut off or did not say what they took as all that they may have",
                        state.untold_requests
                    );
                }
                return Err(Exhausted(why));
            }
            let looked = self.changed.wait_timeout(state, LOOK);
            state = looked.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives room back, for what was paid or may have been.
    pub fn settle(&self, reserved: Reserved, paid: Option<&Cost>) {
        let mut state = self.lock();
        state.requests = state.requests.saturating_sub(1);
        state.reserved.take(&reserved);
        if state.requests == 0 {
            // Sums of what was added and taken away are not exactly nothing.
            state.reserved = Reserved::default();
        }
        if let Some(cost) = paid {
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
        if cost.untold {
            self.count_untold(&Reserved {
                input: cost.tokens_in,
                output: cost.tokens_out,
                cost: cost.cost,
            });
            return;
        }
        let paid = self.of(&cost.service);
        paid.answers += 1;
        paid.tokens_in = paid.tokens_in.saturating_add(cost.tokens_in);
        paid.tokens_out = paid.tokens_out.saturating_add(cost.tokens_out);
        paid.cost += cost.cost;
        let most = self.most.entry(cost.service.clone()).or_default();
        most.0 = most.0.max(ratio(cost.tokens_in, cost.bytes));
        most.1 = most.1.max(cost.tokens_out);
    }

    fn count_untold(&mut self, most: &Reserved) {
        self.untold.add(most);
        self.untold_requests += 1;
    }

    fn spent(&self) -> Reserved {
        self.paid.values().fold(self.untold, |sum, paid| Reserved {
            input: sum.input.saturating_add(paid.tokens_in),
            output: sum.output.saturating_add(paid.tokens_out),
            cost: sum.cost + paid.cost,
        })
    }

    /// What a request may cost at most, by what is known of it and by the dearest so far.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "tokens are few and none is negative"
    )]
    fn most_of(&self, service: &str, request: Foreseen, prices: Prices) -> Reserved {
        let (a_byte, most) = self.most.get(service).copied().unwrap_or_default();
        let by_length = (a_byte * request.bytes as f64).round() as u64;
        let input = request.input.unwrap_or_default().max(by_length);
        let output = request.output.unwrap_or_default().max(most);
        Reserved {
            input,
            output,
            cost: prices.of(input, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::op::{EndpointParams, EndpointSettings};

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
            untold: false,
        }
    }

    /// A request of at most 10 tokens, with an answer of at most 5.
    const USUAL: Foreseen = Foreseen {
        bytes: 10,
        input: Some(10),
        output: Some(5),
    };

    fn ask(spending: &Spending, request: Foreseen) -> Result<Reserved, Exhausted> {
        spending.reserve("m", request, PRICES, &AtomicBool::new(false))
    }

    fn cost_of(most: f64) -> Limits {
        Limits {
            cost: Some(most),
            tokens: None,
        }
    }

    fn tokens(most: u64) -> Limits {
        Limits {
            cost: None,
            tokens: Some(most),
        }
    }

    #[test]
    fn what_a_request_may_take_is_known_before_it_is_sent() {
        let foreseen = |body: &str, path: &str, params: &str, sampling: &str| {
            let params = serde_json::from_str(params).unwrap();
            let of = EndpointParams {
                param: "api_model",
                model: Some("m"),
                path: Some(path),
                response_path: None,
                model_params: Some(&params),
            };
            let settings = EndpointSettings {
                base_url: Some("http://127.0.0.1:1/v1".into()),
                ..EndpointSettings::default()
            };
            let service = of.service(&settings).unwrap();
            let service = service.with_sampling(&serde_json::from_str(sampling).unwrap());
            let found = Foreseen::of(body.as_bytes(), &service);
            assert_eq!(found.bytes, body.len() as u64);
            (found.input, found.output)
        };
        let text = r#"{"messages":[{"role":"user","content":"\"type\":\"image_url\""}]}"#;
        let picture = json!({"messages": [{"content": [{"type": "image_url"}]}]});
        let picture = String::from_utf8(crate::sample::compact_json(&picture)).unwrap();
        let (chat, window) = ("/chat/completions", r#"{"max_model_len": 50}"#);
        let long = Some(text.len() as u64);
        for (body, path, params, sampling, input, output) in [
            (text, chat, "{}", r#"{"max_tokens": 30}"#, long, Some(30)),
            (
                text,
                chat,
                "{}",
                r#"{"n": 2, "max_tokens": 30, "max_completion_tokens": 40}"#,
                long,
                Some(80),
            ),
            (text, chat, "{}", r#"{"max_tokens": null}"#, long, None),
            (text, chat, "{}", "{}", long, None),
            (text, chat, window, "{}", Some(50), Some(50)),
            (
                text,
                chat,
                window,
                r#"{"max_tokens": 30}"#,
                Some(50),
                Some(30),
            ),
            (text, chat, window, r#"{"n": 3}"#, Some(50), Some(150)),
            (text, "/embeddings", "{}", "{}", long, Some(0)),
            (
                &picture,
                chat,
                "{}",
                r#"{"max_tokens": 30}"#,
                None,
                Some(30),
            ),
            (&picture, chat, window, "{}", Some(50), Some(50)),
        ] {
            let found = foreseen(body, path, params, sampling);
            assert_eq!(found, (input, output), "{body} {params} {sampling}");
        }
    }

    #[test]
    fn an_answer_of_more_tokens_than_can_be_counted_ends_the_spending() {
        let spending = Spending::new(tokens(1_000), &[]);
        for _ in 0..2 {
            let cost = answer(u64::MAX, u64::MAX);
            spending.settle(Reserved::default(), Some(&cost));
        }
        assert_eq!(spending.total().tokens_in, u64::MAX);
        assert!(ask(&spending, USUAL).is_err());
    }

    #[test]
    fn no_limit_is_passed_whatever_is_answered() {
        // A request may take 10 and 5 tokens, which cost 2; it takes any number up to that.
        let mut draw = 7_u64;
        let mut random = |most: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (draw >> 33) % (most + 1)
        };
        for round in 0..2_000_u32 {
            let limits = if round % 2 == 0 {
                cost_of(f64::from(round) / 40.0)
            } else {
                tokens(u64::from(round))
            };
            let spending = Spending::new(limits, &[]);
            let mut on_their_way = Vec::new();
            let stopping = AtomicBool::new(true);
            loop {
                while on_their_way.len() < 3 {
                    match spending.reserve("m", USUAL, PRICES, &stopping) {
                        Ok(reserved) => on_their_way.push(reserved),
                        Err(_) => break,
                    }
                }
                let Some(reserved) = on_their_way.pop() else {
                    break;
                };
                let paid = answer(random(10).max(1), random(5));
                spending.settle(reserved, Some(&paid));
            }
            let total = spending.total();
            let used = total.tokens_in + total.tokens_out;
            // Nothing is left that one more request is sure to fit into.
            if let Some(most) = limits.cost {
                assert!(total.cost <= most + 1e-9, "{} of {most}", total.cost);
                assert!(total.cost > most - 2.0 - 1e-9, "{} of {most}", total.cost);
            } else {
                let most = limits.tokens.unwrap();
                assert!(used <= most && used + 15 > most, "{used} of {most}");
            }
        }
    }

    #[test]
    fn what_is_not_known_beforehand_is_not_sent() {
        for request in [
            Foreseen {
                input: None,
                ..USUAL
            },
            Foreseen {
                output: None,
                ..USUAL
            },
        ] {
            for limits in [cost_of(1e9), tokens(1 << 40)] {
                let refused = ask(&Spending::new(limits, &[]), request).unwrap_err();
                assert!(refused.0.contains("cannot be held"), "{}", refused.0);
            }
            assert!(ask(&Spending::default(), request).is_ok());
        }
    }

    #[test]
    fn a_server_that_counts_more_than_bytes_is_believed() {
        let spending = Spending::new(tokens(100), &[answer(300, 20)]);
        // 320 are used already.
        assert!(ask(&spending, USUAL).is_err());
        let spending = Spending::new(tokens(360), &[answer(300, 20)]);
        // Of 10 bytes it makes 30 tokens, and 20 of an answer.
        assert!(ask(&spending, USUAL).is_err());
        let spending = Spending::new(tokens(370), &[answer(300, 20)]);
        assert_eq!(ask(&spending, USUAL).unwrap().tokens(), 50);
    }

    #[test]
    fn what_is_on_its_way_counts_and_what_failed_does_not() {
        let limits = tokens(45);
        let spending = Spending::new(limits, &[]);
        let first = ask(&spending, USUAL).unwrap();
        spending.settle(first, Some(&answer(10, 5)));
        let (second, third) = (
            ask(&spending, USUAL).unwrap(),
            ask(&spending, USUAL).unwrap(),
        );
        let stopping = AtomicBool::new(true);
        assert!(spending.reserve("m", USUAL, PRICES, &stopping).is_err());
        spending.settle(second, None);
        let again = ask(&spending, USUAL).unwrap();
        spending.settle(third, Some(&answer(10, 5)));
        spending.settle(again, Some(&answer(10, 5)));
        let refused = ask(&spending, USUAL).unwrap_err().0;
        assert!(refused.contains("max_tokens_total (45)"), "{refused}");
        assert!(!refused.contains("counting"), "{refused}");
        assert_eq!(spending.total().answers, 3);
        // A run that goes on has spent that already.
        let spending = Spending::new(limits, &[answer(10, 5), answer(10, 20)]);
        assert!(ask(&spending, USUAL).is_err());
    }

    #[test]
    fn what_nobody_tells_counts_as_all_that_it_may_be() {
        let untold = Cost {
            untold: true,
            ..answer(10, 5)
        };
        let spending = Spending::new(tokens(40), std::slice::from_ref(&untold));
        let one = ask(&spending, USUAL).unwrap();
        spending.settle(one, Some(&untold));
        let refused = ask(&spending, USUAL).unwrap_err().0;
        assert!(
            refused.contains("30 are used, counting 2 requests"),
            "{refused}"
        );
        // It is not told of as if it were known.
        assert_eq!(spending.total().tokens_in, 0);
    }
}
