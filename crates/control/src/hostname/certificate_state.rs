//! What state a hostname's certificate is in, and the hostname's own in the Cloudflare-compatible
//! API: both are told from what is kept, and never stored.

use time::{Duration, OffsetDateTime};

use super::{
    HostnameStatus, Title,
    deployment::{Deployment, Extent, Proof},
};
use crate::{
    certificate::{CertificateIssuer, CertificateSummary},
    store::job::{JobStage, JobState},
};

/// How many attempts fail before an issuance is said to have timed out: later ones are a day apart.
pub(crate) const QUICK_ATTEMPTS: u32 = 3;
/// How long an active PoP may take for a change.
pub(crate) const DEPLOYMENT_TIME: Duration = Duration::minutes(15);
/// How long before its end a certificate that nothing renews is said to end, at most; of one with a
/// short life, when a third of it is left.
pub(crate) const EXPIRATION_NOTICE: Duration = Duration::days(30);

/// What state a hostname's certificate is in. Those that the Cloudflare-compatible API documents and
/// that can't be here are left out: nothing is staged or backed up, and a deletion is one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateState {
    /// The hostname is active, and a certificate is about to be asked for.
    Initializing,
    /// There is none until the hostname's DNS leads here.
    PendingValidation,
    /// The hostname's DNS did not lead here for so long that it is no longer looked at.
    ValidationTimedOut,
    /// It is asked for.
    PendingIssuance,
    /// It is asked for, and attempts failed so often that they are a day apart.
    IssuanceTimedOut,
    /// It is there, and on its way to the PoPs.
    PendingDeployment,
    /// It is there, and after a quarter of an hour an active PoP does not have it, or no handshake has
    /// shown it.
    DeploymentTimedOut,
    /// It is there, and is served once the property has the name.
    HoldingDeployment,
    /// Every active PoP has it, and a handshake with one has shown it.
    Active,
    /// As [`Self::Active`], and its end is near while nothing renews it.
    PendingExpiration,
    /// It has come to its end.
    Expired,
    /// Another property has the name: what is kept here is not served.
    Inactive,
}

/// What a certificate's state is told from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) status: HostnameStatus,
    pub(crate) title: Title,
    /// When the hostname's DNS was found to have left.
    pub(crate) left_at: Option<OffsetDateTime>,
    /// Its newest job.
    pub(crate) job: Option<&'a JobState>,
    pub(crate) certificates: &'a [CertificateSummary],
    pub(crate) deployment: Deployment,
    pub(crate) proof: Proof,
    pub(crate) now: OffsetDateTime,
}

/// A hostname's status in the Cloudflare-compatible API: of those that it documents, what can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicStatus {
    /// Its DNS is not known to lead here, or another property has the name.
    Pending,
    /// It is served.
    Active,
    /// Its DNS has left or never came, or another property proved that the name is its own.
    Moved,
}

impl CertificateState {
    /// Every one.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::Initializing,
        Self::PendingValidation,
        Self::ValidationTimedOut,
        Self::PendingIssuance,
        Self::IssuanceTimedOut,
        Self::PendingDeployment,
        Self::DeploymentTimedOut,
        Self::HoldingDeployment,
        Self::Active,
        Self::PendingExpiration,
        Self::Expired,
        Self::Inactive,
    ];

    /// As both APIs have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::PendingValidation => "pending_validation",
            Self::ValidationTimedOut => "validation_timed_out",
            Self::PendingIssuance => "pending_issuance",
            Self::IssuanceTimedOut => "issuance_timed_out",
            Self::PendingDeployment => "pending_deployment",
            Self::DeploymentTimedOut => "deployment_timed_out",
            Self::HoldingDeployment => "holding_deployment",
            Self::Active => "active",
            Self::PendingExpiration => "pending_expiration",
            Self::Expired => "expired",
            Self::Inactive => "inactive",
        }
    }
}

impl PublicStatus {
    /// As the Cloudflare-compatible API has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Moved => "moved",
        }
    }

    /// What a hostname's status is there. One that is served although its DNS has left is no longer
    /// renewed, which is the sense of `moved`.
    pub(crate) const fn of(status: HostnameStatus, left_at: Option<OffsetDateTime>) -> Self {
        match (status, left_at) {
            (HostnameStatus::PendingValidation, _) => Self::Pending,
            (HostnameStatus::Active, None) => Self::Active,
            (HostnameStatus::Active, Some(_))
            | (HostnameStatus::GivenUp | HostnameStatus::TakenOver, _) => Self::Moved,
        }
    }
}

impl Situation<'_> {
    /// What state the certificate is in.
    pub(crate) fn certificate_state(&self) -> CertificateState {
        if self.status == HostnameStatus::TakenOver {
            return CertificateState::Inactive;
        }
        match (self.first_to_end(), self.title) {
            (None, _) => self.state_without(),
            (Some(first), _) if first.not_after <= self.now => CertificateState::Expired,
            (Some(_), Title::Claimed) => CertificateState::HoldingDeployment,
            (Some(first), Title::Held) => self.state_with(first),
        }
    }

    /// Of the hostname's own certificates the one that ends first. What came with the name from
    /// another property only bridges the time until there is one.
    fn first_to_end(&self) -> Option<&CertificateSummary> {
        let own = |one: &&CertificateSummary| one.issuer != CertificateIssuer::Inherited;
        self.certificates.iter().filter(own).min_by_key(|own| own.not_after)
    }

    fn state_without(&self) -> CertificateState {
        let job = self.job.filter(|job| job.stage == JobStage::Open);
        match (self.status, self.left_at, job) {
            (HostnameStatus::GivenUp, _, _) => CertificateState::ValidationTimedOut,
            (HostnameStatus::Active, None, Some(job)) if job.attempts > QUICK_ATTEMPTS => {
                CertificateState::IssuanceTimedOut
            }
            (HostnameStatus::Active, None, Some(_)) => CertificateState::PendingIssuance,
            (HostnameStatus::Active, None, None) => CertificateState::Initializing,
            (HostnameStatus::Active, Some(_), _)
            | (HostnameStatus::PendingValidation | HostnameStatus::TakenOver, _, _) => {
                CertificateState::PendingValidation
            }
        }
    }

    fn state_with(&self, first: &CertificateSummary) -> CertificateState {
        match (self.deployment.extent, self.unseen_since()) {
            (Extent::Everywhere, Some(since)) if since + DEPLOYMENT_TIME < self.now => {
                CertificateState::DeploymentTimedOut
            }
            (Extent::Everywhere, Some(_)) => CertificateState::PendingDeployment,
            (Extent::Everywhere, None) if self.ends_unrenewed(first) => {
                CertificateState::PendingExpiration
            }
            (Extent::Everywhere, None) => CertificateState::Active,
            (Extent::Partial(since), _) if since + DEPLOYMENT_TIME < self.now => {
                CertificateState::DeploymentTimedOut
            }
            (Extent::Partial(_) | Extent::NoActivePop | Extent::Unpublished, _) => {
                CertificateState::PendingDeployment
            }
        }
    }

    /// Since when there has been a certificate of its own that no PoP has been seen to serve; none where
    /// each has, or where that is not asked for.
    fn unseen_since(&self) -> Option<OffsetDateTime> {
        let is_unseen = |own: &&CertificateSummary| {
            own.issuer != CertificateIssuer::Inherited && own.sighted.at.is_none()
        };
        match self.proof {
            Proof::Acknowledgement => None,
            Proof::Handshake => {
                self.certificates.iter().filter(is_unseen).map(|own| own.created_at).max()
            }
        }
    }

    /// Whether a certificate's end is near and nothing renews it: its owner uploaded it, or the
    /// hostname's DNS has left.
    fn ends_unrenewed(&self, certificate: &CertificateSummary) -> bool {
        let lifetime: Duration = certificate.not_after - certificate.not_before;
        let notice = EXPIRATION_NOTICE.min(lifetime / 3);
        let is_near = certificate.not_after - self.now < notice;
        let is_managed = match certificate.issuer {
            CertificateIssuer::Internal | CertificateIssuer::Authority => true,
            CertificateIssuer::Uploaded | CertificateIssuer::Inherited => false,
        };
        let is_renewed = is_managed && self.left_at.is_none();
        is_near && !is_renewed
    }
}

#[cfg(test)]
mod tests;
