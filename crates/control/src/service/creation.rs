//! Creations that take effect once however often they are sent.

use super::ServiceError;
use crate::store::{self, Change};

/// What came of a creation.
#[derive(Clone, Debug)]
pub(crate) enum Creation<V> {
    /// It was made.
    Made(V),
    /// The same request had made it before.
    Repeated(V),
}

/// The id of what the same request made before.
pub(super) async fn earlier(change: &mut Change) -> Result<Option<i64>, ServiceError> {
    let Some(once) = change.conditions().once else { return Ok(None) };
    match store::idempotency::find(change.on(), &once).await? {
        None => Ok(None),
        Some(earlier) if earlier.fingerprint == once.fingerprint => Ok(Some(earlier.object)),
        Some(_) => Err(ServiceError::KeyReused),
    }
}

/// What the same request made before may be gone by now.
pub(super) fn or_gone<T>(found: Result<T, ServiceError>) -> Result<T, ServiceError> {
    found.map_err(|error| match matches!(error, ServiceError::Missing(_)) {
        true => ServiceError::CreatedIsGone,
        false => error,
    })
}

/// Keeps what a request made, in case that it comes again.
pub(super) async fn keep(change: &mut Change, object: i64) -> Result<(), ServiceError> {
    let Some(once) = change.conditions().once else { return Ok(()) };
    let now = change.now();
    Ok(store::idempotency::keep(change.on(), &once, object, now).await?)
}
