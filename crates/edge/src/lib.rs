//! The PoP edge: TLS for any number of hostnames, and requests on to their origins.
//!
//! A connection is accepted by [`server`], gets its policy and certificate from the ClientHello,
//! and becomes a stream of requests for the proxy, which routes by hostname. What is served comes
//! from the certificate store; the feed's poller fills that. Whatever happens to the control
//! plane, the edge serves what it last knew.
//!
//! pingora appears in this crate alone. The request path never locks, blocks or reads a disk, but
//! for a certificate that isn't in the cache, which is read on other threads.
//! Start reading at [`run`].

mod access_log;
mod admin;
mod admission;
mod answer;
mod backoff;
mod body;
mod bucket;
pub mod challenges;
pub mod client_certificate;
mod clock;
pub mod config;
mod connection;
mod cut;
pub mod duty;
mod error;
mod files;
mod front;
pub mod handover;
pub mod identity;
pub mod issuance;
mod keepalive;
mod kept;
pub mod metrics;
mod overload;
mod patience;
mod preference;
mod process;
pub mod properties;
mod proxy;
pub mod readiness;
mod reason;
mod redirect;
mod refusal;
mod request;
mod request_id;
mod rules;
pub mod server;
pub mod site;
mod stream;
pub mod supervise;
pub mod sync;
mod systemd;
pub mod traces;
pub mod upstream;

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};
use prometheus::Registry;

pub use access_log::AccessLogError;
use config::{EdgeConfig, Issuance};
use duty::Duty;
pub use error::EdgeError;
pub use files::check_files;
use handover::Succession;
use issuance::IssuanceService;
use landfall_certstore::GroupKeys;
use metrics::Metrics;
use readiness::Readiness;
use server::{EdgeServer, Parts, Process, Signals, State};
use sync::{Poller, Started};

/// Serves until a signal ends it, or until a successor has taken over. Blocks. With a `succession` it
/// takes the listeners over from the process that serves now, which goes on where this one fails.
///
/// # Errors
/// [`EdgeError`], where it does not start or a part of it ended.
pub fn run(
    config: &EdgeConfig,
    mut succession: Option<Succession>,
    signals: Signals,
) -> Result<(), EdgeError> {
    install_crypto();
    match start(config, succession.as_mut()) {
        Ok((server, process)) => server.run(process.succeeding(succession), signals),
        Err(error) => {
            if let Some(succession) = succession {
                succession.refuse(&sync::describe(&error));
            }
            Err(error)
        }
    }
}

/// Loads the state and binds what isn't handed over.
fn start(
    config: &EdgeConfig,
    mut succession: Option<&mut Succession>,
) -> Result<(EdgeServer, Process), EdgeError> {
    let duty = if succession.is_some() { Duty::off() } else { Duty::on() };
    let readiness = Arc::new(Readiness::default());
    let metrics = Arc::new(Metrics::new()?);
    let known = Arc::clone(&readiness);
    let Started { resolver, properties, challenges, poller, keys } =
        sync::start(config, Arc::clone(&duty), known, &metrics).map_err(EdgeError::Sync)?;
    let registry = metrics.registry().clone();
    let process = Process::new(
        &config.server,
        (Arc::clone(&duty), poller.filling()),
        State {
            readiness: Arc::clone(&readiness),
            resolver: resolver.clone(),
            keys: Arc::clone(&keys),
        },
        succession.as_mut().and_then(|succession| succession.control.take()),
        &registry,
    )?;
    let handed = succession.map(|own| std::mem::take(&mut own.handed)).unwrap_or_default();
    let known = Arc::clone(&readiness);
    let parts = Parts { resolver, properties, challenges, readiness, metrics };
    let mut server = server::build_with(config, parts, (handed, duty.watch()))?;
    server.add_background("feed", poller);
    if let Some(settings) = &config.issuance {
        add_issuance(&mut server, config, settings, (keys, known, duty), &registry);
    }
    Ok((server, process))
}

/// Adds the agent. Where there can be none, the edge serves without.
fn add_issuance(
    server: &mut EdgeServer,
    config: &EdgeConfig,
    settings: &Issuance,
    shared: (Arc<GroupKeys>, Arc<Readiness>, Arc<Duty>),
    registry: &Registry,
) {
    match IssuanceService::new(config, settings, shared, registry) {
        Ok(service) => server.add_finishing("issuance", service),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "no certificates are obtained here");
        }
    }
}

#[async_trait]
impl BackgroundService for Poller {
    async fn start(&self, shutdown: ShutdownWatch) {
        self.run(shutdown).await;
    }
}

/// Makes aws-lc-rs the process's cryptography. pingora would otherwise install another one.
pub fn install_crypto() {
    // Fails where a provider is installed already, which is then this one: nobody else does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
