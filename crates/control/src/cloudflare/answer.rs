//! A custom hostname as the API shows it.

use std::collections::BTreeMap;

use landfall_dns::{CaaVerdict, Delegation, Evidence, Finding};
use landfall_model::{
    CipherSuite, CustomOrigin, HostPattern, Origin, OriginHost, OriginName, Scheme, TlsVersion,
    issuance::TxtRecord,
};
use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};

use super::ssl::official;
use crate::{
    certificate::{CertificateIssuer, CertificateSummary, pem},
    hostname::{
        HostnameStatus, ManagedHostname, Title,
        delegation::DelegationRecord,
        ownership::OwnershipTokens,
        wish::{BundleMethod, Coverage, ValidationMethod},
    },
    service::{CustomHostname, HostnameView},
    store::job::JobStage,
};

/// A custom hostname.
#[derive(Serialize)]
pub(super) struct HostnameAnswer {
    id: String,
    hostname: HostPattern,
    created_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    custom_metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_origin_server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_origin_sni: Option<OriginName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership_verification: Option<TxtToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership_verification_http: Option<HttpToken>,
    ssl: SslAnswer,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verification_errors: Vec<String>,
}

/// A TXT record that proves who owns the hostname.
#[derive(Serialize)]
struct TxtToken {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

/// A file that does.
#[derive(Serialize)]
struct HttpToken {
    http_url: String,
    http_body: String,
}

/// The certificate and TLS.
#[derive(Serialize)]
struct SslAnswer {
    id: String,
    bundle_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_csr_id: Option<String>,
    /// By which the owner leaves DNS challenges to us, for good.
    dcv_delegation_records: Vec<DelegationAnswer>,
    method: &'static str,
    settings: SettingsAnswer,
    status: &'static str,
    #[serde(rename = "type")]
    validation: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_errors: Vec<Message>,
    /// What the owner is to make for the order that is open at a CA.
    validation_records: Vec<RecordAnswer>,
    wildcard: bool,
    #[serde(flatten)]
    certificate: Option<CertificateAnswer>,
}

/// A CNAME record that leaves DNS challenges to us.
#[derive(Serialize)]
struct DelegationAnswer {
    cname: String,
    cname_target: String,
    status: &'static str,
}

/// A TXT record that a CA looks for.
#[derive(Serialize)]
struct RecordAnswer {
    status: &'static str,
    txt_name: String,
    txt_value: String,
}

#[derive(Serialize)]
struct Message {
    message: String,
}

/// Which TLS is offered.
#[derive(Serialize)]
struct SettingsAnswer {
    /// Without any, every suite is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ciphers: Vec<&'static str>,
    early_hints: &'static str,
    http2: &'static str,
    min_tls_version: &'static str,
    tls_1_3: &'static str,
}

/// What the certificate says. Where there are two, the ECDSA one.
#[derive(Serialize)]
struct CertificateAnswer {
    /// Of an uploaded one, with its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_certificate: Option<String>,
    expires_on: String,
    hosts: Vec<HostPattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    serial_number: String,
    signature: String,
    uploaded_on: String,
}

impl From<CustomHostname> for HostnameAnswer {
    fn from(custom: CustomHostname) -> Self {
        let view = &custom.view;
        let hostname = &view.hostname;
        let evidence = view.verification.as_ref().and_then(|state| state.evidence.as_ref());
        let origin = hostname.route.custom_origin.as_ref();
        let pending = hostname.status != HostnameStatus::Active;
        let tokens = pending.then(|| OwnershipTokens::of(hostname));
        Self {
            id: hostname.public_id.clone(),
            hostname: hostname.name.clone(),
            created_at: timestamp(hostname.created_at),
            custom_metadata: hostname.metadata.0.clone(),
            custom_origin_server: origin.map(server),
            custom_origin_sni: origin.and_then(|own| own.sni.clone()),
            ownership_verification: tokens.as_ref().map(TxtToken::from),
            ownership_verification_http: tokens.as_ref().and_then(HttpToken::of),
            ssl: ssl(&custom, evidence),
            status: view.public_status().name(),
            verification_errors: match pending {
                true => verification_errors(hostname, evidence),
                false => Vec::new(),
            },
        }
    }
}

fn ssl(custom: &CustomHostname, evidence: Option<&Evidence>) -> SslAnswer {
    let (hostname, wish) = (&custom.view.hostname, &custom.view.hostname.wish);
    let certificate = custom.view.certificates.first();
    SslAnswer {
        id: hostname.ssl_id.clone(),
        bundle_method: match wish.labels.bundle {
            BundleMethod::Ubiquitous => "ubiquitous",
            BundleMethod::Optimal => "optimal",
            BundleMethod::Force => "force",
        },
        certificate_authority: wish.authority.as_ref().and_then(official),
        custom_csr_id: wish.labels.csr_id.clone(),
        dcv_delegation_records: delegations(&custom.view, evidence),
        method: match wish.method {
            ValidationMethod::Http => "http",
            ValidationMethod::Txt => "txt",
        },
        settings: settings(hostname),
        status: custom.view.certificate_state().name(),
        validation: "dv",
        validation_errors: validation_errors(&custom.view, evidence),
        validation_records: records(&custom.view),
        wildcard: wish.coverage == Coverage::NameAndWildcard,
        certificate: certificate.map(|summary| described(summary, custom)),
    }
}

fn delegations(view: &HostnameView, evidence: Option<&Evidence>) -> Vec<DelegationAnswer> {
    let seen = evidence.and_then(|evidence| evidence.challenge.as_ref());
    let record = view.delegation.iter();
    let answer = |DelegationRecord { name, target }: &DelegationRecord| DelegationAnswer {
        cname: name.clone(),
        cname_target: target.clone(),
        status: match seen {
            Some(seen) if seen.delegation == Delegation::Present && seen.target == *target => {
                "active"
            }
            Some(_) | None => "pending",
        },
    };
    record.map(answer).collect()
}

fn records(view: &HostnameView) -> Vec<RecordAnswer> {
    let open = view.job.iter().filter(|job| job.stage == JobStage::Open);
    let answer = |record: &TxtRecord| RecordAnswer {
        status: "pending",
        txt_name: record.name.clone(),
        txt_value: record.value.clone(),
    };
    open.flat_map(|job| job.txt.records.iter().map(answer)).collect()
}

fn settings(hostname: &ManagedHostname) -> SettingsAnswer {
    let tls = &hostname.tls;
    SettingsAnswer {
        ciphers: tls.ciphers.iter().copied().map(CipherSuite::openssl_name).collect(),
        early_hints: "off",
        http2: switch(tls.http2),
        min_tls_version: match tls.min_version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        },
        tls_1_3: switch(tls.tls13),
    }
}

fn switch(on: bool) -> &'static str {
    match on {
        true => "on",
        false => "off",
    }
}

fn described(summary: &CertificateSummary, custom: &CustomHostname) -> CertificateAnswer {
    let details = &summary.details;
    let uploaded = summary.issuer == CertificateIssuer::Uploaded;
    CertificateAnswer {
        custom_certificate: uploaded.then(|| pem::text(&custom.chain)),
        expires_on: timestamp(summary.not_after),
        hosts: details.names.clone(),
        issuer: details.issuer_name.clone(),
        serial_number: details.serial_decimal.clone(),
        signature: details.signature.clone(),
        uploaded_on: timestamp(summary.created_at),
    }
}

impl From<&OwnershipTokens> for TxtToken {
    fn from(tokens: &OwnershipTokens) -> Self {
        Self { name: tokens.txt_name.clone(), kind: "txt", value: tokens.token.clone() }
    }
}

impl HttpToken {
    /// A wildcard has no host that could serve a file for all of it.
    fn of(tokens: &OwnershipTokens) -> Option<Self> {
        let http_url = tokens.file.as_ref()?.url();
        Some(Self { http_url, http_body: tokens.token.clone() })
    }
}

const NO_CNAME: &str = "custom hostname does not CNAME to this zone.";
const NO_TOKEN: &str = "None of the A or AAAA records are owned by this account and the \
                        pre-generated ownership verification token was not found.";

/// Why the hostname is not active: a sentence that programs know, then what to change.
fn verification_errors(hostname: &ManagedHostname, evidence: Option<&Evidence>) -> Vec<String> {
    if hostname.title == Title::Claimed {
        let advice = "Somebody else has the hostname: publish the ownership verification token.";
        return vec![NO_TOKEN.to_owned(), advice.to_owned()];
    }
    let Some(evidence) = evidence else {
        return Vec::new();
    };
    let known = match evidence.finding {
        Finding::PointsHere => return Vec::new(),
        Finding::WrongAddress | Finding::StaleAddress => Some(NO_TOKEN),
        Finding::NxDomain
        | Finding::NoData
        | Finding::DanglingCname
        | Finding::CnameToOrigin
        | Finding::CnameToOtherProperty
        | Finding::CnameElsewhere => Some(NO_CNAME),
        Finding::ServFail
        | Finding::DnssecFails
        | Finding::Timeout
        | Finding::Loop
        | Finding::TooManyHops
        | Finding::InactivePop
        | Finding::NoActivePop
        | Finding::TargetUnready
        | Finding::ResolverFailed
        | Finding::OneResolver => None,
    };
    known.map(str::to_owned).into_iter().chain([evidence.advice.clone()]).collect()
}

/// What stands against issuing a certificate: CAA records, or what the last attempt failed by.
fn validation_errors(view: &HostnameView, evidence: Option<&Evidence>) -> Vec<Message> {
    let hostname = &view.hostname;
    let open = view.job.iter().filter(|job| job.stage == JobStage::Open);
    let failed = open.filter_map(|job| job.error.clone()).map(|message| Message { message });
    let Some(caa) = evidence.map(|evidence| &evidence.caa) else {
        return failed.collect();
    };
    let message = match caa.verdict {
        CaaVerdict::Permitted | CaaVerdict::NotJudged => return failed.collect(),
        CaaVerdict::Forbidden => {
            let name = caa.found_at.as_deref().unwrap_or_default();
            let records = caa.records.join(", ");
            format!("CAA records block issuance. At {name} there is: {records}")
        }
        CaaVerdict::Failed => format!("SERVFAIL looking up CAA for {}", hostname.name.base()),
    };
    vec![Message { message }]
}

/// An origin as its owner named it: a bare name means https at its usual port.
pub(super) fn origin_text(origin: &Origin) -> String {
    match (origin.scheme(), origin.host(), origin.port()) {
        (Scheme::Https, OriginHost::Name(name), 443) => name.to_string(),
        _ => origin.to_string(),
    }
}

fn server(origin: &CustomOrigin) -> String {
    origin_text(&origin.server)
}

/// RFC 3339 with six digits of a second's fraction.
pub(super) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (hour, minute, second, micros) = time.time().as_hms_micro();
    format!("{}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", time.date())
}
