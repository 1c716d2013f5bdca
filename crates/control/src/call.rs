//! Who asks for something, when, and on which conditions.

use std::fmt;

use time::OffsetDateTime;

use crate::token::ApiKeyId;

/// Who asks for something, and when: what every rule and every entry of the audit log goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) now: OffsetDateTime,
    pub(crate) actor: Actor,
    pub(crate) sites: SiteRight,
    /// What the caller makes it depend on.
    pub(crate) conditions: Conditions,
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

/// In which sites a caller may add names: a site is a label right below the system domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiteRight {
    /// In those of the property alone.
    Own,
    /// It may also give the property one that has no names.
    Open,
}

/// What a caller makes a change depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// In which state the object must be.
    pub(crate) expected: Expected,
    /// Where the same request may come again, by what it is known then.
    pub(crate) once: Option<Once>,
}

/// In which state an object must be to be changed (`If-Match`, RFC 9110 section 13.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any.
    #[default]
    Any,
    /// The one that has this version.
    Version(i64),
    /// One that no object of ours ever is in.
    Never,
}

/// By what a creation is known again when its client repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    /// Whose creation it is.
    pub(crate) api_key: ApiKeyId,
    /// The SHA-256 of what its client calls it.
    pub(crate) key: [u8; 32],
    /// The SHA-256 of what is asked for.
    pub(crate) fingerprint: [u8; 32],
}

impl Call {
    /// By `actor`, for all properties, on no condition.
    pub(crate) fn by(actor: Actor, now: OffsetDateTime) -> Self {
        Self { now, actor, sites: SiteRight::Open, conditions: Conditions::default() }
    }

    /// By one of the control plane's own tasks.
    pub(crate) fn system(now: OffsetDateTime) -> Self {
        Self::by(Actor::System, now)
    }

    /// The same, to take effect once however often it comes.
    pub(crate) fn once(self, once: Option<Once>) -> Self {
        Self { conditions: Conditions { once, ..self.conditions }, ..self }
    }
}

impl Expected {
    /// Whether an object of this version is in the state that is expected.
    pub(crate) fn admits(self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Version(expected) => expected == version,
            Self::Never => false,
        }
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
