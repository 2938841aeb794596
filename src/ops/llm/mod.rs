//! What operators that ask a language model share: their parameters, the requests they make, how a
//! conversation about a row goes on, and how answers are read.

pub mod dialog;
mod format;
mod parse;
mod picture;
pub mod prompts;
pub mod qa;
pub mod score;
mod semantic;
mod server;
mod talk;

pub use format::Format;
pub use parse::{flattened, json_start, pattern, split_by_punctuation};
pub use picture::image_url;
pub use semantic::{Strategy, grounding, usage};
pub use server::{Server, message, no_local_model, system_and_user, user};
pub use talk::{
    Edit, Halt, Script, Scripted, ScriptedParts, Talk, drop_text, edit_meta, meta_has, set_meta,
    unusable,
};

/// The parameters of an operator that asks a language model: its own, and those that all have. The
/// model's name and how often an answer is asked for differ from operator to operator.
#[macro_export]
macro_rules! llm_params {
    (
        $model:ident = $default:expr, $tries:ident = $times:expr;
        $($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $value:expr;)*
    ) => {
        /// Parameters.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[expect(clippy::struct_field_names, reason = "they are called as in Data-Juicer")]
        struct Params {
            /// The model, as the server calls it; null for the first that it has.
            $model: Option<String>,
            $($(#[doc = $doc])+ $name: $kind,)*
            /// What is appended to the server's address; null for `/chat/completions`.
            api_endpoint: Option<String>,
            /// Where in a response the answer stands, names and places with dots between; null for
            /// `choices.0.message.content`.
            response_path: Option<String>,
            /// The server: `base_url` (one or several), `api_key`, `timeout`, `max_retries`,
            /// `max_concurrency`, `price_in` and `price_out` (of a million tokens), `max_model_len`
            /// (tokens of a request and its answer together), `organization`, `project`,
            /// `default_headers`, `default_query`; what is left out comes from the environment, as
            /// in Data-Juicer.
            model_params: Option<Map<String, Value>>,
            /// What is sent beside the messages, e.g. `{temperature: 0}`.
            sampling_params: Option<Map<String, Value>>,
            /// How often an answer is asked for until one can be used.
            $tries: i64,
        }

        impl Default for Params {
            fn default() -> Self {
                Self {
                    $model: $default,
                    $($name: $value,)*
                    api_endpoint: None,
                    response_path: None,
                    model_params: None,
                    sampling_params: None,
                    $tries: $times,
                }
            }
        }

        impl Params {
            /// The server that they name.
            fn server(
                &self,
                context: &BuildContext,
            ) -> Result<$crate::ops::llm::Server, Vec<ParamError>> {
                let endpoint = $crate::op::EndpointParams {
                    param: stringify!($model),
                    model: self.$model.as_deref(),
                    path: self.api_endpoint.as_deref(),
                    response_path: self.response_path.as_deref(),
                    model_params: self.model_params.as_ref(),
                };
                $crate::ops::llm::Server::build(
                    context,
                    endpoint,
                    self.sampling_params.as_ref(),
                    (stringify!($tries), self.$tries),
                )
            }
        }
    };
}

pub use llm_params;
