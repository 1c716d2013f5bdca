//! Which entries answer for a name.
//!
//! A name of one tenant may lie under the wildcard of another, and both are right: the name is
//! served by its own entry, from the moment that its tenant is known to have it, and by the
//! wildcard's certificate for as long as it has none. One that is for standby counts as none while
//! the wildcard's is valid.

use std::sync::Arc;

use landfall_model::HostnameState;

use crate::{CertificateId, CertificateRef, Entry, Offer};

/// What answers for a name.
#[derive(Debug)]
pub(crate) struct Answer<R> {
    pub(crate) entry: Arc<Entry<R>>,
    /// Whose certificate is presented, where the entry gives way.
    lender: Option<Arc<Entry<R>>>,
}

impl<R> Answer<R> {
    /// Of the entries of the exact name and of the wildcard above it, of which the latter is looked
    /// for only where it matters. A name that is not verified hides no wildcard that is, and without
    /// a certificate none at all: its tenant may have no right to it.
    pub(crate) fn of(
        exact: Option<Arc<Entry<R>>>,
        wildcard: impl FnOnce() -> Option<Arc<Entry<R>>>,
    ) -> Option<Self> {
        let alone = |entry| Self { entry, lender: None };
        let Some(entry) = exact else { return wildcard().map(alone) };
        let has_certificate = entry.certificates().next().is_some();
        match entry.state() {
            HostnameState::Active if !entry.gives_way() => Some(alone(entry)),
            HostnameState::Active => {
                let lender = wildcard().filter(|own| own.state() == HostnameState::Active);
                Some(Self { entry, lender })
            }
            HostnameState::PendingValidation => {
                let shows =
                    |own: &Arc<Entry<R>>| !has_certificate || own.state() == HostnameState::Active;
                Some(alone(wildcard().filter(shows).unwrap_or(entry)))
            }
        }
    }

    /// The certificate for a client at `now`, in seconds since 1970.
    pub(crate) fn choose(&self, offer: Offer, now: u64) -> Option<CertificateRef> {
        let lent = self.lender.iter().flat_map(|lender| lender.certificates());
        let preferred = lent.clone().filter(|own| own.is_lent(now));
        self.entry.choose_among(preferred.chain(self.entry.certificates()).chain(lent), offer)
    }

    /// Counts a handshake for the entry whose certificate was chosen.
    pub(crate) fn count(&self, chosen: CertificateId) {
        let has = |entry: &&Arc<Entry<R>>| entry.certificates().any(|own| own.id == chosen);
        self.lender.as_ref().filter(has).unwrap_or(&self.entry).count_handshake();
    }

    /// Whether an entry that is not known yet would change nothing.
    pub(crate) fn is_whole(&self) -> bool {
        let lends = |own: &Arc<Entry<R>>| own.certificates().next().is_some();
        !self.entry.gives_way() || self.lender.as_ref().is_some_and(lends)
    }

    /// Takes the entry's own certificates for the wildcard's. Says whether that makes a difference.
    pub(crate) fn stand_alone(&mut self) -> bool {
        self.lender.take().is_some() && self.entry.certificates().next().is_some()
    }
}
