//! `POST /v1/moderations`, as OpenAI's clients call it.
//!
//! `model` names the policy; where it is missing or OpenAI's, the default one applies. Each string of
//! `input` is checked by itself; a list of parts is one input. Texts are what users say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use crate::api::json;
use crate::api::status::ApiError;
use crate::detect::Catalog;
use crate::guard::{Action, Check, DetectorState, Role, Segment, Selection, Verdict};
use crate::ops::auth::CallerRole;

pub(super) const PATH: &str = "/v1/moderations";

/// OpenAI's categories, with the labels of toxicity that say the same. Those without are not judged: they
/// are false, score 0 and apply to no input.
const CATEGORIES: [(&str, &[&str]); 13] = [
    ("harassment", &["toxic", "severe_toxic", "insult"]),
    ("harassment/threatening", &["threat"]),
    ("hate", &["identity_hate"]),
    ("hate/threatening", &[]),
    ("illicit", &[]),
    ("illicit/violent", &[]),
    ("self-harm", &[]),
    ("self-harm/instructions", &[]),
    ("self-harm/intent", &[]),
    ("sexual", &[]),
    ("sexual/minors", &[]),
    ("violence", &[]),
    ("violence/graphic", &[]),
];
/// What OpenAI calls its own models.
const THEIRS: [&str; 2] = ["omni-moderation", "text-moderation"];

#[derive(Deserialize)]
struct Request {
    input: Value,
    model: Option<String>,
}

#[derive(Serialize)]
struct Response {
    id: String,
    /// The policy applied.
    model: String,
    results: Vec<Judged>,
}

#[derive(Serialize)]
struct Judged {
    flagged: bool,
    categories: BTreeMap<String, bool>,
    category_scores: BTreeMap<String, f32>,
    category_applied_input_types: BTreeMap<String, Vec<&'static str>>,
    /// What a moderation has no words for.
    portcullis: More,
}

#[derive(Serialize)]
struct More {
    action: Action,
    /// Whether everything was scanned: `complete`, `partial` or `failed`.
    outcome: &'static str,
    policy_version: String,
}

pub(super) async fn answer(call: Call) -> Result<Vec<u8>, ApiError> {
    let request: Request = json::read(&call.body)?;
    let model = request.model.unwrap_or_default();
    let policy = match call.policy()? {
        Some(policy) => policy,
        None if THEIRS.iter().any(|theirs| model.starts_with(theirs)) => String::new(),
        None => model,
    };
    let id = call.id();
    let tenant = call.tenant(&[CallerRole::Check, CallerRole::Scores])?;
    let check = |texts: Vec<String>| Check {
        id: id.clone(),
        tenant: tenant.clone(),
        segments: texts
            .into_iter()
            .map(|text| Segment {
                role: Role::User,
                text: text.into(),
                id: None,
            })
            .collect(),
        selection: Selection::Policy(policy.clone()),
        deadline: call.deadline,
        conversation: None,
        include_scores: true,
    };
    let most = call.service.ready()?.limits().max_segments;
    let checks: Vec<Check> = inputs(request.input, most)?
        .into_iter()
        .map(check)
        .collect();
    let verdicts = call.service.check_each(checks).await?;
    let catalog = call.service.ready()?.catalog();
    let response = Response {
        id: format!("modr-{id}"),
        model: verdicts
            .first()
            .map_or_else(String::new, |v| v.policy.to_string()),
        results: verdicts.iter().map(|v| judged(v, catalog)).collect(),
    };
    serde_json::to_vec(&response).map_err(ApiError::internal)
}

/// The texts of each input: a string, a list of strings, or the parts of one input.
fn inputs(input: Value, most: usize) -> Result<Vec<Vec<String>>, ApiError> {
    let wrong = "must be a text, a list of texts, or a list of {\"type\": \"text\", \"text\"}";
    let list = match input {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(ApiError::invalid("input", wrong)),
    };
    if list.len() > most {
        let problem = format!("has {} texts; at most {most}", list.len());
        return Err(ApiError::invalid("input", problem));
    }
    let parts = list.iter().all(Value::is_object);
    let mut texts = Vec::with_capacity(list.len());
    for (i, value) in list.into_iter().enumerate() {
        let text = match value {
            Value::String(text) => text,
            Value::Object(mut part) if parts => match part.remove("type") {
                Some(Value::String(kind)) if kind == "text" => match part.remove("text") {
                    Some(Value::String(text)) => text,
                    _ => return Err(ApiError::invalid(&format!("input[{i}].text"), "is no text")),
                },
                Some(Value::String(kind)) => {
                    let problem = format!("{kind:?} is not read; only \"text\" is");
                    return Err(ApiError::invalid(&format!("input[{i}].type"), problem));
                }
                _ => return Err(ApiError::invalid(&format!("input[{i}].type"), "is missing")),
            },
            _ => return Err(ApiError::invalid(&format!("input[{i}]"), wrong)),
        };
        if text.is_empty() {
            return Err(ApiError::invalid(&format!("input[{i}]"), "is empty"));
        }
        texts.push(text);
    }
    Ok(if parts {
        vec![texts]
    } else {
        texts.into_iter().map(|text| vec![text]).collect()
    })
}

/// A verdict in OpenAI's categories, and one more for each detector, by its name: of the classes that can be
/// findings.
fn judged(verdict: &Verdict, catalog: &Catalog) -> Judged {
    let mut judged = Judged {
        flagged: verdict.action >= Action::Redact,
        categories: BTreeMap::new(),
        category_scores: BTreeMap::new(),
        category_applied_input_types: BTreeMap::new(),
        portcullis: More {
            action: verdict.action,
            outcome: verdict.outcome.name(),
            policy_version: verdict.policy_version.to_string(),
        },
    };
    let mut say = |category: &str, of: &dyn Fn(&str, &str) -> bool| {
        let found = verdict
            .findings
            .iter()
            .filter(|f| of(&f.detector, &f.label));
        let scored = verdict
            .detectors
            .iter()
            .flat_map(|d| d.scores.iter().map(move |s| (&d.name, s)))
            .filter(|(detector, s)| of(detector, &s.label))
            .map(|(_, s)| s.score);
        let score = found.clone().filter_map(|f| f.score).chain(scored);
        let applied = verdict.detectors.iter().any(|d| {
            let states = [DetectorState::Scored, DetectorState::Deadline];
            states.contains(&d.state)
                && (of(&d.name, "") || d.scores.iter().any(|s| of(&d.name, &s.label)))
        });
        judged.categories.insert(category.into(), found.count() > 0);
        judged
            .category_scores
            .insert(category.into(), score.fold(0.0, f32::max));
        let applied = if applied { vec!["text"] } else { Vec::new() };
        judged
            .category_applied_input_types
            .insert(category.into(), applied);
    };
    for (category, labels) in CATEGORIES {
        say(category, &|_, label| labels.contains(&label));
    }
    for detector in &verdict.detectors {
        let known = catalog.detector(&detector.name);
        let harmless = |label: &str| known.is_some_and(|d| !d.thresholds.contains_key(label));
        say(&detector.name, &|name, label| {
            name == detector.name && (label.is_empty() || !harmless(label))
        });
    }
    judged
}
