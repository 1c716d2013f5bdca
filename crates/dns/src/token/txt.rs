use std::collections::BTreeSet;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::Instant;

use crate::{
    LookupOutcome, TxtTokenEvidence, Verifier, ZoneServers,
    ask::Asker,
    names::{absolute, shown_text},
    resolvers::{Heard, Word},
    walk::{End, walk},
    zone::Zones,
};

/// How many values are shown, and how much of each.
const MAX_VALUES: usize = 10;
const MAX_VALUE_LEN: usize = 255;

/// What one look at a TXT record showed.
#[derive(Clone, Debug)]
struct Texts {
    outcome: LookupOutcome,
    values: BTreeSet<Vec<u8>>,
}

impl Texts {
    fn nothing(outcome: LookupOutcome) -> Self {
        Self { outcome, values: BTreeSet::new() }
    }

    /// Whether it is the last word on what is there.
    fn is_telling(&self) -> bool {
        matches!(
            self.outcome,
            LookupOutcome::Found | LookupOutcome::NxDomain | LookupOutcome::NoData
        )
    }

    fn have(&self, token: &str) -> bool {
        self.values.iter().any(|value| value.trim_ascii() == token.as_bytes())
    }
}

impl Word for Texts {
    fn is_silent(&self) -> bool {
        self.outcome == LookupOutcome::Timeout
    }

    fn is_refused(&self) -> bool {
        matches!(self.outcome, LookupOutcome::Refused | LookupOutcome::NotAsked)
    }

    fn is_failure(&self) -> bool {
        self.outcome == LookupOutcome::ServFail
    }
}

impl Verifier {
    /// Looks for an ownership token in the TXT records of `name`, within the configured time. It is
    /// found where as many resolvers as should answer have it, or, where one of them has not, the
    /// zone's own servers by each of them: who lies to us, or for one resolver, proves nothing.
    pub async fn txt_token(&self, name: &str, token: &str) -> TxtTokenEvidence {
        let texts = match absolute(name) {
            Some(question) => self.texts(&question, token).await,
            None => Texts::nothing(LookupOutcome::NxDomain),
        };
        evidence(name, token, &texts)
    }

    /// Looks for the value of a challenge in the TXT records of `name`, as [`Self::txt_token`] does, but
    /// asks no resolver for what is not there: it would remember that, and the CA may ask the same one.
    /// The zones' own servers are asked, found by each resolver by the names above; resolvers by
    /// themselves only where those servers may not be asked, or say nothing.
    pub async fn challenge_txt(&self, name: &str, value: &str) -> TxtTokenEvidence {
        let told = match (self.config.zone_servers, absolute(name)) {
            (ZoneServers::Asked, Some(question)) => self.told_by_zone(&question, value).await,
            (ZoneServers::Asked, None) | (ZoneServers::NotAsked, _) => None,
        };
        match told {
            Some(texts) => evidence(name, value, &texts),
            None => self.txt_token(name, value).await,
        }
    }

    /// What the zone's servers say: one without the value, if there is one. `None` where not as many
    /// resolvers as should have found them.
    async fn told_by_zone(&self, name: &Name, value: &str) -> Option<Texts> {
        let deadline = Instant::now() + self.config.timeout / 2;
        let heard = self
            .hear(deadline, |resolver| async move {
                look(&Asker::Zones(&self.sparing_zones(resolver, name, deadline)), name).await
            })
            .await;
        let telling = heard.words.iter().map(|(_, texts)| texts).filter(|texts| texts.is_telling());
        let told: Vec<&Texts> = telling.collect();
        let least = told.iter().min_by_key(|texts| texts.have(value))?;
        // Who answers alone proves nothing.
        (told.len() >= heard.wanted || !least.have(value)).then(|| (*least).clone())
    }

    async fn texts(&self, name: &Name, token: &str) -> Texts {
        let deadline = Instant::now() + self.config.timeout;
        let heard = self
            .hear(deadline, |resolver| async move {
                look(&Asker::Resolver(self.server(resolver, deadline)), name).await
            })
            .await;
        let have_it = heard.words.iter().all(|(_, texts)| texts.have(token));
        let zone = match self.config.zone_servers {
            ZoneServers::Asked if !have_it => self.zone_texts(name, &heard, deadline).await,
            ZoneServers::Asked | ZoneServers::NotAsked => Vec::new(),
        };
        // One without the token, if there is one.
        let texts = heard.testimonies(&zone).map(|testimony| testimony.word);
        match texts.min_by_key(|texts| texts.have(token)) {
            // Who answers alone proves nothing.
            Some(texts) if heard.words.len() == heard.wanted || !texts.have(token) => texts.clone(),
            Some(_) | None => Texts::nothing(LookupOutcome::Timeout),
        }
    }

    async fn zone_texts(
        &self,
        name: &Name,
        heard: &Heard<Texts>,
        deadline: Instant,
    ) -> Vec<Option<Texts>> {
        let looks = heard.words.iter().enumerate().map(|(turn, (server, _))| async move {
            let resolver = self.server(*server, deadline);
            let zones = Zones::new(&self.config, resolver, name.clone(), turn);
            let texts = look(&Asker::Zones(&zones), name).await;
            (!texts.is_silent()).then_some(texts)
        });
        join_all(looks).await
    }
}

fn evidence(name: &str, token: &str, texts: &Texts) -> TxtTokenEvidence {
    let values = texts.values.iter().take(MAX_VALUES);
    let values = values.map(|value| {
        let start: Vec<u8> = value.iter().copied().take(MAX_VALUE_LEN).collect();
        shown_text(&start).chars().take(MAX_VALUE_LEN).collect()
    });
    TxtTokenEvidence {
        name: name.to_owned(),
        found: texts.have(token),
        values: values.collect(),
        outcome: texts.outcome,
    }
}

async fn look(asker: &Asker<'_>, name: &Name) -> Texts {
    match walk(asker, name, RecordType::TXT).await.end {
        End::Found(found) => Texts {
            outcome: LookupOutcome::Found,
            values: found.iter().filter_map(value).collect(),
        },
        End::Missing(outcome) => Texts::nothing(outcome),
    }
}

/// A record's strings belong together (RFC 7208 section 3.3).
fn value(data: &RData) -> Option<Vec<u8>> {
    if let RData::TXT(text) = data { Some(text.txt_data.concat()) } else { None }
}
