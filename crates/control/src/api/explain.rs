//! `/api/Property/{property}/hostname/{hostname}/explain` and `…/events`

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use landfall_dns::Evidence;
use landfall_issuance::acme::RevocationReason;
use landfall_model::Revision;
use landfall_model::issuance::TxtRecord;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    SharedApp,
    hostname::{HostnameBody, ids},
    list::{Page, Wanted, WantedQuery},
    problem::Problem,
};
use crate::{
    api_key::{Caller, Scope},
    hostname::{deployment::Reach, ownership::OwnershipEvidence},
    schema,
    service::{Explanation, HostnameView, Reader},
    store::{
        attempt::Attempt,
        errand::{Errand, Purpose, Stage},
        event::Event,
        job::{JobStage, JobState},
        pop::{Pop, PopActivity},
        renewal::PlannedRenewal,
    },
    watch::Finding,
};

/// Where a hostname stands, in whole.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplanationBody {
    /// One sentence: where it stands, and what to do. Where something is the operator's to do, it says what to a
    /// key of scope `admin` for all properties, and to any other key that the operator has to.
    summary: String,
    /// When something is next attempted by itself that is still missing.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    next_attempt_at: Option<OffsetDateTime>,
    /// The hostname.
    hostname: HostnameBody,
    /// What the last verification saw.
    #[schema(value_type = Option<Object>, required)]
    evidence: Option<Evidence>,
    /// What the last look for an ownership token saw.
    #[schema(value_type = Option<Object>, required)]
    ownership_evidence: Option<OwnershipEvidence>,
    /// Issuances, the newest first.
    jobs: Vec<JobBody>,
    /// What attempts at CAs came to, the newest first.
    attempts: Vec<AttemptBody>,
    /// When its certificates are renewed by themselves, the first one first.
    renewals: Vec<RenewalBody>,
    /// Certificates that were asked to be revoked, the newest first.
    revocations: Vec<RevocationBody>,
    /// How far it has got at each PoP.
    pops: Vec<PopBody>,
}

/// An issuance.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
#[serde(rename_all = "camelCase")]
struct JobBody {
    /// Its id.
    id: i64,
    /// `open`, `done` or `cancelled`.
    state: &'static str,
    /// What an open one waits for: `agent`, `next_attempt`, `issuance`, `owner_records`, `no_agent` where no
    /// edge asks for work, or a CA's limit or hold, as in `new_orders` or `hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// The CA that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    /// The TXT records that the hostname's owner is to make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    txt_records: Vec<TxtBody>,
    /// The TXT record that does in their place, for this order and all to come
    /// (draft-ietf-acme-dns-persist).
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting_txt_record: Option<TxtBody>,
    /// How many attempts failed.
    failed_attempts: u32,
    /// When the last attempt failed.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    last_attempt_at: Option<OffsetDateTime>,
    /// Not before then is it attempted next.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<OffsetDateTime>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When it was done or cancelled.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    ended_at: Option<OffsetDateTime>,
    /// The last attempt's error in the CA's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_because: Option<String>,
}

/// A TXT record that a hostname's owner is to make (RFC 8555 section 8.4).
#[derive(Serialize, ToSchema)]
#[schema(as = TxtRecord)]
#[serde(rename_all = "camelCase")]
struct TxtBody {
    /// Its name.
    #[schema(example = "_acme-challenge.www.customer.example")]
    name: String,
    /// Its value.
    value: String,
}

impl From<TxtRecord> for TxtBody {
    fn from(TxtRecord { name, value }: TxtRecord) -> Self {
        Self { name, value }
    }
}

/// What an attempt at a CA came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
#[serde(rename_all = "camelCase")]
struct AttemptBody {
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// The CA.
    authority: String,
    /// The PoP that did it; none where it failed before anybody did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pop: String,
    /// The class of its failure, as in `caa_forbids`; none: it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// The CA's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What the hostname's owner is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// What the operator is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_advice: Option<String>,
    /// When the next one is.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<OffsetDateTime>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self {
            at: attempt.at,
            authority: attempt.authority,
            pop: attempt.pop,
            class: attempt.class,
            error: attempt.words,
            advice: attempt.owner,
            operator_advice: attempt.operator,
            next_attempt_at: attempt.next_at,
        }
    }
}

/// When a certificate is renewed.
#[derive(Serialize, ToSchema)]
#[schema(as = Renewal)]
#[serde(rename_all = "camelCase")]
struct RenewalBody {
    /// The SHA-256 of its DER.
    #[schema(value_type = schema::FingerprintHex)]
    fingerprint: String,
    /// From when on it is renewed; the time chosen in the CA's window, where there is one.
    #[serde(with = "time::serde::rfc3339")]
    renew_at: OffsetDateTime,
    /// When the CA wants it renewed (RFC 9773), where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<WindowBody>,
}

/// When a CA wants a certificate renewed (RFC 9773 section 4.2).
#[derive(Serialize, ToSchema)]
#[schema(as = RenewalWindow)]
#[serde(rename_all = "camelCase")]
struct WindowBody {
    /// Its start.
    #[serde(with = "time::serde::rfc3339")]
    start: OffsetDateTime,
    /// Its end.
    #[serde(with = "time::serde::rfc3339")]
    end: OffsetDateTime,
    /// Where the CA explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
}

impl From<PlannedRenewal> for RenewalBody {
    fn from(planned: PlannedRenewal) -> Self {
        let window = planned.advice.map(|advice| WindowBody {
            start: advice.start,
            end: advice.end,
            explanation: advice.explanation,
        });
        let fingerprint = planned.fingerprint.to_string();
        Self { fingerprint, renew_at: planned.renew_at, window }
    }
}

/// A certificate that was asked to be revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
#[serde(rename_all = "camelCase")]
struct RevocationBody {
    /// The SHA-256 of its DER.
    #[schema(value_type = schema::FingerprintHex)]
    fingerprint: String,
    /// The CA that issued it.
    authority: String,
    /// Why.
    #[schema(value_type = schema::RevocationReasonName)]
    reason: RevocationReason,
    /// `waiting` (until another certificate takes its place), `open`, `revoked` or `ended`: without being
    /// done, for what `error` says.
    state: &'static str,
    /// How many attempts failed.
    failed_attempts: u32,
    /// Not before then is it attempted next.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<OffsetDateTime>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When it was revoked, or ended.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    ended_at: Option<OffsetDateTime>,
    /// The last attempt's error in the CA's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RevocationBody {
    fn of(errand: Errand) -> Option<Self> {
        let Purpose::Revocation(revoked) = errand.purpose else { return None };
        let state = match (errand.stage, errand.next_at) {
            (Stage::Open, None) => "waiting",
            (Stage::Open, Some(_)) => "open",
            (Stage::Done, _) => "revoked",
            (Stage::Ended, _) => "ended",
        };
        Some(Self {
            fingerprint: revoked.fingerprint.to_string(),
            authority: errand.authority.to_string(),
            reason: revoked.reason,
            state,
            failed_attempts: errand.attempts,
            next_attempt_at: errand.next_at.filter(|_| errand.stage == Stage::Open),
            created_at: errand.created_at,
            ended_at: errand.ended_at,
            error: errand.error,
        })
    }
}

/// How far a hostname has got at a PoP.
#[derive(Serialize, ToSchema)]
#[schema(as = PopStanding)]
#[serde(rename_all = "camelCase")]
struct PopBody {
    /// Its name.
    name: String,
    /// `active`, `unhealthy` (it has not asked for anything lately) or `off` (it takes no traffic).
    activity: &'static str,
    /// `live`, `behind`, `rejected` or `unknown`.
    state: &'static str,
    /// Where it is while it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    applied_revision: Option<Revision>,
    /// What it was seen to serve: `shown` where it is the hostname's own certificates; else what the last
    /// handshake showed, `other_certificate`, `name_refused`, `unreachable` or `failed`; missing where it
    /// was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<&'static str>,
    /// Why it rejected the hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it last asked for anything.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required)]
    last_seen_at: Option<OffsetDateTime>,
}

/// Something that happened to a hostname.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventBody {
    /// Its id: the higher, the newer.
    id: i64,
    /// What happened, as in `certificate_issued`.
    kind: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// What else there is to say, by the kind.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<Explanation> for ExplanationBody {
    fn from(explanation: Explanation) -> Self {
        let Explanation {
            view,
            summary,
            next_attempt_at,
            ownership,
            jobs,
            attempts,
            renewals,
            revocations,
        } = explanation;
        let now = view.published.fleet.at;
        Self {
            summary,
            next_attempt_at,
            pops: pops(&view),
            evidence: view.verification.as_ref().and_then(|state| state.evidence.clone()),
            hostname: view.into(),
            ownership_evidence: ownership,
            jobs: jobs.into_iter().map(|job| JobBody::of(job, now)).collect(),
            attempts: attempts.into_iter().map(AttemptBody::from).collect(),
            renewals: renewals.into_iter().map(RenewalBody::from).collect(),
            revocations: revocations.into_iter().filter_map(RevocationBody::of).collect(),
        }
    }
}

impl JobBody {
    fn of(job: JobState, now: OffsetDateTime) -> Self {
        let is_open = job.stage == JobStage::Open;
        let (waiting_for, due_at) = (job.waiting_for(now), job.due_at());
        let (state, error, cancelled_because) = match job.stage {
            JobStage::Open => ("open", job.error, None),
            JobStage::Done => ("done", job.error, None),
            JobStage::Cancelled => ("cancelled", None, job.error),
        };
        Self {
            id: job.id.0,
            state,
            waiting_for: is_open.then_some(waiting_for),
            authority: job.authority,
            txt_records: job.txt.records.into_iter().map(TxtBody::from).collect(),
            lasting_txt_record: job.txt.lasting.map(TxtBody::from),
            failed_attempts: job.attempts,
            last_attempt_at: job.attempted_at,
            next_attempt_at: is_open.then_some(due_at),
            created_at: job.created_at,
            ended_at: job.ended_at,
            error,
            cancelled_because,
        }
    }
}

fn pops(view: &HostnameView) -> Vec<PopBody> {
    let body = |(pop, activity, reach): (&Pop, PopActivity, Reach<'_>)| {
        let (state, applied_revision, reason) = match reach {
            Reach::Live => ("live", None, None),
            Reach::Behind(applied) => ("behind", Some(applied), None),
            Reach::Rejected(reason) => ("rejected", None, Some(reason.to_owned())),
            Reach::Unknown => ("unknown", None, None),
        };
        let activity = match activity {
            PopActivity::Active => "active",
            PopActivity::Unhealthy => "unhealthy",
            PopActivity::Off => "off",
        };
        let handshake = match view.is_shown_by(pop) {
            true => Some(Finding::Shown.name()),
            false => view.miss_of(pop).map(Finding::name),
        };
        let (name, last_seen_at) = (pop.name.clone(), pop.seen_at);
        PopBody { name, activity, state, handshake, applied_revision, reason, last_seen_at }
    };
    view.published.reaches().map(body).collect()
}

impl From<Event> for EventBody {
    fn from(Event { id, at, kind, detail }: Event) -> Self {
        Self { id, kind, at, detail }
    }
}

/// Explains a hostname
///
/// All that is known of it, and one sentence that says what to do.
#[utoipa::path(
    get,
    path = "/api/Property/{property}/hostname/{hostname}/explain",
    operation_id = "explainHostname",
    tag = "Hostnames",
    responses(
        (status = 200, description = "Where it stands, in whole.", body = ExplanationBody),
    )
)]
pub(super) async fn explain(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Json<ExplanationBody>, Problem> {
    // A platform shows its customers what its own keys read.
    let reader = match (caller.scope, caller.property) {
        (Scope::Admin, None) => Reader::Operator,
        (Scope::Admin, Some(_)) | (Scope::Read | Scope::Write, _) => Reader::Owner,
    };
    Ok(Json(app.service.explain(ids(path)?, reader).await?.into()))
}

/// Lists what happened to a hostname
///
/// The newest first: a cursor leads to what was before.
#[utoipa::path(
    get,
    path = "/api/Property/{property}/hostname/{hostname}/events",
    operation_id = "listEvents",
    tag = "Hostnames",
    params(WantedQuery),
    responses(
        (status = 200, description = "A page of events.", body = Page<EventBody>),
    )
)]
pub(super) async fn events(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    wanted: Wanted,
) -> Result<Json<Page<EventBody>>, Problem> {
    let before = (wanted.after > 0).then_some(wanted.after);
    let rows = app.service.events(ids(path)?, before, wanted.rows()).await?;
    Ok(Json(wanted.page(rows, |event| event.id, EventBody::from)))
}
