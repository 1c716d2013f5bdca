//! What an agent needs of where it runs.

use std::{error::Error, future::Future, sync::Arc};

use landfall_model::{SealContext, Sealed};
use zeroize::Zeroizing;

use crate::protocol::{LeaseReply, LeaseRequest, RenewalReport, Report, ReportReply};

/// The control plane, as [`crate::protocol`] has it.
pub trait ControlPlane: Send + Sync + 'static {
    /// Asks for work.
    fn lease(
        &self,
        request: &LeaseRequest,
    ) -> impl Future<Output = Result<LeaseReply, ControlError>> + Send;

    /// Says what is new of a job.
    fn report(
        &self,
        report: &Report,
    ) -> impl Future<Output = Result<ReportReply, ControlError>> + Send;

    /// Says when a CA wants a certificate renewed.
    fn renewal(
        &self,
        report: &RenewalReport,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;

    /// Why what it sends can't be written to this machine's disk, where it can't: nothing is taken up here
    /// meanwhile.
    fn disk_trouble(&self) -> Option<String>;
}

/// Why the control plane has not taken something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It did not answer, or not now: the same may be sent again.
    #[error("the control plane can't be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// It refused: the same would be refused again.
    #[error("the control plane refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

/// Seals secrets to the fleet's group keys, and opens them.
pub trait Vault: Send + Sync + 'static {
    /// Whether the group key of this id is there: what is sealed to it opens.
    fn holds(&self, group_key: &str) -> bool;

    /// Seals a secret to one of the group keys that are there, so that it opens for this purpose alone.
    ///
    /// # Errors
    /// [`VaultError`].
    fn seal(
        &self,
        group_key: &str,
        context: SealContext<'_>,
        secret: &[u8],
    ) -> Result<Sealed, VaultError>;

    /// Opens what was sealed for this purpose.
    ///
    /// # Errors
    /// [`VaultError`].
    fn open(
        &self,
        sealed: &Sealed,
        context: SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError>;
}

impl<V: Vault> Vault for Arc<V> {
    fn holds(&self, group_key: &str) -> bool {
        (**self).holds(group_key)
    }

    fn seal(
        &self,
        group_key: &str,
        context: SealContext<'_>,
        secret: &[u8],
    ) -> Result<Sealed, VaultError> {
        (**self).seal(group_key, context, secret)
    }

    fn open(
        &self,
        sealed: &Sealed,
        context: SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        (**self).open(sealed, context)
    }
}

/// Why a secret can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[error("a secret can't be sealed or opened")]
pub struct VaultError(#[source] pub Box<dyn Error + Send + Sync>);
