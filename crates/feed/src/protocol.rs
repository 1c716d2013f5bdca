//! Paths, parameters and messages of the PoP API. All under `Authorization: Bearer <PoP token>`.
//!
//! `GET /feed/v1/changes?epoch=E&after=R&limit=N&wait=SECONDS`: a signed page, as CBOR or, with
//! `Accept: application/x-ndjson`, one JSON record a line for a person to read. 304: nothing new
//! within `wait`. 410: the cursor is older than the oldest tombstone. 409: another epoch, or a
//! cursor from the future. After 409 and 410 the reader takes a snapshot.
//!
//! `GET /feed/v1/snapshot`: a signed manifest; `GET /feed/v1/snapshot/{name}`: one of its segments,
//! immutable, with byte ranges. `POST /feed/v1/ack`: [`Ack`] in, [`AckReply`] out, as JSON.

use landfall_model::{Epoch, Revision};
use serde::{Deserialize, Serialize};

use crate::digest::StateDigest;

/// See the module.
pub const CHANGES_PATH: &str = "/feed/v1/changes";
/// See the module.
pub const SNAPSHOT_PATH: &str = "/feed/v1/snapshot";
/// See the module.
pub const ACK_PATH: &str = "/feed/v1/ack";

/// The media type of a signed page.
pub const PAGE_MEDIA_TYPE: &str = "application/vnd.landfall.feed+cbor";
/// The media type of the readable form, which is not signed.
pub const NDJSON_MEDIA_TYPE: &str = "application/x-ndjson";

/// The most records in a page.
pub const MAX_PAGE_RECORDS: u32 = 1_000;
/// The longest `wait`, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 30;
/// The most rejected records named in one [`Ack`].
pub const MAX_ACK_REJECTED: usize = 100;
/// The most hostnames that one [`Ack`] names as the busiest, and the most bytes that their names take.
pub const MAX_ACK_BUSIEST: usize = 1_000;
/// See [`MAX_ACK_BUSIEST`].
pub const MAX_ACK_BUSIEST_BYTES: usize = 32 * 1024;

/// The query of `GET /feed/v1/changes`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ChangesQuery {
    /// The reader's epoch.
    pub epoch: Epoch,
    /// The reader's cursor.
    pub after: Revision,
    /// The most records wanted; capped at [`MAX_PAGE_RECORDS`].
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// How many seconds to wait for a change; capped at [`MAX_WAIT_SECONDS`].
    #[serde(default)]
    pub wait: u64,
}

fn default_limit() -> u32 {
    MAX_PAGE_RECORDS
}

/// What a PoP has applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The epoch of `applied`.
    pub epoch: Epoch,
    /// The PoP's cursor.
    pub applied: Revision,
    /// The digest of what the PoP has received up to `applied`, rejected records included.
    pub digest: StateDigest,
    /// Records that it could not use, the newest first. Of more than [`MAX_ACK_REJECTED`] the older ones are
    /// left out.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
    /// The hostnames that had the most handshakes since they were last named, at most [`MAX_ACK_BUSIEST`], once
    /// a minute at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub busiest: Vec<Busy>,
}

/// A hostname that is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// Its name, or the wildcard.
    pub name: String,
    /// How many handshakes were given its certificate.
    pub handshakes: u32,
}

/// A record that a PoP could not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The record's id.
    pub id: String,
    /// The record's revision.
    pub revision: Revision,
    /// Why, in words.
    pub reason: String,
}

/// What the control plane makes of an [`Ack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckReply {
    /// Whether the PoP's digest is that of the control plane at the same revision.
    pub state: AckState,
}

/// Whether a PoP holds what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckState {
    /// The digests are equal.
    InSync,
    /// The PoP is at an older revision; nothing can be said.
    Behind,
    /// Same revision, other digest: the PoP takes a snapshot.
    Diverged,
}
