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

/// On what ground a claim is to become more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// Nobody contests the name any more.
    Uncontested,
    /// Ownership was proven.
    Proven,
}

impl Service {
    /// Makes a claim that nobody contests any more, or whose ownership is proven, the holder of its
    /// name; says whether the property has the name now. What was looked at is kept. A name that
    /// moves does so in one transaction, and its records at the edges are replaced, never removed.
    pub(crate) async fn prove(
        &self,
        call: Call,
        verifier: &Verifier,
        claim: &ManagedHostname,
    ) -> Result<Title, ServiceError> {
        if claim.title == Title::Held {
            return Ok(Title::Held);
        }
        if !self.is_contested(claim).await? {
            let mut change = self.store.change(call).await?;
            if self.acquire(&mut change, claim, Ground::Uncontested).await? == Title::Held {
                self.moved(change, claim, Ground::Uncontested).await?;
                return Ok(Title::Held);
            }
        }
        let evidence = look(verifier, claim, call).await;
        let mut change = self.store.change(call).await?;
        let found = store::hostname::find(change.on(), claim.id).await?;
        // Deleted meanwhile, or with another token since it lost the name: nothing was proven.
        let same = |now: &ManagedHostname| now.ownership_token == claim.ownership_token;
        if !found.as_ref().is_some_and(same) {
            return Ok(Title::Claimed);
        }
        store::ownership::keep(change.on(), claim.id, &evidence).await?;
        let title = match evidence.is_proof() {
            true => self.acquire(&mut change, claim, Ground::Proven).await?,
            false => Title::Claimed,
        };
        match title {
            Title::Held => self.moved(change, claim, Ground::Proven).await?,
            Title::Claimed => {
                change.commit().await?;
            }
        }
        Ok(title)
    }

    async fn is_contested(&self, claim: &ManagedHostname) -> Result<bool, ServiceError> {
        let mut connection = self.store.read_at_once().await?;
        for name in claim.names() {
            let external = &Placement::External;
            let standing =
                store::held_name::standing(&mut connection, claim.property, &name, external);
            if standing.await? != Standing::Free {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a claim its names, if nothing stands against it that `ground` is not enough for.
    async fn acquire(
        &self,
        change: &mut Change,
        claim: &ManagedHostname,
        ground: Ground,
    ) -> Result<Title, ServiceError> {
        let found = store::hostname::find(change.on(), claim.id).await?;
        let Some(claim) = found.filter(|now| now.title == Title::Claimed) else {
            return Ok(Title::Claimed);
        };
        let mut names = claim.names();
        let external = &Placement::External;
        for name in claim.names() {
            let on = change.on();
            match (store::held_name::standing(on, claim.property, &name, external).await?, ground) {
                (Standing::Free, _) | (Standing::Contested, Ground::Proven) => {}
                // The property has its wildcard as a hostname of its own: that stays.
                (Standing::Own, Ground::Proven) if name != claim.name => {
                    names.retain(|own| *own != name);
                }
                _ => return Ok(Title::Claimed),
            }
        }
        for name in &names {
            if let Some((holder, _)) = store::held_name::holder(change.on(), name).await? {
                lose(change, holder, name, &claim, &names).await?;
            }
            let owner = (claim.id, claim.property);
            store::held_name::hold(change.on(), name, external, owner).await?;
        }
        self.settle(change, &claim, ground).await?;
        Ok(Title::Held)
    }

    /// Starts the life of a claim that has its name now.
    async fn settle(
        &self,
        change: &mut Change,
        claim: &ManagedHostname,
        ground: Ground,
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
        let (kind, action) = match ground {
            Ground::Uncontested => (EventKind::NameAcquired, "hostname.acquire"),
            Ground::Proven => (EventKind::OwnershipProven, "hostname.take_over"),
        };
        super::hostnames::tell(change, claim, action, kind).await?;
        publish(change, id).await
    }

    async fn moved(
        &self,
        change: Change,
        claim: &ManagedHostname,
        ground: Ground,
    ) -> Result<(), ServiceError> {
        let revision = change.commit().await?.revision.0;
        let (property, hostname) = (claim.property.0, &claim.name);
        tracing::info!(property, %hostname, revision, ?ground, "a claim has its name");
        Ok(())
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

/// Takes `name` from `holder`. Without the name that it is called by, it has lost everything;
/// without its wildcard, only that. What serves `taken` names goes along with them.
async fn lose(
    change: &mut Change,
    holder: HostnameId,
    name: &HostPattern,
    claim: &ManagedHostname,
    taken: &[HostPattern],
) -> Result<(), ServiceError> {
    let Some(loser) = store::hostname::find(change.on(), holder).await? else {
        return Ok(());
    };
    store::certificate::inherit(change.on(), (holder, claim.id), taken).await?;
    let (action, kind) = match loser.name == *name {
        true => {
            for own in store::held_name::of(change.on(), holder).await? {
                store::held_name::release(change.on(), &own).await?;
                if !taken.contains(&own) {
                    change.retract_hostname(&own).await?;
                }
            }
            store::certificate::remove_all(change.on(), holder).await?;
            store::verification::end(change.on(), holder).await?;
            store::job::cancel(change, holder, Cancellation::NotHeld).await?;
            // The token that is published may still be there when the former owner asks for the
            // name again: it would prove nothing.
            store::hostname::take_over(change.on(), holder, &random_uuid()?).await?;
            ("hostname.lose", EventKind::TakenOver)
        }
        false => {
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
