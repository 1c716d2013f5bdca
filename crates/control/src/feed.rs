//! The feed's server side: what `landfall_feed::protocol` describes.

mod ack;
mod changes;
pub(crate) mod snapshot;
mod snapshot_files;

use std::time::{Duration, Instant};

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use landfall_feed::protocol::{ACK_PATH, CHANGES_PATH, MAX_WAIT_SECONDS, SNAPSHOT_PATH};

pub(crate) use changes::Waiting;

use crate::{
    api::{SharedApp, guard::bearer, problem::Problem, throttle::too_many, within},
    peer::{Holder, Peer},
    store::{self, StoreError},
    token::{PopId, Presented},
};

/// The routes, for PoPs alone.
pub(crate) fn routes(app: &SharedApp) -> Router<SharedApp> {
    let segment = format!("{SNAPSHOT_PATH}/{{name}}");
    Router::new()
        .route(CHANGES_PATH, get(changes::handle))
        .route(SNAPSHOT_PATH, get(snapshot::handle))
        .route(&segment, get(snapshot_files::handle))
        .route(ACK_PATH, post(ack::handle))
        .route_layer(middleware::from_fn_with_state(app.clone(), note_seen))
        .route_layer(middleware::from_fn_with_state(app.clone(), require_pop))
        .route_layer(middleware::from_fn_with_state(app.clone(), bound_time))
}

/// A long poll has its wait on top of what any request may take, and so has a snapshot that is
/// still being built.
pub(crate) async fn bound_time(
    State(app): State<SharedApp>,
    request: Request,
    next: Next,
) -> Response {
    let limit = app.limits.request_timeout + Duration::from_secs(MAX_WAIT_SECONDS);
    within(limit, request, next).await
}

/// Notes that a PoP asks for what it is to serve. Its agent's calls say nothing of that.
async fn note_seen(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    request: Request,
    next: Next,
) -> Response {
    app.pops_seen.note(pop, Instant::now());
    next.run(request).await
}

/// Lets a PoP in, and tells the handler which it is.
pub(crate) async fn require_pop(
    State(app): State<SharedApp>,
    mut request: Request,
    next: Next,
) -> Response {
    let presented = bearer(request.headers()).and_then(Presented::<PopId>::parse);
    let claimed = presented.as_ref().map(|presented| presented.id);
    let proven = match presented {
        Some(presented) => prove(&app, presented).await,
        None => Ok(Proof::None),
    };
    if let Ok(Proof::Foreign(id)) = proven {
        app.pops_refused.note(id, Instant::now());
    }
    match proven {
        Ok(Proof::Own(id)) => {
            let peer = request.extensions().get::<Peer>();
            if let Some(Err(refused)) = peer.map(|peer| peer.belong_to(Holder::Pop(id))) {
                return too_many(refused, &app.limits.connections).into_response();
            }
            request.extensions_mut().insert(id);
            next.run(request).await
        }
        Ok(Proof::Foreign(_) | Proof::None) => {
            tell_of_refusal(&app, claimed).await;
            Problem::unauthorized("a PoP's token as bearer token").into_response()
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// Names the PoP that the token claims to be of, where there is one: a removed PoP has none.
async fn tell_of_refusal(app: &SharedApp, claimed: Option<PopId>) {
    let Some(refused) = app.refused_pops.count(Instant::now()) else {
        return;
    };
    let name = match (claimed, app.service.store.read().await) {
        (Some(id), Ok(mut connection)) => store::pop::name(&mut connection, id).await,
        (None, _) | (_, Err(_)) => Ok(None),
    };
    let pop = name.ok().flatten();
    tracing::warn!(refused, claimed_pop = pop.as_deref(), "requests came without a PoP's token");
}

/// What a token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// That the PoP presents it.
    Own(PopId),
    /// Nothing: the PoP has another one.
    Foreign(PopId),
    /// Nothing: there is no such PoP.
    None,
}

async fn prove(app: &SharedApp, presented: Presented<PopId>) -> Result<Proof, StoreError> {
    let mut connection = app.service.store.read().await?;
    let stored = store::pop::token_hash(&mut connection, presented.id).await?;
    Ok(match stored {
        Some(stored) if presented.matches(&stored) => Proof::Own(presented.id),
        Some(_) => Proof::Foreign(presented.id),
        None => Proof::None,
    })
}
