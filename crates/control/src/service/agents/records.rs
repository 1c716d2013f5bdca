//! TXT records that owners are asked to make: what may be shown of what an agent reports.

use landfall_dns::challenge_name;
use landfall_model::{HostPattern, Hostname, issuance::TxtRecord};

use crate::store::job::OwnersRecords;

/// The most records.
const MAX_RECORDS: usize = 4;
/// How long the value of a challenge is: a SHA-256 in base64url (RFC 8555 section 8.4).
const CHALLENGE_LENGTH: usize = 43;

/// Drops what does not prove one of the names to the CA that has our account at this URL.
pub(super) fn keep_for_names(
    wanted: &mut OwnersRecords,
    names: &[HostPattern],
    account: Option<&str>,
) {
    wanted.records.retain(|one| is_challenge(one, names));
    wanted.records.truncate(MAX_RECORDS);
    let lasting = wanted.lasting.take();
    wanted.lasting = lasting.filter(|one| account.is_some_and(|own| is_lasting(one, names, own)));
}

fn is_challenge(one: &TxtRecord, names: &[HostPattern]) -> bool {
    let is_value = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    names.iter().any(|name| challenge_name(name) == one.name)
        && one.value.len() == CHALLENGE_LENGTH
        && one.value.bytes().all(is_value)
}

/// Whether it lets our account alone have certificates, in the form of `draft-ietf-acme-dns-persist`.
fn is_lasting(one: &TxtRecord, names: &[HostPattern], account: &str) -> bool {
    let has_name = |name: &HostPattern| one.name == format!("_validation-persist.{}", name.base());
    let mut parts = one.value.splitn(3, "; ");
    let is_issuer = parts.next().is_some_and(|issuer| issuer.parse::<Hostname>().is_ok());
    let is_ours = parts.next().and_then(|part| part.strip_prefix("accounturi=")) == Some(account);
    let is_all = matches!(parts.next(), None | Some("policy=wildcard"));
    names.iter().any(has_name) && is_issuer && is_ours && is_all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, value: &str) -> TxtRecord {
        TxtRecord { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn owners_see_records_of_their_names_alone() {
        let names: Vec<HostPattern> =
            ["shop.test", "*.shop.test"].iter().map(|name| name.parse().unwrap()).collect();
        let value = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";
        let good = record("_acme-challenge.shop.test", value);
        let table = [
            (good.clone(), true),
            (record("_acme-challenge.other.test", value), false),
            (record("shop.test", value), false),
            (record("_acme-challenge.shop.test", "v=spf1 -all"), false),
            (record("_acme-challenge.shop.test", &format!("{}\n", &value[1..])), false),
            (record("_acme-challenge.shop.test", &value[1..]), false),
        ];
        for (one, expected) in table {
            assert_eq!(is_challenge(&one, &names), expected, "{one:?}");
        }
        let account = "https://ca.test/account/1";
        let text = "ca.test; accounturi=https://ca.test/account/1; policy=wildcard";
        let lasting = record("_validation-persist.shop.test", text);
        let table = [
            (lasting.clone(), true),
            (record("_validation-persist.other.test", text), false),
            (record("_validation-persist.shop.test", "v=spf1 -all"), false),
            (record("_validation-persist.shop.test", &format!("{text}\r")), false),
            (
                record("_validation-persist.shop.test", &text.replace("account/1", "account/2")),
                false,
            ),
            (record("_validation-persist.shop.test", &format!("{text}; persistUntil=9")), false),
        ];
        for (one, expected) in table {
            assert_eq!(is_lasting(&one, &names, account), expected, "{one:?}");
        }
        let mut wanted = OwnersRecords { records: vec![good; 9], lasting: Some(lasting) };
        keep_for_names(&mut wanted, &names, Some(account));
        assert_eq!(wanted.records.len(), MAX_RECORDS);
        assert!(wanted.lasting.is_some());
    }
}
