//! What a hostname's route is made into, once for all hostnames with an equal one.

use landfall_model::Route;

use crate::rules::Rules;

/// A route, ready for requests.
#[derive(Debug)]
pub struct Site {
    route: Route,
    rules: Rules,
}

impl Site {
    /// Made by the certificate store, when a name with a new route is published.
    pub fn new(route: &Route) -> Self {
        Self { route: route.clone(), rules: Rules::new(&route.http) }
    }

    /// Where requests go, and how they are treated.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// How requests and responses are treated.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }
}
