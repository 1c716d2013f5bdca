//! Who issues certificates for customers' hostnames in the demo.

use super::{pebble, pebble::Pebble, ports::Ports};

/// A CA.
pub(super) enum Issuer {
    /// The control plane's own.
    Internal,
    /// A real one, by ACME.
    Pebble(Pebble),
}

impl Issuer {
    /// Pebble where it is installed.
    pub(super) async fn find() -> Self {
        Pebble::find().await.map_or(Self::Internal, Self::Pebble)
    }

    /// What a certificate of it has as its `source`.
    pub(super) fn source(&self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Pebble(_) => "authority",
        }
    }

    /// What scripts know it by.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Pebble(_) => "pebble",
        }
    }

    /// What the control plane's config has of it.
    pub(super) fn control_section(&self, ports: &Ports) -> String {
        match self {
            Self::Internal => "
# No public CA can reach the demo.
[internal_ca]
external_hostnames = \"verified\"
"
            .to_owned(),
            Self::Pebble(_) => pebble::control_section(ports),
        }
    }

    /// What the edge's config has of it.
    pub(super) fn edge_section(&self, ports: &Ports) -> String {
        match self {
            Self::Internal => "
# The control plane issues by itself.
[issuance]
enabled = false
"
            .to_owned(),
            Self::Pebble(_) => pebble::edge_section(ports),
        }
    }

    /// Says who it is to the person at the terminal.
    pub(super) fn explanation(&self) -> String {
        match self {
            Self::Internal => {
                "Customers' hostnames get certificates of the internal CA; where pebble is \
                               installed, of pebble, by ACME."
                    .to_owned()
            }
            Self::Pebble(pebble) => format!(
                "Customers' hostnames get certificates of a real CA, by ACME: {}",
                pebble.program().display()
            ),
        }
    }
}
