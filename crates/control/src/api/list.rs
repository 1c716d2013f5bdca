//! Lists: a page of items and an opaque cursor to the next.

use axum::extract::{FromRequestParts, Query};
use data_encoding::BASE64URL_NOPAD;
use http::request::Parts;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
const CURSOR_PREFIX: &str = "after:";

/// Which of the items of a list are wanted.
pub(super) trait Filter: Default {
    /// The names of its parameters.
    const NAMES: &'static [&'static str];

    /// Takes a parameter of one of these names.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem>;
}

/// All.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Everything;

impl Filter for Everything {
    const NAMES: &'static [&'static str] = &[];

    fn set(&mut self, _: &str, _: &str) -> Result<(), Problem> {
        Ok(())
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted<F = Everything> {
    pub(super) after: i64,
    pub(super) limit: u32,
    pub(super) filter: F,
}

/// Which part of a list is wanted, as the query says it.
#[allow(dead_code, reason = "only described by it")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedQuery {
    /// Where the page begins: the `nextCursor` of the one before it.
    cursor: Option<String>,
    /// The most items of a page. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Which hostnames are wanted.
#[allow(dead_code, reason = "only described by it")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HostnamesQuery {
    /// Those with this status: `PendingValidation`, `Active` or `Error`.
    #[param(pattern = "^(PendingValidation|Active|Error)$")]
    status: Option<String>,
    /// Those whose names begin so, in A-labels.
    #[param(pattern = "^[A-Za-z0-9._*-]{1,253}$")]
    prefix: Option<String>,
}

/// Which entries of the audit log are wanted.
#[allow(dead_code, reason = "only described by it")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Those about the property with this id.
    property: Option<i64>,
}

impl<S: Send + Sync, F: Filter> FromRequestParts<S> for Wanted<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|_| {
            let detail = "Expected `name=value` pairs.";
            Problem::bad_parameter("query", "invalid_query", detail)
        })?;
        Self::read(&pairs)
    }
}

impl<F: Filter> Wanted<F> {
    fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let mut wanted = Self { after: 0, limit: DEFAULT_LIMIT, filter: F::default() };
        for (index, (name, value)) in pairs.iter().enumerate() {
            if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_parameter(name, "invalid_query", "It is there twice."));
            }
            match name.as_str() {
                "cursor" => wanted.after = cursor(value)?,
                "limit" => wanted.limit = limit(value)?,
                _ if F::NAMES.contains(&name.as_str()) => wanted.filter.set(name, value)?,
                _ => return Err(Self::unknown(name)),
            }
        }
        Ok(wanted)
    }

    fn unknown(name: &str) -> Problem {
        let known = ["cursor", "limit"].iter().chain(F::NAMES);
        let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
        let detail = format!("There is no such parameter; expected one of {}.", known.join(", "));
        Problem::bad_parameter(name, "invalid_query", detail)
    }
}

fn cursor(value: &str) -> Result<i64, Problem> {
    decode(value).ok_or_else(|| {
        let detail = "Expected the `nextCursor` of an earlier answer.";
        Problem::bad_parameter("cursor", "invalid_cursor", detail)
    })
}

fn limit(value: &str) -> Result<u32, Problem> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("Expected a whole number from 1 to {MAX_LIMIT}.");
        Problem::bad_parameter("limit", "invalid_limit", detail)
    })
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

impl<F> Wanted<F> {
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
        let wanted = Wanted { after: 0, limit: 2, filter: Everything };
        let page = wanted.page(vec![1, 2, 3], |row| *row, |row| row);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(decode(&page.next_cursor.unwrap()), Some(2));
        let page = wanted.page(vec![1, 2], |row| *row, |row| row);
        assert!(page.next_cursor.is_none());
    }

    #[test]
    fn an_unknown_or_repeated_parameter_is_refused() {
        let read = |pairs: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Wanted::<Everything>::read(&pairs.iter().map(own).collect::<Vec<_>>())
        };
        assert_eq!(read(&[("limit", "7")]).unwrap().limit, 7);
        for bad in [
            &[("limits", "7")][..],
            &[("limit", "7"), ("limit", "7")],
            &[("limit", "")],
            &[("limit", "201")],
            &[("limit", "99999999999999999999")],
            &[("limit", "1' OR '1'='1")],
            &[("status", "Active")],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_that_we_did_not_make_is_none() {
        for bad in ["", "7", "!!", &BASE64URL_NOPAD.encode(b"after:-1"), &encode(1)[1..]] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
