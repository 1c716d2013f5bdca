//! Hostnames: who may have which, and what becomes of them.

use landfall_model::{HostPattern, HostnameId, Origin, PropertyId, Route};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    Creation, HostnameView, Service, ServiceError, Upload, certificates, check_share,
    check_version, creation, or_taken, owned, properties, publish, sites,
};
use crate::{
    call::Call,
    certificate::{CertificateIssuer, SealedCertificate},
    config::{IssuanceScope, Limits},
    hostname::{
        HostnameOrigin, HostnameSpec, HostnameStatus, Issuance, ManagedHostname, Placement, Title,
        names_of, refusal,
    },
    property::Property,
    settings::{Fields, HostnameSettings, SettingsError},
    store::{
        self, Change,
        audit::AuditEntry,
        event::EventKind,
        held_name::Standing,
        hostname::{HostnameFilter, HostnameIds, NewHostname},
    },
    token::{random_id, random_uuid},
};

/// What a new hostname is to be.
pub(super) struct Plan {
    placement: Placement,
    status: HostnameStatus,
    issuance: Issuance,
    certificates: Vec<SealedCertificate>,
}

impl Plan {
    pub(super) fn addition<'a>(
        &'a self,
        name: &'a HostPattern,
        spec: &'a HostnameSpec,
    ) -> Addition<'a> {
        let Self { placement, status, issuance, certificates } = self;
        Addition {
            name,
            placement,
            origin: HostnameOrigin::Added,
            spec,
            status: *status,
            issuance: *issuance,
            certificates: certificates.clone(),
        }
    }
}

/// A hostname that is about to be, with what its name means.
pub(super) struct Addition<'a> {
    pub(super) name: &'a HostPattern,
    pub(super) placement: &'a Placement,
    pub(super) origin: HostnameOrigin,
    pub(super) spec: &'a HostnameSpec,
    pub(super) status: HostnameStatus,
    pub(super) issuance: Issuance,
    pub(super) certificates: Vec<SealedCertificate>,
}

impl Service {
    /// Adds a hostname to a property. It is published, unless somebody else has the name: then the
    /// property has a claim, which it is to prove.
    pub(crate) async fn add_hostname(
        &self,
        call: Call,
        property: PropertyId,
        settings: Fields,
    ) -> Result<Creation<HostnameView>, ServiceError> {
        let (name, spec) = HostnameSettings::create(settings, property, call.now)?;
        let name: HostPattern = name.parse().map_err(ServiceError::HostnameName)?;
        self.create_hostname(call, property, &name, spec, Vec::new()).await
    }

    /// The same with a name and settings that were read already, and certificates that come with it.
    pub(crate) async fn create_hostname(
        &self,
        call: Call,
        property: PropertyId,
        name: &HostPattern,
        spec: HostnameSpec,
        uploads: Vec<Upload>,
    ) -> Result<Creation<HostnameView>, ServiceError> {
        let mut plan = self.plan_hostname(name, &spec, call.now)?;
        if !uploads.is_empty() {
            plan.certificates = self.check_and_seal(uploads, name.clone(), call.now).await?;
        }
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        if let Some(id) = creation::earlier(&mut change).await? {
            let view = self.view_in(&mut change, &owner, HostnameId(id)).await;
            return Ok(Creation::Repeated(creation::or_gone(view)?));
        }
        let id = insert(&mut change, &owner, plan.addition(name, &spec), &self.limits).await?;
        creation::keep(&mut change, id.0).await?;
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        let title = view.hostname.title;
        tracing::info!(property = property.0, hostname = %name, revision, ?title, "hostname added");
        Ok(Creation::Made(view))
    }

    /// Works out what a new hostname is to be, before the database is held.
    pub(super) fn plan_hostname(
        &self,
        name: &HostPattern,
        spec: &HostnameSpec,
        now: OffsetDateTime,
    ) -> Result<Plan, ServiceError> {
        self.check_origins(origins_of(&spec.route), &[])?;
        self.verification.check_wish(&spec.wish)?;
        let names = names_of(name, spec.wish.coverage);
        let placement = self.place(name)?;
        for name in &names {
            self.place(name)?;
        }
        let is_ours = matches!(placement, Placement::Site(_));
        let verified = is_ours || self.issuance.scope == IssuanceScope::EveryHostname;
        let (status, issuance) = match (verified, self.issuance.scope) {
            (true, _) => (HostnameStatus::Active, Issuance::Internal),
            (false, IssuanceScope::VerifiedHostnames) => {
                (HostnameStatus::PendingValidation, Issuance::Internal)
            }
            (false, _) => (HostnameStatus::PendingValidation, Issuance::None),
        };
        let issued = verified.then(|| self.issue(&names, now)).transpose()?;
        Ok(Plan { placement, status, issuance, certificates: issued.into_iter().collect() })
    }

    /// Where a name is, unless nobody may have it.
    pub(super) fn place(&self, name: &HostPattern) -> Result<Placement, ServiceError> {
        refusal::place(name, &self.system_domain).map_err(ServiceError::NameRefused)
    }

    /// Finds a hostname of a property.
    pub(crate) async fn hostname(
        &self,
        property: PropertyId,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let hostname = store::hostname::find(&mut connection, id).await?;
        let hostname = owned(hostname, property)?;
        let now = OffsetDateTime::now_utc();
        self.view_of(&mut connection, hostname, owner.system_hostname, now).await
    }

    /// At most `limit` of the hostnames of a property with ids above `after` that `filter` lets
    /// through.
    pub(crate) async fn hostnames(
        &self,
        property: PropertyId,
        filter: &HostnameFilter,
        (after, limit): (i64, u32),
    ) -> Result<Vec<HostnameView>, ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let page = (after, limit);
        let hostnames = store::hostname::list(&mut connection, property, filter, page).await?;
        self.views_of_page(&mut connection, &owner.system_hostname, hostnames).await
    }

    /// Changes what `patch` says of a hostname's settings.
    pub(crate) async fn change_hostname(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
        patch: Fields,
    ) -> Result<HostnameView, ServiceError> {
        let edit = |current: &HostnameSpec| HostnameSettings::change(current, patch, call.now);
        self.edit_hostname(call, property, id, edit, Vec::new()).await
    }

    /// Makes of a hostname's settings what `edit` makes of the current ones, and keeps what is
    /// uploaded: both or neither.
    pub(crate) async fn edit_hostname(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
        edit: impl FnOnce(&HostnameSpec) -> Result<HostnameSpec, SettingsError>,
        uploads: Vec<Upload>,
    ) -> Result<HostnameView, ServiceError> {
        let certificates = match uploads.is_empty() {
            true => Vec::new(),
            false => {
                let name = self.hostname(property, id).await?.hostname.name;
                self.check_and_seal(uploads, name, call.now).await?
            }
        };
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        check_version(&change, hostname.version)?;
        let current = hostname.spec();
        let spec = edit(&current)?;
        let kept: Vec<&Origin> = origins_of(&hostname.route).collect();
        self.check_origins(origins_of(&spec.route), &kept)?;
        if spec.wish.authority != current.wish.authority {
            self.verification.check_wish(&spec.wish)?;
        }
        let changed = spec != current;
        if changed {
            store::hostname::set(change.on(), id, &spec).await?;
            if spec.wish.authority != current.wish.authority {
                store::choice::follow_hostname(&mut change, id).await?;
            }
            self.cover(&mut change, &hostname, &spec).await?;
            check_share(&mut change, property, &hostname.name, &spec).await?;
            tell(&mut change, &hostname, "hostname.change", EventKind::Changed).await?;
        }
        if !certificates.is_empty() {
            certificates::keep_uploaded(&mut change, &hostname, &certificates).await?;
        }
        if changed || !certificates.is_empty() {
            publish(&mut change, id).await?;
        }
        let view = self.view_in(&mut change, &owner, id).await?;
        let revision = change.commit().await?.revision.0;
        if changed {
            let hostname = hostname.name;
            tracing::info!(property = property.0, %hostname, revision, "hostname changed");
        }
        Ok(view)
    }

    /// Deletes a hostname, its certificates and its place at the edges.
    pub(crate) async fn delete_hostname(
        &self,
        call: Call,
        property: PropertyId,
        id: HostnameId,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(call).await?;
        properties::find(&mut change, property).await?;
        let hostname = owned(store::hostname::find(change.on(), id).await?, property)?;
        check_version(&change, hostname.version)?;
        if hostname.origin == HostnameOrigin::System {
            return Err(ServiceError::SystemHostname);
        }
        for name in store::held_name::of(change.on(), id).await? {
            change.retract_hostname(&name).await?;
        }
        store::hostname::delete(change.on(), id).await?;
        let object = &hostname.name.to_string();
        let (property, detail) = (Some(property), json!({"hostnameId": id}));
        change.audit(&AuditEntry { action: "hostname.delete", property, object, detail }).await?;
        let revision = change.commit().await?.revision.0;
        let (property, hostname) = (hostname.property.0, hostname.name);
        tracing::info!(property, %hostname, revision, "hostname deleted");
        Ok(())
    }

    pub(super) async fn view_in(
        &self,
        change: &mut Change,
        owner: &Property,
        id: HostnameId,
    ) -> Result<HostnameView, ServiceError> {
        let hostname = owned(store::hostname::find(change.on(), id).await?, owner.id)?;
        let system_hostname = self.system_hostname(&owner.name)?;
        let now = change.now();
        self.view_of(change.on(), hostname, system_hostname, now).await
    }
}

/// Inserts a hostname with all that belongs to a new one, and publishes it if it has its name.
pub(super) async fn insert(
    change: &mut Change,
    owner: &Property,
    addition: Addition<'_>,
    limits: &Limits,
) -> Result<HostnameId, ServiceError> {
    let Addition { name, placement, origin, spec, .. } = addition;
    let now = change.now();
    sites::enter(change, owner, placement).await?;
    let title = title(change, owner, name, placement, spec).await?;
    check_count(change, owner, title, limits).await?;
    let (status, issuance) = match title {
        Title::Held => (addition.status, addition.issuance),
        Title::Claimed => (HostnameStatus::PendingValidation, addition.issuance),
    };
    let ids = &HostnameIds {
        public_id: random_id()?,
        ssl_id: random_uuid()?,
        ownership_token: random_uuid()?,
    };
    let property = owner.id;
    let new = NewHostname { property, name, ids, origin, status, issuance, spec };
    let inserted = store::hostname::insert(change.on(), &new, now).await;
    let id = inserted.map_err(|error| or_taken(error, ServiceError::HostnameTaken))?;
    if title == Title::Held {
        for name in names_of(name, spec.wish.coverage) {
            store::held_name::hold(change.on(), &name, placement, (id, owner.id)).await?;
        }
    }
    for certificate in &addition.certificates {
        // The internal CA issues for names that the property has.
        if title == Title::Held || certificate.issuer == CertificateIssuer::Uploaded {
            store::certificate::put(change.on(), id, certificate, now).await?;
        }
    }
    if status == HostnameStatus::PendingValidation {
        store::verification::begin(change.on(), id, now).await?;
    }
    check_share(change, owner.id, name, spec).await?;
    let object = &name.to_string();
    let (property, detail) = (Some(owner.id), json!({"hostnameId": id}));
    change.audit(&AuditEntry { action: "hostname.create", property, object, detail }).await?;
    change.event(id, EventKind::Created, &json!({})).await?;
    publish(change, id).await?;
    Ok(id)
}

/// Checks that a property may have one more hostname.
async fn check_count(
    change: &mut Change,
    owner: &Property,
    title: Title,
    limits: &Limits,
) -> Result<(), ServiceError> {
    let Limits { hostnames_per_property, claims_per_property } = *limits;
    let most = claims_per_property;
    let (hostnames, claims) = store::hostname::count(change.on(), owner.id, most).await?;
    if hostnames >= u64::from(hostnames_per_property) {
        return Err(ServiceError::TooManyHostnames { limit: hostnames_per_property });
    }
    match title == Title::Claimed && claims >= u64::from(most) {
        true => Err(ServiceError::TooManyClaims { limit: most }),
        false => Ok(()),
    }
}

/// Whether a property gets every name of a hostname at once.
async fn title(
    change: &mut Change,
    owner: &Property,
    name: &HostPattern,
    placement: &Placement,
    spec: &HostnameSpec,
) -> Result<Title, ServiceError> {
    let mut title = Title::Held;
    for name in names_of(name, spec.wish.coverage) {
        match store::held_name::standing(change.on(), owner.id, &name).await? {
            Standing::Free => {}
            // Only the operator could prove anything of a name under the system domain.
            Standing::Contested if placement.label().is_none() => title = Title::Claimed,
            Standing::Contested | Standing::Own => {
                return Err(ServiceError::HostnameTaken);
            }
        }
    }
    Ok(title)
}

/// Tells the audit log and the hostname's owner what was done.
pub(super) async fn tell(
    change: &mut Change,
    hostname: &ManagedHostname,
    action: &'static str,
    kind: EventKind,
) -> Result<(), ServiceError> {
    let object = &hostname.name.to_string();
    let (property, detail) = (Some(hostname.property), json!({"hostnameId": hostname.id}));
    change.audit(&AuditEntry { action, property, object, detail }).await?;
    change.event(hostname.id, kind, &json!({})).await?;
    Ok(())
}

/// Every origin that a route names itself.
pub(super) fn origins_of(route: &Route) -> impl Iterator<Item = &Origin> {
    let custom = route.custom_origin.iter().map(|custom| &custom.server);
    let paths = route.paths.iter().flat_map(|path| &path.origins);
    custom.chain(paths.map(|origin| &origin.url))
}
