//! Who has a name: proving a claim, and what moves with a name.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use landfall_dns::Verifier;
use landfall_model::{HostPattern, HostnameId};
use serde_json::json;

use super::{Service, ServiceError, publish};
use crate::{
    call::Call,
    config::IssuanceScope,
    hostname::{
        HostnameStatus, ManagedHostname, Placement, Title,
        ownership::{OwnershipEvidence, OwnershipTokens},
        wish::Coverage,
    },
    rate::Verdict,
    store::{
        self, Change, audit::AuditEntry, event::EventKind, held_name::Standing, job::Cancellation,
    },
    token::random_uuid,
};

/// Where a claim's token is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In DNS.
    Record,
    /// In a file on the host too, which loads somebody's server.
    RecordAndFile,
}

/// Whether a file is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    No,
    Now,
    /// Not before this has passed.
    In(Duration),
}

impl Service {
    /// Makes a claim whose ownership is proven the holder of its name; says whether the property has
    /// the name now. A name that nobody has any more is to be proven too: its holder may have let go
    /// of it by mistake. What was looked at is kept. A name that moves does so in one transaction,
    /// and its records at the edges are replaced, never removed.
    pub(super) async fn prove(
        &self,
        call: Call,
        verifier: &Verifier,
        (claim, reach): (&ManagedHostname, Reach),
    ) -> Result<Title, ServiceError> {
        if claim.title == Title::Held {
            return Ok(Title::Held);
        }
        let fetch = self.may_fetch(claim, reach);
        let own = self.pop_addresses().await?;
        let evidence = look(verifier, (claim, fetch), &own, call).await;
        let mut change = self.store.change(call).await?;
        let found = store::hostname::find(change.on(), claim.id).await?;
        // Deleted meanwhile, or with another token since it lost the name: nothing was proven.
        let same = |now: &ManagedHostname| now.ownership_token == claim.ownership_token;
        let Some(claim) = found.filter(same) else { return Ok(Title::Claimed) };
        store::ownership::keep(change.on(), claim.id, &evidence).await?;
        let title = self.acquire(&mut change, &claim, &evidence).await?;
        let revision = change.commit().await?.revision.0;
        if title == Title::Held {
            let (property, hostname) = (claim.property.0, &claim.name);
            tracing::info!(property, %hostname, revision, "a claim has its name");
        }
        Ok(title)
    }

    /// Whether the claim's file is fetched now. However many claims a property has to names of one
    /// domain, whose servers have asked for none of it, they share what may be fetched from it; and so
    /// do all properties together, which may have more.
    fn may_fetch(&self, claim: &ManagedHostname, reach: Reach) -> Fetch {
        let base = claim.name.base();
        match reach {
            Reach::Record => Fetch::No,
            Reach::RecordAndFile => {
                let domain = landfall_dns::registered_domain(base).unwrap_or_else(|| base.clone());
                let now = Instant::now();
                let own = (claim.property, domain.clone());
                let (own, all) = (self.verification.token_files.take(own, now), domain);
                let all = || self.verification.all_token_files.take(all, now);
                match (own, own.is_admitted().then(all)) {
                    (Verdict::Refused { retry_in }, _)
                    | (_, Some(Verdict::Refused { retry_in })) => Fetch::In(retry_in),
                    (Verdict::Admitted { .. }, _) => Fetch::Now,
                }
            }
        }
    }

    async fn pop_addresses(&self) -> Result<Vec<IpAddr>, ServiceError> {
        let pops = store::pop::list(&mut *self.store.read().await?).await?;
        Ok(pops.into_iter().flat_map(|pop| pop.addresses).collect())
    }

    /// Gives a claim its names, if all of them were proven: those that it asks for now, which may be
    /// others than it asked for when the look began.
    async fn acquire(
        &self,
        change: &mut Change,
        claim: &ManagedHostname,
        evidence: &OwnershipEvidence,
    ) -> Result<Title, ServiceError> {
        if claim.title == Title::Held {
            return Ok(Title::Held);
        }
        let mut names = claim.names();
        if !names.iter().all(|name| evidence.proves(name)) {
            return Ok(Title::Claimed);
        }
        let external = &Placement::External;
        for name in claim.names() {
            let on = change.on();
            match store::held_name::standing(on, claim.property, &name).await? {
                Standing::Free | Standing::Contested => {}
                // The property has its wildcard as a hostname of its own: that stays.
                Standing::Own if name != claim.name => names.retain(|own| *own != name),
                Standing::Own => return Ok(Title::Claimed),
            }
        }
        for name in &names {
            if let Some((holder, _)) = store::held_name::holder(change.on(), name).await? {
                lose(change, holder, name, (claim, &names)).await?;
            }
            let owner = (claim.id, claim.property);
            store::held_name::hold(change.on(), name, external, owner).await?;
        }
        self.settle(change, claim).await?;
        Ok(Title::Held)
    }

    /// Starts the life of a claim that has its name now.
    async fn settle(
        &self,
        change: &mut Change,
        claim: &ManagedHostname,
    ) -> Result<(), ServiceError> {
        let (id, now) = (claim.id, change.now());
        match self.issuance.scope {
            // Nothing else is verified there.
            IssuanceScope::EveryHostname => {
                store::hostname::set_status(change.on(), id, HostnameStatus::Active).await?;
                store::verification::end(change.on(), id).await?;
                store::job::enqueue(change, id).await?;
            }
            IssuanceScope::SystemDomain | IssuanceScope::VerifiedHostnames => {
                let pending = HostnameStatus::PendingValidation;
                store::hostname::set_status(change.on(), id, pending).await?;
                store::verification::begin(change.on(), id, now).await?;
            }
        }
        super::hostnames::tell(change, claim, "hostname.take_over", EventKind::OwnershipProven)
            .await?;
        publish(change, id).await
    }
}

async fn look(
    verifier: &Verifier,
    (claim, fetch): (&ManagedHostname, Fetch),
    own: &[IpAddr],
    call: Call,
) -> OwnershipEvidence {
    let OwnershipTokens { token, txt_name, file } = OwnershipTokens::of(claim);
    let http_not_before = match (&file, fetch) {
        (Some(_), Fetch::In(time)) => Some(call.now + time),
        (None, _) | (Some(_), Fetch::No | Fetch::Now) => None,
    };
    let file = async {
        let file = file.filter(|_| fetch == Fetch::Now)?;
        Some(verifier.http_token(&file.host, (&file.path, &token), own).await)
    };
    let (txt, http) = tokio::join!(verifier.txt_token(&txt_name, &token), file);
    OwnershipEvidence { checked_at: call.now, txt, http, http_not_before }
}

/// Whether a hostname whose DNS leads here is to be proven all the same: it overlaps what others have
/// and use, and was not proven yet.
pub(super) async fn is_disputed(
    change: &mut Change,
    hostname: &ManagedHostname,
) -> Result<bool, ServiceError> {
    let seen = store::ownership::find(change.on(), hostname.id).await?;
    for name in store::held_name::of(change.on(), hostname.id).await? {
        if seen.as_ref().is_some_and(|seen| seen.proves(&name)) {
            continue;
        }
        if store::held_name::is_overlapped(change.on(), hostname.property, &name).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a hostname that is disputed a claim.
pub(super) async fn give_way(
    change: &mut Change,
    hostname: &ManagedHostname,
) -> Result<(), ServiceError> {
    for name in store::held_name::of(change.on(), hostname.id).await? {
        store::held_name::release(change.on(), &name).await?;
        change.retract_hostname(&name).await?;
    }
    let (id, now) = (hostname.id, change.now());
    let pending = HostnameStatus::PendingValidation;
    store::hostname::set_status(change.on(), id, pending).await?;
    store::verification::begin(change.on(), id, now).await?;
    super::hostnames::tell(change, hostname, "hostname.give_way", EventKind::NameDisputed).await
}

/// Takes `name` from `holder`. Without the name that it is called by, it goes on as its wildcard, if
/// it keeps that, and else has lost everything. What serves the names that the claim gets goes along.
async fn lose(
    change: &mut Change,
    holder: HostnameId,
    name: &HostPattern,
    (claim, taken): (&ManagedHostname, &[HostPattern]),
) -> Result<(), ServiceError> {
    let Some(loser) = store::hostname::find(change.on(), holder).await? else {
        return Ok(());
    };
    store::certificate::inherit(change.on(), (holder, claim.id), taken).await?;
    let held = store::held_name::of(change.on(), holder).await?;
    let kept = held.iter().find(|own| !taken.contains(own));
    let seen = store::ownership::find(change.on(), holder).await?;
    // What it keeps it is served with as before, by the same proof.
    if !kept.is_some_and(|kept| seen.is_some_and(|seen| seen.proves(kept))) {
        store::ownership::forget(change.on(), holder).await?;
    }
    let (action, kind) = match (loser.name == *name, kept) {
        (true, Some(kept)) => {
            store::held_name::release(change.on(), name).await?;
            store::certificate::leave_names(change.on(), holder, taken).await?;
            go_on_as(change, &loser, kept).await?;
            ("hostname.lose_name", EventKind::NameTakenOver)
        }
        (true, None) => {
            for own in &held {
                store::held_name::release(change.on(), own).await?;
            }
            lose_everything(change, holder).await?;
            ("hostname.lose", EventKind::TakenOver)
        }
        (false, _) => {
            store::held_name::release(change.on(), name).await?;
            store::certificate::leave_names(change.on(), holder, taken).await?;
            let mut spec = loser.spec();
            spec.wish.coverage = Coverage::Name;
            store::hostname::set(change.on(), holder, &spec).await?;
            ("hostname.lose_wildcard", EventKind::WildcardTakenOver)
        }
    };
    if kept.is_some() {
        publish(change, holder).await?;
    }
    let (object, detail) = (&name.to_string(), json!({"hostnameId": holder}));
    let property = Some(loser.property);
    change.audit(&AuditEntry { action, property, object, detail }).await?;
    change.event(holder, kind, &json!({"name": name})).await?;
    Ok(())
}

/// Lets a hostname go on as its wildcard, with all that it has for that. Where its property claims
/// the wildcard by another hostname, that one gets it instead.
async fn go_on_as(
    change: &mut Change,
    loser: &ManagedHostname,
    wildcard: &HostPattern,
) -> Result<(), ServiceError> {
    let own = store::hostname::find_by_name(change.on(), loser.property, wildcard).await?;
    let Some(own) = own else {
        let mut spec = loser.spec();
        spec.wish.coverage = Coverage::Name;
        store::hostname::set(change.on(), loser.id, &spec).await?;
        return Ok(store::hostname::rename(change.on(), loser.id, wildcard).await?);
    };
    let names = std::slice::from_ref(wildcard);
    store::certificate::inherit(change.on(), (loser.id, own.id), names).await?;
    store::held_name::release(change.on(), wildcard).await?;
    let owner = (own.id, own.property);
    store::held_name::hold(change.on(), wildcard, &Placement::External, owner).await?;
    store::hostname::set_status(change.on(), own.id, loser.status).await?;
    publish(change, own.id).await?;
    lose_everything(change, loser.id).await
}

async fn lose_everything(change: &mut Change, loser: HostnameId) -> Result<(), ServiceError> {
    store::certificate::remove_all(change.on(), loser).await?;
    store::verification::end(change.on(), loser).await?;
    store::job::cancel(change, loser, Cancellation::NotHeld).await?;
    // The token that is published may still be there when the former owner asks for the name
    // again: it would prove nothing.
    store::hostname::take_over(change.on(), loser, &random_uuid()?).await?;
    Ok(())
}
