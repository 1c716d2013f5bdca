//! How the origins of a pool are spoken to: protocol, TLS, names and times.

use std::{
    net::{IpAddr, SocketAddr},
    panic::catch_unwind,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::rand;
use http::HeaderValue;
use landfall_model::{
    Der, LookupName, Origin, OriginHost, OriginName, OriginPool, OriginProtocol, Scheme,
};
use pingora::prelude::HttpPeer;
use pingora_core::{
    protocols::tls::CaType,
    upstreams::peer::PeerOptions,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName},
};

use crate::config::Upstream;

/// What an origin may send on one HTTP/2 stream before it is passed on, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a whole connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How often an HTTP/2 connection is asked whether it still works.
const PING: Duration = Duration::from_secs(15);

/// How the origins of one pool are spoken to.
#[derive(Debug)]
pub(super) struct Speech {
    options: PeerOptions,
    protocol: OriginProtocol,
    sni: OriginName,
    host: OriginName,
    /// Connections of different pools are never mixed: what one tenant has verified, or chose not
    /// to, must not serve another. Random, so that nobody can choose what hashes to the same.
    group: u64,
    pub(super) total: Option<Duration>,
}

/// Why a pool can't be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpeechError {
    /// A root of the pool's is no certificate.
    #[error("a root certificate of the pool can't be read")]
    Ca,
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Random,
}

impl Speech {
    pub(super) fn new(pool: &OriginPool, defaults: &Upstream) -> Result<Self, SpeechError> {
        let time = |own: Option<u32>| own.map(|millis| Duration::from_millis(u64::from(millis)));
        let own = pool.timeouts;
        let mut options = PeerOptions::new();
        let connect = time(own.connect_ms).unwrap_or(defaults.connect_timeout);
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
        options.read_timeout = Some(time(own.read_ms).unwrap_or(defaults.read_timeout));
        options.write_timeout = Some(time(own.write_ms).unwrap_or(defaults.write_timeout));
        options.idle_timeout = Some(time(own.idle_ms).unwrap_or(defaults.idle_timeout));
        options.verify_cert = pool.verify;
        options.verify_hostname = pool.verify;
        options.ca = roots(&pool.ca)?;
        options.max_h2_streams = defaults.h2_streams.get();
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.h2_ping_interval = Some(PING);
        let mut group = [0; 8];
        rand::fill(&mut group).map_err(|_| SpeechError::Random)?;
        Ok(Self {
            options,
            protocol: pool.protocol,
            sni: pool.sni.clone(),
            host: pool.host_header.clone(),
            group: u64::from_be_bytes(group),
            total: time(own.total_ms).or(defaults.total_timeout),
        })
    }

    /// The peer at `address`, for a request to `client_host`. `None` where the name for TLS is
    /// none: pingora takes an empty one for the wish not to verify.
    pub(super) fn peer(
        &self,
        origin: &Origin,
        address: SocketAddr,
        client_host: &LookupName,
        left: Option<Duration>,
    ) -> Option<HttpPeer> {
        let is_tls = origin.scheme() == Scheme::Https;
        let sni = match is_tls {
            true => self.server_name(origin, client_host)?,
            false => String::new(),
        };
        let mut peer = HttpPeer::new(address, is_tls, sni);
        peer.options = self.options.clone();
        peer.group_key = self.group;
        let (most, least) = match (self.protocol, is_tls) {
            (OriginProtocol::Http1, _) | (OriginProtocol::Auto, false) => (1, 1),
            // pingora remembers every peer that prefers HTTP/1.1, by its SNI too, for ever: what
            // clients choose must not be in it.
            (OriginProtocol::Auto, true) if self.sni == OriginName::Request => (1, 1),
            (OriginProtocol::Auto, true) => (2, 1),
            (OriginProtocol::Http2, _) => (2, 2),
        };
        peer.options.set_http_version(most, least);
        if let Some(left) = left {
            let sooner = |time: Option<Duration>| Some(time.map_or(left, |time| time.min(left)));
            let options = &mut peer.options;
            options.total_connection_timeout = sooner(options.total_connection_timeout);
            options.read_timeout = sooner(options.read_timeout);
        }
        Some(peer)
    }

    /// A DNS name, or the address that the certificate must be for.
    fn server_name(&self, origin: &Origin, client_host: &LookupName) -> Option<String> {
        let name = match &self.sni {
            OriginName::Request => client_host.as_str().to_owned(),
            OriginName::Fixed(name) => name.to_string(),
            OriginName::Origin => match origin.host() {
                OriginHost::Name(name) => name.to_string(),
                OriginHost::Address(IpAddr::V4(ip)) => ip.to_string(),
                OriginHost::Address(IpAddr::V6(ip)) => ip.to_string(),
            },
        };
        ServerName::try_from(name.as_str()).is_ok().then_some(name)
    }

    /// The `Host` in the place of the client's; `None` where that is kept.
    pub(super) fn host(&self, origin: &Origin) -> Option<HeaderValue> {
        let text = match &self.host {
            OriginName::Request => return None,
            OriginName::Fixed(name) => name.to_string(),
            OriginName::Origin => {
                let default = match origin.scheme() {
                    Scheme::Http => 80,
                    Scheme::Https => 443,
                };
                match origin.port() == default {
                    true => origin.host().to_string(),
                    false => format!("{}:{}", origin.host(), origin.port()),
                }
            }
        };
        HeaderValue::try_from(text).ok()
    }

    /// For the connection and the TLS handshake.
    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        self.options.total_connection_timeout
    }
}

/// The roots in the form that pingora wants, where the pool has its own.
fn roots(ca: &[Der]) -> Result<Option<Arc<CaType>>, SpeechError> {
    if ca.is_empty() {
        return Ok(None);
    }
    let mut roots: Vec<WrappedX509> = Vec::with_capacity(ca.len());
    for Der(bytes) in ca {
        // Both parsers must take it, and pingora's panics where it doesn't.
        let taken = RootCertStore::empty().add(CertificateDer::from(bytes.as_slice()));
        taken.map_err(|_| SpeechError::Ca)?;
        let bytes = bytes.clone();
        let wrapped = catch_unwind(|| WrappedX509::new(bytes, parse_x509));
        roots.push(wrapped.map_err(|_| SpeechError::Ca)?);
    }
    Ok(Some(roots.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(change: impl FnOnce(&mut OriginPool)) -> Speech {
        let mut pool = OriginPool::of("http://192.0.2.1".parse().unwrap());
        change(&mut pool);
        Speech::new(&pool, &crate::config::fixtures::config("").upstream).unwrap()
    }

    fn sni(speech: &Speech, origin: &str, client: &str) -> Option<String> {
        let client = LookupName::from_sni(client).unwrap();
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let peer = speech.peer(&origin.parse().unwrap(), address, &client, None);
        peer.map(|peer| peer.sni)
    }

    #[test]
    fn a_tls_peer_always_has_a_name_that_can_be_verified() {
        let origin = speech(|_| {});
        assert_eq!(sni(&origin, "https://o.example", "a.example").unwrap(), "o.example");
        assert_eq!(sni(&origin, "https://192.0.2.1", "a.example").unwrap(), "192.0.2.1");
        assert_eq!(sni(&origin, "https://[2001:db8::1]", "a.example").unwrap(), "2001:db8::1");
        assert_eq!(sni(&origin, "http://o.example", "a.example").unwrap(), "");
        let request = speech(|pool| pool.sni = OriginName::Request);
        assert_eq!(sni(&request, "https://o.example", "a.example").unwrap(), "a.example");
        assert_eq!(sni(&request, "https://o.example", "-.a.example"), None);
        assert_eq!(sni(&request, "https://o.example", "..a.example"), None);
        let fixed = speech(|pool| pool.sni = OriginName::Fixed("f.example".parse().unwrap()));
        assert_eq!(sni(&fixed, "https://o.example", "a.example").unwrap(), "f.example");
    }

    #[test]
    fn http2_is_not_tried_where_clients_choose_the_name_for_tls() {
        let version = |sni: OriginName| {
            let speech = speech(|pool| (pool.protocol, pool.sni) = (OriginProtocol::Auto, sni));
            let client = LookupName::from_sni("a.example").unwrap();
            let address = SocketAddr::from(([192, 0, 2, 1], 443));
            let origin = "https://o.example".parse().unwrap();
            let peer = speech.peer(&origin, address, &client, None).unwrap();
            peer.options.alpn.get_max_http_version()
        };
        assert_eq!(version(OriginName::Origin), 2);
        assert_eq!(version(OriginName::Request), 1);
    }

    #[test]
    fn the_host_is_the_clients_unless_the_pool_says_otherwise() {
        let host = |speech: Speech, origin: &str| speech.host(&origin.parse().unwrap());
        let origin = || speech(|pool| pool.host_header = OriginName::Origin);
        assert_eq!(host(speech(|_| {}), "http://o.example"), None);
        assert_eq!(host(origin(), "http://o.example").unwrap(), "o.example");
        assert_eq!(host(origin(), "https://o.example:443").unwrap(), "o.example");
        assert_eq!(host(origin(), "http://[2001:db8::1]:81").unwrap(), "[2001:db8::1]:81");
    }

    #[test]
    fn a_root_that_is_no_certificate_is_an_error() {
        let mut pool = OriginPool::of("https://192.0.2.1".parse().unwrap());
        pool.ca = vec![Der(b"nothing".to_vec())];
        let made = Speech::new(&pool, &crate::config::fixtures::config("").upstream);
        assert_eq!(made.unwrap_err(), SpeechError::Ca);
    }
}
