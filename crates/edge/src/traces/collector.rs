//! The collector's client: one batch a request (OTLP over HTTP, binary protobuf).

use std::{path::Path, time::Duration};

use bytes::Bytes;
use landfall_feed::{
    bounded_file::{self, MAX_ROOTS},
    secret_file,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::{
    Certificate, Client, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};

use super::TracesError;
use crate::config::Tracing;

/// Where traces are taken, below the endpoint.
const PATH: &str = "/v1/traces";
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("the collector can't be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the collector did not answer in time")]
    Timeout(#[source] reqwest::Error),
    #[error("the collector answered {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
}

impl ExportError {
    /// A short constant for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Status { .. } => "status",
        }
    }

    /// Whether the same batch may be taken later (OTLP section "Retryable Response Codes").
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// How long the collector wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::Timeout(_) => None,
        }
    }

    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        match error.is_timeout() {
            true => Self::Timeout(error),
            false => Self::Unreachable(error),
        }
    }
}

/// Sends batches.
pub(super) struct Collector {
    url: String,
    client: Client,
}

impl Collector {
    /// Reads the headers and roots; connects to nothing.
    pub(super) fn new(config: &Tracing) -> Result<Self, TracesError> {
        let headers = match &config.headers_file {
            Some(path) => read_headers(path)?,
            None => HeaderMap::new(),
        };
        let roots = config.ca_file.as_deref().map(read_roots).transpose()?;
        let client = client(config, headers, roots).map_err(TracesError::Client)?;
        Ok(Self { url: format!("{}{PATH}", config.endpoint), client })
    }

    /// Sends one encoded `ExportTraceServiceRequest`. Gives back how many spans of it were refused.
    pub(super) async fn send(&self, batch: Bytes) -> Result<u64, ExportError> {
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf");
        let response = request.body(batch).send().await.map_err(ExportError::of)?;
        let status = response.status();
        if !status.is_success() {
            return Err(ExportError::Status { status, retry_after: retry_after(&response) });
        }
        Ok(refused(response).await.unwrap_or(0))
    }
}

/// How many spans an answer refuses. `None` where it can't be read: a success all the same.
async fn refused(mut response: Response) -> Option<u64> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return None;
        }
    }
    let answer = ExportTraceServiceResponse::decode(body.as_slice()).ok()?;
    u64::try_from(answer.partial_success?.rejected_spans).ok()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn client(
    config: &Tracing,
    headers: HeaderMap,
    roots: Option<Vec<Certificate>>,
) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .timeout(config.timeout)
        .redirect(redirect::Policy::none())
        .no_proxy();
    let builder = match roots {
        Some(roots) => builder.tls_certs_only(roots),
        // Without TLS no root is needed, and a machine may have none.
        None if config.endpoint.starts_with("http://") => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build()
}

fn read_headers(path: &Path) -> Result<HeaderMap, TracesError> {
    let text = secret_file::read(path).map_err(TracesError::Secret)?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut headers = HeaderMap::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || TracesError::Header { path: path.to_owned(), line: number };
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, TracesError> {
    let pem = bounded_file::read(path, MAX_ROOTS)
        .map_err(|source| TracesError::Roots { path: path.to_owned(), source })?;
    Certificate::from_pem_bundle(&pem).map_err(TracesError::Client)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn headers(text: &str) -> Result<HeaderMap, TracesError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headers");
        secret_file::create(&path, text).unwrap();
        read_headers(&path)
    }

    #[test]
    fn headers_are_lines_and_their_values_are_never_shown() {
        let read = headers("# the collector's\nAuthorization: Bearer s3cret\n\nx-tenant:  a \n");
        let read = read.unwrap();
        assert_eq!(read["authorization"], "Bearer s3cret");
        assert_eq!(read["x-tenant"], "a");
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn a_line_that_is_no_header_is_named_by_its_number_alone() {
        for text in ["\nhush-hush", "\nhush-hush now: x", "\nname: \u{7f}hush-hush"] {
            let error = headers(text).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of "), "{error}");
            assert!(!error.contains("hush-hush"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(read_headers(file.path()), Err(TracesError::Secret(_))));
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let status = |status: u16| ExportError::Status {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
        };
        for passing in [429, 502, 503, 504] {
            assert!(status(passing).is_passing(), "{passing}");
        }
        for lasting in [301, 400, 401, 404, 413, 500] {
            assert!(!status(lasting).is_passing(), "{lasting}");
        }
    }
}
