//! How many imports go on, and whose turn it is.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use landfall_model::PropertyId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{SharedApp, problem::Problem};

/// How many such transactions are worked on at a time: the others wait for their turn.
const MAX_TURNS: usize = 2;
/// How many imports go on at a time, from their first byte to their last line: what they have to keep in
/// memory is this many bodies.
const MAX_IMPORTS: usize = 32;

/// The imports that go on.
pub(crate) struct Imports {
    /// Of which properties: each has one at a time.
    of: Mutex<HashSet<PropertyId>>,
    turns: Semaphore,
}

/// A place among the imports that go on, given back when it is dropped.
pub(super) struct Place {
    app: SharedApp,
    property: PropertyId,
}

impl Imports {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { of: Mutex::default(), turns: Semaphore::new(MAX_TURNS) }
    }

    /// Waits for a turn, which lasts until what this gives is dropped. It is closed for nobody.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}

impl Place {
    /// Takes one for `property`.
    pub(super) fn take(app: &SharedApp, property: PropertyId) -> Result<Self, Problem> {
        let mut of = app.imports.of.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = match of.len() {
            MAX_IMPORTS.. => "Too many imports are going on. Nothing was changed.",
            _ if of.insert(property) => return Ok(Self { app: SharedApp::clone(app), property }),
            _ => "Another import of the property is going on. Nothing was changed.",
        };
        Err(Problem::unavailable("too_many_imports", detail))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.app.imports.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.remove(&self.property);
    }
}
