//! What a CA wants to be shown before it issues.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use landfall_model::{ChallengeMethod, HostPattern, issuance::PublishedChallenge};
use time::OffsetDateTime;

use crate::failure::Problem;

/// Where an order is (RFC 8555 section 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    /// Names are still to be proven.
    Pending,
    /// It can be finalized.
    Ready,
    /// The certificate is being made.
    Processing,
    /// The certificate is there.
    Valid,
    /// It failed, or expired.
    Invalid,
}

/// Where an authorization is (RFC 8555 section 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// The name is to be proven.
    Pending,
    /// The name is proven; it may have been by an earlier order.
    Valid,
    /// A challenge failed.
    Invalid,
    /// The CA has taken it back.
    Revoked,
    /// It was not used in time.
    Expired,
    /// We have given it up.
    Deactivated,
}

/// Where a challenge is (RFC 8555 section 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeStatus {
    /// It waits for us.
    Pending,
    /// The CA looks at it.
    Processing,
    /// It passed.
    Valid,
    /// It failed.
    Invalid,
}

/// A name of an order, and how it can be proven (RFC 8555 section 7.1.4).
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The name.
    pub name: HostPattern,
    /// Where it is.
    pub status: AuthorizationStatus,
    /// The challenges that the CA offers, of the methods that are known here. One is enough.
    pub challenges: Vec<Challenge>,
}

impl Authorization {
    /// The challenge of a method, where the CA offers it.
    pub fn challenge(&self, method: ChallengeMethod) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.method == method)
    }
}

/// A way to prove a name (RFC 8555 section 8).
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The name.
    pub name: HostPattern,
    /// How it is proven.
    pub method: ChallengeMethod,
    /// Where it is.
    pub status: ChallengeStatus,
    /// What stands in the path of an HTTP-01 challenge.
    pub token: String,
    /// What is shown: the token and the account's thumbprint (RFC 8555 section 8.1).
    pub key_authorization: String,
    /// Why it failed.
    pub problem: Option<Problem>,
}

impl Challenge {
    /// The SHA-256 of the key authorization, as TLS-ALPN-01 shows it (RFC 8737 section 3).
    pub fn digest(&self) -> Vec<u8> {
        digest(&SHA256, self.key_authorization.as_bytes()).as_ref().to_vec()
    }

    /// The value of the TXT record of DNS-01 (RFC 8555 section 8.4).
    pub fn txt_value(&self) -> String {
        BASE64URL_NOPAD.encode(&self.digest())
    }

    /// As the edges and the DNS are told it.
    pub fn published(&self) -> PublishedChallenge {
        let (name, method) = (self.name.clone(), self.method);
        PublishedChallenge { name, method, digest: self.digest() }
    }
}

/// When an order ends that is not done (RFC 8555 section 7.1.3).
pub(crate) fn expiry(order: &[u8]) -> Option<OffsetDateTime> {
    #[derive(serde::Deserialize)]
    struct Expiring {
        #[serde(with = "time::serde::rfc3339")]
        expires: OffsetDateTime,
    }
    serde_json::from_slice::<Expiring>(order).ok().map(|order| order.expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_each_method_what_it_needs() {
        // RFC 8555 section 8.1's token; the thumbprint is RFC 7638 section 3.1's.
        let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
        let challenge = Challenge {
            name: "*.a.test".parse().unwrap(),
            method: ChallengeMethod::Dns01,
            status: ChallengeStatus::Pending,
            token: token.to_owned(),
            key_authorization: format!("{token}.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            problem: None,
        };
        assert_eq!(challenge.txt_value().len(), 43);
        let published = challenge.published();
        assert_eq!(BASE64URL_NOPAD.encode(&published.digest), challenge.txt_value());
        assert_eq!(published.name.to_string(), "*.a.test");
    }

    #[test]
    fn reads_when_an_order_ends() {
        let text = br#"{"status": "pending", "expires": "2016-01-20T14:09:07Z"}"#;
        assert_eq!(expiry(text).unwrap().unix_timestamp(), 1_453_298_947);
        assert_eq!(expiry(b"{}"), None);
    }
}
