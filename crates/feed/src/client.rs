//! The edge's end of the feed: one request each, verified before it is answered.

use std::{fmt, time::Duration};

use landfall_model::{Epoch, Revision};
use reqwest::{
    Certificate, Client, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    page::{MAX_PAGE_LEN, PageError, PageKind, SegmentRef, VerifiedPage},
    protocol::{
        ACK_PATH, Ack, AckReply, CHANGES_PATH, MAX_PAGE_RECORDS, MAX_WAIT_SECONDS, SNAPSHOT_PATH,
    },
    seal::sha256,
    sign::VerifyingKey,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole request, beyond what the server was asked to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer to an acknowledgement, in bytes.
const MAX_REPLY_LEN: usize = 64 * 1024;

/// What a client is made with.
pub struct ClientConfig {
    /// The control plane: scheme, host and port.
    pub url: String,
    /// The PoP's token.
    pub token: zeroize::Zeroizing<String>,
    /// The keys that may sign pages.
    pub signing_keys: Vec<VerifyingKey>,
    /// PEM of the roots that an `https` URL is verified with, in place of the system's.
    pub roots: Option<Vec<u8>>,
    /// How long the server may wait for a change.
    pub wait: Duration,
}

/// Asks the control plane.
pub struct FeedClient {
    http: Client,
    url: String,
    signing_keys: Vec<VerifyingKey>,
    wait: Duration,
}

/// Whether a poll waits for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as the client was configured to.
    ForChange,
    /// Not at all: to hear soon whether the control plane is there.
    No,
}

/// The answer to a poll.
#[derive(Debug)]
pub enum Changes {
    /// A page with the right signature.
    Page(VerifiedPage),
    /// Nothing new.
    NotModified,
    /// The server can't go on from this cursor: the reader takes a snapshot.
    SnapshotNeeded,
}

/// Why there was no answer that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The token, URL or roots can't be used.
    #[error("the feed client can't be configured: {what}")]
    Config {
        /// Which of them.
        what: &'static str,
    },
    /// No connection, or it broke.
    #[error("the control plane can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No answer in time.
    #[error("the control plane did not answer in time")]
    Timeout(#[source] reqwest::Error),
    /// The token is not, or no longer, that of a PoP.
    #[error(
        "the control plane refused this PoP's token ({status}): the file at `feed.token_file` has to have the \
         present one. `landfall pop renew-token` at the control plane makes another one, to be put there before \
         a reload of the edge; a PoP that was removed is enrolled by `landfall pop add`"
    )]
    Unauthorized {
        /// 401 or 403
        status: StatusCode,
    },
    /// An answer that is no success.
    #[error("the control plane answered {status}")]
    Status {
        /// What it answered.
        status: StatusCode,
    },
    /// An answer that is not JSON of the right shape.
    #[error("the control plane's answer can't be read")]
    Reply(#[source] serde_json::Error),
    /// A page that was refused.
    #[error("a page was refused")]
    Page(#[from] PageError),
    /// A segment that is not the one of the manifest.
    #[error("segment {name} of the snapshot is not the one that its manifest names")]
    Segment {
        /// Its name.
        name: String,
    },
}

impl FeedError {
    /// A short constant for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Status { .. } => "status",
            Self::Reply(_) => "reply",
            Self::Page(error) => error.reason(),
            Self::Segment { .. } => "segment",
        }
    }

    /// Whether something was received that must not be believed.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Page(_) | Self::Segment { .. })
    }
}

impl FeedClient {
    /// Makes a client; connects to nothing.
    ///
    /// # Errors
    /// [`FeedError::Config`].
    pub fn new(config: ClientConfig) -> Result<Self, FeedError> {
        let bad = |what| move || FeedError::Config { what };
        if config.token.trim().is_empty() {
            return Err(bad("the token is empty")());
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", config.token.trim()))
            .map_err(|_| bad("the token is not ASCII text")())?;
        token.set_sensitive(true);
        let url = config.url.trim_end_matches('/').to_owned();
        let mut builder = Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, token)]))
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = &config.roots {
            let roots = Certificate::from_pem_bundle(pem);
            builder = builder.tls_certs_only(roots.map_err(|_| bad("the roots are not PEM")())?);
        } else if url.starts_with("http://") {
            // Without TLS no root is needed, and a machine may have none.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|_| bad("TLS can't be set up")())?;
        Ok(Self { http, url, signing_keys: config.signing_keys, wait: config.wait })
    }

    /// Asks for what has changed after `after`.
    ///
    /// # Errors
    /// [`FeedError`]. A page that does not follow the cursor is refused.
    pub async fn changes(
        &self,
        epoch: Epoch,
        after: Revision,
        wait: Wait,
    ) -> Result<Changes, FeedError> {
        let wait = match wait {
            Wait::ForChange => self.wait.as_secs().min(MAX_WAIT_SECONDS),
            Wait::No => 0,
        };
        let path = format!(
            "{CHANGES_PATH}?epoch={epoch}&after={after}&limit={MAX_PAGE_RECORDS}&wait={wait}"
        );
        let limit = Duration::from_secs(wait) + REQUEST_TIMEOUT;
        let response = self.send(self.http.get(self.at(&path)).timeout(limit)).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = body(response, MAX_PAGE_LEN).await?;
                let page = VerifiedPage::open(&bytes, &self.signing_keys, PageKind::Changes)?;
                page.follows(epoch, after)?;
                Ok(Changes::Page(page))
            }
            StatusCode::NOT_MODIFIED => Ok(Changes::NotModified),
            StatusCode::CONFLICT | StatusCode::GONE => Ok(Changes::SnapshotNeeded),
            status => Err(refused(status)),
        }
    }

    /// Asks for the manifest of a snapshot.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn manifest(&self) -> Result<VerifiedPage, FeedError> {
        let response = self.send(self.http.get(self.at(SNAPSHOT_PATH))).await?;
        let bytes = body(succeeded(response)?, MAX_PAGE_LEN).await?;
        Ok(VerifiedPage::open(&bytes, &self.signing_keys, PageKind::Manifest)?)
    }

    /// Asks for a segment, and checks that it is the one that the manifest names.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn segment(&self, segment: &SegmentRef) -> Result<Vec<u8>, FeedError> {
        let wrong = || FeedError::Segment { name: segment.name.clone() };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if !segment.name.bytes().all(plain) || segment.name.starts_with('.') {
            return Err(wrong());
        }
        let path = format!("{SNAPSHOT_PATH}/{}", segment.name);
        let response = self.send(self.http.get(self.at(&path))).await?;
        let bytes = body(succeeded(response)?, MAX_PAGE_LEN).await?;
        match sha256(&bytes) == *segment.sha256 {
            true => Ok(bytes),
            false => Err(wrong()),
        }
    }

    /// Verifies the bytes of a segment as a page of the snapshot of `epoch` at `revision`.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn open_segment(
        &self,
        bytes: &[u8],
        epoch: Epoch,
        revision: Revision,
    ) -> Result<VerifiedPage, PageError> {
        let page = VerifiedPage::open(bytes, &self.signing_keys, PageKind::Segment)?;
        page.follows(epoch, Revision(0))?;
        match page.header().to == revision {
            true => Ok(page),
            false => Err(PageError::RevisionRollback {
                after: page.header().after,
                to: page.header().to,
                have: revision,
            }),
        }
    }

    /// Says what has been applied.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn ack(&self, ack: &Ack) -> Result<AckReply, FeedError> {
        self.post(ACK_PATH, ack, Duration::ZERO, MAX_REPLY_LEN).await
    }

    /// Sends `message` to a path of the PoP API, and reads an answer of `limit` bytes at most. `wait` is
    /// how long the server was asked to wait.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
        wait: Duration,
        limit: usize,
    ) -> Result<T, FeedError> {
        let json = serde_json::to_vec(message).map_err(FeedError::Reply)?;
        let request = self.http.post(self.at(path)).timeout(wait + REQUEST_TIMEOUT).body(json);
        let request = request.header("content-type", "application/json");
        let response = succeeded(self.send(request).await?)?;
        from_json(&body(response, limit).await?)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, FeedError> {
        request.send().await.map_err(transport)
    }
}

impl fmt::Debug for FeedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedClient({})", self.url)
    }
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FeedError> {
    serde_json::from_slice(bytes).map_err(FeedError::Reply)
}

fn succeeded(response: Response) -> Result<Response, FeedError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(refused(status)),
    }
}

fn refused(status: StatusCode) -> FeedError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FeedError::Unauthorized { status },
        _ => FeedError::Status { status },
    }
}

/// Reads a body of at most `limit` bytes.
async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, FeedError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if bytes.len() + chunk.len() > limit {
            return Err(PageError::TooLarge { limit }.into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn transport(error: reqwest::Error) -> FeedError {
    match error.is_timeout() {
        true => FeedError::Timeout(error),
        false => FeedError::Unreachable(error),
    }
}
