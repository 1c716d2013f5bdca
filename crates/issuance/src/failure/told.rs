//! What a failure's owner and the operator are told: facts, and what to change.

use std::net::IpAddr;

use landfall_model::{AuthorityName, ChallengeMethod, HostPattern};

use super::{
    FailureClass, Precheck, ProblemKind, Remedy, Setting, Trouble, Words, address::address_in,
    classify::refuses_binding,
};

/// One sentence for the hostname's owner.
pub(super) fn owner(
    class: FailureClass,
    remedy: Remedy,
    trouble: &Trouble,
    setting: &Setting<'_>,
) -> Option<String> {
    use FailureClass as C;
    let name = setting.name.base();
    Some(match class {
        C::DnsNotHere => dns_not_here(trouble, setting),
        C::DnsBroken => format!(
            "The DNS of {name} gave the CA no good answer: check the domain's name servers and, if it is \
             signed, DNSSEC."
        ),
        C::CaaForbids => caa(trouble, setting),
        C::TxtMissing => txt(trouble, setting),
        C::NoMethod => {
            if let Trouble::Precheck(Precheck::NoMethod { detail }) = trouble {
                return Some(detail.to_string());
            }
            format!("There is no way to prove {name} to the CA.")
        }
        C::StaleAddress => stale(trouble, setting),
        // The operator has to look at it.
        C::Connection if our_address(trouble, setting).is_some() => return None,
        C::Connection => format!(
            "The CA could not connect to {name}: check firewalls and rules by country in front of it.",
        ),
        C::WrongAnswer => wrong_answer(trouble, setting),
        C::PerspectivesDiffer => format!(
            "The CA sees {name} differently from different places: remove blocks by country and DNS that \
             answers by location."
        ),
        C::RateLimited => {
            let Remedy::RetryAfter { until, .. } = remedy else { return None };
            format!("The CA limits how much is issued: trying again after {}.", shown(until))
        }
        C::NamePaused => {
            format!("The CA has stopped issuing for {name} because it failed too often.")
        }
        C::NameRefused => format!("The CA's policy refuses {name}."),
        C::NonceRefused | C::AuthorityBusy | C::AuthorityDown | C::AuthoritySlow => {
            "The CA is temporarily unavailable: it is tried again soon.".to_owned()
        }
        C::OrderInvalid => format!("The CA could not validate {name}, and does not say why."),
        C::ChallengeUnreachable
        | C::PopUnreachable
        | C::AlpnRefused
        | C::ReplacesRefused
        | C::AuthorityNonsense
        | C::BadDirectory
        | C::AccountGone
        | C::AccountRefused
        | C::AccountUnusable
        | C::ProfileRefused
        | C::OrderGone
        | C::RequestRefused
        | C::BadChain
        | C::ClockOff
        | C::ControlClock
        | C::GroupKey
        | C::AccountSealed
        | C::Disk
        | C::Upload
        | C::LeaseLost
        | C::Unknown => return None,
    })
}

fn dns_not_here(trouble: &Trouble, setting: &Setting<'_>) -> String {
    if let Trouble::Precheck(Precheck::Dns { advice }) = trouble {
        return advice.to_string();
    }
    format!("The CA finds no address for {}: its DNS record is gone.", setting.name.base())
}

fn caa(trouble: &Trouble, setting: &Setting<'_>) -> String {
    if let Trouble::Precheck(Precheck::CaaLookup { at }) = trouble {
        return format!(
            "The CAA records of {at} can't be looked up, so no CA may issue: mend its name servers."
        );
    }
    let found = if let Trouble::Precheck(Precheck::Caa { at, identity }) = trouble {
        Some((at, identity))
    } else {
        None
    };
    let place = found.map_or_else(|| setting.name.base().to_string(), |(at, _)| at.to_string());
    // The operator's configuration goes before what the CA's directory says of itself.
    let told = found.map(|(_, identity)| identity.as_str()).filter(|own| !own.is_empty());
    let property = match setting.name {
        HostPattern::Exact(_) => "issue",
        HostPattern::Wildcard(_) => "issuewild",
    };
    match setting.caa_identity.or(told) {
        Some(ca) => {
            format!(
                "CAA records forbid the certificate: add `CAA 0 {property} \"{ca}\"` at {place}."
            )
        }
        None => format!(
            "CAA records forbid the certificate: add a record `CAA 0 {property}` at {place} for the CA {}, \
             which does not say by what name; its documentation does, or remove the records.",
            setting.authority
        ),
    }
}

fn txt(trouble: &Trouble, setting: &Setting<'_>) -> String {
    if let Trouble::Precheck(Precheck::TxtMissing { name }) = trouble {
        return format!("The TXT record {name} is not there yet, or has another value.");
    }
    if let Trouble::Precheck(Precheck::NotDelegated { name, target }) = trouble {
        return format!("Create the CNAME record {name} that points at {target}: it is not there.");
    }
    format!("The TXT record of {} is not there yet.", setting.name.base())
}

fn stale(trouble: &Trouble, setting: &Setting<'_>) -> String {
    let name = setting.name.base();
    match heart(trouble).and_then(address_in) {
        Some(address) => {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            format!(
                "The CA went to {address}, which is not ours: remove the stale {kind} record {address} of \
                 {name}."
            )
        }
        None => format!("The CA went to an address of {name} that is not ours."),
    }
}

fn wrong_answer(trouble: &Trouble, setting: &Setting<'_>) -> String {
    let name = setting.name.base();
    match method(trouble) {
        Some(ChallengeMethod::Dns01) => format!(
            "The CA found another TXT record at _acme-challenge.{name}, or none: remove old ones."
        ),
        Some(ChallengeMethod::DnsPersist01) => format!(
            "The CA found no TXT record at _validation-persist.{name} that it takes: make it as it is shown."
        ),
        Some(ChallengeMethod::Http01 | ChallengeMethod::TlsAlpn01) | None => format!(
            "Another server answered the CA for {name}: check that nothing stands in front of it and \
             that every A and AAAA record leads here."
        ),
    }
}

/// The PoP's address that the CA went to.
fn our_address(trouble: &Trouble, setting: &Setting<'_>) -> Option<IpAddr> {
    let address = heart(trouble).and_then(address_in)?;
    setting.addresses.contains(&address).then_some(address)
}

fn heart(trouble: &Trouble) -> Option<&Words> {
    if let Trouble::Problem(problem) = trouble { Some(problem.heart().1) } else { None }
}

/// What the CA has against our account.
fn account(trouble: &Trouble, setting: &Setting<'_>) -> String {
    use ProblemKind as K;
    let ca = setting.authority;
    let problem =
        if let Trouble::Problem(problem) = trouble { Some(problem.heart().0) } else { None };
    if let Trouble::Problem(problem) = trouble
        && refuses_binding(problem)
    {
        return format!(
            "{ca} refuses the external account: `key_id` of `issuance.authority.{ca}.external_account` is not \
             one of its, was used up, or does not belong to the HMAC key in `hmac_key_file`; seal what the CA \
             shows anew with `landfall keys seal-external-account`, and restart the control plane, which reads \
             the file at its start."
        );
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "the kinds are an open registry")]
    match problem {
        Some(K::AccountDoesNotExist) => {
            format!(
                "{ca} says that it no longer has our account: another one is registered, unless ours was \
                 just made; `landfall issuance forget {ca}` and `landfall issuance retry {ca}` do so now."
            )
        }
        Some(K::Unauthorized) => format!(
            "{ca} refuses our account, or has deactivated it: nothing is issued by it until that is \
             mended there, or `landfall issuance forget {ca}` lets agents register another one."
        ),
        Some(K::ExternalAccountRequired) => format!(
            "{ca} takes no account without an external account: set `key_id` and `hmac_key_file` of \
             `issuance.authority.{ca}.external_account`, as `landfall keys seal-external-account` \
             writes it, and restart the control plane."
        ),
        _ => format!(
            "{ca} wants something of our account: see its words, and the external account and contact \
             that are configured."
        ),
    }
}

fn method(trouble: &Trouble) -> Option<ChallengeMethod> {
    if let Trouble::Problem(problem) = trouble { problem.method } else { None }
}

fn shown(at: time::OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (date, time) = (at.date(), at.time());
    format!("{date} {:02}:{:02} UTC", time.hour(), time.minute())
}

/// One sentence for the operator.
pub(super) fn operator(
    class: FailureClass,
    trouble: &Trouble,
    setting: &Setting<'_>,
) -> Option<String> {
    use FailureClass as C;
    let ca = setting.authority;
    Some(match class {
        C::ChallengeUnreachable | C::PopUnreachable => unreachable(trouble),
        C::Connection => {
            let address = our_address(trouble, setting)?;
            format!(
                "{ca} could not connect to {address}, which is a PoP's: start it, or take its address out \
                 of the DNS."
            )
        }
        C::AuthorityDown => not_connected(trouble, ca),
        C::AuthoritySlow => {
            let Trouble::Slow { waited, .. } = trouble else { return None };
            format!("{ca} did not answer within {waited} s.")
        }
        C::AuthorityNonsense => format!("{ca} does not answer as an ACME server does."),
        C::BadDirectory => {
            format!(
                "The URL of {ca}'s directory is wrong, or its roots_file: nothing is issued by it."
            )
        }
        C::AccountGone | C::AccountRefused => account(trouble, setting),
        C::AccountUnusable => format!(
            "An agent can't open or read the secrets of our account at {ca}: give its PoP the group's \
             private key; if no agent can, `landfall issuance forget {ca}` lets them register another one."
        ),
        C::ProfileRefused => format!("{ca} has no profile of the name that is configured."),
        C::NamePaused => format!("{ca} has stopped issuing for {}: see its words.", setting.name),
        C::RequestRefused => format!("{ca} refuses our request as wrong in itself."),
        C::BadChain => format!("{ca} issued a chain that is not what was ordered."),
        C::ClockOff | C::ControlClock | C::GroupKey | C::AccountSealed => {
            return ours(trouble, ca);
        }
        C::Disk => "An agent can't write to its disk.".to_owned(),
        C::Upload => "An agent could not hand over what was issued.".to_owned(),
        C::Unknown => "An agent reports what this version does not know.".to_owned(),
        C::DnsNotHere
        | C::DnsBroken
        | C::CaaForbids
        | C::TxtMissing
        | C::NoMethod
        | C::StaleAddress
        | C::WrongAnswer
        | C::AlpnRefused
        | C::PerspectivesDiffer
        | C::RateLimited
        | C::NameRefused
        | C::ReplacesRefused
        | C::NonceRefused
        | C::AuthorityBusy
        | C::OrderInvalid
        | C::OrderGone
        | C::LeaseLost => return None,
    })
}

/// What is wrong with a clock, the control plane or an edge.
fn ours(trouble: &Trouble, ca: &AuthorityName) -> Option<String> {
    if let Trouble::ClockOff { ours, theirs } = trouble {
        let ahead = (*theirs - *ours).whole_seconds();
        let way = if ahead < 0 { "behind" } else { "ahead of" };
        return Some(format!(
            "The clock of {ca} is {} s {way} the agent's and the control plane's: either its own is wrong, \
             and other CAs are asked, or both of ours are: set them by NTP.",
            ahead.unsigned_abs()
        ));
    }
    if let Trouble::ControlClockOff { ours, theirs } = trouble {
        let ahead = (*theirs - *ours).whole_seconds();
        return Some(format!(
            "The clock of the control plane is {ahead} s ahead of the agent's: set both by NTP; nothing \
             is ordered until then."
        ));
    }
    if let Trouble::NoGroupKey { key_id } = trouble {
        return Some(format!(
            "The edge does not hold group key {key_id}, which the control plane has everything sealed to: \
             add its private half to `keys.group_key_files` of every edge."
        ));
    }
    let Trouble::AccountSealed { key_id } = trouble else { return None };
    Some(format!(
        "The key of our account at {ca} is sealed to group key {key_id}, which the edge does not hold: add \
         its private half to `keys.group_key_files` again, until an agent has sealed the account anew; \
         where it is lost, `landfall issuance forget {ca}` lets agents register another account."
    ))
}

fn unreachable(trouble: &Trouble) -> String {
    let Trouble::Precheck(Precheck::Challenge { method, failed, asked, .. }) = trouble else {
        return "PoPs did not answer a challenge.".to_owned();
    };
    if *method == ChallengeMethod::Dns01 {
        return "TXT records were not published in time: see the control plane's log of the zone of \
                challenges."
            .to_owned();
    }
    let named: Vec<&str> = failed.iter().take(5).map(Words::as_str).collect();
    let more = if failed.len() > named.len() { ", …" } else { "" };
    format!(
        "{} of {asked} PoPs did not answer the {} challenge: {}{more}.",
        failed.len(),
        method.name(),
        named.join(", ")
    )
}

/// Why there is no connection to a CA: where its certificate is of other roots, that is the operator's to mend.
fn not_connected(trouble: &Trouble, ca: &AuthorityName) -> String {
    if let Trouble::NoConnection { detail, .. } = trouble
        && detail.as_str().contains("UnknownIssuer")
    {
        return format!(
            "The certificate that {ca}'s directory shows is of none of the roots that it is verified with: \
             issuance.authority.{ca}.roots_file, or those of the agent's system."
        );
    }
    format!("There is no connection to {ca}.")
}
