//! What every answer is wrapped in.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

/// A successful answer.
#[derive(Serialize)]
struct Envelope<T> {
    success: bool,
    errors: [(); 0],
    messages: [(); 0],
    result: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<ResultInfo>,
}

/// Which part of a list an answer is.
#[derive(Serialize)]
pub(super) struct ResultInfo {
    page: u32,
    per_page: u32,
    /// How many there are on this page.
    count: usize,
    total_count: u64,
    total_pages: u64,
}

impl ResultInfo {
    /// `count` of `total` on this page.
    pub(super) fn new(page: u32, per_page: u32, count: usize, total: u64) -> Self {
        let total_pages = total.div_ceil(u64::from(per_page));
        Self { page, per_page, count, total_count: total, total_pages }
    }
}

/// Answers with one thing.
pub(super) fn answer<T: Serialize>(status: StatusCode, result: T) -> Response {
    wrapped(status, result, None)
}

/// Answers with a part of a list.
pub(super) fn page<T: Serialize>(result: Vec<T>, info: ResultInfo) -> Response {
    wrapped(StatusCode::OK, result, Some(info))
}

fn wrapped<T: Serialize>(
    status: StatusCode,
    result: T,
    result_info: Option<ResultInfo>,
) -> Response {
    let body = Envelope { success: true, errors: [], messages: [], result, result_info };
    (status, Json(body)).into_response()
}
