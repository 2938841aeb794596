//! The server that an operator asks, and the bodies of its requests.

use serde_json::{Map, Value, json};

use crate::op::{
    BuildContext, EndpointParams, ParamError, Problems, Request, Service, endpoint_request,
    positive,
};
use crate::sample::compact_json;

/// A server, and what is sent to it with every request.
pub struct Server {
    /// As operators name it.
    pub service: Service,
    model: Value,
    sampling: Map<String, Value>,
    /// How often an answer is asked for until one can be used.
    pub tries: u32,
    /// Whether images are sent as Data-Juicer sends them.
    pub compat_requests: bool,
}

impl Server {
    /// The server that parameters name.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn build(
        context: &BuildContext,
        endpoint: EndpointParams<'_>,
        sampling: Option<&Map<String, Value>>,
        (param, tries): (&str, i64),
    ) -> Result<Self, Vec<ParamError>> {
        let mut problems = Problems::default();
        let service = problems.keep(endpoint.service(&context.servers));
        let tries = problems.keep(positive(param, tries));
        let sampling = sampling.cloned().unwrap_or_default();
        if sampling
            .get("stream")
            .is_some_and(|stream| *stream != json!(false))
        {
            problems.keep(Err::<(), _>(
                ParamError::new("sampling_params", "stream is set")
                    .hint("leave it out: an answer is read as a whole"),
            ));
        }
        let (Some(service), Some(tries)) = (service, tries) else {
            return Err(problems.into());
        };
        let problems: Vec<ParamError> = problems.into();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            model: service.model.clone().into(),
            service: Service::Endpoint(service.with_sampling(&sampling)),
            sampling,
            tries: u32::try_from(tries).unwrap_or(u32::MAX),
            compat_requests: context.servers.compat_requests,
        })
    }

    /// A request that says `messages`, for answer number `number` to them, from 0.
    #[must_use]
    pub fn chat(&self, messages: &[Value], number: u32) -> Request {
        let mut body = Map::new();
        body.insert("messages".to_owned(), messages.to_vec().into());
        body.insert("model".to_owned(), self.model.clone());
        for (name, value) in &self.sampling {
            body.insert(name.clone(), value.clone());
        }
        Self::request(body, number)
    }

    /// A request for the embedding of `text`, with these members behind it.
    #[must_use]
    pub fn embed(&self, text: &str, behind: &[(&str, Value)]) -> Request {
        let mut body = Map::new();
        body.insert("model".to_owned(), self.model.clone());
        body.insert("input".to_owned(), text.into());
        for (name, value) in behind {
            body.insert((*name).to_owned(), value.clone());
        }
        Self::request(body, 0)
    }

    fn request(body: Map<String, Value>, number: u32) -> Request {
        let body = compact_json(&Value::Object(body));
        Request {
            head: 0,
            bytes: endpoint_request(&body, number),
        }
    }

    /// The same, with further things sent along where the recipe says nothing of them.
    #[must_use]
    pub fn with_sampling(mut self, usual: &[(&str, Value)]) -> Self {
        for (name, value) in usual {
            if !self.sampling.contains_key(*name) {
                self.sampling.insert((*name).to_owned(), value.clone());
            }
        }
        if let Service::Endpoint(service) = self.service {
            self.service = Service::Endpoint(service.with_sampling(&self.sampling));
        }
        self
    }
}

/// A message.
#[must_use]
pub fn message(role: &str, content: impl Into<Value>) -> Value {
    json!({"role": role, "content": content.into()})
}

/// What a user says.
#[must_use]
pub fn user(content: impl Into<Value>) -> Value {
    message("user", content)
}

/// What a system and a user say.
#[must_use]
pub fn system_and_user(system: &str, content: impl Into<Value>) -> Vec<Value> {
    vec![message("system", system), user(content)]
}

/// Refuses models that are to run in the process: they are asked over HTTP.
///
/// # Errors
/// If one of the flags is set.
pub fn no_local_model(is_hf_model: bool, enable_vllm: bool) -> Result<(), ParamError> {
    let param = match (is_hf_model, enable_vllm) {
        (_, true) => "enable_vllm",
        (true, _) => "is_hf_model",
        (false, false) => return Ok(()),
    };
    let message = "a language model is asked at a server, not run in the process";
    Err(ParamError::new(param, message).hint(format!(
        "serve it (`vllm serve MODEL`, `transformers serve`), set {param}: false and model_params: {{base_url: http://127.0.0.1:8000/v1}}"
    )))
}
