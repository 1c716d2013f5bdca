//! `GET /feed/v1/changes`: what changed after a cursor, at once or as soon as something does.

use std::{pin::pin, time::Duration};

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use landfall_feed::{
    page::{PageKind, PageSpec, encode_raw_records},
    protocol::{
        ChangesQuery, MAX_PAGE_RECORDS, MAX_WAIT_SECONDS, NDJSON_MEDIA_TYPE, PAGE_MEDIA_TYPE,
    },
    record::WireRecord,
};
use prometheus::IntGauge;

use crate::{
    api::{App, SharedApp, problem::Problem},
    store::{self, Store, StoreError},
    token::PopId,
};

/// A page ends once its records have this many bytes together. What a reader takes is twice that.
pub(super) const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// What there is after a cursor.
enum Found {
    Nothing,
    OtherEpoch,
    TooOld,
    Page { spec: PageSpec, records: Vec<Vec<u8>> },
}

pub(super) async fn handle(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    query: Result<Query<ChangesQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| {
        Problem::bad_parameter("query", "invalid_query", format!("{}.", rejection.body_text()))
    })?;
    let mut found = find(&app.service.store, &query).await?;
    if matches!(found, Found::Nothing) && query.wait > 0 {
        wait_for_change(&app, &query).await?;
        // The change may have been the end of this very PoP.
        require_enrolled(&app.service.store, pop).await?;
        found = find(&app.service.store, &query).await?;
    }
    match found {
        Found::Nothing => Ok(StatusCode::NOT_MODIFIED.into_response()),
        Found::OtherEpoch => Err(Problem::new(
            StatusCode::CONFLICT,
            "epoch_mismatch",
            "The cursor is of another history",
            "The epoch is another, or the cursor is ahead of the feed. Take a snapshot.",
        )),
        Found::TooOld => Err(Problem::new(
            StatusCode::GONE,
            "cursor_too_old",
            "The cursor is too old",
            "Deletions after this cursor are no longer in the feed. Take a snapshot.",
        )),
        Found::Page { spec, records } => {
            app.metrics.pages.inc();
            match wants_ndjson(&headers) {
                true => Ok(ndjson(&records)),
                false => signed(&app, spec, records).await,
            }
        }
    }
}

async fn find(store: &Store, query: &ChangesQuery) -> Result<Found, Problem> {
    read(store, query).await.map_err(|error| Problem::internal(&error))
}

async fn read(store: &Store, query: &ChangesQuery) -> Result<Found, StoreError> {
    let mut connection = store.read_at_once().await?;
    let state = store::feed::state(&mut connection).await?;
    if query.epoch != state.epoch || query.after > state.revision {
        return Ok(Found::OtherEpoch);
    }
    if query.after < state.oldest {
        return Ok(Found::TooOld);
    }
    let limit = query.limit.clamp(1, MAX_PAGE_RECORDS);
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut last = query.after;
    {
        let mut rows = pin!(store::feed::changes_after(&mut connection, query.after, limit));
        while bytes < PAGE_BYTES
            && let Some(record) = rows.try_next().await?
        {
            bytes += record.encoded.len();
            last = record.revision;
            records.push(record.encoded);
        }
    }
    let complete = bytes < PAGE_BYTES && records.len() < limit as usize;
    let to = match complete {
        true => state.revision,
        false => last,
    };
    if to == query.after {
        return Ok(Found::Nothing);
    }
    let spec = PageSpec { kind: PageKind::Changes, epoch: state.epoch, after: query.after, to };
    Ok(Found::Page { spec, records })
}

async fn require_enrolled(store: &Store, pop: PopId) -> Result<(), Problem> {
    let known = async { store::pop::token_hash(&mut *store.read().await?, pop).await };
    match known.await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Problem::unauthorized("a PoP's token as bearer token")),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// Waits until the feed has moved, the asked-for time is over, or the server stops.
async fn wait_for_change(app: &App, query: &ChangesQuery) -> Result<(), Problem> {
    let Ok(_permit) = app.long_polls.try_acquire() else {
        let detail = "Too many long polls wait. Come back in a few seconds.";
        return Err(Problem::unavailable("too_many_long_polls", detail));
    };
    let wait = Duration::from_secs(query.wait.min(MAX_WAIT_SECONDS));
    let mut head = app.service.store.follow();
    let mut stopping = app.stopping.clone();
    let moved = head.wait_for(|head| head.epoch != query.epoch || head.revision > query.after);
    let _waiting = Waiting::count_in(&app.metrics.long_polls);
    // Whichever comes first, the caller looks again.
    tokio::select! {
        _ = moved => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = tokio::time::sleep(wait) => {}
    }
    Ok(())
}

/// One in a gauge for as long as it lives: a client that leaves drops the handler where it waits.
pub(crate) struct Waiting<'a>(&'a IntGauge);

impl<'a> Waiting<'a> {
    pub(crate) fn count_in(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn wants_ndjson(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(NDJSON_MEDIA_TYPE))
}

/// One record a line, for a person.
fn ndjson(records: &[Vec<u8>]) -> Response {
    let mut text = String::new();
    for encoded in records {
        let record = WireRecord::read(encoded).and_then(|record| record.decode());
        let line = match record {
            Ok(record) => serde_json::to_string(&record).unwrap_or_default(),
            Err(error) => serde_json::json!({ "unreadable": error.to_string() }).to_string(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, NDJSON_MEDIA_TYPE)], text).into_response()
}

async fn signed(app: &App, spec: PageSpec, records: Vec<Vec<u8>>) -> Result<Response, Problem> {
    let key = app.signing_key.clone();
    let encode = move || encode_raw_records(&key, spec, &records);
    let page = tokio::task::spawn_blocking(encode).await;
    let page = page.map_err(|error| Problem::internal(&error))?;
    let page = page.map_err(|error| Problem::internal(&error))?;
    Ok(page_response(page))
}

/// A signed page as it is answered.
pub(super) fn page_response(page: Vec<u8>) -> Response {
    let media_type = HeaderValue::from_static(PAGE_MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], page).into_response()
}
