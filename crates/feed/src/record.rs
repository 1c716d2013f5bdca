//! The records of the feed, and how one is read without trusting it.

use std::net::IpAddr;

pub use landfall_model::HostnameState;
use landfall_model::{
    Der, HostPattern, Hostname, HostnameId, NameError, OriginPool, OriginPoolError, PropertyId,
    Revision, Route, RouteError, Sealed, Thumbprint, TlsPolicy, TlsPolicyError, seal,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
};

/// The largest encoded record, in bytes.
pub const MAX_RECORD_LEN: usize = 64 * 1024;
/// The longest time that one ticket secret is for, in seconds: with the time that its tickets are
/// taken after it, TLS allows seven days (RFC 8446 section 4.6.1).
pub const MAX_TICKET_PERIOD: u64 = 86_400;
/// What the record id of a validation starts with; the name follows.
pub const VALIDATION_ID: &str = "validation/";
const HOSTNAME_ID: &str = "hostname/";

/// A record as it travels: its head can be read even where its body can't.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireRecord {
    /// `hostname/<name>`, `property/<id>`, `pop/<name>`, `tickets/<start>` or `validation/<name>`.
    /// Unique in the feed.
    pub id: String,
    /// The revision of the last change.
    pub revision: Revision,
    /// What the body is. A reader skips kinds it doesn't know.
    pub kind: String,
    /// Whether this is a tombstone: what was under this id is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The CBOR of the body. Empty in a tombstone.
    #[serde(default, with = "seal::bytes")]
    pub body: Vec<u8>,
}

/// A record that was read.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// As in [`WireRecord`].
    pub id: String,
    /// As in [`WireRecord`].
    pub revision: Revision,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a record says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Body {
    /// A hostname and everything that an edge needs to serve it.
    Hostname(HostnameRecord),
    /// A property: what its hostnames have in common.
    Property(PropertyRecord),
    /// A PoP of the fleet.
    Pop(PopRecord),
    /// The secret that session tickets are encrypted under for a time.
    Tickets(TicketRecord),
    /// A hostname that a CA is being shown to be its owner's.
    Validation(ValidationRecord),
    /// What was under this id is gone.
    Tombstone,
    /// A kind that this version doesn't know.
    Unknown,
}

/// A hostname and everything that an edge needs to serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostnameRecord {
    /// The name or the wildcard.
    pub name: HostPattern,
    /// The API's id.
    pub hostname_id: HostnameId,
    /// Whether it is verified.
    pub state: HostnameState,
    /// Where its requests go.
    pub route: Route,
    /// Which TLS it offers.
    #[serde(default)]
    pub tls: TlsPolicy,
    /// At most one for each type of key. Empty while nothing is issued.
    #[serde(default)]
    pub certificates: Vec<CertificateRecord>,
    /// What `certificates` took the place of and that PoPs have not yet been seen to serve: for an edge
    /// that can't use one of them. At most one for each type of key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predecessors: Vec<CertificateRecord>,
}

/// A certificate and its sealed private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// DER, the leaf first, each followed by its issuer.
    pub chain: Vec<Der>,
    /// The SHA-256 of the leaf's SubjectPublicKeyInfo (DER).
    #[serde(with = "seal::bytes")]
    pub spki_sha256: Vec<u8>,
    /// The private key as PKCS#8 DER, sealed for this hostname and public key.
    pub key: Sealed,
    /// Whether it is for those times alone in which no wildcard above the hostname has a certificate that is
    /// valid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
}

/// A property: what its hostnames have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyRecord {
    /// The API's id.
    pub property: PropertyId,
    /// Where requests go, unless the hostname says otherwise.
    pub pool: OriginPool,
}

/// The secret that session tickets are encrypted under for a time (RFC 5077 section 5.5). Every
/// edge has the same, so that a session of one PoP is resumed at another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRecord {
    /// When tickets start to be made with it, in seconds since 1970.
    pub starts: u64,
    /// When the next one takes its place. Tickets are taken for as long again.
    pub ends: u64,
    /// 32 random bytes, sealed for these two times.
    pub secret: Sealed,
}

/// A hostname that a CA is being shown to be its owner's. It stands beside the hostname's own record, so
/// that nothing that is served changes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// The name. A wildcard is validated in the DNS.
    pub name: Hostname,
    /// Of the account that has ordered: what HTTP-01 is answered with (RFC 8555 section 8.3).
    pub thumbprint: Thumbprint,
    /// What TLS-ALPN-01 is answered with: the SHA-256 of the key authorization (RFC 8737 section 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<AlpnDigest>,
    /// Until when challenges are answered, in seconds since 1970.
    pub until: u64,
}

/// The SHA-256 of a key authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlpnDigest(pub [u8; 32]);

impl Serialize for AlpnDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        seal::bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for AlpnDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = seal::bytes::deserialize(deserializer)?;
        let wrong = |bytes: Vec<u8>| de::Error::invalid_length(bytes.len(), &"32 bytes");
        bytes.try_into().map(Self).map_err(wrong)
    }
}

/// A PoP of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PopRecord {
    /// Its name.
    pub name: String,
    /// The public addresses that customers' DNS leads to.
    pub addresses: Vec<IpAddr>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Larger than [`MAX_RECORD_LEN`].
    #[error("the record has {len} bytes, {MAX_RECORD_LEN} are allowed")]
    Oversized {
        /// Its length in bytes.
        len: usize,
    },
    /// Not the CBOR that was expected.
    #[error("the record can't be decoded: {0}")]
    Malformed(String),
    /// The name is not a hostname.
    #[error("the record's name is invalid")]
    Name(#[source] NameError),
    /// The TLS policy can't be served.
    #[error("the record's TLS policy is invalid")]
    Policy(#[source] TlsPolicyError),
    /// The id is not the one that the name makes.
    #[error("the record's id is not that of its name")]
    Id,
    /// A property without a usable origin.
    #[error("the record's origins are invalid")]
    Pool(#[source] OriginPoolError),
    /// The route can't be served.
    #[error("the record's route is invalid")]
    Route(#[source] RouteError),
    /// A secret for no time, or for too long.
    #[error("the record's secret is for no time, or for longer than a day")]
    Period,
}

impl RecordError {
    /// A short constant for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "oversized",
            Self::Malformed(_) => "malformed",
            Self::Name(_) => "invalid_name",
            Self::Policy(_) => "invalid_policy",
            Self::Id => "id_mismatch",
            Self::Pool(_) => "invalid_pool",
            Self::Route(_) => "invalid_route",
            Self::Period => "invalid_period",
        }
    }
}

impl WireRecord {
    /// Encodes a hostname at `revision`.
    pub fn hostname(revision: Revision, record: &HostnameRecord) -> Self {
        Self::live(hostname_id(&record.name), revision, "hostname", record)
    }

    /// Encodes a property at `revision`.
    pub fn property(revision: Revision, record: &PropertyRecord) -> Self {
        Self::live(property_id(record.property), revision, "property", record)
    }

    /// Encodes a ticket secret at `revision`.
    pub fn tickets(revision: Revision, record: &TicketRecord) -> Self {
        Self::live(tickets_id(record.starts), revision, "tickets", record)
    }

    /// Encodes a validation at `revision`.
    pub fn validation(revision: Revision, record: &ValidationRecord) -> Self {
        Self::live(validation_id(&record.name), revision, "validation", record)
    }

    /// Encodes a PoP at `revision`.
    pub fn pop(revision: Revision, record: &PopRecord) -> Self {
        Self::live(pop_id(&record.name), revision, "pop", record)
    }

    /// Says that what was under `id` is gone since `revision`.
    pub fn tombstone(id: String, revision: Revision, kind: &str) -> Self {
        Self { id, revision, kind: kind.to_owned(), deleted: true, body: Vec::new() }
    }

    fn live<T: Serialize>(id: String, revision: Revision, kind: &str, body: &T) -> Self {
        Self { id, revision, kind: kind.to_owned(), deleted: false, body: to_cbor(body) }
    }

    /// Reads the head of an encoded record.
    ///
    /// # Errors
    /// [`RecordError::Oversized`] and [`RecordError::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_LEN {
            return Err(RecordError::Oversized { len: bytes.len() });
        }
        from_cbor(bytes)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// Every [`RecordError`].
    pub fn decode(&self) -> Result<Record, RecordError> {
        let body = match (self.deleted, self.kind.as_str()) {
            (true, _) => Body::Tombstone,
            (false, "hostname") => Body::Hostname(self.decode_hostname()?),
            (false, "property") => Body::Property(self.decode_property()?),
            (false, "pop") => Body::Pop(self.decode_pop()?),
            (false, "tickets") => Body::Tickets(self.decode_tickets()?),
            (false, "validation") => Body::Validation(self.decode_validation()?),
            // An id belongs to one kind for ever: a reader keeps each kind in a place of its own.
            (false, _) if self.id.starts_with(HOSTNAME_ID) => return Err(RecordError::Id),
            (false, _) => Body::Unknown,
        };
        Ok(Record { id: self.id.clone(), revision: self.revision, body })
    }

    fn decode_pop(&self) -> Result<PopRecord, RecordError> {
        let record: PopRecord = from_cbor(&self.body)?;
        match self.id == pop_id(&record.name) {
            true => Ok(record),
            false => Err(RecordError::Id),
        }
    }

    fn decode_validation(&self) -> Result<ValidationRecord, RecordError> {
        let record: ValidationRecord = from_cbor(&self.body)?;
        match self.id == validation_id(&record.name) {
            true => Ok(record),
            false => Err(RecordError::Id),
        }
    }

    fn decode_property(&self) -> Result<PropertyRecord, RecordError> {
        let mut record: PropertyRecord = from_cbor(&self.body)?;
        if self.id != property_id(record.property) {
            return Err(RecordError::Id);
        }
        record.pool = record.pool.checked().map_err(RecordError::Pool)?;
        Ok(record)
    }

    fn decode_tickets(&self) -> Result<TicketRecord, RecordError> {
        let record: TicketRecord = from_cbor(&self.body)?;
        if self.id != tickets_id(record.starts) {
            return Err(RecordError::Id);
        }
        let period = record.ends.checked_sub(record.starts);
        match period.is_some_and(|period| (1..=MAX_TICKET_PERIOD).contains(&period)) {
            true => Ok(record),
            false => Err(RecordError::Period),
        }
    }

    fn decode_hostname(&self) -> Result<HostnameRecord, RecordError> {
        // The name alone first: what is wrong with it is worth more than "malformed".
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let Named { name } = from_cbor(&self.body)?;
        let name: HostPattern = name.parse().map_err(RecordError::Name)?;
        if self.id != hostname_id(&name) {
            return Err(RecordError::Id);
        }
        let mut record: HostnameRecord = from_cbor(&self.body)?;
        record.tls = record.tls.checked().map_err(RecordError::Policy)?;
        record.route = record.route.checked().map_err(RecordError::Route)?;
        Ok(record)
    }
}

/// Encodes a record as it stands in a page.
pub fn encode_record(record: &WireRecord) -> Vec<u8> {
    to_cbor(record)
}

/// The record id of a hostname.
pub fn hostname_id(name: &HostPattern) -> String {
    format!("{HOSTNAME_ID}{name}")
}

/// The record id of a property.
pub fn property_id(id: PropertyId) -> String {
    format!("property/{}", id.0)
}

/// The record id of the ticket secret whose time starts then.
pub fn tickets_id(starts: u64) -> String {
    format!("tickets/{starts}")
}

/// The record id of a hostname's validation.
pub fn validation_id(name: &Hostname) -> String {
    format!("{VALIDATION_ID}{name}")
}

fn pop_id(name: &str) -> String {
    format!("pop/{name}")
}

pub(crate) fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    ciborium::from_reader(bytes).map_err(|error| RecordError::Malformed(error.to_string()))
}

/// Encodes one of this crate's own types, none of which can fail: they hold no map with keys
/// that are not text, and a `Vec` always takes more bytes.
pub(crate) fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    #[expect(clippy::expect_used, reason = "a Vec does not refuse bytes")]
    ciborium::into_writer(value, &mut bytes).expect("feed types always encode");
    bytes
}

#[cfg(test)]
mod tests;
