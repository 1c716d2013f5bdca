//! What every answer is wrapped in.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

/// A successful answer.
#[derive(Serialize)]
struct Envelope<T> {
    /// Of what was deleted: the official clients look for it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
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

impl<T: Serialize> Envelope<T> {
    fn of(result: T) -> Self {
        Self { id: None, success: true, errors: [], messages: [], result, result_info: None }
    }
}

/// Answers with one thing.
pub(super) fn answer<T: Serialize>(status: StatusCode, result: T) -> Response {
    (status, Json(Envelope::of(result))).into_response()
}

/// Answers with a part of a list.
pub(super) fn page<T: Serialize>(result: Vec<T>, info: ResultInfo) -> Response {
    Json(Envelope { result_info: Some(info), ..Envelope::of(result) }).into_response()
}

/// Says what was deleted.
pub(super) fn deleted(id: String) -> Response {
    let result = json!({ "id": id });
    Json(Envelope { id: Some(id), ..Envelope::of(result) }).into_response()
}
