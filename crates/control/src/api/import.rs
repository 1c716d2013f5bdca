//! `/api/Property/{property}/hostname/import`: many hostnames, one JSON object a line.
//!
//! The body is read whole before anything is made, so that a client that reads the answer only once
//! it has sent everything is never stuck. The answer is written as the lines are dealt with.

use std::{collections::HashSet, io, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use landfall_model::PropertyId;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    SharedApp,
    body::{read_lines, refuse_private_keys},
    json,
    problem::Problem,
    property::property_id,
};
use crate::{
    call::Call,
    service::{ImportMode, Imported, Outcome},
    settings::Fields,
};

/// How many lines one transaction takes: other writers come between.
const CHUNK: usize = 50;
/// How many imports go on at a time.
pub(crate) const MAX_IMPORTS: usize = 4;

/// Adds many hostnames to a property
///
/// One JSON object a line, as for one hostname. The answer has a line for each, as they are dealt
/// with: `line`, `name`, `status` (`created`, `exists`, `claimed`, `invalid` or `failed`), `id` and
/// `problem`. To send it again is safe.
#[utoipa::path(
    post,
    path = "/api/Property/{property}/hostname/import",
    operation_id = "importHostnames",
    tag = "Hostnames",
    params(("dryRun" = Option<bool>, Query, description = "Whether nothing is made. Default: false.")),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (
            status = 200,
            description = "A line for each hostname.",
            content_type = "application/x-ndjson",
            body = String,
        ),
        (status = 413, description = "`body_too_large` or `too_many_lines`"),
    )
)]
pub(super) async fn import(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<i64>, PathRejection>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Problem> {
    let property = property_id(path)?;
    let mode = mode(&query)?;
    app.service.property(property).await?;
    let permit = Arc::clone(&app.imports).try_acquire_owned().map_err(|_| {
        Problem::unavailable("too_many_imports", "Other imports are going on. Nothing was changed.")
    })?;
    let body = read_lines(request, app.limits.import_max_body).await?;
    let most = app.limits.import_max_lines;
    let lines: Vec<(usize, Vec<u8>)> = body
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| (index + 1, line.to_vec()))
        .collect();
    if lines.len() > most {
        let detail = format!("An import may have {most} lines.");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Problem::new(status, "too_many_lines", "The body is too large", detail));
    }
    let seen = HashSet::new();
    let import = Import { app, call, property, mode, lines: lines.into(), seen, _permit: permit };
    let answer = Body::from_stream(stream::unfold(import, Import::next));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], answer).into_response())
}

fn mode(query: &[(String, String)]) -> Result<ImportMode, Problem> {
    match query {
        [] => Ok(ImportMode::Commit),
        [(name, value)] if name == "dryRun" => match value.as_str() {
            "true" => Ok(ImportMode::Rehearse),
            "false" => Ok(ImportMode::Commit),
            _ => Err(Problem::bad_parameter(name, "invalid_query", "Expected `true` or `false`.")),
        },
        [(name, _), ..] => {
            let detail = "There is no such parameter; expected `dryRun`, once.";
            Err(Problem::bad_parameter(name, "invalid_query", detail))
        }
    }
}

/// An import that goes on.
struct Import {
    app: SharedApp,
    call: Call,
    property: PropertyId,
    mode: ImportMode,
    lines: std::collections::VecDeque<(usize, Vec<u8>)>,
    /// What a rehearsal would have made.
    seen: HashSet<String>,
    _permit: OwnedSemaphorePermit,
}

impl Import {
    /// Deals with the next lines, and tells what came of them.
    async fn next(mut self) -> Option<(Result<Bytes, io::Error>, Self)> {
        if self.lines.is_empty() {
            return None;
        }
        let taken = self.lines.len().min(CHUNK);
        let chunk: Vec<(usize, Vec<u8>)> = self.lines.drain(..taken).collect();
        let answers = self.deal_with(chunk).await;
        let mut text = String::new();
        for answer in answers {
            text.push_str(&answer.to_string());
            text.push('\n');
        }
        Some((Ok(Bytes::from(text)), self))
    }

    async fn deal_with(&mut self, chunk: Vec<(usize, Vec<u8>)>) -> Vec<Value> {
        let mut answers = Vec::with_capacity(chunk.len());
        let (mut numbers, mut readable) = (Vec::new(), Vec::new());
        for (number, line) in chunk {
            match refuse_private_keys(&line).and_then(|()| json::read::<Fields>(&line)) {
                Ok(fields) => {
                    numbers.push(number);
                    readable.push(fields);
                }
                Err(problem) => answers.push((number, failed("invalid", None, &problem))),
            }
        }
        let service = &self.app.service;
        let imported =
            service.import_hostnames(self.call, self.property, self.mode, readable).await;
        match imported {
            Ok(imported) => {
                for (number, imported) in numbers.into_iter().zip(imported) {
                    answers.push((number, self.told(imported)));
                }
            }
            Err(error) => {
                let problem = Problem::from(error);
                let failed = |number| (number, failed("failed", None, &problem));
                answers.extend(numbers.into_iter().map(failed));
            }
        }
        answers.sort_by_key(|(number, _)| *number);
        let numbered = |(number, mut answer): (usize, Value)| {
            if let Value::Object(fields) = &mut answer {
                fields.insert("line".to_owned(), number.into());
            }
            answer
        };
        answers.into_iter().map(numbered).collect()
    }

    fn told(&mut self, imported: Imported) -> Value {
        let name = imported.name.map(|name| name.to_string());
        let (id, outcome) = match imported.outcome {
            Ok(made) => made,
            Err(error) => return failed("invalid", name.as_deref(), &Problem::from(error)),
        };
        let is_new = name.as_ref().is_none_or(|name| self.seen.insert(name.clone()));
        let status = match outcome {
            _ if self.mode == ImportMode::Rehearse && !is_new => "exists",
            Outcome::Created => "created",
            Outcome::Claimed => "claimed",
            Outcome::Exists => "exists",
        };
        match (self.mode, outcome) {
            // What was not made has no id.
            (ImportMode::Rehearse, Outcome::Created | Outcome::Claimed) => {
                json!({"name": name, "status": status})
            }
            (ImportMode::Commit, _) | (ImportMode::Rehearse, Outcome::Exists) => {
                json!({"name": name, "status": status, "id": id})
            }
        }
    }
}

fn failed(status: &str, name: Option<&str>, problem: &Problem) -> Value {
    match name {
        Some(name) => json!({"name": name, "status": status, "problem": problem.body()}),
        None => json!({"status": status, "problem": problem.body()}),
    }
}
