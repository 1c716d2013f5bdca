//! Who has a name: proving a claim, and what moves with a name.

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
    store::{
        self, Change, audit::AuditEntry, event::EventKind, held_name::Standing, job::Cancellation,
    },
    token::random_uuid,
};

impl Service {
    /// Makes a claim whose ownership is proven the holder of its name; says whether the property has
    /// the name now. A name that nobody has any more is to be proven too: its holder may have let go
    /// of it by mistake. What was looked at is kept. A name that moves does so in one transaction,
    /// and its records at the edges are replaced, never removed.
    pub(crate) async fn prove(
        &self,
        call: Call,
        verifier: &Verifier,
        claim: &ManagedHostname,
    ) -> Result<Title, ServiceError> {
        if claim.title == Title::Held {
            return Ok(Title::Held);
        }
        let evidence = look(verifier, claim, call).await;
        let mut change = self.store.change(call).await?;
        let found = store::hostname::find(change.on(), claim.id).await?;
        // Deleted meanwhile, or with another token since it lost the name: nothing was proven.
        let same = |now: &ManagedHostname| now.ownership_token == claim.ownership_token;
        let Some(claim) = found.filter(same) else { return Ok(Title::Claimed) };
        store::ownership::keep(change.on(), claim.id, &evidence).await?;
        let title = match evidence.is_proof() {
            true => self.acquire(&mut change, &claim).await?,
            false => Title::Claimed,
        };
        let revision = change.commit().await?.revision.0;
        if title == Title::Held {
            let (property, hostname) = (claim.property.0, &claim.name);
            tracing::info!(property, %hostname, revision, "a claim has its name");
        }
        Ok(title)
    }

    /// Gives a claim that was proven its names.
    async fn acquire(
        &self,
        change: &mut Change,
        claim: &ManagedHostname,
    ) -> Result<Title, ServiceError> {
        if claim.title == Title::Held {
            return Ok(Title::Held);
        }
        let mut names = claim.names();
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

async fn look(verifier: &Verifier, claim: &ManagedHostname, call: Call) -> OwnershipEvidence {
    let OwnershipTokens { token, txt_name, file } = OwnershipTokens::of(claim);
    let file = async {
        let file = file?;
        Some(verifier.http_token(&file.host, &file.path, &token).await)
    };
    let (txt, http) = tokio::join!(verifier.txt_token(&txt_name, &token), file);
    OwnershipEvidence { checked_at: call.now, txt, http }
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
    let (action, kind) = match (loser.name == *name, kept) {
        (true, Some(kept)) => {
            store::held_name::release(change.on(), name).await?;
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
            let mut spec = loser.spec();
            spec.wish.coverage = Coverage::Name;
            store::hostname::set(change.on(), holder, &spec).await?;
            ("hostname.lose_wildcard", EventKind::WildcardTakenOver)
        }
    };
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
