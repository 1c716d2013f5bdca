//! A customer's hostname, which moves here: added while its DNS leads elsewhere, refused, mended, served.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use super::{
    DemoError, Site,
    api::{Api, CertificateRequest, Hostname, HostnameStatus, Property},
    dns::{CustomerRecord, Dns},
    issuer::Issuer,
    say,
};

/// The hostname, and whose it is.
pub(super) const SITE: Site =
    Site { property: "shop", pattern: "www.customer.test", visit: "www.customer.test" };

/// How long a request for a certificate may be answered otherwise than its DNS has it.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(500);

/// What the customer's DNS says when the demo starts and knows the hostname like this.
pub(super) fn first_record(known: Option<&Hostname>) -> CustomerRecord {
    match known.map(|hostname| hostname.status) {
        Some(HostnameStatus::Active) => CustomerRecord::Moved,
        Some(HostnameStatus::PendingValidation | HostnameStatus::Error) | None => {
            CustomerRecord::BeforeTheMove
        }
    }
}

/// Adds the hostname where it is not known, and makes it Active: asks for a certificate before its
/// record is changed and afterwards, and tells what is answered.
///
/// # Errors
/// [`DemoError::Deadline`] and those of the API and the zone.
pub(super) async fn move_in(
    api: &Api,
    property: &Property,
    known: Option<Hostname>,
    dns: &Dns,
) -> Result<(), DemoError> {
    let hostname = match known {
        Some(hostname) if hostname.status == HostnameStatus::Active => return Ok(()),
        Some(hostname) => hostname,
        None => api.create_hostname(property, SITE.pattern).await?,
    };
    say(&format!(
        "\nA customer's hostname, while its DNS leads elsewhere ({}):",
        first_record(None)
    ));
    show(&hostname);
    let refused = request_until(api, property, &hostname, StatusCode::BAD_REQUEST).await?;
    say(&format!("  request-certificate: {refused}"));
    dns.publish(CustomerRecord::Moved).await?;
    say(&format!("The customer changes the record: {}", CustomerRecord::Moved));
    let granted = request_until(api, property, &hostname, StatusCode::OK).await?;
    say(&format!("  request-certificate: {granted}"));
    Ok(())
}

/// Says who signed the hostname's certificate, and where that is not who would sign it today, how to come to
/// that: who issues for a hostname is settled when it is added.
///
/// # Errors
/// Those of the API.
pub(super) async fn tell_issuer(
    api: &Api,
    property: &Property,
    issuer: &Issuer,
) -> Result<(), DemoError> {
    let hostname = api.find_hostname(property, SITE.pattern).await?;
    if let Some(certificate) = hostname.iter().flat_map(|known| &known.certificates).next() {
        say(&format!("  its certificate is of {}", certificate.issuer));
        if certificate.source != issuer.source() {
            say(
                "  It was added when another CA issued, which goes on to renew it. Delete it and add it again, or \
                 start anew with `rm -r demo`, and it is issued by the one above.",
            );
        }
    }
    Ok(())
}

fn show(hostname: &Hostname) {
    say(&format!("  {}: {:?}", hostname.name, hostname.status));
    if let Some(record) = &hostname.record {
        let (kind, name, target) = (&record.kind, &record.name, &record.target);
        say(&format!("  record to create: type {kind}, name {name}, target {target}"));
    }
}

/// Asks until the answer has this status: a check of before the change may still be under way, and
/// one without an answer of its resolver is held against nobody. Returns the answer in words.
async fn request_until(
    api: &Api,
    property: &Property,
    hostname: &Hostname,
    wanted: StatusCode,
) -> Result<String, DemoError> {
    let start = Instant::now();
    loop {
        let (status, last) = match api.request_certificate(property, hostname).await? {
            CertificateRequest::Granted(hostname) => {
                (StatusCode::OK, format!("200, {:?}", hostname.status))
            }
            CertificateRequest::Refused { status, detail } => {
                (status, format!("{}, {detail}", status.as_u16()))
            }
        };
        if status == wanted {
            return Ok(last);
        }
        if start.elapsed() > DEADLINE {
            let what = format!(
                "a request for the certificate of {} is not answered with {}",
                SITE.pattern,
                wanted.as_u16()
            );
            return Err(DemoError::Deadline { what, seconds: DEADLINE.as_secs(), last });
        }
        sleep(PAUSE).await;
    }
}
