//! Everything that runs: the origin, Landfall, its peers and the floors.

use std::{
    collections::BTreeMap,
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use landfall_tests::Lab;
use reqwest::Method;
use rustls::HandshakeKind;
use tokio::time::{Instant, sleep};

use super::{
    LoadError,
    client::{Client, Sessions},
    identity::{Identity, NAME},
    peers::{Logging, Peer, Place},
    process::Running,
    servers::{Role, SMALL, SMALL_PATH},
    subject::Subject,
    usage::Tree,
};

/// For a server that listens to answer.
const ANSWERS: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// All that runs. It ends with this.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
    lab: Lab,
    origin: Running,
    origin_address: SocketAddr,
    others: BTreeMap<Subject, (Running, SocketAddr)>,
}

/// Where a subject is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tree: Tree,
}

impl Stage {
    /// Starts everything, with what it writes in `folder`.
    pub(super) async fn start(folder: &Path, logging: Logging) -> Result<Self, LoadError> {
        let identity = Identity::write(folder)?;
        let (origin, origin_address) = serve(&Role::Origin, &folder.join("origin.log")).await?;
        let lab = landfall(&identity, origin_address).await;
        let mut stage = Self {
            folder: folder.to_owned(),
            identity,
            lab,
            origin,
            origin_address,
            others: BTreeMap::new(),
        };
        for subject in Subject::OTHERS {
            stage.start_other(subject, logging).await?;
        }
        for subject in Subject::ALL {
            stage.wait_for(subject).await?;
        }
        Ok(stage)
    }

    /// Ends a subject and starts it anew.
    pub(super) async fn restart(
        &mut self,
        subject: Subject,
        logging: Logging,
    ) -> Result<(), LoadError> {
        if subject == Subject::Landfall {
            self.lab.edge(0).stop().await;
            self.lab.edge(0).start();
            self.lab.wait_until_edge_is_ready(0).await;
        } else {
            self.start_other(subject, logging).await?;
        }
        self.wait_for(subject).await
    }

    /// Where a subject is now.
    pub(super) fn target(&mut self, subject: Subject) -> Target {
        match self.others.get(&subject) {
            Some((running, address)) => Target { address: *address, tree: running.tree() },
            None => {
                let pid = self.lab.edge(0).pid().as_raw_nonzero().get();
                let tree = Tree::of(u32::try_from(pid).unwrap_or(0));
                Target { address: self.lab.https(0), tree }
            }
        }
    }

    /// The origin's process.
    pub(super) fn origin(&self) -> Tree {
        self.origin.tree()
    }

    /// Full and resumed handshakes that the edge has counted since it started.
    pub(super) async fn edge_handshakes(&self) -> (f64, f64) {
        let completed = self.lab.metric(0, "landfall_handshakes_total", "result=\"ok\"").await;
        let resumed = self.lab.metric(0, "landfall_handshakes_resumed_total", "").await;
        let resumed = resumed.unwrap_or(0.0);
        (completed.unwrap_or(0.0) - resumed, resumed)
    }

    async fn start_other(&mut self, subject: Subject, logging: Logging) -> Result<(), LoadError> {
        if let Some((running, _)) = self.others.remove(&subject) {
            running.end().await;
        }
        let (chain, key) = (self.identity.chain.clone(), self.identity.key.clone());
        let started = match Peer::of(subject) {
            Some(peer) => {
                let (folder, identity) = (&self.folder, &self.identity);
                let place = Place { folder, identity, origin: self.origin_address };
                peer.start(&place, logging).await?
            }
            None if subject == Subject::Memory => {
                serve(&Role::Memory { chain, key }, &self.folder.join("memory.log")).await?
            }
            None => {
                let origin = self.origin_address.to_string();
                serve(&Role::Pipe { chain, key, origin }, &self.folder.join("pipe.log")).await?
            }
        };
        self.others.insert(subject, started);
        Ok(())
    }

    /// Waits until a subject answers a request with the origin's body.
    async fn wait_for(&mut self, subject: Subject) -> Result<(), LoadError> {
        let Target { address, .. } = self.target(subject);
        let client = Client::new(&self.identity.root, address, Sessions::Forget)?;
        let deadline = Instant::now() + ANSWERS;
        loop {
            match client.visit(SMALL_PATH, SMALL, HandshakeKind::Full).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

/// Becomes a server of ours, in another process.
async fn serve(role: &Role, log: &Path) -> Result<(Running, SocketAddr), LoadError> {
    let own = env::current_exe().map_err(LoadError::file("the program itself"))?;
    Running::listening(&own.display().to_string(), &role.words(), log).await
}

/// A control plane with one hostname, and its edge. What is set is raised since all clients are at
/// one address; everything else is as it comes.
async fn landfall(identity: &Identity, origin: SocketAddr) -> Lab {
    const MANY: i64 = 1_000_000;
    let lab = Lab::builder()
        .edge_setting("limits.connections_per_address", MANY)
        .edge_setting("limits.connections_per_prefix", MANY)
        .edge_setting("limits.handshakes_per_address", MANY)
        .edge_setting("limits.handshake_burst", MANY)
        // As the peers: none closes a connection in the middle of a run.
        .edge_setting("limits.connection_requests", MANY)
        .start()
        .await;
    let api = lab.api();
    let property = api.create_property("bench", origin).await;
    let hostname = api.add_hostname(property, NAME).await;
    let uploaded = api.upload(property, hostname, &identity.chain_pem, &identity.key_pem).await;
    assert!(uploaded.status < 300, "the certificate is refused: {}", uploaded.text);
    let ciphers = ["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    let policy = serde_json::json!({"tls": {"ciphers": ciphers}});
    api.must(Method::PATCH, &format!("/api/Property/{property}/hostname/{hostname}"), &policy)
        .await;
    lab
}
