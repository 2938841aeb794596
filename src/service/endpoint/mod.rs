//! A server that answers as OpenAI's does, asked over HTTP.
//!
//! A request that fails for a reason that may pass is sent again, to another address if there is
//! one; one that is refused fails its row. What cannot pass ends the run: a refusal that is the
//! first answer of an address, nobody there, too many failures in a row, no money left. Which row
//! gets which answer does not depend on when answers come: an answer belongs to its request, and
//! requests that are the same share it.

mod answers;
mod client;
mod events;
mod pool;
mod spending;

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub use answers::{Answers, Cost};
pub use spending::{Foreseen, Limits, Paid, Reserved, Spending};

use answers::Claim;
use client::{Client, Heard, Response, read_kept};
use pool::{Fared, Pool};

use super::{Host, Identity, Lane, Opened, ServiceError};
use crate::op::{Answer, EndpointService, Prices, Request, Said, read_endpoint_request};
use crate::sample::{RowError, compact_json};

/// The first wait before a request is sent again; each further one is up to twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a request is sent again to a server that asks for patience, for each time that it is
/// sent again for other reasons.
const PATIENCE: u32 = 8;

/// A server.
pub struct Endpoint;

impl Endpoint {
    /// Its lanes, one a request that may be on its way. Nothing is sent before the first is asked.
    ///
    /// # Errors
    /// If certificates that are to be used cannot be read.
    pub fn open(service: &EndpointService, host: &Host) -> Result<Opened, ServiceError> {
        let name = service.model.clone();
        let name = name.unwrap_or_else(|| "the server's model".to_owned());
        let client = Client::new(service).map_err(|message| ServiceError {
            service: name.clone(),
            message,
            hint: Some("name a file of certificates in PEM".to_owned()),
            spoiled: false,
        })?;
        let stopping = Arc::clone(&host.stopping);
        let shared = Arc::new(Shared {
            client,
            pool: Pool::new(service.base_urls.len(), service.max_concurrency, stopping),
            answers: Arc::clone(&host.answers),
            spending: Arc::clone(&host.spending),
            stopping: Arc::clone(&host.stopping),
            model: Mutex::new(service.model.clone()),
            service: service.clone(),
            name: name.clone(),
        });
        let lane = |_| -> Box<dyn Lane> { Box::new(EndpointLane(Arc::clone(&shared))) };
        Ok(Opened {
            lanes: (0..service.max_concurrency.max(1)).map(lane).collect(),
            identity: Identity {
                service: name,
                runs_on: "a server".to_owned(),
            },
        })
    }
}

/// What all lanes of a server share.
struct Shared {
    service: EndpointService,
    /// How it is called in records and messages.
    name: String,
    client: Client,
    pool: Pool,
    answers: Arc<Answers>,
    spending: Arc<Spending>,
    stopping: Arc<AtomicBool>,
    /// The model, once it is known.
    model: Mutex<Option<String>>,
}

struct EndpointLane(Arc<Shared>);

impl Lane for EndpointLane {
    fn serve(
        &mut self,
        _: usize,
        requests: &[Request],
    ) -> Result<Vec<Result<Answer, RowError>>, ServiceError> {
        let answers = requests.iter().map(|request| self.0.serve(request));
        answers.collect()
    }
}

/// An answer, or why the row gets none.
type OfRow<T> = Result<T, RowError>;

fn failed(message: impl Into<String>) -> RowError {
    RowError::new("model_failed", message.into())
}

impl Shared {
    fn serve(&self, request: &Request) -> Result<OfRow<Answer>, ServiceError> {
        let Some((body, number)) = read_endpoint_request(&request.bytes) else {
            return Ok(Err(failed("the request is no request")));
        };
        let named;
        let body = if self.service.model.is_some() {
            body
        } else {
            match self.with_model(body)? {
                Ok(body) => named = body,
                Err(error) => return Ok(Err(error)),
            }
            &named
        };
        let key = self.key(body, number);
        match self.answers.claim(key).map_err(|e| self.unkept(&e))? {
            Claim::Known(bytes) => {
                self.spending.reuse(&self.name);
                let said = read_kept(&bytes, &self.service.response_path);
                return Ok(said.map(Answer::Said).map_err(failed));
            }
            Claim::Yours => {}
        }
        let asked = self.ask(body, key);
        let kept = match &asked {
            Ok(Ok((_, response, cost))) => Some((response.as_slice(), cost)),
            _ => None,
        };
        // Whoever waits for the same answer is told, whatever came.
        let settled = self.answers.settle(key, kept);
        let answer = asked?;
        settled.map_err(|e| self.unkept(&e))?;
        if let Err(error) = &answer
            && self.pool.row_failed()
        {
            let message = format!(
                "requests failed for too many rows in a row, the last one: {}",
                error.message
            );
            return Err(self.stop(message, "see that the server runs, and go on by --resume"));
        }
        Ok(answer.map(|(said, ..)| Answer::Said(said)))
    }

    /// The key that an answer is kept under: what is asked of which kind of model, not where.
    fn key(&self, body: &[u8], number: u32) -> u128 {
        let path = self.service.path.split('?').next().unwrap_or_default();
        let mut bytes = Vec::with_capacity(path.len() + body.len() + 5);
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(body);
        Answers::key(xxh3_128(&bytes))
    }

    fn unkept(&self, error: &io::Error) -> ServiceError {
        let message = format!("its answers cannot be kept: {error}");
        self.stop(
            message,
            "make room for answers.log in the run's directory, and go on by --resume",
        )
    }

    fn stop(&self, message: impl Into<String>, hint: &str) -> ServiceError {
        self.pool.stop(ServiceError {
            service: self.name.clone(),
            message: message.into(),
            hint: Some(hint.to_owned()),
            spoiled: false,
        })
    }

    fn url(&self, address: usize, path: &str) -> String {
        if path.contains("://") {
            return path.to_owned();
        }
        let base = self.service.base_urls.get(address);
        format!("{}{path}", base.map_or("", String::as_str))
    }

    /// `body` with the first model that the server has.
    fn with_model(&self, body: &[u8]) -> Result<OfRow<Vec<u8>>, ServiceError> {
        let mut known = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let found = self.try_often(0, None, |address| {
                self.client.first_model(&self.url(address, "/models"))
            })?;
            match found {
                Ok((said, ..)) => *known = Some(said.text),
                Err(error) => return Ok(Err(error)),
            }
        }
        let model = known.clone();
        drop(known);
        let Ok(Value::Object(mut map)) = serde_json::from_slice::<Value>(body) else {
            return Ok(Err(failed("the request is no JSON object")));
        };
        if let Some(place) = map.get_mut("model").filter(|model| model.is_null()) {
            *place = model.into();
        }
        Ok(Ok(compact_json(&Value::Object(map))))
    }

    /// Asks until there is an answer.
    fn ask(&self, body: &[u8], key: u128) -> Result<OfRow<(Said, Vec<u8>, Cost)>, ServiceError> {
        let seed = xxh3_64(&key.to_le_bytes());
        let foreseen = Foreseen::of(body, &self.service);
        self.try_often(seed, Some(foreseen), |address| {
            let url = self.url(address, &self.service.path);
            self.client.post(&url, body, &self.service.response_path)
        })
    }

    fn prices(&self) -> Prices {
        self.service.prices.unwrap_or_default()
    }

    /// What an answer cost to a request for which so much room was taken.
    fn cost(&self, foreseen: Foreseen, reserved: Reserved, said: &Said) -> Cost {
        if said.tokens_in == 0 && said.tokens_out == 0 {
            return self.untold(foreseen, reserved);
        }
        Cost {
            service: self.name.clone(),
            bytes: foreseen.bytes,
            tokens_in: said.tokens_in,
            tokens_out: said.tokens_out,
            cost: self.prices().of(said.tokens_in, said.tokens_out),
            untold: false,
        }
    }

    /// What a request may have cost of which nobody says so.
    fn untold(&self, foreseen: Foreseen, reserved: Reserved) -> Cost {
        Cost {
            service: self.name.clone(),
            bytes: foreseen.bytes,
            tokens_in: reserved.input,
            tokens_out: reserved.output,
            cost: reserved.cost,
            untold: true,
        }
    }

    /// Sends a request until it is answered, or is not to be sent again; `paid` says what is known
    /// of one that costs something.
    fn try_often(
        &self,
        seed: u64,
        paid: Option<Foreseen>,
        request: impl Fn(usize) -> Heard,
    ) -> Result<OfRow<(Said, Vec<u8>, Cost)>, ServiceError> {
        let (mut failures, mut waits, mut avoided) = (0, 0, None);
        loop {
            let slot = self.pool.enter(avoided, &self.name)?;
            // Room is held only by what is on its way, not by what waits to be sent again.
            let reserved = match paid.map(|foreseen| self.reserve(foreseen)).transpose() {
                Ok(reserved) => reserved,
                Err(error) => {
                    self.pool.leave(slot, Fared::Unsent);
                    return Err(error);
                }
            };
            self.spending.sent(&self.name);
            let Heard {
                response,
                rest,
                may_be_paid,
            } = request(slot.address);
            let mut cost = None;
            if let (Some(reserved), Some(foreseen)) = (reserved, paid) {
                cost = match &response {
                    Response::Answered(said, _) => Some(self.cost(foreseen, reserved, said)),
                    _ => may_be_paid.then(|| self.untold(foreseen, reserved)),
                };
                self.spending.settle(reserved, cost.as_ref());
            }
            if may_be_paid && let Some(cost) = &cost {
                self.answers.lose(cost).map_err(|e| self.unkept(&e))?;
            }
            if let Some(rest) = rest {
                self.pool.rest(slot.address, rest);
            }
            let is_new = self.pool.is_new(slot.address);
            let (fared, why) = match response {
                Response::Answered(said, response) => {
                    self.pool.leave(slot, Fared::Well);
                    return Ok(Ok((said, response, cost.unwrap_or_default())));
                }
                Response::Refused {
                    status,
                    why,
                    too_long,
                } => {
                    // Before its place is free: nobody else is to ask the same.
                    let fatal = (is_new && !too_long).then(|| {
                        let base = self.service.base_urls.get(slot.address);
                        let base = base.map_or("", String::as_str);
                        self.stop(format!("{base}: {why}"), hint_for(status))
                    });
                    self.pool.leave(slot, Fared::Refused);
                    return match fatal {
                        Some(error) => Err(error),
                        None if too_long => Ok(Err(RowError::new("model_input", why))),
                        None => Ok(Err(failed(why))),
                    };
                }
                Response::TooFast { why, wait } => {
                    waits += 1;
                    (Fared::TooFast(wait), why)
                }
                Response::Failed(why) => {
                    failures += 1;
                    (Fared::Badly, why)
                }
                Response::Lost(why) => {
                    failures += 1;
                    (Fared::Lost, why)
                }
            };
            self.pool.leave(slot, fared);
            avoided = Some(slot.address);
            let most = self.service.max_retries;
            if failures > most || waits > most.saturating_mul(PATIENCE) {
                if self.pool.is_dead() {
                    let urls = self.service.base_urls.join(", ");
                    let hint = "see that the server runs and that its address (base_url, OPENAI_BASE_URL) is right";
                    return Err(self.stop(format!("nobody answers at {urls}: {why}"), hint));
                }
                let tries = failures + waits;
                let times = if tries == 1 { "once" } else { "the last time" };
                return Ok(Err(failed(format!("{why} ({times}, of {tries} tries)"))));
            }
            // Another address can be asked at once.
            let addresses = u32::try_from(self.service.base_urls.len()).unwrap_or(1);
            if failures % addresses.max(1) == 0 || fared != Fared::Lost {
                self.pool
                    .sleep(wait_before(failures.max(waits), seed), &self.name)?;
            }
        }
    }

    fn reserve(&self, foreseen: Foreseen) -> Result<Reserved, ServiceError> {
        let room = self
            .spending
            .reserve(&self.name, foreseen, self.prices(), &self.stopping);
        room.map_err(|exhausted| {
            self.stop(
                exhausted.0,
                "raise the limit, and go on by --resume: nothing is paid twice",
            )
        })
    }
}

/// What helps against a refusal.
fn hint_for(status: u16) -> &'static str {
    match status {
        401 | 403 => "see that the key is right: OPENAI_API_KEY, or model_params: {api_key: …}",
        404 | 405 => "see that the model and the address are right; an address usually ends in /v1",
        _ => "see that the model and sampling_params are what the server takes",
    }
}

/// How long to wait before try `number` (from 1): anything up to twice as long as the time before.
/// Requests that failed together wait differently, each always the same.
fn wait_before(number: u32, seed: u64) -> Duration {
    let most = FIRST_WAIT
        .saturating_mul(1 << number.saturating_sub(1).min(8))
        .min(LONGEST_WAIT);
    let bytes = [seed.to_le_bytes(), u64::from(number).to_le_bytes()].concat();
    let share = u32::try_from(xxh3_64(&bytes) >> 32).unwrap_or_default();
    most.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_differ() {
        let most = |number| {
            (0..200)
                .map(|seed| wait_before(number, seed))
                .max()
                .unwrap()
        };
        assert!(most(1) <= FIRST_WAIT && most(1) > FIRST_WAIT / 2);
        assert!(most(3) > FIRST_WAIT * 2 && most(99) <= LONGEST_WAIT);
        assert_ne!(wait_before(1, 1), wait_before(1, 2));
        assert_eq!(wait_before(1, 1), wait_before(1, 1));
    }
}
