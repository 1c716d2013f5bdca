use std::sync::Arc;

use landfall_model::{
    Epoch, Fingerprint, HostnameId, KeyType, PropertyId, Revision, Route, TlsPolicy,
};
use time::Duration;

use super::*;
use crate::{
    certificate::{CertificateSummary, Sighted, details::CertificateDetails},
    hostname::{
        HostnameOrigin, Issuance, ManagedHostname, Metadata,
        deployment::{Fleet, Proof, Publication, Published},
        wish::CertificateWish,
    },
    store::{
        job::{JobId, JobIssuer, Wait},
        pop::{Pop, PopAck, Traffic},
        verification::VerificationState,
    },
    token::PopId,
    verification::Lane,
};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

/// Active, without a certificate, on one PoP that has acknowledged `applied`.
fn view(applied: u64) -> HostnameView {
    let ack = PopAck {
        epoch: Epoch(1),
        applied: Revision(applied),
        state: landfall_feed::protocol::AckState::InSync,
        rejected: Vec::new(),
        seen_at: NOW,
    };
    let pop = Pop {
        id: PopId(1),
        name: "fra1".to_owned(),
        addresses: Vec::new(),
        traffic: Traffic::On,
        seen_at: Some(NOW),
        refused_at: None,
        created_at: NOW,
        ack: Some(ack),
    };
    let unhealthy_after = std::time::Duration::from_secs(120);
    let proof = Proof::Acknowledgement;
    let fleet = Fleet { at: NOW, epoch: Epoch(1), pops: vec![pop], unhealthy_after, proof };
    let record = Publication { id: "hostname/a".to_owned(), revision: Revision(5), at: NOW };
    HostnameView {
        delegation: None,
        hostname: ManagedHostname {
            id: HostnameId(1),
            property: PropertyId(1),
            name: "www.customer.test".parse().unwrap(),
            public_id: String::new(),
            ssl_id: "an-id".to_owned(),
            ownership_token: "a-token".to_owned(),
            origin: HostnameOrigin::Added,
            status: HostnameStatus::Active,
            title: Title::Held,
            issuance: Issuance::Internal,
            route: Route::to(PropertyId(1)),
            tls: TlsPolicy::default(),
            metadata: Metadata::default(),
            wish: CertificateWish::default(),
            version: 1,
            created_at: NOW,
        },
        system_hostname: "shop.edge.test".parse().unwrap(),
        certificates: Vec::new(),
        verification: None,
        job: None,
        published: Published { fleet: Arc::new(fleet), records: vec![record] },
    }
}

fn standing(status: HostnameStatus, title: Title) -> HostnameView {
    let mut view = view(5);
    (view.hostname.status, view.hostname.title) = (status, title);
    view
}

fn with(issuer: CertificateIssuer, days: i64, applied: u64) -> HostnameView {
    let certificate = CertificateSummary {
        hostname: HostnameId(1),
        key_type: KeyType::Ecdsa,
        issuer,
        fingerprint: Fingerprint([0; 32]),
        not_before: NOW + Duration::days(days - 90),
        not_after: NOW + Duration::days(days),
        details: CertificateDetails::default(),
        serves: Vec::new(),
        created_at: NOW,
        sighted: Sighted::default(),
    };
    HostnameView { certificates: vec![certificate], ..view(applied) }
}

fn without_authority() -> HostnameView {
    let wait = Wait { reason: "no_authority".to_owned(), authority: None, until: 0 };
    let asked = asked(JobIssuer::Agents, None);
    let job = asked.job.clone().map(|job| JobState { waits_for: Some(wait), ..job });
    HostnameView { job, ..asked }
}

fn waiting(reason: &str, error: Option<&str>) -> HostnameView {
    let until = (NOW + Duration::HOUR).unix_timestamp();
    let authority = Some("own".parse().unwrap());
    let wait = Wait { reason: reason.to_owned(), authority, until };
    let asked = asked(JobIssuer::Agents, error);
    let job = asked.job.clone().map(|job| JobState { waits_for: Some(wait), ..job });
    HostnameView { job, ..asked }
}

fn asked(issuer: JobIssuer, error: Option<&str>) -> HostnameView {
    let job = JobState {
        id: JobId(1),
        hostname: HostnameId(1),
        issuer,
        stage: JobStage::Open,
        attempts: 2,
        attempted_at: None,
        asked_at: None,
        next_at: NOW,
        created_at: NOW,
        ended_at: None,
        error: error.map(str::to_owned),
        waits_for: None,
        authority: None,
        leased_until: None,
        txt: crate::store::job::OwnersRecords::default(),
    };
    HostnameView { job: Some(job), ..view(5) }
}

fn left() -> HostnameView {
    let verification = VerificationState {
        lane: Lane::Active,
        next_at: None,
        tries: 3,
        unclear: 0,
        since: NOW,
        left_at: Some(NOW),
        checked_at: None,
        evidence: None,
    };
    HostnameView { verification: Some(verification), ..with(CertificateIssuer::Internal, 60, 5) }
}

#[test]
fn says_where_a_hostname_stands_and_what_to_do() {
    use CertificateIssuer::{Internal, Uploaded};
    use HostnameStatus::{GivenUp, PendingValidation, TakenOver};
    let nobody = || Published { records: Vec::new(), ..view(5).published };
    let alone = HostnameView {
        published: Published {
            fleet: Arc::new(Fleet { pops: Vec::new(), ..(*nobody().fleet).clone() }),
            ..view(5).published
        },
        ..with(Internal, 60, 5)
    };
    let table = [
        (standing(PendingValidation, Title::Held), "It waits for its DNS: it was not checked yet"),
        (
            standing(PendingValidation, Title::Claimed),
            "publish a-token in the TXT record _cf-custom-hostname.www.customer.test, or under http://www.customer.test/",
        ),
        (standing(GivenUp, Title::Held), "request its certificate once this is done"),
        (standing(TakenOver, Title::Claimed), "Another property proved"),
        (left(), "its DNS left at 2024-10-04T00:00:00Z"),
        (view(5), "asked for within the hour"),
        (asked(JobIssuer::Internal, None), "is being issued: nothing is to be done"),
        (without_authority(), "upload one, or ask the operator"),
        (waiting("hold", None), "the CA own is not asked again before 2024-10-04T01:00:00Z;"),
        (waiting("hold", Some("busy")), "before 2024-10-04T01:00:00Z (busy);"),
        (waiting("no_agent", Some("busy")), "no edge obtains any at the moment: its operator"),
        (waiting("owners_orders", None), "make those, or delete these hostnames"),
        (
            asked(JobIssuer::Internal, Some("no entropy")),
            "in 2 attempts and is attempted again at 2024-10-04T00:00:00Z: no entropy.",
        ),
        (with(Internal, 60, 5), "until 2024-12-03T00:00:00Z, which is renewed by itself"),
        (with(Uploaded, 60, 5), "replace it before then"),
        (with(Internal, 60, 4), "live on 0 of 1 PoPs: nothing is to be done"),
        (alone, "no PoP is active"),
        (with(Uploaded, 10, 5), "nothing renews its certificate"),
        (with(Uploaded, -1, 5), "upload a valid one"),
        (with(Internal, -1, 5), "ended at 2024-10-03T00:00:00Z. A new one is asked for"),
    ];
    for (view, expected) in table {
        let summary = summary(&view, Course::default());
        assert!(summary.contains(expected), "{summary}");
        assert!(summary.ends_with('.') && !summary.contains("  "), "{summary}");
    }
}

fn failed(owner: Option<&str>, operator: Option<&str>) -> Attempt {
    Attempt {
        job: JobId(1),
        at: NOW,
        authority: "own".to_owned(),
        pop: "fra1".to_owned(),
        method: None,
        class: Some("wrong_answer".to_owned()),
        words: Some("403 :: urn:x".to_owned()),
        owner: owner.map(str::to_owned),
        operator: operator.map(str::to_owned),
        next_at: None,
    }
}

#[test]
fn says_of_a_renewal_that_fails_why_and_when_the_certificate_ends() {
    let job = asked(JobIssuer::Agents, Some("403 :: urn:x")).job;
    let renewal = HostnameView { job, ..with(CertificateIssuer::Authority, 20, 5) };
    let missing = asked(JobIssuer::Agents, Some("403 :: urn:x"));
    let table = [
        (&renewal, Some("Remove the old record."), None, "fails: Remove the old record. Attempts"),
        (&renewal, None, Some("Mend it."), "fails: its operator has to see to it"),
        (
            &renewal,
            None,
            None,
            "which passes by itself. Attempts so far: 2; the next one is at 2024",
        ),
        (
            &renewal,
            None,
            None,
            "served with a certificate until 2024-10-24T00:00:00Z, and its renewal",
        ),
        (&missing, Some("Remove the old record."), None, ": Remove the old record."),
    ];
    for (view, owner, operator, expected) in table {
        let attempts = [failed(owner, operator)];
        let summary = summary(view, Course::of(view, &attempts, &[], Reader::Owner));
        assert!(summary.contains(expected), "{summary}");
        assert!(!summary.contains("urn:x") && !summary.contains(".."), "{summary}");
        assert!(!summary.contains("Mend it"), "the operator's alone: {summary}");
    }
    let attempts = [failed(None, Some("Mend it."))];
    let own = Course::of(&renewal, &attempts, &[], Reader::Operator);
    assert!(summary(&renewal, own).contains("fails: Mend it. Attempts"));
}

#[test]
fn tells_another_jobs_failure_of_none() {
    let job = asked(JobIssuer::Agents, None).job;
    let renewal = HostnameView { job, ..with(CertificateIssuer::Authority, 20, 5) };
    let attempts = [Attempt { job: JobId(2), ..failed(Some("Remove it."), None) }];
    let summary = summary(&renewal, Course::of(&renewal, &attempts, &[], Reader::Owner));
    assert!(summary.ends_with("which is renewed by itself."), "{summary}");
}
