//! Whether one CA may issue for one account, and by which methods (RFC 8657).

use hickory_resolver::proto::rr::rdata::CAA;
use landfall_model::{ChallengeMethod, HostPattern};
use tokio::time::Instant;

use super::{CaaSet, Relevant, names, relevant};
use crate::Verifier;

/// Who is to issue, and how.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    /// The CA's issuer domain names. Without any, nothing can be held against it.
    pub domains: &'a [String],
    /// The account's URL (RFC 8657 section 3).
    pub account: &'a str,
    /// The methods that could be used.
    pub methods: &'a [ChallengeMethod],
}

/// What a name's CAA records say of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaaAnswer {
    /// It may issue by these of its methods, in their order: one at least.
    Permitted(Vec<ChallengeMethod>),
    /// It may not.
    Forbidden {
        /// Where the records are.
        at: String,
    },
    /// The look-up failed, which blocks issuance (RFC 8659 section 3).
    Failed {
        /// The name that was asked for.
        at: String,
    },
}

impl Verifier {
    /// Looks up whether an issuer may issue for `name`, within the configured time.
    pub async fn may_issue(&self, name: &HostPattern, issuer: Issuer<'_>) -> CaaAnswer {
        match self.caa(name, Instant::now() + self.config.timeout).await {
            CaaSet::Absent => CaaAnswer::Permitted(issuer.methods.to_vec()),
            CaaSet::Failed { at } => CaaAnswer::Failed { at },
            CaaSet::Found { at, records } => {
                let permitted = permitted(&records, name, issuer);
                if permitted.is_empty() {
                    CaaAnswer::Forbidden { at }
                } else {
                    CaaAnswer::Permitted(permitted)
                }
            }
        }
    }
}

/// The methods that any of the records permits.
fn permitted(records: &[CAA], name: &HostPattern, issuer: Issuer<'_>) -> Vec<ChallengeMethod> {
    let methods = issuer.methods.iter().copied();
    match relevant(records, name) {
        Relevant::None => methods.collect(),
        Relevant::Unknown => Vec::new(),
        Relevant::Records(_) if issuer.domains.is_empty() => methods.collect(),
        Relevant::Records(records) => {
            let is_permitted = |method: &ChallengeMethod| {
                records.iter().any(|record| permits(record, issuer, *method))
            };
            methods.filter(is_permitted).collect()
        }
    }
}

fn permits(record: &CAA, issuer: Issuer<'_>, method: ChallengeMethod) -> bool {
    if !issuer.domains.iter().any(|own| names(record, own)) {
        return false;
    }
    let accounts = parameters(record, "accounturi");
    let methods = parameters(record, "validationmethods");
    let admits_account = match accounts.as_slice() {
        [] => true,
        [account] => *account == issuer.account,
        // What is said twice can't be satisfied (RFC 8657 section 3).
        _ => false,
    };
    let admits_method = match methods.as_slice() {
        [] => true,
        [methods] => methods.split(',').any(|own| own.trim() == method.name()),
        _ => false,
    };
    admits_account && admits_method
}

/// The methods that a record leaves; none where it leaves all. One that is said twice leaves none of them.
pub(super) fn methods_of(record: &CAA) -> Option<Vec<ChallengeMethod>> {
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};
    let named = parameters(record, "validationmethods");
    let left = |method: &ChallengeMethod| match named.as_slice() {
        [methods] => methods.split(',').any(|own| own.trim() == method.name()),
        _ => false,
    };
    (!named.is_empty()).then(|| [Http01, TlsAlpn01, Dns01].into_iter().filter(left).collect())
}

/// The values of a parameter (RFC 8659 section 4.2). What is no text equals nothing.
fn parameters<'a>(record: &'a CAA, tag: &str) -> Vec<&'a str> {
    let parameters = record.value.split(|byte| *byte == b';').skip(1);
    let values = parameters.filter_map(|parameter| {
        let place = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = parameter.split_at_checked(place)?;
        let is_own = name.trim_ascii().eq_ignore_ascii_case(tag.as_bytes());
        let value = value.split_first()?.1.trim_ascii();
        is_own.then(|| std::str::from_utf8(value).unwrap_or_default())
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};

    use super::*;

    #[test]
    fn an_account_and_methods_may_be_named_beside_the_ca() {
        let domains = ["ours.test".to_owned()];
        let account = "https://ours.test/acct/1";
        let methods = [Http01, TlsAlpn01, Dns01];
        let issuer = Issuer { domains: &domains, account, methods: &methods };
        let cases: &[(&[&str], &[ChallengeMethod])] = &[
            (&[], &methods),
            (&["ours.test"], &methods),
            (&["OURS.test ; unheard-of=1"], &methods),
            (&["theirs.test"], &[]),
            (&[";"], &[]),
            (&["ours.test; accounturi=https://ours.test/acct/1"], &methods),
            (&["ours.test; accounturi=https://ours.test/acct/12"], &[]),
            (&["ours.test; accounturi=https://ours.test/acct/1; accounturi=x"], &[]),
            (&["ours.test; validationmethods=dns-01"], &[Dns01]),
            (&["ours.test; validationmethods=dns-01,http-01"], &[Http01, Dns01]),
            (&["ours.test; validationmethods=\u{fc}"], &[]),
            (
                &["ours.test; accounturi=x", "ours.test; validationmethods=tls-alpn-01"],
                &[TlsAlpn01],
            ),
        ];
        let name = "www.shop.test".parse().unwrap();
        for (values, expected) in cases {
            let records: Vec<CAA> = values.iter().map(|value| record(value)).collect();
            assert_eq!(permitted(&records, &name, issuer), *expected, "{values:?}");
        }
        let nobody = Issuer { domains: &[], ..issuer };
        let found = permitted(&[record("theirs.test")], &name, nobody);
        assert_eq!(found, methods, "its names are not known");
    }

    fn record(value: &str) -> CAA {
        let mut record = CAA::new_issue(false, None, Vec::new());
        record.value = value.as_bytes().to_vec();
        record
    }
}
