use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RecordType};
use landfall_model::HostPattern;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    LookupOutcome, Verifier, ZoneServers,
    ask::Asker,
    names::{absolute, shown},
    resolvers::{Heard, Word},
    walk::{End, walk},
    zone::Zones,
};

/// What was seen of the record by which an owner leaves DNS challenges to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegationEvidence {
    /// The CNAME's name, without a trailing dot.
    pub name: String,
    /// Where it should lead.
    pub target: String,
    /// Whether it does.
    #[serde(flatten)]
    pub delegation: Delegation,
}

/// Whether `_acme-challenge` of a name leads to where its challenges are answered (RFC 8555 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "delegation")]
pub enum Delegation {
    /// It does.
    Present,
    /// It is no CNAME.
    Absent,
    /// It leads elsewhere.
    Elsewhere {
        /// Where its chain of CNAME records ends, without a trailing dot.
        to: String,
    },
    /// Who was asked could not tell.
    Unclear,
}

/// Where one look at the name led.
#[derive(Clone, Debug)]
struct Way {
    chain: Vec<Name>,
    outcome: LookupOutcome,
}

impl Way {
    fn leads_to(&self, target: &Name) -> bool {
        self.chain.contains(target)
    }
}

impl Word for Way {
    fn is_silent(&self) -> bool {
        self.outcome == LookupOutcome::Timeout && self.chain.is_empty()
    }

    fn is_refused(&self) -> bool {
        let refused = matches!(self.outcome, LookupOutcome::Refused | LookupOutcome::NotAsked);
        refused && self.chain.is_empty()
    }

    fn is_failure(&self) -> bool {
        self.outcome == LookupOutcome::ServFail && self.chain.is_empty()
    }
}

impl Verifier {
    /// Looks whether the CNAME records of `_acme-challenge` below `name` (of a wildcard: below the name
    /// without `*.`) pass `target`, within the configured time. The zone's own servers are asked where they
    /// may be: what a resolver remembers is not held against a name, and it is to remember nothing of what
    /// is not there yet, neither of this name nor of the target.
    pub async fn challenge_delegation(&self, name: &HostPattern, target: &str) -> Delegation {
        let question = absolute(&challenge_name(name));
        let (Some(question), Some(target)) = (question, absolute(target)) else {
            return Delegation::Absent;
        };
        let question = &question;
        if self.config.zone_servers == ZoneServers::Asked {
            let deadline = Instant::now() + self.config.timeout / 2;
            let told = self
                .hear(deadline, |resolver| async move {
                    let zones = self.sparing_zones(resolver, question, deadline);
                    look(&Asker::Zones(&zones), question).await
                })
                .await;
            let ways: Vec<Way> = told.words.into_iter().map(|(_, way)| way).collect();
            if ways.len() >= told.wanted {
                return judge(&ways, &target);
            }
        }
        let deadline = Instant::now() + self.config.timeout;
        let heard = self
            .hear(deadline, |resolver| async move {
                look(&Asker::Resolver(self.server(resolver, deadline)), question).await
            })
            .await;
        let heard_ways: Vec<Way> = heard.words.iter().map(|(_, way)| way.clone()).collect();
        let told = judge(&heard_ways, &target);
        match self.config.zone_servers {
            ZoneServers::Asked if told != Delegation::Present => {
                let zone = self.zone_ways(question, &heard, deadline).await;
                if zone.is_empty() { told } else { judge(&zone, &target) }
            }
            ZoneServers::Asked | ZoneServers::NotAsked => told,
        }
    }

    async fn zone_ways(&self, name: &Name, heard: &Heard<Way>, deadline: Instant) -> Vec<Way> {
        let looks = heard.words.iter().enumerate().map(|(turn, (server, _))| async move {
            let resolver = self.server(*server, deadline);
            let zones = Zones::new(&self.config, resolver, name.clone(), turn);
            let way = look(&Asker::Zones(&zones), name).await;
            (!way.is_silent()).then_some(way)
        });
        join_all(looks).await.into_iter().flatten().collect()
    }
}

/// Where the TXT records of a name's challenges are looked for, without a trailing dot (RFC 8555 section
/// 8.4). A wildcard's are the same as those of the name that it is below.
pub fn challenge_name(name: &HostPattern) -> String {
    format!("_acme-challenge.{}", name.base())
}

async fn look(asker: &Asker<'_>, name: &Name) -> Way {
    let walk = walk(asker, name, RecordType::TXT).await;
    let outcome = match walk.end {
        End::Found(_) => LookupOutcome::Found,
        End::Missing(outcome) => outcome,
    };
    Way { chain: walk.chain, outcome }
}

/// All must lead there; of those that don't, one that leads elsewhere says more than one that doesn't lead.
fn judge(ways: &[Way], target: &Name) -> Delegation {
    let mut others = ways.iter().filter(|way| !way.leads_to(target)).peekable();
    if others.peek().is_none() {
        return if ways.is_empty() { Delegation::Unclear } else { Delegation::Present };
    }
    let others: Vec<&Way> = others.collect();
    if let Some(end) = others.iter().find_map(|way| way.chain.last()) {
        return Delegation::Elsewhere { to: shown(end) };
    }
    let knows = |way: &&Way| {
        matches!(
            way.outcome,
            LookupOutcome::Found | LookupOutcome::NxDomain | LookupOutcome::NoData
        )
    };
    if others.iter().any(knows) { Delegation::Absent } else { Delegation::Unclear }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        absolute(text).unwrap()
    }

    fn way(chain: &[&str], outcome: LookupOutcome) -> Way {
        Way { chain: chain.iter().map(|text| name(text)).collect(), outcome }
    }

    #[test]
    fn a_delegation_is_present_where_every_chain_passes_the_target() {
        use LookupOutcome::{NoData, NxDomain, ServFail, Timeout};
        let ours = || way(&["x.dcv.test"], NxDomain);
        let through = || way(&["a.test", "x.dcv.test"], Timeout);
        let elsewhere = || way(&["other.test"], NxDomain);
        let to_other = Delegation::Elsewhere { to: "other.test".to_owned() };
        let cases = [
            (vec![], Delegation::Unclear),
            (vec![ours(), through()], Delegation::Present),
            (vec![ours(), elsewhere()], to_other.clone()),
            (vec![way(&[], NxDomain), elsewhere()], to_other),
            (vec![ours(), way(&[], NoData)], Delegation::Absent),
            (vec![way(&[], LookupOutcome::Found)], Delegation::Absent),
            (vec![way(&[], ServFail), way(&[], Timeout)], Delegation::Unclear),
        ];
        for (ways, expected) in cases {
            assert_eq!(judge(&ways, &name("x.dcv.test")), expected, "{ways:?}");
        }
    }
}
