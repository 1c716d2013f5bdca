//! Hostnames as the Cloudflare-compatible API looks for them.

mod state;

use landfall_model::{AuthorityName, HostnameId, Origin, PropertyId};
use sqlx::{QueryBuilder, Sqlite};

use super::{Connection, StoreError, from_sql};
use crate::hostname::deployment::Fleet;

/// Which hostnames are wanted: those that all of it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) public_id: Option<String>,
    pub(crate) name: Option<NameFilter>,
    pub(crate) kind: Option<NameKind>,
    pub(crate) custom_origin: Option<Origin>,
    pub(crate) authority: Option<AuthorityName>,
    /// By its name in the API.
    pub(crate) status: Option<&'static str>,
    pub(crate) certificate: Option<CertificateFilter>,
}

/// Which certificates are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFilter {
    /// Those in this state, by its name in the API.
    InState(&'static str),
    /// Those of hostnames that are to have none: there are no such hostnames.
    Unwanted,
}

/// Which names are wanted. Texts are in the form that names are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameFilter {
    Exact(String),
    Contains(String),
    StartsWith(String),
}

/// Whether what is one label below is wanted too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// A wildcard, or a hostname whose certificate covers one.
    Wildcard,
    /// The others.
    Plain,
}

/// Which part of what matches is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: u32,
    pub(crate) offset: u64,
    pub(crate) order: Order,
    pub(crate) direction: Direction,
}

/// What hostnames are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// When they were added.
    #[default]
    Added,
    /// The name of their certificate's state.
    CertificateState,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    Ascending,
    Descending,
}

/// The id of the hostname that has this public id in a property, unless it is its system hostname.
pub(crate) async fn find(
    on: &mut Connection,
    property: PropertyId,
    public_id: &str,
) -> Result<Option<HostnameId>, StoreError> {
    let id = sqlx::query_scalar::<_, i64>(
        "SELECT id FROM hostname WHERE public_id = ? AND property_id = ? AND system = 0",
    )
    .bind(public_id)
    .bind(property.0)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("look for a hostname"))?;
    Ok(id.map(HostnameId))
}

/// The ids of a page of a property's hostnames, the system hostname apart, and how many match in all.
pub(crate) async fn select(
    on: &mut Connection,
    property: PropertyId,
    selection: &Selection,
    (page, fleet): (Page, &Fleet),
) -> Result<(Vec<HostnameId>, u64), StoreError> {
    let mut count = state::begin("SELECT count(*)", fleet);
    narrow(&mut count, property, selection);
    let total = count.build_query_scalar::<i64>().fetch_one(&mut *on).await;
    let total = from_sql(total.map_err(StoreError::on("count hostnames"))?, "count")?;
    let mut query = state::begin("SELECT hostname.id", fleet);
    narrow(&mut query, property, selection);
    let direction = match page.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    query.push(" ORDER BY ");
    match page.order {
        Order::Added => {}
        Order::CertificateState => {
            query.push(state::CERTIFICATE).push(format!(" {direction}, "));
        }
    }
    query.push(format!("hostname.id {direction}"));
    query.push(" LIMIT ").push_bind(i64::from(page.limit));
    query.push(" OFFSET ").push_bind(i64::try_from(page.offset).unwrap_or(i64::MAX));
    let ids = query.build_query_scalar::<i64>().fetch_all(on).await;
    let ids = ids.map_err(StoreError::on("list hostnames"))?;
    Ok((ids.into_iter().map(HostnameId).collect(), total))
}

fn narrow(query: &mut QueryBuilder<Sqlite>, property: PropertyId, selection: &Selection) {
    query.push(" WHERE system = 0 AND property_id = ").push_bind(property.0);
    if let Some(public_id) = &selection.public_id {
        query.push(" AND public_id = ").push_bind(public_id.clone());
    }
    match &selection.name {
        None => {}
        Some(NameFilter::Exact(name)) => {
            query.push(" AND name = ").push_bind(name.clone());
        }
        Some(NameFilter::Contains(part)) => {
            query.push(" AND instr(name, ").push_bind(part.clone()).push(") > 0");
        }
        Some(NameFilter::StartsWith(start)) => {
            // Names are ASCII: nothing that starts with it sorts behind this.
            query.push(" AND name >= ").push_bind(start.clone());
            query.push(" AND name < ").push_bind(format!("{start}\u{7f}"));
        }
    }
    if let Some(kind) = selection.kind {
        let wildcard = "(substr(name, 1, 2) = '*.' \
                         OR json_extract(wish, '$.coverage') = 'name_and_wildcard')";
        query.push(match kind {
            NameKind::Wildcard => " AND ",
            NameKind::Plain => " AND NOT ",
        });
        query.push(wildcard);
    }
    if let Some(origin) = &selection.custom_origin {
        query.push(" AND json_extract(route, '$.customOrigin.server') = ");
        query.push_bind(origin.to_string());
    }
    if let Some(authority) = &selection.authority {
        query
            .push(" AND json_extract(wish, '$.authority') = ")
            .push_bind(authority.as_str().to_owned());
    }
    if let Some(status) = selection.status {
        query.push(" AND ").push(state::HOSTNAME).push(" = ").push_bind(status);
    }
    match selection.certificate {
        None => {}
        Some(CertificateFilter::Unwanted) => {
            query.push(" AND 0");
        }
        Some(CertificateFilter::InState(state)) => {
            query.push(" AND ").push(state::CERTIFICATE).push(" = ").push_bind(state);
        }
    }
}
