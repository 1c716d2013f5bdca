//! Whose a hostname's name is, and how that is proven.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    hostname::{HostnameOrigin, ManagedHostname, Title, ownership::OwnershipTokens},
    schema,
};

/// Whose a hostname's name is, and what to publish to prove it: either is enough.
#[derive(Serialize, ToSchema)]
#[schema(as = Ownership)]
pub(super) struct OwnershipBody {
    /// Whether the property has the name, or claims one that another has.
    #[schema(value_type = schema::TitleName)]
    state: &'static str,
    /// A TXT record that proves it.
    txt: TxtBody,
    /// A file that proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpBody>,
}

/// A TXT record.
#[derive(Serialize, ToSchema)]
#[schema(as = TxtRecord)]
struct TxtBody {
    /// Its name.
    name: String,
    /// Its text.
    value: String,
}

/// A file on the web.
#[derive(Serialize, ToSchema)]
#[schema(as = WebFile)]
struct HttpBody {
    /// Where it is.
    url: String,
    /// What is in it.
    body: String,
}

impl OwnershipBody {
    /// `None` for a system hostname, which nobody can claim.
    pub(super) fn of(hostname: &ManagedHostname) -> Option<Self> {
        if hostname.origin == HostnameOrigin::System {
            return None;
        }
        let OwnershipTokens { token, txt_name, file } = OwnershipTokens::of(hostname);
        Some(Self {
            state: match hostname.title {
                Title::Held => "held",
                Title::Claimed => "claimed",
            },
            http: file.map(|file| HttpBody { url: file.url(), body: token.clone() }),
            txt: TxtBody { name: txt_name, value: token },
        })
    }
}
