//! Many hostnames at once: each by itself, some in each transaction.

use landfall_model::{HostPattern, HostnameId, PropertyId};

use super::{
    Service, ServiceError,
    hostnames::{Plan, insert},
    properties,
};
use crate::{
    call::Call,
    config::Limits,
    hostname::{HostnameSpec, Title},
    property::Property,
    settings::{Fields, HostnameSettings},
    store::{self, Change},
};

/// Whether an import makes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportMode {
    /// It does.
    Commit,
    /// It only says what it would make.
    Rehearse,
}

/// What came of one of many hostnames.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) name: Option<HostPattern>,
    pub(crate) outcome: Result<(HostnameId, Outcome), ServiceError>,
}

/// What came of a hostname that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made.
    Created,
    /// It was made; somebody else has the name.
    Claimed,
    /// The property had it before. It is left as it is.
    Exists,
}

struct Planned {
    name: HostPattern,
    spec: HostnameSpec,
    plan: Plan,
}

impl Service {
    /// Adds hostnames to a property in one transaction. One that can't be added hurts no other.
    ///
    /// # Errors
    /// Of the property and of the store alone: then none was added.
    pub(crate) async fn import_hostnames(
        &self,
        call: Call,
        property: PropertyId,
        mode: ImportMode,
        lines: Vec<Fields>,
    ) -> Result<Vec<Imported>, ServiceError> {
        let planned: Vec<_> =
            lines.into_iter().map(|fields| self.plan_import(call, property, fields)).collect();
        let mut change = self.store.change(call).await?;
        let owner = properties::find(&mut change, property).await?;
        let mut imported = Vec::with_capacity(planned.len());
        for (name, planned) in planned {
            let outcome = match planned {
                Ok(planned) => add(&mut change, &owner, &planned, &self.limits).await,
                Err(error) => Err(error),
            };
            if let Err(ServiceError::Store(error)) = outcome {
                return Err(ServiceError::Store(error));
            }
            imported.push(Imported { name, outcome });
        }
        if mode == ImportMode::Commit {
            let revision = change.commit().await?.revision.0;
            let lines = imported.len();
            tracing::info!(property = property.0, lines, revision, "hostnames imported");
        }
        Ok(imported)
    }

    fn plan_import(
        &self,
        call: Call,
        property: PropertyId,
        fields: Fields,
    ) -> (Option<HostPattern>, Result<Planned, ServiceError>) {
        let read = HostnameSettings::create(fields, property, call.now);
        let (name, spec) = match read {
            Ok(read) => read,
            Err(error) => return (None, Err(error.into())),
        };
        let name: HostPattern = match name.parse() {
            Ok(name) => name,
            Err(error) => return (None, Err(ServiceError::HostnameName(error))),
        };
        let plan = self.plan_hostname(&name, &spec, call.now);
        (Some(name.clone()), plan.map(|plan| Planned { name, spec, plan }))
    }
}

async fn add(
    change: &mut Change,
    owner: &Property,
    planned: &Planned,
    limits: &Limits,
) -> Result<(HostnameId, Outcome), ServiceError> {
    let Planned { name, spec, plan } = planned;
    let present = store::hostname::find_by_name(change.on(), owner.id, name).await?;
    if let Some(present) = present {
        return Ok((present.id, Outcome::Exists));
    }
    change.begin_part().await?;
    match insert(change, owner, plan.addition(name, spec), limits).await {
        Ok(id) => {
            change.keep_part().await?;
            let made = store::hostname::find(change.on(), id).await?;
            let outcome = match made.map(|made| made.title) {
                Some(Title::Claimed) => Outcome::Claimed,
                Some(Title::Held) | None => Outcome::Created,
            };
            Ok((id, outcome))
        }
        Err(error) => {
            change.drop_part().await?;
            Err(error)
        }
    }
}
