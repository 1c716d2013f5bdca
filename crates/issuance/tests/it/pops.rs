//! PoPs that answer challenges as edges do: by what was published, and for any token.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use landfall_model::{
    ChallengeMethod, HostPattern, Thumbprint,
    issuance::{PopTarget, PublishedChallenge},
};
use tokio::task::JoinHandle;

use crate::support::{Certificates, acme_certificate, listen_at, show};

/// PoPs of one fleet.
pub(crate) struct Pops {
    validations: Arc<Mutex<Vec<(String, Thumbprint)>>>,
    certificates: Arc<Certificates>,
    targets: Vec<PopTarget>,
    servers: Vec<JoinHandle<()>>,
}

impl Pops {
    /// One at each of the addresses, at a CA's validation ports.
    pub(crate) async fn start(addresses: &[[u8; 4]], (http, tls): (u16, u16)) -> Self {
        let mut pops = Self {
            validations: Arc::default(),
            certificates: Arc::default(),
            targets: Vec::new(),
            servers: Vec::new(),
        };
        for address in addresses {
            let address = IpAddr::from(*address);
            let known = Arc::clone(&pops.validations);
            let answer = async move |Path(token): Path<String>, headers: HeaderMap| {
                let host = headers["host"].to_str().unwrap();
                let name = host.split(':').next().unwrap();
                let known = known.lock().unwrap();
                let own = known.iter().rfind(|(own, _)| own == name);
                own.map(|(_, thumbprint)| format!("{token}.{}", thumbprint.as_str()))
                    .ok_or(StatusCode::NOT_FOUND)
            };
            let router = Router::new().route("/.well-known/acme-challenge/{token}", get(answer));
            let listener = listen_at(address, http).await;
            let serve = async move { axum::serve(listener, router).await.unwrap() };
            pops.servers.push(tokio::spawn(serve));
            let listener = listen_at(address, tls).await;
            pops.servers.push(tokio::spawn(show(listener, Arc::clone(&pops.certificates))));
            pops.targets
                .push(PopTarget { name: format!("pop{address}"), addresses: vec![address] });
        }
        pops
    }

    /// As an agent is told of them.
    pub(crate) fn targets(&self) -> Vec<PopTarget> {
        self.targets.clone()
    }

    /// They answer for these names from now on.
    pub(crate) fn publish(
        &self,
        names: &[HostPattern],
        thumbprint: &Thumbprint,
        challenges: &[PublishedChallenge],
    ) {
        let own = names.iter().map(|name| (name.base().to_string(), thumbprint.clone()));
        self.validations.lock().unwrap().extend(own);
        for challenge in challenges {
            if challenge.method == ChallengeMethod::TlsAlpn01 {
                let name = challenge.name.base().to_string();
                let certificate = acme_certificate(&name, &challenge.digest);
                self.certificates.0.lock().unwrap().insert(name, certificate);
            }
        }
    }
}

impl Drop for Pops {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}
