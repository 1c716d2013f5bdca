//! Who asks for something, and when.

use std::fmt;

use time::OffsetDateTime;

use crate::token::ApiKeyId;

/// Who asks for something, and when: what every rule and every entry of the audit log goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) now: OffsetDateTime,
    pub(crate) actor: Actor,
}

/// Who asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Whoever holds an API key.
    Key(ApiKeyId),
    /// Whoever runs the command line on the control plane's node.
    Operator,
    /// The control plane's own tasks.
    System,
}

impl Call {
    /// By one of the control plane's own tasks.
    pub(crate) const fn system(now: OffsetDateTime) -> Self {
        Self { now, actor: Actor::System }
    }
}

/// As the audit log has it.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(ApiKeyId(id)) => write!(f, "key/{id}"),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
        }
    }
}
