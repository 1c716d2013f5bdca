//! Which CAs may issue (RFC 8659).

mod issuer;

use futures_util::{StreamExt, stream};
use hickory_resolver::proto::rr::{Name, RData, RecordType, rdata::CAA};
use landfall_model::{ChallengeMethod, HostPattern};

use crate::{
    CaIdentity, CaaEvidence, CaaVerdict, LookupOutcome,
    ask::Asker,
    names::{absolute, shown, shown_text, upwards},
    walk::{End, walk},
};

pub use issuer::{CaaAnswer, Issuer};

/// How many names are asked for at a time.
const AT_A_TIME: usize = 8;
/// The names above a hostname are asked from so many labels up: nobody has zones any deeper, and each
/// would be a question.
const MAX_LABELS: usize = 16;
/// How many records are shown, and how much of each.
const MAX_SHOWN: usize = 20;
const MAX_SHOWN_LEN: usize = 300;
/// Properties that a critical record may name without forbidding anything by itself.
const KNOWN: &[&str] =
    &["issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"];

/// The records that apply to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaaSet {
    /// There are none, up to the root.
    Absent,
    /// The first ones on the way up.
    Found {
        /// Where they are, behind CNAME records.
        at: String,
        /// What they are.
        records: Vec<CAA>,
    },
    /// A name's records can't be had.
    Failed {
        /// The name.
        at: String,
    },
}

/// Climbs from the name to the first one with CAA records (RFC 8659 section 3), past names above it that
/// have more than [`MAX_LABELS`] labels.
pub(crate) async fn climb(asker: &Asker<'_>, name: &HostPattern) -> CaaSet {
    let Some(name) = absolute(name.base().as_str()) else { return CaaSet::Absent };
    let sets = asked(&name).into_iter().map(|name| records(asker, name));
    let mut sets = stream::iter(sets).buffered(AT_A_TIME);
    while let Some(set) = sets.next().await {
        match set {
            CaaSet::Absent => {}
            set @ (CaaSet::Found { .. } | CaaSet::Failed { .. }) => return set,
        }
    }
    CaaSet::Absent
}

/// Whose records are asked for, the longest name first.
fn asked(name: &Name) -> Vec<Name> {
    upwards(name).filter(|own| own == name || own.iter().count() <= MAX_LABELS).collect()
}

async fn records(asker: &Asker<'_>, name: Name) -> CaaSet {
    let walk = walk(asker, &name, RecordType::CAA).await;
    let at = shown(walk.chain.last().unwrap_or(&name));
    match walk.end {
        End::Found(found) => {
            let records = found
                .into_iter()
                .filter_map(|data| if let RData::CAA(record) = data { Some(record) } else { None });
            CaaSet::Found { at, records: records.collect() }
        }
        End::Missing(outcome) => match outcome {
            LookupOutcome::Found | LookupOutcome::NoData | LookupOutcome::NxDomain => {
                CaaSet::Absent
            }
            LookupOutcome::ServFail
            | LookupOutcome::DnssecFails
            | LookupOutcome::Refused
            | LookupOutcome::NotAsked
            | LookupOutcome::Timeout
            | LookupOutcome::Loop
            | LookupOutcome::TooManyHops => CaaSet::Failed { at },
        },
    }
}

/// What the records say of our CAs.
pub(crate) fn evidence(set: &CaaSet, name: &HostPattern, cas: &[CaIdentity]) -> CaaEvidence {
    let (found_at, shown, verdict, methods) = match set {
        CaaSet::Absent => (None, Vec::new(), CaaVerdict::Permitted, None),
        CaaSet::Failed { at } => (Some(at.clone()), Vec::new(), CaaVerdict::Failed, None),
        CaaSet::Found { at, records } => {
            let shown = records.iter().take(MAX_SHOWN).map(shown_record).collect();
            let verdict = judge(records, name, cas);
            (Some(at.clone()), shown, verdict, methods_left(records, name, cas))
        }
    };
    let verdict = if cas.is_empty() { CaaVerdict::NotJudged } else { verdict };
    CaaEvidence { found_at, records: shown, verdict, methods }
}

fn judge(records: &[CAA], name: &HostPattern, cas: &[CaIdentity]) -> CaaVerdict {
    let admits =
        |record: &&CAA| cas.iter().any(|ca| ca.domains.iter().any(|own| names(record, own)));
    match relevant(records, name) {
        Relevant::None => CaaVerdict::Permitted,
        Relevant::Records(records) if records.iter().any(admits) => CaaVerdict::Permitted,
        Relevant::Records(_) | Relevant::Unknown => CaaVerdict::Forbidden,
    }
}

/// The methods that records which admit one of our CAs leave; none where one of them leaves all.
fn methods_left(
    records: &[CAA],
    name: &HostPattern,
    cas: &[CaIdentity],
) -> Option<Vec<ChallengeMethod>> {
    let Relevant::Records(records) = relevant(records, name) else { return None };
    let admits =
        |record: &&&CAA| cas.iter().any(|ca| ca.domains.iter().any(|own| names(record, own)));
    let mut left = Vec::new();
    for record in records.iter().filter(admits) {
        left.extend(issuer::methods_of(record)?);
    }
    left.sort_unstable();
    left.dedup();
    // Without any that admits us, who may issue is in question, and not how.
    (!left.is_empty()).then_some(left)
}

/// The records that say who may issue for a name.
enum Relevant<'a> {
    /// Anybody may.
    None,
    /// One of these must permit it.
    Records(Vec<&'a CAA>),
    /// Nobody may who does not know a critical property (RFC 8659 section 4.1).
    Unknown,
}

fn relevant<'a>(records: &'a [CAA], name: &HostPattern) -> Relevant<'a> {
    let is_known = |record: &CAA| KNOWN.iter().any(|known| record.tag.eq_ignore_ascii_case(known));
    if records.iter().any(|record| record.issuer_critical && !is_known(record)) {
        return Relevant::Unknown;
    }
    let tagged = |tag: &str| -> Vec<&CAA> {
        records.iter().filter(|record| record.tag.eq_ignore_ascii_case(tag)).collect()
    };
    // RFC 8659 section 4.3: for a wildcard issuewild rules, and issue where there is none.
    let wild = match name {
        HostPattern::Exact(_) => Vec::new(),
        HostPattern::Wildcard(_) => tagged("issuewild"),
    };
    let relevant = if wild.is_empty() { tagged("issue") } else { wild };
    if relevant.is_empty() { Relevant::None } else { Relevant::Records(relevant) }
}

/// Whether the record's issuer domain name is this one; parameters are for the CA to judge.
fn names(record: &CAA, domain: &str) -> bool {
    let issuer = record.value.split(|byte| *byte == b';').next().unwrap_or_default();
    issuer.trim_ascii().eq_ignore_ascii_case(domain.as_bytes())
}

/// As a zone file has it.
fn shown_record(record: &CAA) -> String {
    let tag = shown_text(record.tag.as_bytes());
    let value: String = shown_text(&record.value).chars().take(MAX_SHOWN_LEN).collect();
    format!("{} {tag} \"{value}\"", record.flags())
}

#[cfg(test)]
mod tests;
