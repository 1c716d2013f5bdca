//! Who may call which endpoint. A route can only be added with what a key needs for it.

use std::time::Instant;

use axum::{
    RequestExt, Router,
    extract::{RawPathParams, Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::Response,
    routing::{MethodFilter, on},
};
use http::{HeaderMap, StatusCode, header};
use landfall_model::{HostnameId, PropertyId};
use time::OffsetDateTime;

use super::{SharedApp, body, condition, problem::Problem, throttle};
use crate::{
    api_key::{Caller, Scope},
    call::{Actor, Call, Conditions},
    peer::{Holder, Peer},
    store,
    token::{ApiKeyId, Presented},
};

/// What a key needs to call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) scope: Scope,
    pub(crate) reach: Reach,
}

/// Which keys may call an endpoint at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those for one property too; where the path names a property, it must be theirs.
    Property,
    /// Only those for all properties.
    Everything,
}

impl Need {
    pub(crate) const READ: Self = Self { scope: Scope::Read, reach: Reach::Property };
    pub(crate) const WRITE: Self = Self { scope: Scope::Write, reach: Reach::Property };
    pub(crate) const ADMIN: Self = Self { scope: Scope::Admin, reach: Reach::Property };
    /// To make what is nobody's yet.
    pub(crate) const WRITE_EVERYTHING: Self =
        Self { scope: Scope::Write, reach: Reach::Everything };

    fn is_met_by(self, caller: &Caller) -> bool {
        let reaches = match self.reach {
            Reach::Property => true,
            Reach::Everything => caller.property.is_none(),
        };
        reaches && caller.scope >= self.scope
    }

    fn refused(self) -> Problem {
        let of = match self.reach {
            Reach::Property => "",
            Reach::Everything => " for all properties",
        };
        let detail = format!("This takes a key{of} with the scope `{}`.", self.scope);
        let title = "The key may not do this";
        Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", title, detail)
            .with("requiredScope", self.scope.name())
    }
}

/// The methods that endpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Routes that are reached with a key alone.
pub(crate) struct GuardedRoutes {
    app: SharedApp,
    refuse: fn(Problem) -> Response,
    router: Router<SharedApp>,
    #[cfg(test)]
    pub(crate) inventory: Vec<(Verb, &'static str, Need)>,
}

impl GuardedRoutes {
    /// None yet. `refuse` writes a refusal in the form that these routes' clients expect.
    pub(crate) fn new(app: &SharedApp, refuse: fn(Problem) -> Response) -> Self {
        Self {
            app: app.clone(),
            refuse,
            router: Router::new(),
            #[cfg(test)]
            inventory: Vec::new(),
        }
    }

    /// Adds an endpoint. Of the path's parameters, `{property}` and `{hostname}` are ids of these,
    /// `{zone}` and `{custom_hostname}` those of the Cloudflare-compatible API.
    pub(crate) fn route<H, T>(mut self, verb: Verb, path: &'static str, need: Need, to: H) -> Self
    where
        H: Handler<T, SharedApp>,
        T: 'static,
    {
        #[cfg(test)]
        self.inventory.push((verb, path, need));
        let gate = Gate { app: self.app.clone(), need, refuse: self.refuse };
        let guarded =
            on(verb.filter(), to).route_layer(middleware::from_fn_with_state(gate, guard));
        self.router = self.router.route(path, guarded);
        self
    }

    pub(crate) fn into_router(self) -> Router<SharedApp> {
        self.router
    }
}

#[derive(Clone)]
struct Gate {
    app: SharedApp,
    need: Need,
    refuse: fn(Problem) -> Response,
}

/// Lets whoever may call the endpoint in, and tells the handler who it is.
async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let now = OffsetDateTime::now_utc();
    let peer = request.extensions().get::<Peer>().cloned();
    let headers = request.headers();
    let admitted = async {
        let caller = authenticate(&gate.app, headers, peer.as_ref(), now).await?;
        let allowance = gate.app.throttle.request(&caller, Instant::now())?;
        if let Some(peer) = &peer {
            let kept = peer.belong_to(Holder::of(&caller));
            kept.map_err(|refused| throttle::too_many(refused, &gate.app.limits.connections))?;
        }
        Ok((caller, allowance))
    };
    let (caller, allowance) = match admitted.await {
        Ok(admitted) => admitted,
        Err(problem) => {
            gate.app.metrics.refused(&problem);
            if problem.status() == StatusCode::TOO_MANY_REQUESTS {
                body::discard(request.into_body().into_data_stream()).await;
            }
            return (gate.refuse)(problem);
        }
    };
    let mut response = match admit(&gate, &mut request, caller, now).await {
        Ok(()) => next.run(request).await,
        Err(problem) => (gate.refuse)(problem),
    };
    allowance.tell(&mut response);
    response
}

async fn admit(
    gate: &Gate,
    request: &mut Request,
    caller: Caller,
    now: OffsetDateTime,
) -> Result<(), Problem> {
    let target = Target::of(&gate.app, request).await?;
    if target.property.is_some_and(|property| !caller.sees(property)) {
        return Err(Problem::not_found("property"));
    }
    if !gate.need.is_met_by(&caller) {
        target.check_exists(&gate.app).await?;
        return Err(gate.need.refused());
    }
    let expected = condition::expected(request.headers())?;
    let conditions = Conditions { expected, once: None };
    let sites = caller.sites();
    let call = Call { sites, conditions, ..Call::by(Actor::Key(caller.key), now) };
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(call);
    Ok(())
}

/// Finds out who calls: whose key is in `X-API-Key`, `Authorization: Bearer` or `X-Auth-Key`.
pub(crate) async fn authenticate(
    app: &SharedApp,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    now: OffsetDateTime,
) -> Result<Caller, Problem> {
    let proven = match presented(headers) {
        Some(presented) => prove(app, &presented, now).await?,
        None => None,
    };
    proven.ok_or_else(|| {
        if let Some(refused) = app.refused_api_keys.count(Instant::now()) {
            tracing::warn!(refused, "requests to the API came without a valid API key");
        }
        let problem = Problem::unauthorized("a valid API key in `X-API-Key` or as bearer token");
        app.throttle.failure(peer, Instant::now(), problem)
    })
}

fn presented(headers: &HeaderMap) -> Option<Presented<ApiKeyId>> {
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // The last one is how Cloudflare's clients send a key without a scheme.
    let token = named("x-api-key").or_else(|| bearer(headers)).or_else(|| named("x-auth-key"));
    token.and_then(Presented::parse)
}

async fn prove(
    app: &SharedApp,
    presented: &Presented<ApiKeyId>,
    now: OffsetDateTime,
) -> Result<Option<Caller>, Problem> {
    let found = async {
        let mut connection = app.service.store.read().await?;
        store::api_key::find_valid(&mut connection, presented.id, now).await
    };
    let found = found.await.map_err(|error| Problem::internal(&error))?;
    let proven = found.filter(|valid| presented.matches(&valid.hash));
    if proven.is_some() {
        app.key_uses.note(presented.id, now);
    }
    Ok(proven.map(|valid| Caller {
        key: presented.id,
        scope: valid.scope,
        property: valid.property,
    }))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What a path names.
#[derive(Clone, Debug, Default)]
struct Target {
    property: Option<PropertyId>,
    hostname: Option<HostnameId>,
    /// By its public id.
    custom_hostname: Option<String>,
}

impl Target {
    /// Ids that are no numbers name nothing.
    async fn of(app: &SharedApp, request: &mut Request) -> Result<Self, Problem> {
        let mut target = Self::default();
        let params = request.extract_parts::<RawPathParams>().await;
        let params = params.map_err(|_| Problem::not_found("path"))?;
        for (name, value) in &params {
            match name {
                "property" => {
                    let id = value.parse().map_err(|_| Problem::not_found("property"))?;
                    target.property = Some(PropertyId(id));
                }
                "hostname" => {
                    let id = value.parse().map_err(|_| Problem::not_found("hostname"))?;
                    target.hostname = Some(HostnameId(id));
                }
                "zone" => target.property = Some(app.service.zone(value).await?.property.id),
                "custom_hostname" => target.custom_hostname = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(target)
    }

    /// A key that may only look learns of what it can't do, unless there is nothing to be seen.
    async fn check_exists(&self, app: &SharedApp) -> Result<(), Problem> {
        if let (Some(property), Some(id)) = (self.property, &self.custom_hostname) {
            app.service.hostname_id(property, id).await?;
            return Ok(());
        }
        match (self.property, self.hostname) {
            (Some(property), Some(hostname)) => {
                app.service.hostname(property, hostname).await.map(drop).map_err(Problem::from)
            }
            (Some(property), None) => {
                app.service.property(property).await.map(drop).map_err(Problem::from)
            }
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
