//! What is known of a client's connection: shared by its transport and its requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use landfall_certstore::Entry;
use landfall_model::Scheme;
use pingora_core::protocols::{Digest, http::ServerSession};
use tokio::sync::Notify;

use crate::{client_certificate::ClientCertificate, site::Site};

/// A client's connection. Travels to the requests as the user data of pingora's proxy digest.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What the handshake chose by SNI; `None` on plain HTTP.
    entry: Option<Arc<Entry<Site>>>,
    client_certificate: Option<ClientCertificate>,
    answered: AtomicU32,
    begun: AtomicU32,
    streams: AtomicU32,
    no_streams: Notify,
    worn_out: Notify,
    switched_protocols: AtomicBool,
    stopping: AtomicBool,
    /// How long it is kept idle once it is to stop, in milliseconds.
    last_call: AtomicU32,
    reader: AtomicWaker,
}

impl Connection {
    pub(crate) fn tls(
        entry: Arc<Entry<Site>>,
        client_certificate: Option<ClientCertificate>,
    ) -> Self {
        Self { entry: Some(entry), client_certificate, ..Self::plain() }
    }

    pub(crate) fn plain() -> Self {
        Self {
            entry: None,
            client_certificate: None,
            answered: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            no_streams: Notify::new(),
            worn_out: Notify::new(),
            switched_protocols: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            last_call: AtomicU32::new(0),
            reader: AtomicWaker::new(),
        }
    }

    /// The connection that a request came on. `None` where the transport isn't ours.
    pub(crate) fn of(session: &ServerSession) -> Option<&Arc<Self>> {
        Self::in_digest(session.digest()?)
    }

    fn in_digest(digest: &Digest) -> Option<&Arc<Self>> {
        let user_data = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
        user_data.downcast_ref::<Arc<Self>>()
    }

    pub(crate) fn entry(&self) -> Option<&Arc<Entry<Site>>> {
        self.entry.as_ref()
    }

    /// How its requests come.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.entry {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }

    /// What the client showed, verified with the roots of the connection's entry; `None` where
    /// it was not asked, or had nothing to show.
    pub(crate) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }

    /// Begins one more HTTP/2 request, of `most` that the connection may have.
    pub(crate) fn begin_stream(self: Arc<Self>, most: u32) -> OpenStream {
        if self.begun.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= most {
            self.worn_out.notify_one();
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(self)
    }

    /// How many HTTP/2 requests were begun, wrapping around.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ready when no HTTP/2 request is being served.
    pub(crate) async fn has_no_streams(&self) {
        while self.streams.load(Ordering::Acquire) > 0 {
            self.no_streams.notified().await;
        }
    }

    /// Ready once the connection has had all the requests that it may have.
    pub(crate) async fn wears_out(&self) {
        self.worn_out.notified().await;
    }

    /// A request's response is complete, or given up.
    pub(crate) fn request_ended(&self) {
        self.answered.fetch_add(1, Ordering::Release);
    }

    /// How many requests have ended, wrapping around.
    pub(crate) fn answered(&self) -> u32 {
        self.answered.load(Ordering::Acquire)
    }

    /// The origin has agreed to another protocol (RFC 9110 section 15.2.2): what follows the
    /// request isn't HTTP/1.
    pub(crate) fn switch_protocols(&self) {
        self.switched_protocols.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(crate) fn has_switched_protocols(&self) -> bool {
        self.switched_protocols.load(Ordering::Acquire)
    }

    /// No more requests are wanted than one that is on its way: once the connection has been idle for
    /// `last_call`, it ends.
    pub(crate) fn stop(&self, last_call: Duration) {
        let last_call = u32::try_from(last_call.as_millis()).unwrap_or(u32::MAX);
        self.last_call.store(last_call, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How long it is kept idle now that it is to stop.
    pub(crate) fn last_call(&self) -> Duration {
        Duration::from_millis(self.last_call.load(Ordering::Relaxed).into())
    }

    /// Whom to wake when any of this changes.
    pub(crate) fn set_reader(&self, waker: &Waker) {
        self.reader.register(waker);
    }
}

/// An HTTP/2 request that is being served for as long as this lives.
pub(crate) struct OpenStream(Arc<Connection>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.no_streams.notify_one();
        }
    }
}
