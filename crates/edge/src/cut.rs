//! Why the edge ends a connection by itself.

use std::io;

use crate::{refusal::Refusal, stream::Fault};

/// Why a connection is ended by the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// The request isn't HTTP/1 by the letter (RFC 9112).
    #[error("the request is malformed")]
    Malformed,
    /// Where the request's body ends is not said once and plainly.
    #[error("the length of the request's body is ambiguous or malformed")]
    Framing,
    /// The header or the trailers have too many bytes or fields.
    #[error("the request header is too large")]
    HeaderTooLarge,
    /// The header did not arrive in time.
    #[error("the request header did not arrive in time")]
    HeaderTimeout,
    /// No request came in time.
    #[error("no request came in time")]
    Idle,
    /// The body stopped coming.
    #[error("the request body stopped coming")]
    BodyTimeout,
    /// The body comes too slowly.
    #[error("the request body comes too slowly")]
    BodyTooSlow,
    /// The client stopped taking the response.
    #[error("the client stopped taking the response")]
    SendTimeout,
    /// The client takes the response too slowly.
    #[error("the client takes the response too slowly")]
    SendTooSlow,
    /// More HTTP/2 frames that do nothing than are allowed.
    #[error("the client floods the connection with frames")]
    Flood,
    /// A load balancer's connection doesn't start with a valid PROXY header in time.
    #[error("the PROXY header is missing, malformed or late")]
    ProxyHeader,
}

impl Cut {
    /// In the order of the variants.
    pub(crate) const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Framing,
        Self::HeaderTooLarge,
        Self::HeaderTimeout,
        Self::Idle,
        Self::BodyTimeout,
        Self::BodyTooSlow,
        Self::SendTimeout,
        Self::SendTooSlow,
        Self::Flood,
        Self::ProxyHeader,
    ];

    /// The label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Framing => "framing",
            Self::HeaderTooLarge => "header_too_large",
            Self::HeaderTimeout => "header_timeout",
            Self::Idle => "idle",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooSlow => "body_too_slow",
            Self::SendTimeout => "send_timeout",
            Self::SendTooSlow => "send_too_slow",
            Self::Flood => "flood",
            Self::ProxyHeader => "proxy_header",
        }
    }

    /// As what a read or a write fails that finds the connection cut.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self {
            Self::Malformed
            | Self::Framing
            | Self::HeaderTooLarge
            | Self::Flood
            | Self::ProxyHeader => io::ErrorKind::InvalidData,
            Self::HeaderTimeout
            | Self::Idle
            | Self::BodyTimeout
            | Self::BodyTooSlow
            | Self::SendTimeout
            | Self::SendTooSlow => io::ErrorKind::TimedOut,
        };
        io::Error::new(kind, self)
    }

    /// Why the connection was cut that `error` is about, where it was.
    pub(crate) fn of(error: &pingora::Error) -> Option<Self> {
        let io = error.root_cause().downcast_ref::<io::Error>()?;
        io.get_ref()?.downcast_ref().copied()
    }

    /// What a request that failed with `error` is answered with, where it failed because its
    /// connection was cut.
    pub(crate) fn refusal(error: &pingora::Error) -> Option<Refusal> {
        match Self::of(error)? {
            Self::Malformed | Self::Framing => Some(Refusal::BadRequest),
            Self::HeaderTooLarge => Some(Refusal::HeaderTooLarge),
            Self::BodyTimeout | Self::BodyTooSlow => Some(Refusal::RequestTimeout),
            Self::HeaderTimeout
            | Self::Idle
            | Self::SendTimeout
            | Self::SendTooSlow
            | Self::Flood
            | Self::ProxyHeader => None,
        }
    }
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::Malformed,
            Fault::Framing => Self::Framing,
            Fault::HeaderTooLarge => Self::HeaderTooLarge,
        }
    }
}
