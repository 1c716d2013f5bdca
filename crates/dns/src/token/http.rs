use std::{
    collections::BTreeSet,
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use landfall_model::Hostname;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::debug;

use crate::{
    HttpTokenEvidence, HttpTokenSlug, Verifier, ZoneServers, names::absolute, resolvers::Heard,
    sight::Sight,
};

/// How many addresses are tried.
const MAX_ADDRESSES: usize = 4;
/// How much of the file is read, in bytes: a token is shorter by far.
const MAX_FILE: usize = 1024;
/// The most that a response's head may take.
const MAX_HEAD: usize = 16 * 1024;
const USER_AGENT: &str = concat!("landfall/", env!("CARGO_PKG_VERSION"));

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// No address may be connected to, or none accepts.
    Transport(&'static str),
    /// The status is not 200.
    Status(StatusCode),
    Timeout,
    /// It is too long, or no text.
    Unreadable,
    /// It is another text.
    Wrong,
}

impl Verifier {
    /// Looks for an ownership token in a file that `hostname` serves over HTTP, within the configured
    /// time. Only an address that is public, or allowed, is connected to; it is the one that was
    /// looked up, by as many resolvers as should answer. Redirects are not followed. `own` are the
    /// PoPs' addresses: what answers there says nothing of who the owner is.
    pub async fn http_token(
        &self,
        hostname: &Hostname,
        (url_path, token): (&str, &str),
        own: &[IpAddr],
    ) -> HttpTokenEvidence {
        let deadline = Instant::now() + self.config.timeout;
        let fetched = timeout_at(deadline, self.fetch(hostname, url_path, own, deadline)).await;
        let result = fetched
            .unwrap_or(Err(Failure::Timeout))
            .and_then(|text| if text.trim() == token { Ok(()) } else { Err(Failure::Wrong) });
        let url = format!("http://{hostname}{url_path}");
        let failure = result.err();
        HttpTokenEvidence {
            url,
            file_found: u8::from(failure.is_none()),
            error: failure.is_some(),
            error_slug: failure.as_ref().map(Failure::slug),
            error_info: failure.as_ref().map(Failure::info).unwrap_or_default(),
        }
    }

    async fn fetch(
        &self,
        hostname: &Hostname,
        url_path: &str,
        own: &[IpAddr],
        deadline: Instant,
    ) -> Result<String, Failure> {
        let addresses = self.hosts(hostname, deadline).await?;
        let own: BTreeSet<IpAddr> = own.iter().copied().map(reached).collect();
        if addresses.iter().any(|address| own.contains(&reached(*address))) {
            return Err(Failure::Transport(
                "The host leads to a PoP of ours, which proves nothing: publish the TXT record.",
            ));
        }
        let admitted = addresses.into_iter().filter(|address| self.config.admits(*address));
        let admitted: Vec<IpAddr> = admitted.take(MAX_ADDRESSES).collect();
        if admitted.is_empty() {
            return Err(Failure::Transport("The host has no address on the public internet."));
        }
        let stream = self.connect(&admitted, deadline).await?;
        let port = self.config.http_port;
        let host = if port == 80 { hostname.to_string() } else { format!("{hostname}:{port}") };
        let request = Request::get(url_path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|_| Failure::Transport("The URL is not valid."))?;
        get(stream, request).await
    }

    /// The host's addresses as every resolver has them, or else as its zone's servers do: at least one.
    async fn hosts(
        &self,
        hostname: &Hostname,
        deadline: Instant,
    ) -> Result<BTreeSet<IpAddr>, Failure> {
        let none = Err(Failure::Transport("The host has no address in the DNS."));
        let Some(name) = absolute(hostname.as_str()) else { return none };
        let heard = self.hear_addresses(&name, deadline).await;
        if heard.words.len() < heard.wanted {
            return Err(Failure::Transport(
                "Too few resolvers of ours answered to prove anything.",
            ));
        }
        let agreed = agreed_on(&heard, &[]);
        if !agreed.is_empty() {
            return Ok(agreed);
        }
        let zone = match self.config.zone_servers {
            ZoneServers::Asked => self.ask_zone(&name, &heard, deadline).await.0,
            ZoneServers::NotAsked => Vec::new(),
        };
        let agreed = agreed_on(&heard, &zone);
        if !agreed.is_empty() {
            return Ok(agreed);
        }
        if heard.testimonies(&zone).any(|own| !own.word.addresses().is_empty()) {
            return Err(Failure::Transport(
                "Resolvers of ours give different addresses for the host: publish the TXT record.",
            ));
        }
        none
    }

    async fn connect(&self, addresses: &[IpAddr], deadline: Instant) -> Result<TcpStream, Failure> {
        for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / u32::try_from(left).unwrap_or(1);
            let server = SocketAddr::new(*address, self.config.http_port);
            match timeout_at(now + share, TcpStream::connect(server)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => debug!(%server, %error, "no connection for an ownership token"),
                Err(_) => debug!(%server, "no connection in time for an ownership token"),
            }
        }
        Err(Failure::Transport("The host does not accept connections."))
    }
}

/// Where an address leads: an IPv6 one by translation (RFC 6052 section 2.1) or a tunnel (RFC 3056) to
/// an IPv4 one.
fn reached(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let IpAddr::V6(v6) = address else { return address };
    let ([0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]) = v6.segments() else {
        return address;
    };
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
}

/// The addresses that everybody who answered has in the end.
fn agreed_on(heard: &Heard<Sight>, zone: &[Option<Sight>]) -> BTreeSet<IpAddr> {
    let sets = heard.testimonies(zone).map(|testimony| testimony.word.addresses());
    sets.reduce(|one, other| &one & &other).unwrap_or_default()
}

async fn get(stream: TcpStream, request: Request<Empty<Bytes>>) -> Result<String, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let failed = |_| Failure::Transport("The connection was closed without an answer.");
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => text(response.into_body()).await,
            status => Err(Failure::Status(status)),
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        text = &mut exchange => text,
        // What it has read before its end is still to be had.
        _ = connection => exchange.await,
    }
}

async fn text(body: Incoming) -> Result<String, Failure> {
    let bytes =
        Limited::new(body, MAX_FILE).collect().await.map_err(|error| unreadable(&*error))?;
    String::from_utf8(bytes.to_bytes().into()).map_err(|_| Failure::Unreadable)
}

fn unreadable(error: &(dyn Error + Send + Sync + 'static)) -> Failure {
    if error.is::<LengthLimitError>() {
        Failure::Unreadable
    } else {
        Failure::Transport("The connection was closed before the end of the file.")
    }
}

impl Failure {
    const fn slug(&self) -> HttpTokenSlug {
        match self {
            Self::Transport(_) => HttpTokenSlug::HttpTransportFailed,
            Self::Status(_) => HttpTokenSlug::BadResponseCode,
            Self::Timeout => HttpTokenSlug::Timeout,
            Self::Unreadable => HttpTokenSlug::BadFileContent,
            Self::Wrong => HttpTokenSlug::WrongFileContent,
        }
    }

    fn info(&self) -> String {
        match self {
            Self::Transport(why) => (*why).to_owned(),
            Self::Status(status) => {
                format!("Server responded with status code: {}", status.as_u16())
            }
            Self::Timeout => "The server did not answer in time.".to_owned(),
            Self::Unreadable => {
                format!("The validation file is longer than {MAX_FILE} bytes, or no text.")
            }
            Self::Wrong => "The validation file was found, but the contents are wrong.".to_owned(),
        }
    }
}
