//! The protocol between the control plane and the PoPs, and what a PoP keeps of it on disk.
//!
//! The feed is state with revisions: each [`record`] carries the revision of its last change, and
//! a reader asks for what has changed since its cursor. [`page`] signs and verifies what travels,
//! [`client`] polls, acknowledges and fetches snapshots, [`lkg`] is the last-known-good database
//! that an edge starts from.
//!
//! Nothing received is trusted before its signature is checked, one bad record never fails its
//! page, and no secret is ever in the clear: [`seal`] can close what only an edge can open.
//! Start reading at [`page`].

pub mod bounded_file;
pub mod client;
pub mod digest;
pub mod lkg;
pub mod page;
pub mod protocol;
pub mod record;
pub mod seal;
pub mod secret_file;
pub mod sign;
