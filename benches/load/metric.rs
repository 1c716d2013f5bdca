//! What is measured.

use serde::Serialize;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metric {
    H1Requests,
    H1Cpu,
    H2Requests,
    H2Cpu,
    LatencyP50,
    LatencyP99,
    FullHandshakes,
    FullHandshakeCpu,
    ResumedHandshakes,
    ResumedHandshakeCpu,
    Downloads,
    DownloadCpu,
    IdleMemory,
    /// Of the origin and not of who is compared: whether it is in the way.
    OriginCpu,
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Higher,
    Lower,
    /// It says nothing of who is compared.
    Neither,
}

impl Metric {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 14] = [
        Self::H1Requests,
        Self::H1Cpu,
        Self::H2Requests,
        Self::H2Cpu,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::FullHandshakes,
        Self::FullHandshakeCpu,
        Self::ResumedHandshakes,
        Self::ResumedHandshakeCpu,
        Self::Downloads,
        Self::DownloadCpu,
        Self::IdleMemory,
        Self::OriginCpu,
    ];

    /// What it is, and its unit.
    pub(super) fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::H1Requests => ("HTTP/1 keep-alive, 64 connections", "requests/s"),
            Self::H1Cpu => ("HTTP/1 keep-alive, CPU", "µs/request"),
            Self::H2Requests => ("HTTP/2, 16 connections × 32 streams", "requests/s"),
            Self::H2Cpu => ("HTTP/2, CPU", "µs/request"),
            Self::LatencyP50 => ("latency at a fixed rate, median", "µs"),
            Self::LatencyP99 => ("latency at a fixed rate, 99th percentile", "µs"),
            Self::FullHandshakes => ("full TLS 1.3 handshake and a request", "1/s"),
            Self::FullHandshakeCpu => ("full TLS 1.3 handshake and a request, CPU", "µs"),
            Self::ResumedHandshakes => ("resumed TLS 1.3 handshake and a request", "1/s"),
            Self::ResumedHandshakeCpu => ("resumed TLS 1.3 handshake and a request, CPU", "µs"),
            Self::Downloads => ("downloads of 1 MiB, 16 connections", "MiB/s"),
            Self::DownloadCpu => ("downloads of 1 MiB, CPU", "ms/GiB"),
            Self::IdleMemory => ("memory of an idle HTTP/1 connection", "KiB"),
            Self::OriginCpu => ("the origin's own CPU, HTTP/1 keep-alive", "µs/request"),
        }
    }

    /// Which way is up.
    pub(super) fn better(self) -> Better {
        match self {
            Self::H1Requests
            | Self::H2Requests
            | Self::FullHandshakes
            | Self::ResumedHandshakes
            | Self::Downloads => Better::Higher,
            Self::H1Cpu
            | Self::H2Cpu
            | Self::LatencyP50
            | Self::LatencyP99
            | Self::FullHandshakeCpu
            | Self::ResumedHandshakeCpu
            | Self::DownloadCpu
            | Self::IdleMemory => Better::Lower,
            Self::OriginCpu => Better::Neither,
        }
    }
}
