//! What clients may take.

use std::time::Duration;

/// What one client may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Clients' connections at once; `None` is what the process's file descriptors are enough for.
    pub connections: Option<usize>,
    /// From where, and how often.
    pub admission: AdmissionLimits,
    /// Bytes that the process uses before it sheds load; `None` is a share of what there is.
    pub memory: Option<u64>,
    /// From the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes that are read before the ClientHello is complete.
    pub client_hello: usize,
    /// From the first byte of a request header to its last, and the wait for an HTTP/2 preface.
    pub header_timeout: Duration,
    /// Bytes of a request's target and header fields, and of the trailers.
    pub header_size: usize,
    /// Header fields in a request.
    pub header_count: usize,
    /// Between two requests on a connection, and before the first one.
    pub idle_timeout: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub h2_streams: u32,
    /// HTTP/2 frames that cost a client nothing.
    pub h2_frames: FrameLimits,
    /// Requests on one connection.
    pub connection_requests: u32,
    /// After which a connection gets no more requests.
    pub connection_lifetime: Duration,
    /// Between two pieces of a request body.
    pub request_body_timeout: Duration,
    /// From a request's header to the end of its body.
    pub request_body_total_timeout: Duration,
    /// The least speed of a request body.
    pub request_body_rate: Rate,
    /// For the client to take one more piece of a response.
    pub response_write_timeout: Duration,
    /// The least speed at which a client takes a response.
    pub response_rate: Rate,
}

/// The least speed that a client must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second; 0 is any speed.
    pub bytes: u64,
    /// How far behind it may be.
    pub grace: Duration,
}

/// What one place may have of the connections.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Open ones of an IPv4 address or an IPv6 /64.
    pub per_address: u32,
    /// Open ones of an IPv4 /24 or an IPv6 /48.
    pub per_prefix: u32,
    /// New ones of an address.
    pub pace: Pace,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time between two, in the long run.
    pub interval: Duration,
    /// How many may come at once.
    pub burst: u32,
}

/// How many HTTP/2 frames of a kind a connection may have.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// SETTINGS, PING, PRIORITY, GOAWAY, unknown ones and empty DATA.
    pub control: Pace,
    /// RST_STREAM.
    pub resets: Pace,
    /// WINDOW_UPDATE.
    pub windows: Pace,
    /// WINDOW_UPDATE that opens a window by next to nothing.
    pub tiny_windows: Pace,
}
