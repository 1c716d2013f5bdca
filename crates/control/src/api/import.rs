//! `/api/Property/{property}/hostname/import`: many hostnames, one JSON object a line.
//!
//! The body is read whole before anything is made, so that a client that reads the answer only once
//! it has sent everything is never stuck. The lines are dealt with some at a time, in turns with other
//! imports, whether or not anybody reads the answer: neither a body that drips nor a reader that doesn't
//! read holds up more than its own property's imports.

mod places;

use std::{
    collections::{HashSet, VecDeque},
    io,
};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use landfall_model::PropertyId;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    SharedApp,
    body::{Line, LineLimits, read_lines, refuse_private_keys},
    condition, json, once,
    problem::Problem,
    property::property_id,
};
use crate::{
    call::Call,
    service::{ImportMode, Imported, Outcome},
    settings::Fields,
};
pub(crate) use places::Imports;
use places::Place;

/// How many lines one transaction takes: other writers come between.
const CHUNK: usize = 50;

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
        (status = 413, description = "`body_too_large`, `line_too_long` or `too_many_lines`"),
        (status = 503, description = "`too_many_imports`: of this property one at a time."),
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
    condition::refuse(request.headers())?;
    once::refuse(request.headers(), "An import may be sent again as it is: what exists is left.")?;
    app.service.property(property).await?;
    let place = Place::take(&app, property)?;
    let limits = LineLimits {
        body: app.limits.import_max_body,
        line: app.limits.max_body,
        lines: app.limits.import_max_lines,
    };
    let lines = read_lines(request, limits).await?;
    let import = Import { app, call, property, mode, seen: HashSet::new() };
    let (tell, told) = mpsc::channel(1);
    let mut task = JoinSet::new();
    task.spawn(import.run(lines, place, tell));
    let answer = Body::from_stream(stream::unfold(Answer { told, task }, Answer::next));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], answer).into_response())
}

/// How an answer ends. One that ends before all was told must not look whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All was told.
    Whole,
    /// It was not read in time.
    CutOff,
}

/// An answer that is being made.
struct Answer {
    told: mpsc::Receiver<Bytes>,
    /// What makes it. Dropped, that ends too.
    task: JoinSet<Ending>,
}

impl Answer {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if let Some(piece) = self.told.recv().await {
            return Some((Ok(piece), self));
        }
        match self.task.join_next().await {
            None | Some(Ok(Ending::Whole)) => None,
            Some(Ok(Ending::CutOff) | Err(_)) => {
                Some((Err(io::Error::other("the import was cut off")), self))
            }
        }
    }
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
    /// What a rehearsal would have made.
    seen: HashSet<String>,
}

impl Import {
    /// Deals with all lines, and tells what came of them for as long as somebody listens. What was not
    /// read in time once all is done is given up.
    async fn run(
        mut self,
        lines: VecDeque<Line>,
        place: Place,
        tell: mpsc::Sender<Bytes>,
    ) -> Ending {
        let limit = self.app.limits.request_timeout;
        // Whatever the reader does, there is room for what is to be told.
        let (dealt, mut to_tell) = mpsc::channel(lines.len().div_ceil(CHUNK).max(1));
        let telling = async move {
            while let Some(piece) = to_tell.recv().await {
                if tell.send(piece).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(telling);
        tokio::select! {
            // Nobody listens any more.
            () = &mut telling => return Ending::CutOff,
            () = self.deal_with_all(lines, dealt) => {}
        }
        let told = tokio::time::timeout(limit, telling).await;
        // What is still to be told takes memory too.
        drop(place);
        match told {
            Ok(()) => Ending::Whole,
            Err(_) => Ending::CutOff,
        }
    }

    async fn deal_with_all(&mut self, mut lines: VecDeque<Line>, dealt: mpsc::Sender<Bytes>) {
        while !lines.is_empty() {
            let taken = lines.len().min(CHUNK);
            let chunk = lines.drain(..taken).collect();
            let answers = self.deal_with(chunk).await;
            let text: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
            if dealt.send(Bytes::from(text)).await.is_err() {
                return;
            }
        }
    }

    async fn deal_with(&mut self, chunk: Vec<Line>) -> Vec<Value> {
        let mut answers = Vec::with_capacity(chunk.len());
        let (mut numbers, mut readable) = (Vec::new(), Vec::new());
        for Line { number, json } in chunk {
            match refuse_private_keys(&json, &[]).and_then(|()| json::read::<Fields>(&json)) {
                Ok(fields) => {
                    numbers.push(number);
                    readable.push(fields);
                }
                Err(problem) => answers.push((number, failed("invalid", None, &problem))),
            }
        }
        match self.make(readable).await {
            Ok(imported) => {
                for (number, imported) in numbers.into_iter().zip(imported) {
                    answers.push((number, self.told(imported)));
                }
            }
            Err(problem) => {
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

    /// Waits for its turn, and makes what can be made, for at most as long as a request may take.
    async fn make(&self, hostnames: Vec<Fields>) -> Result<Vec<Imported>, Problem> {
        if hostnames.is_empty() {
            return Ok(Vec::new());
        }
        let making = async {
            let _turn = self.app.imports.turn().await;
            let service = &self.app.service;
            service.import_hostnames(self.call, self.property, self.mode, hostnames).await
        };
        match tokio::time::timeout(self.app.limits.request_timeout, making).await {
            Ok(imported) => imported.map_err(Problem::from),
            Err(_) => Err(Problem::unavailable("timeout", "The lines took too long.")),
        }
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
