//! One certificate job, from its lease to what is handed over.

use landfall_model::{
    ChallengeMethod, KeyType, SealContext,
    issuance::{Assignment, IssuedCertificate, OpenOrder, RenewalAdvice, SealedName},
};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    account::{self, Customer},
    job::Shop,
    lease::{Lease, Stop},
    prechecks,
    proof::{self, Proof},
    surroundings::{ControlPlane, Vault},
};
use crate::{
    acme::{
        AcmeError, AuthorizationStatus, CertificateId, CertificateKey, Connection, NewOrder, Order,
        OrderStatus,
    },
    chain::{self, Ordered},
    failure::Trouble,
    protocol::News,
};

/// A job that is being done.
pub(super) struct Issue<'a, C, V> {
    pub(super) shop: &'a Shop<C, V>,
    pub(super) job: &'a Assignment,
    pub(super) lease: &'a Lease<'a, C>,
    /// How far the control plane's clock is ahead of ours.
    pub(super) control_ahead: time::Duration,
}

/// What an order is made with.
struct Means<'a, C> {
    connection: &'a Connection,
    customer: &'a Customer,
    proof: Proof<'a, C>,
}

impl<C: ControlPlane, V: Vault> Issue<'_, C, V> {
    /// Does it: [`News::Issued`], with a certificate of each type of key.
    pub(super) async fn run(&self) -> Result<News, Stop> {
        let Self { shop, job, lease, .. } = self;
        account::check_group_key(&job.authority, &shop.vault)?;
        prechecks::control_clock(self.control_ahead)?;
        self.look_for_wanted().await?;
        let inactive = prechecks::dns(&shop.verifier, job).await?;
        let connection = shop.connector.connect(&job.authority).await?;
        prechecks::clock(&connection)?;
        let customer = account::open(&job.authority, &connection, lease, &shop.vault).await?;
        let method = self.method(&connection, &customer).await?;
        prechecks::reachable(job, method, &inactive)?;
        let proof = Proof {
            settings: &shop.settings,
            verifier: &shop.verifier,
            prober: &shop.prober,
            lease,
            job,
            method,
            thumbprint: &customer.thumbprint,
            lasting: prechecks::lasting_record(
                job,
                self.domains(&connection),
                customer.session.account(),
            ),
        };
        proof.rehearse().await?;
        let means = Means { connection: &connection, customer: &customer, proof };
        let mut certificates = Vec::with_capacity(job.key_types.len());
        for key_type in &job.key_types {
            certificates.push(self.certificate(&means, *key_type).await?);
        }
        Ok(News::Issued { certificates, method: Some(method) })
    }

    /// Lets the job rest, without a word to the CA, where the owner has not made the TXT records of an
    /// order that is still good.
    async fn look_for_wanted(&self) -> Result<(), Stop> {
        let Assignment { order: Some(order), wanted, lasting, .. } = self.job else {
            return Ok(());
        };
        let verifier = &self.shop.verifier;
        if let Some(record) = lasting
            && verifier.challenge_txt(&record.name, &record.value).await.found
        {
            return Ok(());
        }
        let is_good = order.expires.is_some_and(|expires| expires > OffsetDateTime::now_utc());
        if !is_good || proof::first_missing(verifier, wanted).await.is_none() {
            return Ok(());
        }
        let (records, lasting) = (wanted.clone(), lasting.clone());
        self.lease.report(News::TxtWanted { records, lasting, order: order.clone() }).await?;
        Err(Stop::Rests)
    }

    async fn method(
        &self,
        connection: &Connection,
        customer: &Customer,
    ) -> Result<ChallengeMethod, Trouble> {
        let (verifier, account) = (&self.shop.verifier, customer.session.account());
        prechecks::method(verifier, self.job, self.domains(connection), account).await
    }

    /// What the CA calls itself in the DNS. The operator knows better than its directory.
    fn domains<'c>(&'c self, connection: &'c Connection) -> &'c [String] {
        match self.job.authority.caa_identities.as_slice() {
            [] => connection.caa_identities(),
            configured => configured,
        }
    }

    async fn certificate(
        &self,
        means: &Means<'_, C>,
        key_type: KeyType,
    ) -> Result<IssuedCertificate, Stop> {
        let (settings, names) = (&self.shop.settings, self.job.names.as_slice());
        let mut order = self.order(means, key_type).await?;
        if order.status() == OrderStatus::Pending {
            let open = described(&order, key_type);
            means.proof.give(&mut order, &open).await?;
            let proven = order.wait_until_ready(Instant::now() + settings.validation).await;
            let method = means.proof.method;
            self.shop.metrics.validated(&self.job.authority.name, method, &proven);
            proven?;
        }
        let key = CertificateKey::generate(key_type).await.map_err(AcmeError::from)?;
        let request = key.signing_request(names).map_err(AcmeError::from)?;
        order.finalize(&request).await?;
        let preferred = self.job.authority.preferred_chain.as_deref();
        let deadline = Instant::now() + settings.issuing;
        let chain = order.wait_until_issued(deadline, preferred).await?;
        let public_key = key.public_key();
        let ordered = Ordered { names, key_type, public_key: &public_key };
        chain::check(&chain, ordered, OffsetDateTime::now_utc()).map_err(AcmeError::from)?;
        let keys = self.sealed(&key, &public_key)?;
        let id = chain.first().and_then(CertificateId::of);
        let renewal = match id {
            Some(id) => self.advice(means.connection, &id).await,
            None => None,
        };
        Ok(IssuedCertificate { chain, keys, renewal })
    }

    /// The order of an earlier lease, where it is still good, or a new one. What was issued before is
    /// of no use: its key is gone with whoever ordered.
    async fn order(&self, means: &Means<'_, C>, key_type: KeyType) -> Result<Order, Stop> {
        let session = &means.customer.session;
        let open = self.job.order.as_ref().filter(|open| open.key_type == key_type);
        if let Some(open) = open
            && let Some(order) = resumable(session.resume(&open.url, &self.job.names).await).await?
        {
            return Ok(order);
        }
        let profile = self.job.authority.profile.as_deref();
        let replaces: Option<CertificateId> =
            self.job.replaces.get(&key_type).and_then(|id| id.parse().ok());
        let new = NewOrder { names: &self.job.names, profile, replaces: replaces.as_ref() };
        let order = session.order(new).await?;
        self.shop.metrics.ordered(&self.job.authority.name);
        let open = described(&order, key_type);
        self.lease.report(News::Ordered(open)).await?;
        Ok(order)
    }

    fn sealed(&self, key: &CertificateKey, public_key: &[u8]) -> Result<Vec<SealedName>, Trouble> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key);
        let spki_sha256: &[u8; 32] = digest.as_ref().try_into().map_err(|_| Trouble::Unknown)?;
        let seal = |name: &landfall_model::HostPattern| {
            let context = SealContext::PrivateKey { hostname: name, spki_sha256 };
            let key = self.shop.vault.seal(&self.job.authority.group_key, context, key.pkcs8());
            let key = key.map_err(|error| {
                tracing::error!(%error, "a certificate's key can't be sealed");
                Trouble::Unknown
            })?;
            Ok(SealedName { name: name.clone(), key })
        };
        self.job.names.iter().map(seal).collect()
    }

    /// When to renew, where the CA says; that it can't be asked now fails nothing.
    async fn advice(&self, connection: &Connection, id: &CertificateId) -> Option<RenewalAdvice> {
        let asked = connection.renewal_advice(id).await;
        asked.unwrap_or_else(|error| {
            tracing::debug!(authority = %self.job.authority.name, %error, "no renewal advice");
            None
        })
    }
}

fn described(order: &Order, key_type: KeyType) -> OpenOrder {
    OpenOrder { url: order.url().to_owned(), key_type, expires: order.expires() }
}

/// An order that can be gone on with: `None` where another has to be made.
async fn resumable(resumed: Result<Order, AcmeError>) -> Result<Option<Order>, Stop> {
    let mut order = match resumed {
        Ok(order) => order,
        Err(error) if error.passes() => return Err(error.into()),
        // It is not known any more, or none of ours.
        Err(AcmeError::Refused(_) | AcmeError::Untrusted { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let now = OffsetDateTime::now_utc();
    if order.expires().is_some_and(|expires| expires <= now) {
        return Ok(None);
    }
    match order.status() {
        OrderStatus::Ready => Ok(Some(order)),
        OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => Ok(None),
        OrderStatus::Pending => {
            let names = order.authorizations().await?;
            let good = names.iter().all(|name| {
                matches!(name.status, AuthorizationStatus::Pending | AuthorizationStatus::Valid)
            });
            Ok(good.then_some(order))
        }
    }
}
