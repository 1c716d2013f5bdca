use landfall_model::{Fingerprint, HostnameId, KeyType};

use super::*;
use crate::{
    certificate::{Sighted, details::CertificateDetails},
    store::job::{JobId, JobIssuer},
};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));
const EVERYWHERE: Extent = Extent::Everywhere;

/// A certificate of 90 days that ends `left` from now.
fn certificate(issuer: CertificateIssuer, left: Duration) -> CertificateSummary {
    CertificateSummary {
        hostname: HostnameId(1),
        key_type: KeyType::Ecdsa,
        issuer,
        fingerprint: Fingerprint([0; 32]),
        not_before: NOW + left - Duration::days(90),
        not_after: NOW + left,
        details: CertificateDetails::default(),
        serves: Vec::new(),
        created_at: NOW,
        sighted: Sighted::default(),
    }
}

fn internal(days: i64) -> CertificateSummary {
    certificate(CertificateIssuer::Internal, Duration::days(days))
}

fn uploaded(days: i64) -> CertificateSummary {
    certificate(CertificateIssuer::Uploaded, Duration::days(days))
}

fn inherited(days: i64) -> CertificateSummary {
    certificate(CertificateIssuer::Inherited, Duration::days(days))
}

fn job(stage: JobStage, attempts: u32) -> Option<JobState> {
    Some(JobState {
        id: JobId(1),
        hostname: HostnameId(1),
        issuer: JobIssuer::Internal,
        stage,
        attempts,
        attempted_at: None,
        asked_at: None,
        next_at: NOW,
        created_at: NOW,
        ended_at: None,
        error: None,
        waits_for: None,
        authority: None,
        leased_until: None,
        txt: crate::store::job::OwnersRecords::default(),
    })
}

struct Case {
    status: HostnameStatus,
    title: Title,
    left_at: Option<OffsetDateTime>,
    job: Option<JobState>,
    certificates: Vec<CertificateSummary>,
    extent: Extent,
    proof: Proof,
}

/// Active, held, and with nothing else.
fn active() -> Case {
    Case {
        status: HostnameStatus::Active,
        title: Title::Held,
        left_at: None,
        job: None,
        certificates: Vec::new(),
        extent: EVERYWHERE,
        proof: Proof::Acknowledgement,
    }
}

fn state(case: &Case) -> CertificateState {
    let Case { status, title, left_at, ref job, ref certificates, extent, proof } = *case;
    let deployment = Deployment { live: 0, total: 2, extent };
    let job = job.as_ref();
    Situation { status, title, left_at, job, certificates, deployment, proof, now: NOW }
        .certificate_state()
}

#[test]
fn without_a_certificate_the_hostname_and_its_job_decide() {
    use CertificateState as State;
    let pending = || Case { status: HostnameStatus::PendingValidation, ..active() };
    let table = [
        (active(), State::Initializing),
        (Case { job: job(JobStage::Open, 0), ..active() }, State::PendingIssuance),
        (Case { job: job(JobStage::Open, 3), ..active() }, State::PendingIssuance),
        (Case { job: job(JobStage::Open, 4), ..active() }, State::IssuanceTimedOut),
        (Case { job: job(JobStage::Cancelled, 9), ..active() }, State::Initializing),
        (
            Case { job: job(JobStage::Open, 0), left_at: Some(NOW), ..active() },
            State::PendingValidation,
        ),
        (pending(), State::PendingValidation),
        (Case { title: Title::Claimed, ..pending() }, State::PendingValidation),
        (Case { status: HostnameStatus::GivenUp, ..active() }, State::ValidationTimedOut),
        (Case { status: HostnameStatus::TakenOver, ..active() }, State::Inactive),
        // What came with the name is served, and is not the hostname's own.
        (
            Case { certificates: vec![inherited(60)], job: job(JobStage::Open, 0), ..active() },
            State::PendingIssuance,
        ),
    ];
    for (index, (case, expected)) in table.iter().enumerate() {
        assert_eq!(state(case), *expected, "case {index}");
    }
}

#[test]
fn with_a_certificate_its_end_and_the_pops_decide() {
    use CertificateState as State;
    let with = |certificate| Case { certificates: vec![certificate], ..active() };
    let minutes_ago = |minutes| Extent::Partial(NOW - Duration::minutes(minutes));
    let table = [
        (with(internal(60)), State::Active),
        (with(uploaded(60)), State::Active),
        (Case { job: job(JobStage::Open, 9), ..with(internal(20)) }, State::Active),
        (Case { extent: minutes_ago(1), ..with(internal(60)) }, State::PendingDeployment),
        (Case { extent: minutes_ago(16), ..with(internal(60)) }, State::DeploymentTimedOut),
        (Case { extent: Extent::NoActivePop, ..with(internal(60)) }, State::PendingDeployment),
        (with(uploaded(29)), State::PendingExpiration),
        (with(uploaded(31)), State::Active),
        (Case { left_at: Some(NOW), ..with(internal(29)) }, State::PendingExpiration),
        (Case { left_at: Some(NOW), ..with(internal(31)) }, State::Active),
        (with(internal(0)), State::Expired),
        (with(uploaded(-1)), State::Expired),
        // Which of two a client gets is its own choice: the first to end counts.
        (Case { certificates: vec![uploaded(60), uploaded(-1)], ..active() }, State::Expired),
        // Uploaded before the hostname's DNS leads here: it is published, and served to who comes.
        (Case { status: HostnameStatus::PendingValidation, ..with(uploaded(60)) }, State::Active),
        (
            Case {
                status: HostnameStatus::PendingValidation,
                title: Title::Claimed,
                extent: Extent::Unpublished,
                ..with(uploaded(60))
            },
            State::HoldingDeployment,
        ),
        (
            Case {
                status: HostnameStatus::TakenOver,
                title: Title::Claimed,
                extent: Extent::Unpublished,
                ..with(uploaded(60))
            },
            State::Inactive,
        ),
    ];
    for (index, (case, expected)) in table.iter().enumerate() {
        assert_eq!(state(case), *expected, "case {index}");
    }
}

#[test]
fn where_handshakes_count_each_certificate_has_to_be_seen_in_time() {
    use CertificateState as State;
    let seen = |own: CertificateSummary| CertificateSummary {
        sighted: Sighted { at: Some(NOW), ..Sighted::default() },
        ..own
    };
    let minutes_old = |minutes, own: CertificateSummary| CertificateSummary {
        created_at: NOW - Duration::minutes(minutes),
        ..own
    };
    let table = [
        (vec![internal(60)], State::PendingDeployment),
        (vec![minutes_old(14, uploaded(60))], State::PendingDeployment),
        (vec![minutes_old(16, uploaded(60))], State::DeploymentTimedOut),
        (vec![seen(minutes_old(16, uploaded(60)))], State::Active),
        (vec![seen(uploaded(29))], State::PendingExpiration),
        (vec![seen(uploaded(60)), minutes_old(16, uploaded(61))], State::DeploymentTimedOut),
        (vec![seen(uploaded(60)), inherited(60)], State::Active),
    ];
    for (index, (certificates, expected)) in table.into_iter().enumerate() {
        let case = Case { certificates, proof: Proof::Handshake, ..active() };
        assert_eq!(state(&case), expected, "case {index}");
        let case = Case { extent: Extent::Partial(NOW), ..case };
        assert_eq!(state(&case), State::PendingDeployment, "case {index}, not everywhere");
    }
}

#[test]
fn a_short_lived_certificate_is_near_its_end_with_a_third_left() {
    let with = |hours: i64| {
        let certificate = CertificateSummary {
            not_before: NOW + Duration::hours(hours) - Duration::hours(150),
            ..certificate(CertificateIssuer::Uploaded, Duration::hours(hours))
        };
        state(&Case { certificates: vec![certificate], ..active() })
    };
    assert_eq!(with(51), CertificateState::Active);
    assert_eq!(with(49), CertificateState::PendingExpiration);
}

#[test]
fn a_hostname_moves_when_its_dns_leaves_or_another_property_has_it() {
    let table = [
        (HostnameStatus::PendingValidation, None, PublicStatus::Pending),
        (HostnameStatus::Active, None, PublicStatus::Active),
        (HostnameStatus::Active, Some(NOW), PublicStatus::Moved),
        (HostnameStatus::GivenUp, None, PublicStatus::Moved),
        (HostnameStatus::TakenOver, None, PublicStatus::Moved),
    ];
    for (status, left_at, expected) in table {
        assert_eq!(PublicStatus::of(status, left_at), expected, "{status:?} {left_at:?}");
    }
}
