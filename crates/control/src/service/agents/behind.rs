//! PoPs that did not answer a challenge because they are behind the feed, which is where they hear of it.

use landfall_issuance::failure::{Precheck, Trouble};
use landfall_model::{Revision, issuance::ChallengeMethod};

use super::{Service, failure::Failed, stalled::applied};
use crate::{
    hostname::deployment::Fleet,
    service::ServiceError,
    store::{self, Change},
};

/// How many PoPs a sentence names.
const MAX_NAMED: usize = 5;

impl Service {
    /// Adds to what the operator is told which of the PoPs that did not answer are behind the feed.
    pub(super) async fn tell_behind(
        &self,
        change: &mut Change,
        failed: &Failed<'_>,
        told: Option<String>,
    ) -> Result<Option<String>, ServiceError> {
        let Trouble::Precheck(Precheck::Challenge { method, failed: silent, .. }) = failed.trouble
        else {
            return Ok(told);
        };
        if !matches!(method, ChallengeMethod::Http01 | ChallengeMethod::TlsAlpn01) {
            return Ok(told);
        }
        let Some(wanted) = store::validation::revision(change.on(), failed.job.id).await? else {
            return Ok(told);
        };
        let now = change.now();
        let fleet = self.fleet(change.on(), now).await?;
        let silent: Vec<&str> = silent.iter().map(|pop| pop.as_str()).collect();
        Ok(match (told, behind(&fleet, &silent, wanted)) {
            (Some(told), Some(behind)) => Some(format!("{told} {behind}")),
            (told, behind) => told.or(behind),
        })
    }
}

/// Which of the PoPs have not applied `wanted`, and where to look.
fn behind(fleet: &Fleet, silent: &[&str], wanted: Revision) -> Option<String> {
    let late = fleet.pops.iter().filter(|pop| silent.contains(&pop.name.as_str()));
    let late = late.map(|pop| (pop, applied(fleet, pop))).filter(|(_, applied)| *applied < wanted);
    let told = late.map(|(pop, applied)| match applied {
        Revision(0) => format!("{} has applied nothing of the feed's epoch", pop.name),
        Revision(at) => format!("{} has applied the feed up to revision {at}", pop.name),
    });
    let mut told: Vec<String> = told.collect();
    if told.is_empty() {
        return None;
    }
    if told.len() > MAX_NAMED {
        let more = told.len() - MAX_NAMED;
        told.truncate(MAX_NAMED);
        told.push(format!("{more} more are behind"));
    }
    Some(format!(
        "The challenge is in the feed at revision {wanted}, and {}: see `landfall pop list`, and these edges' \
         logs, which say why they don't go on (a snapshot that is refused, a full disk, a key that they lack).",
        told.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use landfall_feed::protocol::AckState;
    use landfall_model::Epoch;
    use time::OffsetDateTime;

    use super::*;
    use crate::{
        hostname::deployment::Proof,
        store::pop::{Pop, PopAck, Traffic},
        token::PopId,
    };

    fn pop(name: &str, applied: Option<(u64, u64)>) -> Pop {
        let now = OffsetDateTime::UNIX_EPOCH;
        Pop {
            id: PopId(1),
            name: name.to_owned(),
            addresses: Vec::new(),
            traffic: Traffic::On,
            seen_at: Some(now),
            refused_at: None,
            created_at: now,
            ack: applied.map(|(epoch, applied)| PopAck {
                epoch: Epoch(epoch),
                applied: Revision(applied),
                state: AckState::Behind,
                rejected: Vec::new(),
                seen_at: now,
            }),
        }
    }

    #[test]
    fn names_the_silent_pops_that_have_not_heard_of_the_challenge_and_no_others() {
        let pops = vec![
            pop("ams1", Some((3, 7))),
            pop("fra1", Some((3, 9))),
            pop("lhr1", Some((2, 99))),
            pop("nrt1", Some((3, 1))),
        ];
        let fleet = Fleet {
            at: OffsetDateTime::UNIX_EPOCH,
            epoch: Epoch(3),
            pops,
            unhealthy_after: std::time::Duration::from_secs(60),
            proof: Proof::Acknowledgement,
        };
        let said = behind(&fleet, &["ams1", "fra1", "lhr1"], Revision(9)).unwrap();
        assert!(
            said.contains("at revision 9, and ams1 has applied the feed up to revision 7, lhr1")
        );
        assert!(!said.contains("fra1") && !said.contains("nrt1"), "{said}");
        assert_eq!(behind(&fleet, &["fra1"], Revision(9)), None);
    }
}
