//! What a hostname's route is made into, once for all hostnames with an equal one.

use landfall_model::Route;

/// A route, ready for requests.
#[derive(Debug)]
pub struct Site {
    route: Route,
}

impl Site {
    /// Made by the certificate store, when a name with a new route is published.
    pub fn new(route: &Route) -> Self {
        Self { route: route.clone() }
    }

    /// Where requests go, and how they are treated.
    pub fn route(&self) -> &Route {
        &self.route
    }
}
