//! Whose a hostname's name is, and how that is proven.

use serde::Serialize;

use crate::hostname::{HostnameOrigin, ManagedHostname, Title, ownership::OwnershipTokens};

/// Whose a hostname's name is, and what to publish to prove it: either is enough.
#[derive(Serialize)]
pub(super) struct OwnershipBody {
    state: &'static str,
    txt: TxtBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpBody>,
}

#[derive(Serialize)]
struct TxtBody {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct HttpBody {
    url: String,
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
