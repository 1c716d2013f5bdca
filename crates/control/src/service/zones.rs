//! Properties and hostnames by the ids and filters of the Cloudflare-compatible API.

use std::collections::HashMap;

use landfall_model::{Der, HostnameId, PropertyId};
use time::OffsetDateTime;

use super::{HostnameView, Missing, PropertyView, Service, ServiceError};
use crate::{
    certificate::CertificateIssuer,
    store::{
        self,
        custom_hostname::{Page, Selection},
        hostname::PageIds,
    },
};

/// A hostname with what the Cloudflare-compatible API shows besides.
#[derive(Clone, Debug)]
pub(crate) struct CustomHostname {
    pub(crate) view: HostnameView,
    /// The chain of its first certificate where that was uploaded, else empty.
    pub(crate) chain: Vec<Der>,
}

impl Service {
    /// Finds a property by its zone id.
    pub(crate) async fn zone(&self, zone_id: &str) -> Result<PropertyView, ServiceError> {
        let mut connection = self.store.read().await?;
        let property = store::property::find_by_zone(&mut connection, zone_id).await?;
        self.view(property.ok_or(ServiceError::Missing(Missing::Property))?)
    }

    /// The id of the hostname that has this public id in a property. System hostnames have none
    /// that anybody could know.
    pub(crate) async fn hostname_id(
        &self,
        property: PropertyId,
        public_id: &str,
    ) -> Result<HostnameId, ServiceError> {
        let mut connection = self.store.read().await?;
        let id = store::custom_hostname::find(&mut connection, property, public_id).await?;
        id.ok_or(ServiceError::Missing(Missing::Hostname))
    }

    /// Adds to a hostname what the Cloudflare-compatible API shows besides.
    pub(crate) async fn custom_hostname(
        &self,
        view: HostnameView,
    ) -> Result<CustomHostname, ServiceError> {
        let uploaded = view.certificates.first();
        let uploaded = uploaded.filter(|own| own.issuer == CertificateIssuer::Uploaded);
        let chain = match uploaded {
            Some(own) => {
                let mut connection = self.store.read().await?;
                store::certificate::chain(&mut connection, own.hostname, own.key_type).await?
            }
            None => Vec::new(),
        };
        Ok(CustomHostname { view, chain })
    }

    /// A page of a property's hostnames, the system hostname apart, and how many match in all.
    pub(crate) async fn custom_hostnames(
        &self,
        property: PropertyId,
        selection: &Selection,
        page: Page,
        now: OffsetDateTime,
    ) -> Result<(Vec<CustomHostname>, u64), ServiceError> {
        let owner = self.property(property).await?;
        let mut connection = self.store.read_at_once().await?;
        let fleet = self.fleet(&mut connection, now).await?;
        let page = (page, &*fleet);
        let selected = store::custom_hostname::select(&mut connection, property, selection, page);
        let (ids, total) = selected.await?;
        let hostnames = store::hostname::find_all(&mut connection, &ids).await?;
        let page = &PageIds::of(&hostnames);
        let chains = store::certificate::uploaded_chains_of_page(&mut connection, page).await?;
        let system_hostname = &owner.system_hostname;
        let views = self.views_of_page(&mut connection, system_hostname, hostnames).await?;
        let mut chains: HashMap<_, _> =
            chains.into_iter().map(|(id, key_type, chain)| ((id, key_type), chain)).collect();
        let custom = |view: HostnameView| {
            let first = view.certificates.first().map(|own| (own.hostname, own.key_type));
            let chain = first.and_then(|first| chains.remove(&first)).unwrap_or_default();
            CustomHostname { view, chain }
        };
        Ok((views.into_iter().map(custom).collect(), total))
    }
}
