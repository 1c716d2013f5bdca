//! What a CA answered within a call of the client library, which hides most of it.

use std::{cell::RefCell, future::Future};

use super::{
    error::AcmeError,
    http::{Reply, TransportError},
    nonces::Fate,
    refusal::{is_of_nonce, nonsense, refusal},
};
use crate::failure::Step;

tokio::task_local! {
    /// The last answer within a call.
    static LAST: RefCell<Option<Result<Reply, TransportError>>>;
}

/// Keeps what the CA answered for whoever observes the call.
pub(super) fn note(outcome: Result<Reply, TransportError>) {
    LAST.with(|last| last.replace(Some(outcome)));
}

/// Does something, and returns with it what the CA answered last.
pub(super) async fn observed<T>(
    call: impl Future<Output = T>,
) -> (T, Option<Result<Reply, TransportError>>) {
    let watched = async {
        let done = call.await;
        (done, LAST.with(RefCell::take))
    };
    LAST.scope(RefCell::new(None), watched).await
}

/// As [`observed`], for what fails by what the CA answered.
pub(super) async fn asked<T, E>(
    step: Step,
    call: impl Future<Output = Result<T, E>>,
) -> Result<(T, Option<Reply>), AcmeError> {
    match observed(call).await {
        (Ok(done), outcome) => Ok((done, outcome.and_then(Result::ok))),
        (Err(_), outcome) => Err(failed(step, outcome)),
    }
}

/// What became of a call that the library says failed. The answer itself tells more than the
/// library's error does.
pub(super) fn failed(step: Step, outcome: Option<Result<Reply, TransportError>>) -> AcmeError {
    match outcome {
        Some(Ok(reply)) if reply.status.is_success() => nonsense(step, &reply),
        Some(Ok(reply)) => refusal(step, &reply, None),
        Some(Err(error)) => AcmeError::transport(step, error),
        None if matches!(step, Step::Account | Step::Revocation) => {
            AcmeError::BadDirectory { detail: "it lacks what is asked for".into() }
        }
        None => AcmeError::Untrusted { step, detail: "it lacks what is asked for".into() },
    }
}

/// What became of the nonce of the request that this answers.
pub(super) fn fate_of_nonce(reply: &Reply) -> Fate {
    let is_refused =
        !reply.status.is_success() && is_of_nonce(&Err::<(), _>(refusal(Step::Order, reply, None)));
    if is_refused { Fate::Refused } else { Fate::Taken }
}
