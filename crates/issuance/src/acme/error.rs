use std::{error::Error as StdError, time::Duration};

use landfall_model::{ChallengeMethod, HostPattern};

use super::{http::TransportError, key::KeyError, request::RequestError, url::UrlError};
use crate::{
    chain::ChainError,
    failure::{Precheck, Problem, ProblemKind, Step, Trouble, Words},
};

/// Why something asked of a CA did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The CA said why.
    #[error("the CA refused: {} ({})", .0.detail, .0.kind.name())]
    Refused(Box<Problem>),
    /// There is no connection, or it broke.
    #[error("there is no connection to the CA")]
    NoConnection {
        /// What was being done.
        step: Step,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The CA did not answer, or the order made no progress, in time.
    #[error("the CA took longer than {} seconds", waited.as_secs())]
    Slow {
        /// What was being done.
        step: Step,
        /// For how long it was waited.
        waited: Duration,
    },
    /// The answer is not what the protocol has.
    #[error("the CA's answer of status {status} is not ACME: {excerpt}")]
    Nonsense {
        /// What was being done.
        step: Step,
        /// The HTTP status.
        status: u16,
        /// How the answer begins.
        excerpt: Words,
    },
    /// The answer is ACME, and says what it may not: a URL where this CA is not asked, or what was not
    /// ordered. So may an order that somebody else has made.
    #[error("the CA's answer can't be taken: {detail}")]
    Untrusted {
        /// What was being done.
        step: Step,
        /// What is wrong with it.
        detail: Words,
    },
    /// What stands at the directory's URL is none (RFC 8555 section 7.1.1).
    #[error("the CA's directory can't be used: {detail}")]
    BadDirectory {
        /// What is wrong with it.
        detail: Words,
    },
    /// The order is invalid, and nothing says why.
    #[error("the order is invalid: {detail}")]
    OrderInvalid {
        /// What the order says.
        detail: Words,
    },
    /// The order was not done before it expired.
    #[error("the order has expired")]
    OrderExpired,
    /// The CA does not offer the method for the name.
    #[error("the CA does not offer {} for {name}", method.name())]
    NotOffered {
        /// The name.
        name: HostPattern,
        /// The method.
        method: ChallengeMethod,
    },
    /// The chain that was issued can't be used.
    #[error("the CA's chain can't be used")]
    Chain(#[from] ChainError),
    /// A key can't be used.
    #[error("the account's key can't be used")]
    Key(#[from] KeyError),
    /// The certificate's key or its signing request can't be made.
    #[error("the signing request can't be made")]
    Request(#[from] RequestError),
}

impl AcmeError {
    /// What the network made of a request.
    pub(crate) fn transport(step: Step, error: TransportError) -> Self {
        match error {
            TransportError::Timeout { limit, .. } => Self::Slow { step, waited: limit },
            TransportError::TooLarge => {
                Self::Nonsense { step, status: 200, excerpt: error.to_string().into() }
            }
            TransportError::Setup(_) => Self::BadDirectory { detail: told(&error) },
            TransportError::NoRoots => Self::BadDirectory { detail: error.to_string().into() },
            TransportError::Url(error) => Self::url(step, &error),
            TransportError::Connect(_) | TransportError::Broken(_) => {
                Self::NoConnection { step, source: error }
            }
        }
    }

    /// What a URL is where the CA is not asked.
    pub(crate) fn url(step: Step, error: &UrlError) -> Self {
        let detail = error.to_string().into();
        match step == Step::Directory {
            true => Self::BadDirectory { detail },
            false => Self::Untrusted { step, detail },
        }
    }

    /// As the classes of failures are told it.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Refused(problem) => Trouble::Problem((**problem).clone()),
            Self::NoConnection { step, source } => {
                Trouble::NoConnection { step: *step, detail: told(source) }
            }
            Self::Slow { step, waited } => Trouble::Slow {
                step: *step,
                waited: u32::try_from(waited.as_secs()).unwrap_or(u32::MAX),
            },
            Self::Nonsense { step, status, excerpt } => {
                Trouble::Nonsense { step: *step, status: *status, excerpt: excerpt.clone() }
            }
            Self::Untrusted { step, detail } => {
                Trouble::Nonsense { step: *step, status: 200, excerpt: detail.clone() }
            }
            Self::BadDirectory { detail } => Trouble::BadDirectory { detail: detail.clone() },
            Self::OrderInvalid { detail } => Trouble::OrderInvalid { detail: detail.clone() },
            Self::OrderExpired => Trouble::OrderExpired,
            Self::NotOffered { .. } => {
                Trouble::Precheck(Precheck::NoMethod { detail: self.to_string().into() })
            }
            Self::Chain(error) => Trouble::BadChain { detail: error.to_string().into() },
            Self::Key(_) | Self::Request(_) => Trouble::Unknown,
        }
    }

    /// Whether the same may be asked again within the order: nothing is wrong with what was asked.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::NoConnection { .. } | Self::Slow { .. } => true,
            Self::Nonsense { status, .. } => *status >= 500,
            Self::Refused(problem) => {
                problem.kind == ProblemKind::BadNonce
                    || problem.status.is_some_and(|status| status >= 500)
            }
            Self::Untrusted { .. }
            | Self::BadDirectory { .. }
            | Self::OrderInvalid { .. }
            | Self::OrderExpired
            | Self::NotOffered { .. }
            | Self::Chain(_)
            | Self::Key(_)
            | Self::Request(_) => false,
        }
    }
}

/// An error with what caused it: the innermost cause says most, as "connection refused".
fn told(error: &dyn StdError) -> Words {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        // Some errors repeat their cause.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = inner.source();
    }
    text.into()
}
