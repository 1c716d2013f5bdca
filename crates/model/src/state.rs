//! Where a hostname stands, as far as edges need to know.

use serde::{Deserialize, Serialize};

/// Whether a hostname is known to be its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostnameState {
    /// Not yet: whoever added the name may not be who has it. It is served to clients that verify a
    /// certificate of it, and to nobody else.
    PendingValidation,
    /// Its DNS was verified, its owner has proven the name, or it is under the system domain.
    Active,
}
