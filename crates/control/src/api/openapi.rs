//! The native API's document (OpenAPI 3.1), made of the code that serves it.
//!
//! A test holds it to the routes of [`super::native`], both ways. To add one:
//!
//! * Name the handler under `paths` below, and annotate it with method, `path`, `operation_id`, `tag`, `request_body` (its type) and
//!   `responses`: what it answers where all goes well, and each refusal of its own, as in
//!   `(status = 409, description = "`hostname_taken`: …")`. The first line of its doc comment is the
//!   summary, the rest the description. `property.rs` shows it.
//! * Derive `ToSchema` on what it reads and answers; every field has a doc comment. Values of other
//!   crates' types have their form in [`crate::schema`].
//! * Leave out what [`complete`] adds: ids in the path, problem bodies, and what every request may be
//!   answered (401, 404, 422, 503 and so on).
//! * Run `make openapi`, which writes `docs/openapi.json`; a test compares.

mod complete;

use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    audit, certificate, explain, health, hostname, import, key, problem::ProblemBody, property,
    verification,
};

/// What the code says of itself.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Landfall",
        description = "Custom hostnames: verified, certified and served at every PoP.\n\n\
            Bodies are JSON in camelCase; an unknown field is refused. Errors are \
            `application/problem+json` (RFC 9457) with a stable `type` and `code`. `PATCH` is JSON \
            Merge Patch (RFC 7396), except that null resets a setting to its default. Lists are \
            `{\"items\": […], \"nextCursor\": …}`."
    ),
    servers((url = "/", description = "This control plane")),
    paths(
        property::list,
        property::create,
        property::show,
        property::change,
        property::delete,
        hostname::list,
        hostname::create,
        hostname::show,
        hostname::change,
        hostname::delete,
        explain::explain,
        explain::events,
        certificate::show,
        certificate::upload,
        certificate::remove,
        certificate::revoke,
        verification::request_certificate,
        key::list,
        key::create,
        key::show,
        key::revoke,
        audit::list,
        import::import,
        health::live,
        health::ready,
        health::metrics,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Credentials),
    tags(
        (name = "Properties", description = "What owns hostnames and origins: a tenant's site."),
        (name = "Hostnames", description = "Names that are served, and how."),
        (name = "Certificates", description = "Uploaded and managed certificates of a hostname."),
        (name = "Keys", description = "API keys: who may do what."),
        (name = "Audit", description = "Who changed what."),
        (name = "Health", description = "For machines that watch. No credentials."),
    )
)]
struct Document;

/// The two ways to show an API key.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let header = ApiKey::Header(ApiKeyValue::with_description("X-API-Key", "An API key."));
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(header));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("An API key as bearer token (RFC 6750).")).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The document.
pub(super) fn document() -> Value {
    let document = serde_json::to_value(Document::openapi());
    // Its keys are texts: it always has a JSON form.
    complete::complete(document.unwrap_or_default())
}

#[cfg(test)]
mod tests;
