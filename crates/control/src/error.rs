//! Why the control plane, or a command on its database, did not do what it should.

use std::{io, net::SocketAddr, path::PathBuf};

use landfall_dns::DnsError;
use landfall_feed::{seal::SealError, secret_file::SecretFileError, sign::KeyError};
use landfall_model::Hostname;

use crate::{
    authority::AuthorityFileError, ca::CaError, challenge_zone::TsigKeyError, store::StoreError,
    token::RandomError,
};

/// Why the control plane, or a command on its database, did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A file or folder of the state.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was wanted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Two servers would each take the feed for their own.
    #[error("another server runs on the state directory {}", directory.display())]
    InUse {
        /// The state directory.
        directory: PathBuf,
    },
    /// Every system hostname would be told under a name that is not served.
    #[error(
        "the state has the system hostname `{found}`, and `system_domain` is `{expected}`: expected \
         the `system_domain` that the state was made with"
    )]
    SystemDomain {
        /// A system hostname of the state.
        found: String,
        /// The configured system domain.
        expected: Hostname,
    },
    /// Others can reach what is not theirs.
    #[error("{} is open to others (mode {mode:04o}); run `chmod {wanted}` on it", path.display())]
    Permissions {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What to make of it.
        wanted: &'static str,
    },
    /// Nobody can be asked for hostnames' DNS.
    #[error("hostnames can't be verified: name resolvers in `dns.resolvers`")]
    Resolvers(#[source] DnsError),
    /// A file that the configuration of a CA names.
    #[error("a CA can't be used")]
    AuthorityFile(#[source] AuthorityFileError),
    /// A secret file.
    #[error("a secret file can't be used")]
    Secret(#[source] SecretFileError),
    /// The feed's signing key.
    #[error("{} is not the feed's signing key", path.display())]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
    /// No key was prepared to take the signing key's place.
    #[error("there is no {}: run `landfall feed prepare-signing-key` first", path.display())]
    NoNextSigningKey {
        /// Where it would be.
        path: PathBuf,
    },
    /// What would be lost.
    #[error("{} is there already: nothing is restored over it; move it away first", path.display())]
    NotEmpty {
        /// What is there.
        path: PathBuf,
    },
    /// The group's public key.
    #[error("{} is not the group's public key", path.display())]
    GroupKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SealError,
    },
    /// What would be sealed to the same key again.
    #[error(
        "{key} is the group key that new secrets are sealed to: give the control plane another one first \
         (`keys.group_public_key_file`, docs/operations/keys.md)"
    )]
    GroupKeyCurrent {
        /// The key's id.
        key: String,
    },
    /// What is issued now would be sealed to the former key.
    #[error(
        "the control plane has sealed nothing to the group key {current} of `keys.group_public_key_file` yet: \
         restart it, and try again"
    )]
    GroupKeyUntaken {
        /// The id of the key in the file.
        current: String,
    },
    /// A secret that no CA made.
    #[error("the secret is not the HMAC key of an external account: expected base64url")]
    ExternalAccountKey,
    /// New group keys.
    #[error("cannot make a group key")]
    MakeGroupKey(#[source] SealError),
    /// The internal CA.
    #[error("the internal CA can't be used")]
    Ca(#[source] CaError),
    /// The database.
    #[error("the database can't be used")]
    Store(#[source] StoreError),
    /// The randomness that a token needs.
    #[error("cannot make a token")]
    Random(#[source] RandomError),
    /// The name is in use.
    #[error("there is already {what} named `{name}`")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A property has as many keys as it may.
    #[error("the property has {most} valid API keys (`api.keys_per_property`): revoke one first")]
    TooManyKeys {
        /// How many it may have.
        most: u32,
    },
    /// The name is not in use.
    #[error("there is no {what} named `{name}`")]
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// No CA has the name.
    #[error(
        "there is no {what} named `{name}`; there is {}",
        if .known.is_empty() { "none".to_owned() } else { .known.join(", ") }
    )]
    UnknownAuthority {
        /// What of a CA is meant.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that would do.
        known: Vec<String>,
    },
    /// What was asked for could not be done.
    #[error("it can't be done")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The name is not one.
    #[error("`{0}` is not a name: expected 1 to 63 letters, digits, hyphens, dots and underscores")]
    Name(String),
    /// A PoP without an address, which no DNS could lead to.
    #[error("a PoP needs 1 to 16 addresses")]
    Addresses,
    /// The port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An address of the zone of challenges.
    #[error(
        "cannot listen for DNS on {address} (`challenge_zone.listen`): ports below 1024 need the capability \
         CAP_NET_BIND_SERVICE, and an address that nothing else listens on, such as a local resolver"
    )]
    ListenDns {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The key for the operator's DNS server.
    #[error("{} is not the key for DNS updates (`challenge_zone.update.tsig_secret_file`)", path.display())]
    TsigKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TsigKeyError,
    },
    /// A task that runs for as long as the server does came to an end.
    #[error("the task `{task}` ended unexpectedly")]
    Task {
        /// Its name.
        task: &'static str,
    },
    /// Metrics that can't be told apart.
    #[error("the metrics can't be registered")]
    Metrics(#[source] prometheus::Error),
}
