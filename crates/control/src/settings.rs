//! Settings in the form in which they are given and shown: every field may be missing or null, which
//! means its default, and none may be unknown.
//!
//! A change is the current settings in that form, changed as JSON Merge Patch does (RFC 7396), and
//! read again: so a creation and a change are checked by the same code.

mod hostname;
mod property;
mod schemas;

use landfall_model::{Origin, OriginPoolError, RouteError, TlsPolicyError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::json::pointer_of, certificate::roots::RootsError, hostname::metadata::MetadataError,
    schema,
};
pub(crate) use hostname::HostnameSettings;
pub(crate) use property::PropertySettings;
pub(crate) use schemas::{HostnameChange, NewHostname, NewProperty, PropertyChange};

/// A JSON object as a client sent it.
pub(crate) type Fields = Map<String, Value>;

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the field `{path}` can't be read")]
    Field {
        /// A JSON pointer (RFC 6901).
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    #[error("the field `{0}` can't be changed")]
    Fixed(&'static str),
    #[error("the origins can't be used")]
    Pool(#[from] OriginPoolError),
    #[error("the route can't be used")]
    Route(#[from] RouteError),
    #[error("the TLS policy can't be served")]
    Tls(#[from] TlsPolicyError),
    #[error("the metadata can't be kept")]
    Metadata(#[from] MetadataError),
    #[error("`keyTypes` names no type of key")]
    NoKeyType,
    #[error("`customOriginSni` needs a `customOriginServer`")]
    SniAlone,
    #[error("the CA certificates in `{field}` can't be used")]
    Roots {
        field: &'static str,
        #[source]
        source: RootsError,
    },
}

/// An origin and its share of the requests.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = WeightedOrigin)]
#[serde(deny_unknown_fields)]
struct OriginSettings {
    /// The server.
    #[schema(value_type = schema::OriginUrl)]
    url: Origin,
    /// Its share in relation to the others'. Default: 1.
    #[schema(minimum = 1, maximum = 1_000)]
    weight: Option<u16>,
}

/// Reads settings.
pub(crate) fn read<T: DeserializeOwned>(fields: Fields) -> Result<T, SettingsError> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = pointer_of(error.path());
        SettingsError::Field { path, source: error.into_inner() }
    })
}

/// Reads what `patch` makes of `current`.
fn changed<T: Serialize + DeserializeOwned>(
    current: &T,
    patch: Fields,
) -> Result<T, SettingsError> {
    let written = serde_json::to_value(current);
    let Value::Object(mut fields) = written.map_err(unwritable)? else {
        return read(patch);
    };
    merge(&mut fields, patch);
    read(fields)
}

/// Settings always have a JSON form: their keys are texts.
fn unwritable(source: serde_json::Error) -> SettingsError {
    SettingsError::Field { path: String::new(), source }
}

/// Unlike RFC 7396, a null stays: it stands for the default, and an unknown field with it is
/// still refused.
fn merge(target: &mut Fields, patch: Fields) {
    for (key, value) in patch {
        match (target.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(patch)) => merge(own, patch),
            (_, value) => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
