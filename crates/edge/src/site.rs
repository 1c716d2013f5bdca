//! What a hostname's route is made into, once for all hostnames with an equal one.

use std::sync::Arc;

use landfall_model::{OriginPool, Route};

use crate::{
    properties::Property,
    rules::Rules,
    upstream::{NoPool, Pool, Pools, Slot},
};

/// A route, ready for requests.
#[derive(Debug)]
pub struct Site {
    route: Route,
    rules: Rules,
    /// One for each path, in their order, and one for the custom origin.
    slots: Box<[Slot]>,
}

impl Site {
    /// Made by the certificate store, when a name with a new route is published.
    pub fn new(route: &Route) -> Self {
        let slots = route.paths.len() + usize::from(route.custom_origin.is_some());
        Self {
            route: route.clone(),
            rules: Rules::new(&route.http),
            slots: (0..slots).map(|_| Slot::default()).collect(),
        }
    }

    /// Where requests go, and how they are treated.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// How requests and responses are treated.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The pool of origins for a request for `path`: that of the longest prefix, the custom
    /// origin's, or the property's. Everything else is as the property says.
    pub(crate) fn pool(
        &self,
        property: &Property,
        path: &str,
        pools: &Pools,
    ) -> Result<Arc<Pool>, NoPool> {
        let routed = self.route.paths.iter().position(|own| own.prefix.covers(path));
        let at = routed.unwrap_or(self.route.paths.len());
        match self.slots.get(at) {
            Some(slot) => {
                slot.pool(property, pools, || Arc::new(self.settings(property.settings(), at)))
            }
            None => property.slot().pool(property, pools, || Arc::clone(property.settings())),
        }
    }

    /// The property's settings with the origins of a path, or with the custom one.
    fn settings(&self, property: &OriginPool, at: usize) -> OriginPool {
        let mut settings = property.clone();
        if let Some(path) = self.route.paths.get(at) {
            settings.origins.clone_from(&path.origins);
        } else if let Some(custom) = &self.route.custom_origin {
            settings.origins = vec![custom.server.clone().into()];
            if let Some(sni) = &custom.sni {
                settings.sni = sni.clone();
            }
        }
        settings
    }
}
