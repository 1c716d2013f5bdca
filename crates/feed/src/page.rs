//! Signed pages: what travels, and how it is verified before anything in it is believed.
//!
//! A page is a CBOR map of a header, the header's signature and a body compressed with zstd.
//! The header carries the body's hash, so one signature covers all, and a page can be handed on
//! by anybody: a cache, an object store, another PoP.

use std::io::{self, Read};

use landfall_model::{Epoch, Revision, seal};
use serde::{Deserialize, Serialize};

use crate::{
    record::{WireRecord, encode_record, from_cbor, to_cbor},
    seal::sha256,
    sign::{SigningKey, VerifyingKey},
};

/// The version of the page format. A reader refuses a higher one.
pub const SCHEMA: u16 = 1;
/// The largest page on the wire, in bytes.
pub const MAX_PAGE_LEN: usize = 5 * 1024 * 1024;
/// The largest decompressed body, in bytes.
pub const MAX_BODY_LEN: usize = 4 * 1024 * 1024;
/// What is signed starts with this, so that a signature can be used for nothing else.
const SIGNATURE_CONTEXT: &[u8] = b"landfall feed page v1\0";
const ZSTD_LEVEL: i32 = 3;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// Records that changed after a cursor, in the order of their revisions.
    Changes,
    /// The list of a snapshot's segments.
    Manifest,
    /// A part of a snapshot, in the order of record ids.
    Segment,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`] of the writer.
    pub schema: u16,
    /// What the body is.
    pub kind: PageKind,
    /// The history that the revisions belong to.
    pub epoch: Epoch,
    /// The cursor that was asked for; 0 in a manifest or segment.
    pub after: Revision,
    /// The cursor once the page is applied; the snapshot's revision in a manifest or segment.
    pub to: Revision,
    /// How many records the body has; for a manifest, how many the snapshot has.
    pub count: u64,
    /// Whether a snapshot may drop more than a tenth of the reader's hostnames.
    #[serde(default)]
    pub allow_shrink: bool,
    /// The SHA-256 of the compressed body.
    #[serde(with = "seal::bytes")]
    pub body_sha256: Vec<u8>,
}

impl Header {
    /// Whether a record of `revision` belongs into the page.
    pub fn covers(&self, revision: Revision) -> bool {
        self.after < revision && revision <= self.to
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(with = "seal::bytes")]
    header: Vec<u8>,
    #[serde(with = "seal::bytes")]
    signature: Vec<u8>,
    #[serde(with = "seal::bytes")]
    body: Vec<u8>,
}

/// The list of a snapshot's segments, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The segments.
    pub segments: Vec<SegmentRef>,
    /// How many hostnames the snapshot has.
    pub hostnames: u64,
}

/// One segment of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The last part of its path; `[0-9a-z.-]` alone.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// The SHA-256 of all its bytes.
    #[serde(with = "seal::bytes")]
    pub sha256: Vec<u8>,
}

/// Why a page was refused. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// More than [`MAX_PAGE_LEN`] on the wire or [`MAX_BODY_LEN`] decompressed.
    #[error("the page is larger than {limit} bytes")]
    TooLarge {
        /// The limit that it passed.
        limit: usize,
    },
    /// Not a page.
    #[error("the page can't be decoded: {0}")]
    Malformed(String),
    /// No known key made the signature, or the body is another one.
    #[error("the page's signature is not by a key that this edge trusts")]
    Signature,
    /// A later format.
    #[error("the page has schema {0}, this version reads {SCHEMA}")]
    Schema(u16),
    /// Another kind of page than was asked for.
    #[error("the page is {got:?}, expected {expected:?}")]
    Kind {
        /// What it is.
        got: PageKind,
        /// What was asked for.
        expected: PageKind,
    },
    /// An older history.
    #[error("the page is of epoch {got}, this edge is at {have}")]
    EpochRollback {
        /// The page's.
        got: Epoch,
        /// The reader's.
        have: Epoch,
    },
    /// Not what follows the reader's cursor.
    #[error("the page covers revisions {after} to {to}, this edge is at {have}")]
    RevisionRollback {
        /// The page's start.
        after: Revision,
        /// The page's end.
        to: Revision,
        /// The reader's cursor.
        have: Revision,
    },
    /// The header and the body disagree.
    #[error("the page has {got} records, its header says {expected}")]
    Count {
        /// How many there are.
        got: u64,
        /// How many were announced.
        expected: u64,
    },
}

impl PageError {
    /// A short constant for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Signature => "signature",
            Self::Schema(_) => "schema",
            Self::Kind { .. } => "kind",
            Self::EpochRollback { .. } => "epoch_rollback",
            Self::RevisionRollback { .. } => "revision_rollback",
            Self::Count { .. } => "count",
        }
    }
}

/// What goes into a page of records, its hash and count apart.
#[derive(Clone, Copy, Debug)]
pub struct PageSpec {
    /// [`PageKind::Changes`] or [`PageKind::Segment`].
    pub kind: PageKind,
    /// As in [`Header`].
    pub epoch: Epoch,
    /// As in [`Header`].
    pub after: Revision,
    /// As in [`Header`].
    pub to: Revision,
}

/// Signs a page of records.
///
/// # Errors
/// Where zstd cannot allocate.
pub fn encode_records(
    key: &SigningKey,
    spec: PageSpec,
    records: &[WireRecord],
) -> io::Result<Vec<u8>> {
    let encoded: Vec<_> = records.iter().map(encode_record).collect();
    encode_raw_records(key, spec, &encoded)
}

/// Signs a page of records that are encoded already, by [`encode_record`].
///
/// # Errors
/// Where zstd cannot allocate.
pub fn encode_raw_records(
    key: &SigningKey,
    spec: PageSpec,
    records: &[Vec<u8>],
) -> io::Result<Vec<u8>> {
    let blobs: Vec<_> = records.iter().map(|record| BlobRef(record)).collect();
    encode(key, spec, records.len() as u64, false, &to_cbor(&blobs))
}

/// Signs the manifest of a snapshot of `count` records at `revision`.
///
/// # Errors
/// Where zstd cannot allocate.
pub fn encode_manifest(
    key: &SigningKey,
    (epoch, revision): (Epoch, Revision),
    count: u64,
    shrink: Shrink,
    manifest: &Manifest,
) -> io::Result<Vec<u8>> {
    let spec = PageSpec { kind: PageKind::Manifest, epoch, after: Revision(0), to: revision };
    encode(key, spec, count, shrink == Shrink::Allowed, &to_cbor(manifest))
}

/// Whether a snapshot may drop more than a tenth of the reader's hostnames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// The operator has said that it is meant.
    Allowed,
    /// The reader refuses it.
    Refused,
}

#[derive(Serialize)]
#[serde(transparent)]
struct BlobRef<'a>(#[serde(serialize_with = "seal::bytes::serialize")] &'a [u8]);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Blob(#[serde(with = "seal::bytes")] Vec<u8>);

fn encode(
    key: &SigningKey,
    spec: PageSpec,
    count: u64,
    allow_shrink: bool,
    body: &[u8],
) -> io::Result<Vec<u8>> {
    let body = zstd::bulk::compress(body, ZSTD_LEVEL)?;
    let header = to_cbor(&Header {
        schema: SCHEMA,
        kind: spec.kind,
        epoch: spec.epoch,
        after: spec.after,
        to: spec.to,
        count,
        allow_shrink,
        body_sha256: sha256(&body).to_vec(),
    });
    let signature = key.sign(&signed_bytes(&header));
    Ok(to_cbor(&Envelope { header, signature, body }))
}

fn signed_bytes(header: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, header].concat()
}

/// A page whose signature and hash are right. What it claims is still to be held against a cursor.
#[derive(Debug)]
pub struct VerifiedPage {
    header: Header,
    body: Vec<u8>,
}

impl VerifiedPage {
    /// Verifies `bytes` with any of `keys`, expecting a page of `kind`.
    ///
    /// # Errors
    /// Every [`PageError`] but the rollbacks and the count.
    pub fn open(bytes: &[u8], keys: &[VerifyingKey], kind: PageKind) -> Result<Self, PageError> {
        if bytes.len() > MAX_PAGE_LEN {
            return Err(PageError::TooLarge { limit: MAX_PAGE_LEN });
        }
        let envelope: Envelope = decode(bytes)?;
        let message = signed_bytes(&envelope.header);
        if !keys.iter().any(|key| key.verifies(&message, &envelope.signature)) {
            return Err(PageError::Signature);
        }
        let header: Header = decode(&envelope.header)?;
        if header.schema > SCHEMA {
            return Err(PageError::Schema(header.schema));
        }
        if header.kind != kind {
            return Err(PageError::Kind { got: header.kind, expected: kind });
        }
        if sha256(&envelope.body) != *header.body_sha256 {
            return Err(PageError::Signature);
        }
        Ok(Self { body: decompress(&envelope.body)?, header })
    }

    /// What was signed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Checks that the page is what follows `cursor` in `epoch`.
    ///
    /// # Errors
    /// [`PageError::EpochRollback`] and [`PageError::RevisionRollback`].
    pub fn follows(&self, epoch: Epoch, cursor: Revision) -> Result<(), PageError> {
        let Header { epoch: got, after, to, .. } = self.header;
        if got != epoch {
            return Err(PageError::EpochRollback { got, have: epoch });
        }
        match after == cursor && to >= after {
            true => Ok(()),
            false => Err(PageError::RevisionRollback { after, to, have: cursor }),
        }
    }

    /// The encoded records, each still to be read by [`WireRecord::read`].
    ///
    /// # Errors
    /// [`PageError::Malformed`] and [`PageError::Count`].
    pub fn records(&self) -> Result<Vec<Vec<u8>>, PageError> {
        let records: Vec<Blob> = decode(&self.body)?;
        let got = records.len() as u64;
        if got != self.header.count {
            return Err(PageError::Count { got, expected: self.header.count });
        }
        Ok(records.into_iter().map(|Blob(bytes)| bytes).collect())
    }

    /// The manifest in the body.
    ///
    /// # Errors
    /// [`PageError::Malformed`].
    pub fn manifest(&self) -> Result<Manifest, PageError> {
        decode(&self.body)
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, PageError> {
    from_cbor(bytes).map_err(|error| PageError::Malformed(error.to_string()))
}

fn decompress(body: &[u8]) -> Result<Vec<u8>, PageError> {
    let malformed = |error: io::Error| PageError::Malformed(error.to_string());
    let decoder = zstd::Decoder::new(body).map_err(malformed)?;
    let mut decoded = Vec::new();
    let mut limited = decoder.take(MAX_BODY_LEN as u64 + 1);
    limited.read_to_end(&mut decoded).map_err(malformed)?;
    match decoded.len() > MAX_BODY_LEN {
        true => Err(PageError::TooLarge { limit: MAX_BODY_LEN }),
        false => Ok(decoded),
    }
}

#[cfg(test)]
mod tests;
