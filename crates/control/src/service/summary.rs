//! One sentence about a hostname: where it stands, and what its owner does next.

use landfall_model::AuthorityName;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    HostnameView,
    agents::{HELD, NO_AGENT, OWNERS_ORDERS},
};
use crate::{
    certificate::CertificateIssuer,
    hostname::{
        HostnameStatus, Title, certificate_state::CertificateState, deployment::Extent,
        ownership::OwnershipTokens,
    },
    store::{
        attempt::Attempt,
        errand::{Errand, Purpose, Stage},
        job::{JobStage, JobState, OwnersRecords},
    },
};

/// Whom a sentence is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Who looks after one property.
    #[default]
    Owner,
    /// Who looks after all, and after the PoPs and CAs.
    Operator,
}

/// What is known beside a hostname of the issuance that is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course<'a> {
    /// The last attempt, where it failed.
    pub(crate) failed: Option<&'a Attempt>,
    /// What is to be revoked once another certificate is there.
    pub(crate) revocation: Option<&'a Errand>,
    pub(crate) reader: Reader,
}

impl<'a> Course<'a> {
    /// Of a hostname's open job. Attempts and errands are the newest first.
    pub(crate) fn of(
        view: &HostnameView,
        attempts: &'a [Attempt],
        errands: &'a [Errand],
        reader: Reader,
    ) -> Self {
        let open = view.job.as_ref().filter(|job| job.stage == JobStage::Open);
        let last = attempts.first().filter(|last| open.is_some_and(|job| job.id == last.job));
        let is_open = |errand: &&Errand| {
            errand.stage == Stage::Open && matches!(errand.purpose, Purpose::Revocation(_))
        };
        Self {
            failed: last.filter(|last| last.class.is_some()),
            revocation: errands.iter().find(is_open),
            reader,
        }
    }
}

/// One sentence about a hostname: where it stands, and what its owner does next.
pub(crate) fn summary(view: &HostnameView, course: Course<'_>) -> String {
    let advice = advice(view);
    match (view.hostname.status, view.hostname.title, view.left_at()) {
        (HostnameStatus::TakenOver, _, _) => {
            "Another property proved that the name is its own: delete this hostname, or prove that \
             the name is yours again and request its certificate."
                .to_owned()
        }
        (HostnameStatus::PendingValidation | HostnameStatus::GivenUp, Title::Claimed, _) => {
            claimed(&OwnershipTokens::of(&view.hostname))
        }
        (HostnameStatus::GivenUp, Title::Held, _) => format!(
            "Its DNS did not lead here for so long that it is no longer checked by itself; request \
             its certificate once this is done: {advice}"
        ),
        (HostnameStatus::PendingValidation, Title::Held, _) => {
            format!("It waits for its DNS: {advice}")
        }
        (HostnameStatus::Active, _, Some(left)) => format!(
            "It is served, but its DNS left at {}, so that its certificate is not renewed: {advice}",
            at(left)
        ),
        (HostnameStatus::Active, _, None) => active(view, course),
    }
}

fn advice(view: &HostnameView) -> String {
    let evidence = view.verification.as_ref().and_then(|state| state.evidence.as_ref());
    match evidence {
        Some(evidence) => evidence.advice.clone(),
        None => format!(
            "it was not checked yet, and should lead to {}, by a CNAME record for example.",
            view.system_hostname
        ),
    }
}

fn claimed(OwnershipTokens { token, txt_name, file }: &OwnershipTokens) -> String {
    let file = file.as_ref().map_or_else(String::new, |file| format!(", or under {}", file.url()));
    format!(
        "It is a claim, for another property has the name or had it: to prove that it is yours, publish \
         {token} in the TXT record {txt_name}{file}."
    )
}

/// Of a hostname that is active and whose DNS leads here.
fn active(view: &HostnameView, course: Course<'_>) -> String {
    let deployment = view.deployment();
    let reach = format!("{} of {} PoPs", deployment.live, deployment.total);
    let open = view.job.as_ref().filter(|job| job.stage == JobStage::Open);
    let end = view.certificates.iter().map(|own| own.not_after).min().map(at).unwrap_or_default();
    match view.certificate_state() {
        CertificateState::Initializing
        | CertificateState::PendingValidation
        | CertificateState::ValidationTimedOut => {
            "It is active, and its certificate is asked for within the hour: nothing is to be done."
                .to_owned()
        }
        CertificateState::PendingIssuance | CertificateState::IssuanceTimedOut => {
            missing(open, course)
        }
        CertificateState::PendingDeployment if deployment.extent == Extent::NoActivePop => {
            "Its certificate is there, and no PoP is active: its operator has to look at the PoPs."
                .to_owned()
        }
        CertificateState::PendingDeployment | CertificateState::DeploymentTimedOut
            if view.published.refusal().is_some() =>
        {
            refused(view, &reach)
        }
        CertificateState::PendingDeployment if deployment.extent == Extent::Everywhere => {
            format!(
                "Its certificate is there and live on {reach}, and is looked for in handshakes."
            )
        }
        CertificateState::PendingDeployment | CertificateState::HoldingDeployment => {
            format!("Its certificate is there and live on {reach}: nothing is to be done.")
        }
        CertificateState::DeploymentTimedOut => late(view, &reach),
        CertificateState::Active if is_uploaded(view) => {
            format!(
                "It is served with an uploaded certificate until {end}: replace it before then."
            )
        }
        CertificateState::Active => {
            format!("It is served with a certificate until {end}, {}", renewed(open, course))
        }
        CertificateState::PendingExpiration => {
            format!(
                "It is served, and nothing renews its certificate, which ends at {end}: upload one."
            )
        }
        CertificateState::Expired | CertificateState::Inactive if is_uploaded(view) => format!(
            "Its uploaded certificate ended at {end}: upload a valid one, or remove it for a managed one."
        ),
        CertificateState::Expired | CertificateState::Inactive => {
            format!("Its certificate ended at {end}. {}", missing(open, course))
        }
    }
}

/// Of a certificate that should be served everywhere by now.
fn late(view: &HostnameView, reach: &str) -> String {
    let deployment = view.deployment();
    if deployment.extent == Extent::Everywhere {
        return format!(
            "Its certificate is live on {reach}, and no handshake from the control plane has shown it\
             {}: its operator has to look at the PoPs.",
            misses(view)
        );
    }
    if deployment.live == 0 {
        return "Its certificate is there, and live on no PoP though it should be by now: request another \
                one, and its operator has to look at the PoPs."
            .to_owned();
    }
    format!(
        "Its certificate is live on {reach}, and the others should have it by now: its operator has to \
         look at them."
    )
}

/// Of a certificate that PoPs don't take.
fn refused(view: &HostnameView, reach: &str) -> String {
    let reason = view.published.refusal().unwrap_or_default();
    let next = match is_uploaded(view) {
        true => "upload another one",
        false => "request another one",
    };
    format!("Its certificate is live on {reach}, and PoPs refuse it ({}): {next}.", clause(reason))
}

/// How a certificate that is served is renewed, or replaced before it is revoked.
fn renewed(open: Option<&JobState>, course: Course<'_>) -> String {
    let (turn, turned) = match course.revocation {
        Some(_) => ("replacement", "replaced"),
        None => ("renewal", "renewed"),
    };
    let fails = |job: &JobState, error: &str| {
        format!(
            "and its {turn} fails: {}. Attempts so far: {}; the next one is at {}{}.",
            why(error, course),
            job.attempts,
            at(job.due_at()),
            revoked_at(course)
        )
    };
    match open {
        Some(JobState { waits_for: Some(wait), .. }) if wait.reason == "no_authority" => {
            format!("which no CA is configured to have {turned}: upload one, or ask the operator.")
        }
        Some(JobState { waits_for: Some(wait), .. }) if wait.reason == NO_AGENT => {
            format!(
                "which is to be {turned}, and no edge obtains any at the moment: its operator has to look \
                 at the edges."
            )
        }
        Some(JobState { txt, .. }) if !txt.records.is_empty() => {
            format!("which is to be {turned}. {}", records(txt))
        }
        Some(job @ JobState { error: Some(error), .. }) => fails(job, error),
        Some(job @ JobState { waits_for: Some(wait), .. }) if wait.reason == HELD => format!(
            "and its {turn} waits: the CA {} is not asked before {}; its operator can let it be asked \
             sooner.",
            wait.authority.as_ref().map_or("", AuthorityName::as_str),
            at(job.due_at())
        ),
        Some(_) if course.revocation.is_some() => {
            format!("which is being replaced{}: nothing is to be done.", revoked_at(course))
        }
        _ => "which is renewed by itself.".to_owned(),
    }
}

/// When a certificate is revoked, whether or not there is another one.
fn revoked_at(course: Course<'_>) -> String {
    let next_at = course.revocation.and_then(|errand| errand.next_at);
    next_at.map_or_else(String::new, |next_at| format!(", and it is revoked at {}", at(next_at)))
}

/// Why an attempt failed, for the reader: a CA's own words stay with the attempt.
fn why(error: &str, course: Course<'_>) -> String {
    match course.failed {
        Some(Attempt { operator: Some(operator), .. }) if course.reader == Reader::Operator => {
            clause(operator).to_owned()
        }
        Some(Attempt { owner: Some(owner), .. }) => clause(owner).to_owned(),
        Some(Attempt { operator: Some(_), .. }) => {
            "its operator has to see to it, and knows of it".to_owned()
        }
        Some(_) => "a PoP or the CA was not able to, which passes by itself".to_owned(),
        // The internal CA's, which are ours.
        None => clause(error).to_owned(),
    }
}

/// A sentence, to be followed by what ends another.
fn clause(sentence: &str) -> &str {
    sentence.trim_end().trim_end_matches('.')
}

/// What PoPs showed in its place, in brackets.
fn misses(view: &HostnameView) -> String {
    let misses = view.certificates.iter().flat_map(|own| &own.sighted.misses);
    let misses: Vec<String> =
        misses.map(|miss| format!("{}: {}", miss.pop, miss.finding.name())).collect();
    match misses.is_empty() {
        true => String::new(),
        false => format!(" ({})", misses.join(", ")),
    }
}

fn is_uploaded(view: &HostnameView) -> bool {
    view.certificates.iter().any(|own| own.issuer == CertificateIssuer::Uploaded)
}

/// Of a hostname whose certificate is still to be issued.
fn missing(open: Option<&JobState>, course: Course<'_>) -> String {
    match open {
        None => "A new one is asked for within the hour: nothing is to be done.".to_owned(),
        Some(JobState { txt, .. }) if !txt.records.is_empty() => records(txt),
        Some(JobState { waits_for: Some(wait), .. }) if wait.reason == "no_authority" => {
            "It is active and waits for its certificate, which no CA is configured to issue: upload \
             one, or ask the operator."
                .to_owned()
        }
        Some(job @ JobState { waits_for: Some(wait), error, .. }) if wait.reason == HELD => {
            let authority = wait.authority.as_ref().map_or("", AuthorityName::as_str);
            let error = error.as_ref().map(|error| format!(" ({})", why(error, course)));
            let error = error.unwrap_or_default();
            format!(
                "It waits for its certificate: the CA {authority} is not asked again before {}{error}; \
                 its operator can let it be asked sooner.",
                at(job.due_at())
            )
        }
        Some(JobState { waits_for: Some(wait), .. }) if wait.reason == NO_AGENT => {
            "It waits for its certificate, and no edge obtains any at the moment: its operator has to \
             look at the edges. One that is uploaded is served at once."
                .to_owned()
        }
        Some(JobState { waits_for: Some(wait), .. }) if wait.reason == OWNERS_ORDERS => {
            "It waits for others of its property, whose orders wait for the TXT records of their \
             owners: make those, or delete these hostnames."
                .to_owned()
        }
        Some(job @ JobState { attempts, error: Some(error), .. }) => format!(
            "Its certificate could not be issued in {attempts} attempts and is attempted again at {}: {}.",
            at(job.due_at()),
            why(error, course)
        ),
        Some(_) => "Its certificate is being issued: nothing is to be done.".to_owned(),
    }
}

/// Of a hostname whose owner is to make TXT records.
fn records(wanted: &OwnersRecords) -> String {
    let records = wanted.records.iter();
    let records = records.map(|one| format!("{} with the value {}", one.name, one.value));
    let records: Vec<String> = records.collect();
    let lasting = wanted.lasting.as_ref().map_or_else(String::new, |one| {
        format!(
            " Or make {} with the value {} once, for this one and all renewals.",
            one.name, one.value
        )
    });
    format!(
        "Its certificate is issued once the CA finds the TXT record {}: make it.{lasting}",
        records.join(", and ")
    )
}

fn at(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
