//! Who answers a walk's questions: a resolver, or zones' own servers.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::time::sleep;

use crate::{
    exchange::{NoAnswer, Role, Server},
    walk::{Answer, Extent},
    zone::{Zone, Zones},
};

/// A zone's second server is asked where the first has said nothing for so long.
const STAGGER: Duration = Duration::from_secs(1);

/// Who answers.
#[derive(Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// A resolver.
    Resolver(Server<'a>),
    /// Zones' own servers, as far as they answer; beyond that the resolver.
    Zones(&'a Zones<'a>),
}

async fn resolved(resolver: Server<'_>, name: &Name, kind: RecordType) -> Result<Answer, NoAnswer> {
    let message = resolver.ask(name, kind, Role::Resolver).await?;
    Ok(Answer { message, extent: Extent::Everything })
}

impl Asker<'_> {
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer, NoAnswer> {
        match self {
            Self::Resolver(resolver) => resolved(*resolver, name, kind).await,
            Self::Zones(zones) => {
                if let Some(zone) = zones.of(name).await
                    && let Some(answer) = authority(&zone, name, kind, zones.resolver()).await
                {
                    return Ok(answer);
                }
                // The name that was asked for is its own zone's to tell; a resolver's answer for it
                // is known already, or must not be sought.
                if zones.is_spared(name) {
                    return Err(NoAnswer::Silence);
                }
                resolved(zones.resolver(), name, kind).await
            }
        }
    }

    /// Whether there is an answer where the resolver does not validate it.
    pub(crate) async fn answers_unchecked(&self, name: &Name, kind: RecordType) -> bool {
        let resolver = match self {
            Self::Resolver(resolver) => *resolver,
            Self::Zones(zones) => zones.resolver(),
        };
        let answer = resolver.ask(name, kind, Role::ResolverUnchecked).await;
        answer.is_ok_and(|message| {
            matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        })
    }
}

/// The first answer that one of the zone's servers gives with authority, in the resolver's time.
async fn authority(
    zone: &Zone,
    name: &Name,
    kind: RecordType,
    resolver: Server<'_>,
) -> Option<Answer> {
    let mut answers: FuturesUnordered<_> = zone
        .servers
        .iter()
        .zip(0..)
        .map(|(server, place)| async move {
            sleep(STAGGER * place).await;
            let server = Server { address: *server, ..resolver };
            server.ask(name, kind, Role::Authority).await.ok()
        })
        .collect();
    while let Some(answer) = answers.next().await {
        let Some(message) = answer else { continue };
        let is_told = message.metadata.authoritative
            && matches!(
                message.metadata.response_code,
                ResponseCode::NoError | ResponseCode::NXDomain
            )
            && !is_of_another(&message, &zone.name);
        if is_told {
            return Some(Answer { message, extent: Extent::Zone(zone.name.clone()) });
        }
    }
    None
}

/// Whether "there is none" is said for a zone above by a server that does not have this one (RFC 2308
/// section 3).
fn is_of_another(message: &Message, zone: &Name) -> bool {
    let mut soas =
        message.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
    message.answers.is_empty() && soas.any(|soa| !zone.zone_of(&soa.name))
}
