//! Our own fetch of a challenge's answer from every address of every PoP, as a CA would do it. What does
//! not work for us costs nothing.

mod alpn;
mod http;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use landfall_model::{ChallengeMethod, Hostname, Thumbprint, issuance::PopTarget};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::failure::{Precheck, Trouble, Words};

/// How many addresses are asked at a time.
const AT_A_TIME: usize = 16;
/// How often an address is asked, and the pause in between: one lost packet fails no order.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// What PoPs are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question<'a> {
    /// A token of our own over plain HTTP.
    Http {
        /// Of the account that orders.
        thumbprint: &'a Thumbprint,
    },
    /// The certificate of TLS-ALPN-01.
    TlsAlpn {
        /// What it must show.
        digest: &'a [u8],
    },
}

/// How PoPs are asked.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    pub(super) http_port: u16,
    pub(super) tls_port: u16,
    /// For one address to answer.
    pub(super) limit: Duration,
}

/// Why a PoP's address does not answer as it should.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    /// This machine has no way there, which says nothing of the PoP.
    #[error("there is no route")]
    NoRoute,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    #[error("the connection broke")]
    Broken,
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer is another one")]
    OtherAnswer,
    #[error("the handshake failed: {0}")]
    Handshake(io::Error),
}

impl Question<'_> {
    const fn method(self) -> ChallengeMethod {
        match self {
            Self::Http { .. } => ChallengeMethod::Http01,
            Self::TlsAlpn { .. } => ChallengeMethod::TlsAlpn01,
        }
    }
}

impl Prober {
    /// Whether every PoP answers for `name`.
    pub(super) async fn ask_all(
        &self,
        name: &Hostname,
        question: Question<'_>,
        pops: &[PopTarget],
    ) -> Result<(), Trouble> {
        let mut asked = Vec::new();
        for pop in pops {
            asked.extend(
                pop.addresses.iter().map(|address| self.asked(pop, *address, name, question)),
            );
        }
        let mut answers = stream::iter(asked).buffer_unordered(AT_A_TIME);
        let (mut failed, mut detail) = (Vec::<&str>::new(), None);
        while let Some((pop, address, answer)) = answers.next().await {
            match answer {
                Ok(()) => {}
                Err(ProbeError::NoRoute) => {
                    tracing::debug!(pop, %address, "there is no route to a PoP's address");
                }
                Err(error) => {
                    detail.get_or_insert_with(|| format!("{pop} at {address}: {error}"));
                    if !failed.contains(&pop) {
                        failed.push(pop);
                    }
                }
            }
        }
        let Some(detail) = detail else { return Ok(()) };
        failed.sort_unstable();
        Err(Trouble::Precheck(Precheck::Challenge {
            method: question.method(),
            failed: failed.into_iter().map(Words::from).collect(),
            asked: u32::try_from(pops.len()).unwrap_or(u32::MAX),
            detail: detail.into(),
        }))
    }

    async fn asked<'a>(
        &self,
        pop: &'a PopTarget,
        address: IpAddr,
        name: &Hostname,
        question: Question<'_>,
    ) -> (&'a str, IpAddr, Result<(), ProbeError>) {
        (&pop.name, address, self.ask(address, name, question).await)
    }

    async fn ask(
        &self,
        address: IpAddr,
        name: &Hostname,
        question: Question<'_>,
    ) -> Result<(), ProbeError> {
        let mut left = TRIES;
        loop {
            let answer = timeout(self.limit, self.ask_once(address, name, question)).await;
            let answer = answer.unwrap_or(Err(ProbeError::Timeout(self.limit)));
            left -= 1;
            if left == 0 || matches!(answer, Ok(()) | Err(ProbeError::NoRoute)) {
                return answer;
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_once(
        &self,
        address: IpAddr,
        name: &Hostname,
        question: Question<'_>,
    ) -> Result<(), ProbeError> {
        match question {
            Question::Http { thumbprint } => {
                let stream = connect(SocketAddr::new(address, self.http_port)).await?;
                http::fetch(stream, name, self.http_port, thumbprint).await
            }
            Question::TlsAlpn { digest } => {
                let stream = connect(SocketAddr::new(address, self.tls_port)).await?;
                alpn::shake_hands(stream, name, digest).await
            }
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    TcpStream::connect(address).await.map_err(|error| {
        // As on a node without IPv6.
        let here = [io::ErrorKind::NetworkUnreachable, io::ErrorKind::AddrNotAvailable];
        if here.contains(&error.kind()) { ProbeError::NoRoute } else { ProbeError::Connect(error) }
    })
}
