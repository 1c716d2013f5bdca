//! What the control plane does with properties, hostnames and certificates: the rules, and each
//! change together with its publication.

pub(crate) mod agents;
mod audit;
mod certificates;
mod coverage;
mod creation;
mod error;
mod explain;
mod fallback_origin;
mod hostnames;
mod import;
mod jobs;
pub(crate) mod keys;
mod ownership;
mod predecessors;
mod properties;
pub(crate) mod replacement;
pub(crate) mod revocation;
mod sightings;
mod sites;
mod summary;
mod tickets;
pub(crate) mod verification;
mod view;
mod zones;

use std::{sync::Arc, time::Duration};

use landfall_feed::{
    record::{HostnameRecord, HostnameState, MAX_RECORD_LEN, WireRecord, encode_record},
    seal::GroupPublicKey,
};
use landfall_model::{HostPattern, Hostname, HostnameId, PropertyId, Revision};

pub(crate) use agents::AgentRules;
pub(crate) use certificates::Upload;
pub(crate) use creation::Creation;
pub(crate) use error::{Missing, ServiceError, VerificationError};
pub(crate) use explain::Explanation;
pub(crate) use import::{ImportMode, Imported, Outcome};
pub(crate) use jobs::Attempt;
pub(crate) use properties::PropertyView;
pub(crate) use sightings::Left;
pub(crate) use summary::Reader;
pub(crate) use verification::Verification;
pub(crate) use view::HostnameView;
pub(crate) use zones::CustomHostname;

use crate::{
    authority::Authorities,
    ca::InternalCa,
    config::{IssuancePolicy, Limits, OriginPolicy},
    hostname::{HostnameSpec, ManagedHostname},
    store::{self, Change, Store, StoreError},
    watch::Watch,
};

/// The most different TLS policies of one property's hostnames, the default apart. An edge has
/// room for 4,096 of all tenants.
pub(crate) const MAX_TLS_POLICIES: u64 = 64;
/// The most bytes of a hostname's record that its settings may take: the rest is for certificates,
/// which are issued anew long after nobody looks at an answer any more.
pub(crate) const MAX_SETTINGS_LEN: usize = MAX_RECORD_LEN / 2;

/// The rules of the control plane over its store.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) ca: Arc<InternalCa>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) agents: Arc<AgentRules>,
    pub(crate) group: GroupPublicKey,
    pub(crate) system_domain: Hostname,
    /// The zone that `_acme-challenge` of hostnames leads to, where there is one.
    pub(crate) challenge_zone: Option<Hostname>,
    pub(crate) issuance: IssuancePolicy,
    pub(crate) origins: OriginPolicy,
    /// How long a PoP may ask for nothing before it is unhealthy.
    pub(crate) pop_unhealthy_after: Duration,
    pub(crate) verification: Verification,
    pub(crate) watch: Arc<Watch>,
    /// The most valid keys for one property.
    pub(crate) keys_per_property: u32,
    pub(crate) limits: Limits,
}

/// A hostname of another property is as unknown as none.
fn owned(
    hostname: Option<ManagedHostname>,
    property: PropertyId,
) -> Result<ManagedHostname, ServiceError> {
    hostname
        .filter(|hostname| hostname.property == property)
        .ok_or(ServiceError::Missing(Missing::Hostname))
}

/// Checks that what is to be changed is in the state that the caller expects.
fn check_version(change: &Change, version: i64) -> Result<(), ServiceError> {
    match change.conditions().expected.admits(version) {
        true => Ok(()),
        false => Err(ServiceError::Stale { version }),
    }
}

/// Checks that settings leave room for certificates in their record, and that a property's policies
/// leave room for those of others: each takes memory at every edge.
async fn check_share(
    change: &mut Change,
    property: PropertyId,
    name: &HostPattern,
    spec: &HostnameSpec,
) -> Result<(), ServiceError> {
    let record = HostnameRecord {
        name: name.clone(),
        hostname_id: HostnameId(0),
        state: HostnameState::PendingValidation,
        route: spec.route.clone(),
        tls: spec.tls.clone(),
        certificates: Vec::new(),
        predecessors: Vec::new(),
    };
    let len = encode_record(&WireRecord::hostname(Revision(0), &record)).len();
    if len > MAX_SETTINGS_LEN {
        return Err(ServiceError::SettingsTooLarge { len });
    }
    match store::hostname::count_policies(change.on(), property).await? {
        0..=MAX_TLS_POLICIES => Ok(()),
        _ => Err(ServiceError::TooManyPolicies),
    }
}

/// Publishes a hostname as it now stands, under every name that it has.
async fn publish(change: &mut Change, id: HostnameId) -> Result<(), ServiceError> {
    let found = store::hostname::find(change.on(), id).await?;
    let hostname = found.ok_or(ServiceError::Missing(Missing::Hostname))?;
    for (name, state) in store::held_name::states(change.on(), id).await? {
        let certificates = store::certificate::records(change.on(), id, &name).await?;
        let predecessors = store::predecessor::records(change.on(), id, &name).await?;
        let mut record = HostnameRecord {
            name,
            hostname_id: id,
            state,
            route: hostname.route.clone(),
            tls: hostname.tls.clone(),
            certificates,
            predecessors,
        };
        // Chains of the largest keys may leave no room for what they took the place of.
        let len = encode_record(&WireRecord::hostname(Revision(u64::MAX), &record)).len();
        if len > MAX_RECORD_LEN {
            record.predecessors.clear();
        }
        change.publish_hostname(&record).await?;
    }
    Ok(())
}

fn or_taken(error: StoreError, taken: ServiceError) -> ServiceError {
    match error.is_unique_violation() {
        true => taken,
        false => ServiceError::Store(error),
    }
}
