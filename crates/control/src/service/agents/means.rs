//! By which methods a hostname's names may be proven: what was seen of it, and what that leaves.

use std::net::IpAddr;

use landfall_dns::{Delegation, DelegationEvidence, Evidence};
use landfall_issuance::method::{self, NoMethod, Port80, Records, Wish, methods};
use landfall_model::issuance::{ChallengeMethod, TxtRecords};

use super::{Service, stalled::addresses};
use crate::{
    hostname::{ManagedHostname, delegation::DelegationRecord, wish::ValidationMethod},
    service::ServiceError,
    store::{self, Connection, attempt::Attempt},
};

/// What is known of the ways to prove a hostname's names.
#[derive(Clone, Debug)]
pub(super) struct Means {
    /// Who makes TXT records.
    pub(super) records: TxtRecords,
    port_80: Port80,
    /// What CAA records leave; none where they leave all.
    caa: Option<Vec<ChallengeMethod>>,
    /// Where its DNS was last seen to lead.
    pub(super) leads_to: Vec<IpAddr>,
}

impl Service {
    /// The record that leaves a hostname's DNS challenges to us, where there is a zone for them.
    pub(crate) fn delegation(&self, hostname: &ManagedHostname) -> Option<DelegationRecord> {
        DelegationRecord::of(hostname, self.challenge_zone.as_ref()?)
    }

    /// What the last verification, whose evidence this is, and the last attempt by HTTP-01 have shown.
    pub(super) async fn means(
        &self,
        on: &mut Connection,
        hostname: &ManagedHostname,
        evidence: Option<Evidence>,
    ) -> Result<Means, ServiceError> {
        let method = ChallengeMethod::Http01;
        let attempt = store::attempt::newest_by(on, hostname.id, method).await?;
        let seen = evidence.as_ref().and_then(|evidence| evidence.challenge.as_ref());
        Ok(Means {
            records: self.records(hostname, seen),
            port_80: port_80(attempt.as_ref()),
            leads_to: addresses(evidence.as_ref()),
            caa: evidence.and_then(|evidence| evidence.caa.methods),
        })
    }

    /// Ours are the records of whom the last look saw to lead to where they would stand now.
    fn records(&self, hostname: &ManagedHostname, seen: Option<&DelegationEvidence>) -> TxtRecords {
        let target = self.delegation(hostname).map(|record| record.target);
        let is_there = |target: &String| {
            seen.is_some_and(|seen| {
                seen.delegation == Delegation::Present && seen.target == *target
            })
        };
        target.filter(is_there).map_or(TxtRecords::ByOwner, |target| TxtRecords::ByUs { target })
    }

    /// By which methods a hostname's names may be proven, the preferred one first.
    pub(super) fn methods(
        &self,
        hostname: &ManagedHostname,
        means: &Means,
        failed: &[ChallengeMethod],
    ) -> Result<Vec<ChallengeMethod>, NoMethod> {
        methods(&method::Evidence {
            names: &hostname.names(),
            port_80: means.port_80,
            records: match (&means.records, &self.challenge_zone) {
                (TxtRecords::ByUs { .. }, _) => Records::Ours,
                (TxtRecords::ByOwner, Some(_)) => Records::Undelegated,
                (TxtRecords::ByOwner, None) => Records::Owners,
            },
            caa: means.caa.as_deref(),
            wish: match hostname.wish.method {
                // What nobody has chosen otherwise: any that works will do.
                ValidationMethod::Http => Wish::Any,
                ValidationMethod::Txt => Wish::Txt,
            },
            fixed: self.agents.method,
            failed,
        })
    }

    /// Why there is none, and what the owner does about it.
    pub(super) fn without_method(&self, hostname: &ManagedHostname, reason: NoMethod) -> String {
        let why = match reason {
            NoMethod::WildcardNeedsDns => "a wildcard is proven by DNS alone",
            NoMethod::NeedsRecord => "the method that is to be used needs a TXT record",
            NoMethod::ForbiddenByCaa if self.challenge_zone.is_some() => {
                "the validationmethods of its CAA records leave no other method"
            }
            NoMethod::ForbiddenByCaa | NoMethod::FixedOtherwise(_) => return reason.to_string(),
        };
        match self.delegation(hostname) {
            Some(DelegationRecord { name, target }) => format!(
                "Create the CNAME record {name} that points at {target}: {why}. Or choose the method \
                 `txt`, and make a TXT record for each certificate."
            ),
            None => reason.to_string(),
        }
    }
}

/// Whether the CA, or our own look, got an answer at port 80 in the last attempt by HTTP-01.
fn port_80(attempt: Option<&Attempt>) -> Port80 {
    match attempt {
        Some(Attempt { class: Some(_), .. }) => Port80::Closed,
        Some(Attempt { class: None, .. }) | None => Port80::Open,
    }
}
