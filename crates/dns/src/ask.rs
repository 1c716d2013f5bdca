//! Who answers a walk's questions: a resolver, or zones' own servers.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use tokio::time::{Instant, sleep};

use crate::{
    exchange::{Role, Silence, ask},
    walk::{Answer, Extent},
    zone::{Zone, Zones},
};

/// A zone's second server is asked where the first has said nothing for so long.
const STAGGER: Duration = Duration::from_secs(1);

/// Who answers.
#[derive(Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// A resolver.
    Resolver(Resolver),
    /// Zones' own servers, as far as they answer; beyond that the resolver.
    Zones(&'a Zones<'a>),
}

/// A resolver and until when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver {
    pub(crate) server: SocketAddr,
    pub(crate) deadline: Instant,
}

impl Resolver {
    pub(crate) async fn ask(self, name: &Name, kind: RecordType) -> Result<Answer, Silence> {
        let message = ask(self.server, name, kind, Role::Resolver, self.deadline).await?;
        Ok(Answer { message, extent: Extent::Everything })
    }
}

impl Asker<'_> {
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer, Silence> {
        match self {
            Self::Resolver(resolver) => resolver.ask(name, kind).await,
            Self::Zones(zones) => {
                if let Some(zone) = zones.of(name).await
                    && let Some(answer) = authority(&zone, name, kind, zones.deadline()).await
                {
                    return Ok(answer);
                }
                // The name that was asked for is its own zone's to tell; a resolver's answer for it
                // is known already.
                if zones.is_subject(name) {
                    return Err(Silence);
                }
                zones.resolver().ask(name, kind).await
            }
        }
    }

    /// Whether there is an answer where the resolver does not validate it.
    pub(crate) async fn answers_unchecked(&self, name: &Name, kind: RecordType) -> bool {
        let resolver = match self {
            Self::Resolver(resolver) => *resolver,
            Self::Zones(zones) => zones.resolver(),
        };
        let unchecked = Role::ResolverUnchecked;
        let answer = ask(resolver.server, name, kind, unchecked, resolver.deadline).await;
        answer.is_ok_and(|message| {
            matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        })
    }
}

/// The first answer that one of the zone's servers gives with authority.
async fn authority(
    zone: &Zone,
    name: &Name,
    kind: RecordType,
    deadline: Instant,
) -> Option<Answer> {
    let mut answers: FuturesUnordered<_> = zone
        .servers
        .iter()
        .zip(0..)
        .map(|(server, place)| async move {
            sleep(STAGGER * place).await;
            ask(*server, name, kind, Role::Authority, deadline).await.ok()
        })
        .collect();
    while let Some(answer) = answers.next().await {
        let Some(message) = answer else { continue };
        let is_told = message.metadata.authoritative
            && matches!(
                message.metadata.response_code,
                ResponseCode::NoError | ResponseCode::NXDomain
            );
        if is_told {
            return Some(Answer { message, extent: Extent::Zone(zone.name.clone()) });
        }
    }
    None
}
