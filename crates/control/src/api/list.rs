//! Lists: a page of items and an opaque cursor to the next.

use axum::extract::{FromRequestParts, Query};
use data_encoding::BASE64URL_NOPAD;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
const CURSOR_PREFIX: &str = "after:";

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) after: i64,
    pub(super) limit: u32,
}

/// Which part of a list is wanted, as the query says it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedQuery {
    /// Where the page begins: the `nextCursor` of the one before it.
    cursor: Option<String>,
    /// The most items of a page. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<WantedQuery>::from_request_parts(parts, state).await;
        let Query(raw) = query.map_err(|rejection| {
            Problem::invalid("query", "invalid_query", format!("{}.", rejection.body_text()))
        })?;
        let after = match raw.cursor.as_deref() {
            None => 0,
            Some(cursor) => decode(cursor).ok_or_else(|| {
                let detail = "Expected the `nextCursor` of an earlier answer.";
                Problem::invalid("cursor", "invalid_cursor", detail)
            })?,
        };
        match raw.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(Self { after, limit }),
            limit => {
                let detail = format!("Expected 1 to {MAX_LIMIT}, got {limit}.");
                Err(Problem::invalid("limit", "invalid_limit", detail))
            }
        }
    }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    /// The items, in the order of their ids.
    items: Vec<T>,
    /// The `cursor` of the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl Wanted {
    /// How many rows to read: one more than wanted tells whether there is a next page.
    pub(super) fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// Makes a page of the rows that were read.
    pub(super) fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        id: impl Fn(&R) -> i64,
        item: impl Fn(R) -> T,
    ) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| encode(id(row)));
        Page { items: rows.into_iter().map(item).collect(), next_cursor }
    }
}

fn encode(after: i64) -> String {
    BASE64URL_NOPAD.encode(format!("{CURSOR_PREFIX}{after}").as_bytes())
}

fn decode(cursor: &str) -> Option<i64> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let after = std::str::from_utf8(&bytes).ok()?.strip_prefix(CURSOR_PREFIX)?.parse().ok()?;
    (after >= 0).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_leads_to_the_next_and_the_last_one_nowhere() {
        let wanted = Wanted { after: 0, limit: 2 };
        let page = wanted.page(vec![1, 2, 3], |row| *row, |row| row);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(decode(&page.next_cursor.unwrap()), Some(2));
        let page = wanted.page(vec![1, 2], |row| *row, |row| row);
        assert!(page.next_cursor.is_none());
    }

    #[test]
    fn a_cursor_that_we_did_not_make_is_none() {
        for bad in ["", "7", "!!", &BASE64URL_NOPAD.encode(b"after:-1"), &encode(1)[1..]] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
