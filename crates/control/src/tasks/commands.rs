//! Tells in the server's log what commands on its database changed: a command's process has no log
//! of its own.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::{Epoch, Revision};

use super::{COMMANDS_EVERY, every};
use crate::{
    api::problem::chain,
    store::{self, Store, StoreError},
};

/// What commands change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    epoch: Epoch,
    revision: Revision,
    shrink_until: i64,
    pops: BTreeSet<String>,
    /// By id: its name, and whether it still holds.
    api_keys: BTreeMap<i64, (String, Validity)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Valid,
    Revoked,
}

#[derive(Debug, PartialEq, Eq)]
enum Told<'a> {
    Epoch,
    ShrinkAllowed,
    PopAdded(&'a str),
    PopRemoved(&'a str),
    ApiKeyAdded(&'a str),
    ApiKeyRevoked(&'a str),
}

/// Logs what commands change. Never ends.
pub(crate) async fn follow(store: Store) {
    let mut ticks = every(COMMANDS_EVERY);
    let mut before: Option<Seen> = None;
    loop {
        ticks.tick().await;
        match look(&store).await {
            Ok(now) => {
                if let Some(before) = &before {
                    now.since(before).iter().for_each(|told| now.log(told));
                }
                before = Some(now);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot look for commands"),
        }
    }
}

async fn look(store: &Store) -> Result<Seen, StoreError> {
    let mut connection = store.read_at_once().await?;
    let state = store::feed::state(&mut connection).await?;
    let pops = store::pop::names(&mut connection).await?;
    let api_keys = store::api_key::list(&mut connection, None, 0, u32::MAX).await?;
    let api_keys = api_keys.into_iter().map(|key| {
        let validity = match key.revoked_at {
            None => Validity::Valid,
            Some(_) => Validity::Revoked,
        };
        (key.id, (key.name, validity))
    });
    Ok(Seen {
        epoch: state.epoch,
        revision: state.revision,
        shrink_until: state.shrink_until,
        pops: pops.into_iter().collect(),
        api_keys: api_keys.collect(),
    })
}

impl Seen {
    fn since<'a>(&'a self, before: &'a Self) -> Vec<Told<'a>> {
        let mut told = Vec::new();
        if self.epoch != before.epoch {
            told.push(Told::Epoch);
        }
        if self.shrink_until != before.shrink_until {
            told.push(Told::ShrinkAllowed);
        }
        told.extend(self.pops.difference(&before.pops).map(|name| Told::PopAdded(name)));
        told.extend(before.pops.difference(&self.pops).map(|name| Told::PopRemoved(name)));
        for (id, (name, validity)) in &self.api_keys {
            let earlier = before.api_keys.get(id).map(|(_, validity)| validity);
            match (earlier, validity) {
                (None, Validity::Valid) => told.push(Told::ApiKeyAdded(name)),
                (Some(Validity::Valid), Validity::Revoked) => told.push(Told::ApiKeyRevoked(name)),
                _ => {}
            }
        }
        told
    }

    fn log(&self, told: &Told<'_>) {
        let (epoch, revision) = (self.epoch.0, self.revision.0);
        match *told {
            Told::Epoch => tracing::info!(epoch, revision, "a new epoch began"),
            Told::ShrinkAllowed => {
                tracing::info!(until_unix_seconds = self.shrink_until, "snapshots may shrink");
            }
            Told::PopAdded(pop) => tracing::info!(pop, revision, "PoP added"),
            Told::PopRemoved(pop) => tracing::info!(pop, revision, "PoP removed"),
            Told::ApiKeyAdded(name) => tracing::info!(name, "API key added"),
            Told::ApiKeyRevoked(name) => tracing::info!(name, "API key revoked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_difference_once() {
        let keys = |table: &[(i64, &str, Validity)]| {
            table.iter().map(|(id, name, own)| (*id, ((*name).to_owned(), *own))).collect()
        };
        let before = Seen {
            pops: ["a".to_owned(), "b".to_owned()].into(),
            api_keys: keys(&[(1, "old", Validity::Revoked), (2, "ops", Validity::Valid)]),
            ..Seen::default()
        };
        let now = Seen {
            epoch: Epoch(2),
            revision: Revision(7),
            shrink_until: 9,
            pops: ["b".to_owned(), "c".to_owned()].into(),
            api_keys: keys(&[
                (1, "old", Validity::Revoked),
                (2, "ops", Validity::Revoked),
                (3, "new", Validity::Valid),
            ]),
        };
        let expected = [
            Told::Epoch,
            Told::ShrinkAllowed,
            Told::PopAdded("c"),
            Told::PopRemoved("a"),
            Told::ApiKeyRevoked("ops"),
            Told::ApiKeyAdded("new"),
        ];
        assert_eq!(now.since(&before), expected);
        assert_eq!(now.since(&now), []);
    }
}
