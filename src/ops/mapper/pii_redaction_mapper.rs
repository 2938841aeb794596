//! Replaces personal data and secrets by placeholders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, Problems, operator};
use crate::sample::{FieldPath, RowError, Sample};
use crate::text::is_true;
use crate::text::pii::{Kind, Redaction};
use crate::text::python_regex::Substitution;

operator! {
    /// Replaces personal data and secrets by placeholders: in the text, in dialogues and messages,
    /// and in whatever lists and file fields the row has.
    ///
    /// In this order: PEM blocks, JSON web tokens, URLs (off by default), IPv4 addresses and IPv6
    /// addresses in brackets, MAC addresses, paths (below `/Users`, `/home`, `/tmp`, `/etc`, `/var`,
    /// `/opt` and `/Applications`, with a drive, or with two backslashes), e-mail addresses, values
    /// of keys such as `password:` or `token=`, identifiers (`session_id: ..`; the name stays),
    /// names of messengers after `channel:`, their identifiers (`ou_..`), phone numbers, Chinese
    /// identity card numbers, then `extra_patterns` in their order.
    ///
    /// Strings in the fields of `redact_keys` are redacted; of `messages_key` the `content` of each
    /// message (and the `text` and `content` of its blocks) and the arguments of its `tool_calls`
    /// and `tool_use`; of `dialog_history` the first two strings of each turn, which are all that
    /// stays of it. Then all strings in any list of the row, at any depth, and all strings called
    /// `file_path`, `path`, `file`, `arguments` or `file_paths` are redacted; that includes absolute
    /// paths in the list of images.
    ///
    /// ## Example
    /// ```yaml
    /// - pii_redaction_mapper: {email_replacement: "<EMAIL>"}
    /// ```
    /// ```json
    /// {"in": {"text": "write to jo@example.com from 192.0.2.1"}, "out": {"text": "write to <EMAIL> from [IP_REDACTED]"}}
    /// {"in": {"text": "password=abc", "meta": {"path": "/tmp/x"}}, "out": {"text": "password=[REDACTED]", "meta": {"path": "[PATH_REDACTED]"}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `pii_redaction_mapper`: same, but for `extra_patterns`: one that is not a
    /// regular expression is refused (Data-Juicer leaves it out without a word), and patterns are
    /// those of Python's `regex` module.
    pii_redaction_mapper: Mapper(Params) => build,
    Facts {
        memory: 12,
        reads: &[Field::Any],
        writes: &[Field::Any],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one switch a kind, as the recipe has them"
)]
struct Params {
    /// Replace paths.
    mask_paths: bool,
    /// Replace e-mail addresses.
    mask_emails: bool,
    /// Replace the values of keys such as `password` and `api_key`.
    mask_secrets: bool,
    /// Replace the values of session, user, request and trace identifiers.
    mask_ids: bool,
    /// Replace Chinese mobile numbers, and numbers with `+` and a country code.
    mask_phones: bool,
    /// Replace Chinese identity card numbers.
    mask_id_cards: bool,
    /// Replace the names of messengers after `channel:`.
    mask_channel_ids: bool,
    /// Replace identifiers that start with `ou_`, `u_` or `uid_`.
    mask_platform_open_ids: bool,
    /// Replace PEM blocks.
    mask_pem: bool,
    /// Replace JSON web tokens.
    mask_jwt: bool,
    /// Replace URLs.
    mask_urls: bool,
    /// Replace IP addresses.
    mask_ips: bool,
    /// Replace MAC addresses.
    mask_macs: bool,
    /// What replaces a path. This and all other replacements are Python templates.
    path_replacement: String,
    /// What replaces an e-mail address.
    email_replacement: String,
    /// What replaces a secret value.
    secret_replacement: String,
    /// What replaces the value of an identifier.
    id_replacement: String,
    /// What replaces a phone number.
    phone_replacement: String,
    /// What replaces an identity card number.
    id_card_replacement: String,
    /// What replaces a messenger's name or identifier.
    channel_id_replacement: String,
    /// What replaces a PEM block.
    pem_replacement: String,
    /// What replaces a JSON web token.
    jwt_replacement: String,
    /// What replaces a URL.
    url_replacement: String,
    /// What replaces an IP address.
    ip_replacement: String,
    /// What replaces a MAC address.
    mac_replacement: String,
    /// Further pairs of a regular expression (Python syntax) and its replacement.
    extra_patterns: Option<Vec<(String, String)>>,
    /// The fields to redact; by default the text, `query`, `response`, `dialog_history` and
    /// `messages`.
    redact_keys: Option<Vec<String>>,
    /// The field, one of `redact_keys`, that holds messages.
    messages_key: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            mask_paths: true,
            mask_emails: true,
            mask_secrets: true,
            mask_ids: true,
            mask_phones: true,
            mask_id_cards: true,
            mask_channel_ids: true,
            mask_platform_open_ids: true,
            mask_pem: true,
            mask_jwt: true,
            mask_urls: false,
            mask_ips: true,
            mask_macs: true,
            path_replacement: "[PATH_REDACTED]".into(),
            email_replacement: "[EMAIL_REDACTED]".into(),
            secret_replacement: "[REDACTED]".into(),
            id_replacement: "[ID_REDACTED]".into(),
            phone_replacement: "[PHONE_REDACTED]".into(),
            id_card_replacement: "[ID_CARD_REDACTED]".into(),
            channel_id_replacement: "[CHANNEL_ID_REDACTED]".into(),
            pem_replacement: "[PEM_REDACTED]".into(),
            jwt_replacement: "[JWT_REDACTED]".into(),
            url_replacement: "[URL_REDACTED]".into(),
            ip_replacement: "[IP_REDACTED]".into(),
            mac_replacement: "[MAC_REDACTED]".into(),
            extra_patterns: None,
            redact_keys: None,
            messages_key: Some("messages".into()),
        }
    }
}

impl Params {
    /// The kinds that are asked for, in order: the parameter of the replacement, whether a group
    /// of the match stays before it, and the replacement.
    fn kinds(&self) -> Vec<(Kind, &'static str, bool, &str)> {
        let path = ("path_replacement", true, self.path_replacement.as_str());
        let ip = ("ip_replacement", false, self.ip_replacement.as_str());
        let channel = (
            "channel_id_replacement",
            self.channel_id_replacement.as_str(),
        );
        let phone = ("phone_replacement", false, self.phone_replacement.as_str());
        [
            (
                self.mask_pem,
                Kind::Pem,
                ("pem_replacement", false, self.pem_replacement.as_str()),
            ),
            (
                self.mask_jwt,
                Kind::Jwt,
                ("jwt_replacement", false, &self.jwt_replacement),
            ),
            (
                self.mask_urls,
                Kind::Url,
                ("url_replacement", false, &self.url_replacement),
            ),
            (self.mask_ips, Kind::Ipv4, ip),
            (self.mask_ips, Kind::Ipv6, ip),
            (
                self.mask_macs,
                Kind::Mac,
                ("mac_replacement", false, &self.mac_replacement),
            ),
            (self.mask_paths, Kind::UnixPath, path),
            (self.mask_paths, Kind::WindowsPath, path),
            (self.mask_paths, Kind::UncPath, path),
            (
                self.mask_emails,
                Kind::Email,
                ("email_replacement", false, &self.email_replacement),
            ),
            (
                self.mask_secrets,
                Kind::Secret,
                ("secret_replacement", true, &self.secret_replacement),
            ),
            (
                self.mask_ids,
                Kind::Id,
                ("id_replacement", true, &self.id_replacement),
            ),
            (
                self.mask_channel_ids,
                Kind::Channel,
                (channel.0, true, channel.1),
            ),
            (
                self.mask_platform_open_ids,
                Kind::OpenId,
                (channel.0, false, channel.1),
            ),
            (
                self.mask_platform_open_ids,
                Kind::PlatformId,
                (channel.0, false, channel.1),
            ),
            (self.mask_phones, Kind::ChinesePhone, phone),
            (self.mask_phones, Kind::Phone, phone),
            (
                self.mask_id_cards,
                Kind::IdCard,
                ("id_card_replacement", false, &self.id_card_replacement),
            ),
        ]
        .into_iter()
        .filter(|(wanted, ..)| *wanted)
        .map(|(_, kind, (param, keeps_group, replacement))| (kind, param, keeps_group, replacement))
        .collect()
    }
}

struct PiiRedaction {
    redactions: Vec<Redaction>,
    extra: Vec<Substitution>,
    keys: Vec<FieldPath>,
    messages_key: Option<String>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let redactions: Vec<Option<Redaction>> = params
        .kinds()
        .into_iter()
        .map(|(kind, param, keeps_group, replacement)| {
            let kept = if keeps_group { r"\1" } else { "" };
            let redaction = Redaction::new(kind, &format!("{kept}{replacement}"));
            problems.keep(redaction.map_err(|e| {
                let message = format!("{replacement:?} cannot be used as a replacement: {e}");
                ParamError::new(param, message).hint("write a backslash twice")
            }))
        })
        .collect();
    let extra: Vec<Option<Substitution>> = params
        .extra_patterns
        .iter()
        .flatten()
        .map(|(pattern, replacement)| {
            // Without the option that Data-Juicer's other patterns have.
            let substitution = Substitution::from_recipe(&format!("(?-s:{pattern})"), replacement);
            problems.keep(substitution.map_err(|e| ParamError::new("extra_patterns", e.message)))
        })
        .collect();
    let problems: Vec<ParamError> = problems.into();
    if !problems.is_empty() {
        return Err(problems);
    }
    let text_key = context.base.text_key.as_str();
    let keys = params.redact_keys.unwrap_or_else(|| {
        [text_key, "query", "response", "dialog_history", "messages"]
            .map(str::to_owned)
            .into()
    });
    Ok(Operator::Mapper(Box::new(PiiRedaction {
        redactions: redactions.into_iter().flatten().collect(),
        extra: extra.into_iter().flatten().collect(),
        keys: keys.into_iter().map(FieldPath::new).collect(),
        messages_key: params.messages_key,
    })))
}

impl Mapper for PiiRedaction {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        for key in &self.keys {
            self.redact_field(sample, key)?;
        }
        let names: Vec<String> = sample.keys().map(Into::into).collect();
        for name in names {
            let start = sample.raw_json(&name).and_then(|raw| raw.bytes().next());
            let is_scalar = start.is_some_and(|b| !matches!(b, b'[' | b'{'));
            if is_scalar && !FILE_KEYS.contains(&name.as_str()) {
                continue;
            }
            let path = FieldPath::new(name.as_str());
            let Some(mut value) = sample.value(&path)? else {
                continue;
            };
            let before = value.clone();
            match &mut value {
                Value::String(text) if FILE_KEYS.contains(&name.as_str()) => self.redact(text)?,
                Value::Array(turns) if name == HISTORY && self.redacts_history() => {
                    // Data-Juicer does not look into the turns again.
                    let is_turn = |item: &Value| item.as_array().is_some_and(|t| t.len() == 2);
                    for item in turns.iter_mut().filter(|item| !is_turn(item)) {
                        self.redact_item(item)?;
                    }
                }
                other => self.redact_nested(other)?,
            }
            if value != before {
                sample.set_value(&name, value);
            }
        }
        Ok(())
    }
}

/// Strings under these names are redacted wherever they are.
const FILE_KEYS: [&str; 5] = ["file_path", "path", "file", "arguments", "file_paths"];

/// The field of turns, pairs of a query and a response.
const HISTORY: &str = "dialog_history";

impl PiiRedaction {
    fn redact(&self, text: &mut String) -> Result<(), RowError> {
        for redaction in &self.redactions {
            if let std::borrow::Cow::Owned(redacted) = redaction.apply(text) {
                *text = redacted;
            }
        }
        for extra in &self.extra {
            let failed = |e| RowError::new("pattern_failed", e);
            if !text.is_empty()
                && let std::borrow::Cow::Owned(redacted) = extra.apply(text).map_err(failed)?
            {
                *text = redacted;
            }
        }
        Ok(())
    }

    /// Redacts a string; leaves other values as they are.
    fn redact_string(&self, value: &mut Value) -> Result<(), RowError> {
        match value {
            Value::String(text) => self.redact(text),
            _ => Ok(()),
        }
    }

    fn redact_field(&self, sample: &mut Sample, key: &FieldPath) -> Result<(), RowError> {
        let Some(mut value) = sample.value(key)? else {
            return Ok(());
        };
        let before = value.clone();
        match &mut value {
            Value::String(text) => {
                self.redact(text)?;
                if before != Value::String(text.clone()) {
                    let text = std::mem::take(text);
                    sample.set_text(key, text)?;
                }
                return Ok(());
            }
            Value::Array(messages) if Some(key.as_str()) == self.messages_key.as_deref() => {
                for message in messages.iter_mut().filter_map(Value::as_object_mut) {
                    self.redact_message(message)?;
                }
            }
            Value::Array(turns) if key.as_str() == HISTORY => {
                for turn in turns.iter_mut().filter_map(Value::as_array_mut) {
                    if turn.len() >= 2 {
                        turn.truncate(2);
                        turn.iter_mut()
                            .try_for_each(|side| self.redact_string(side))?;
                    }
                }
            }
            Value::Array(pair) if pair.len() == 2 => {
                pair.iter_mut()
                    .try_for_each(|side| self.redact_string(side))?;
            }
            _ => {}
        }
        if value != before {
            sample.set_value(key.as_str(), value);
        }
        Ok(())
    }

    /// Redacts all strings in lists, and those that are called like a file.
    fn redact_nested(&self, value: &mut Value) -> Result<(), RowError> {
        match value {
            Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| match value {
                Value::String(text) if FILE_KEYS.contains(&key.as_str()) => self.redact(text),
                other => self.redact_nested(other),
            }),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.redact_item(item)),
            _ => Ok(()),
        }
    }

    fn redact_item(&self, item: &mut Value) -> Result<(), RowError> {
        match item {
            Value::String(text) => self.redact(text),
            other => self.redact_nested(other),
        }
    }

    /// Whether turns are redacted, and not as messages.
    fn redacts_history(&self) -> bool {
        self.messages_key.as_deref() != Some(HISTORY)
            && self.keys.iter().any(|key| key.as_str() == HISTORY)
    }

    fn redact_message(&self, message: &mut Map<String, Value>) -> Result<(), RowError> {
        match message.get_mut("content") {
            Some(Value::String(text)) => self.redact(text)?,
            Some(Value::Array(blocks)) => {
                for block in blocks {
                    match block {
                        Value::Object(block) => {
                            for key in ["text", "content"] {
                                if let Some(value) = block.get_mut(key) {
                                    self.redact_string(value)?;
                                }
                            }
                        }
                        other => self.redact_string(other)?,
                    }
                }
            }
            _ => {}
        }
        for key in ["tool_calls", "tool_use"] {
            let calls = message.get_mut(key).and_then(Value::as_array_mut);
            for call in calls.into_iter().flatten() {
                let Value::Object(call) = call else { continue };
                let name = match call.get("function") {
                    Some(function) if is_true(function) => "function",
                    _ => "function_call",
                };
                if let Some(Value::Object(function)) = call.get_mut(name) {
                    self.redact_arguments(function)?;
                }
                self.redact_arguments(call)?;
            }
        }
        Ok(())
    }

    fn redact_arguments(&self, call: &mut Map<String, Value>) -> Result<(), RowError> {
        match call.get_mut("arguments") {
            Some(Value::String(text)) => self.redact(text),
            Some(arguments @ Value::Object(_)) => self.redact_nested(arguments),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::testing::{build_mapper, check_mapper};
    use crate::sample::{ImageContext, Origin};

    #[track_caller]
    fn check_row(params: &str, row: Value, expected: Value) {
        let mapper = build_mapper("pii_redaction_mapper", params).unwrap();
        let context = Arc::new(ImageContext::default());
        let mut sample = Sample::parse(row.to_string(), Origin::default(), context).unwrap();
        mapper.apply(&mut sample).unwrap();
        let mut out = Vec::new();
        sample.write_json(&[], &mut out);
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn kinds_can_be_switched_and_renamed() {
        let check = |params, input, expected| {
            check_mapper("pii_redaction_mapper", params, input, expected);
        };
        check(
            "{}",
            "see https://a.b/?token=1",
            "see https://a.b/?token=[REDACTED]",
        );
        check(
            r#"{"mask_urls": true}"#,
            "see https://a.b/?token=1",
            "see [URL_REDACTED]",
        );
        check(r#"{"mask_emails": false}"#, "a@b.com", "a@b.com");
        check(r#"{"extra_patterns": [["x.", "y"]]}"#, "xa x\n", "y x\n");
        check("{}", "", "");
    }

    #[test]
    fn rows_are_walked_as_the_peer_walks_them() {
        check_row(
            "{}",
            serde_json::json!({
                "query": ["a@b.com", 3], "messages": [{"content": [{"text": "a@b.com", "x": "a@b.com"}, "token=1"],
                "tool_calls": [{"function": {}, "function_call": {"arguments": "token=1"}}, 5]}, "loose"],
                "dialog_history": [["a@b.com", "x", "third"], ["short"]], "file": "/tmp/x", "deep": {"path": "/tmp/x", "note": "/tmp/x"}, "text": null
            }),
            serde_json::json!({
                "query": ["[EMAIL_REDACTED]", 3], "messages": [{"content": [{"text": "[EMAIL_REDACTED]", "x": "a@b.com"}, "token=[REDACTED]]"],
                "tool_calls": [{"function": {}, "function_call": {"arguments": "token=[REDACTED]]"}}, 5]}, "loose"],
                "dialog_history": [["[EMAIL_REDACTED]", "x"], ["short"]], "file": "[PATH_REDACTED]", "deep": {"path": "[PATH_REDACTED]", "note": "/tmp/x"}, "text": null
            }),
        );
        check_row(
            r#"{"redact_keys": ["other"], "messages_key": null}"#,
            serde_json::json!({"text": "a@b.com", "other": "a@b.com"}),
            serde_json::json!({"text": "a@b.com", "other": "[EMAIL_REDACTED]"}),
        );
    }

    #[test]
    fn problems_name_the_parameter() {
        let params = r#"{"path_replacement": "\\q", "mac_replacement": "\\1", "extra_patterns": [["(", ""]]}"#;
        let errors = build_mapper("pii_redaction_mapper", params).err().unwrap();
        let names: Vec<_> = errors.iter().filter_map(|e| e.param.as_deref()).collect();
        assert_eq!(
            names,
            [
                "mac_replacement",
                "path_replacement",
                "path_replacement",
                "path_replacement",
                "extra_patterns"
            ]
        );
    }
}
