//! Tokens of PoPs and keys of API users: a prefix, the id of a row, and a secret of 192 bits.
//!
//! Only the secret's SHA-256 is kept. The secret has too much entropy to be guessed from it, so
//! the hash can be checked at each request.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use data_encoding::BASE64URL_NOPAD;
use landfall_feed::seal::sha256;
use zeroize::Zeroizing;

use crate::store::StoreError;

const SECRET_LEN: usize = 24;
/// The longest token that is looked at, in bytes.
const MAX_LEN: usize = 100;

/// A PoP's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PopId(pub(crate) i64);

/// An API key's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ApiKeyId(pub(crate) i64);

/// An id that has tokens.
pub(crate) trait TokenId: Sized {
    const PREFIX: &'static str;
    fn new(id: i64) -> Self;
    fn number(&self) -> i64;
}

impl TokenId for PopId {
    const PREFIX: &'static str = "lfp_";

    fn new(id: i64) -> Self {
        Self(id)
    }

    fn number(&self) -> i64 {
        self.0
    }
}

impl TokenId for ApiKeyId {
    const PREFIX: &'static str = "lf_";

    fn new(id: i64) -> Self {
        Self(id)
    }

    fn number(&self) -> i64 {
        self.0
    }
}

/// The SHA-256 of a token's secret.
#[derive(Clone, Copy)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_stored(stored: Option<Vec<u8>>) -> Result<Option<Self>, StoreError> {
        let parse = |bytes: Vec<u8>| bytes.try_into().map(Self);
        stored.map(parse).transpose().map_err(|_| StoreError::Corrupt("secret's hash"))
    }
}

/// A secret that was just made. Its row comes next, then the token can be told.
pub(crate) struct NewSecret {
    text: Zeroizing<String>,
}

/// The system has no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct RandomError;

impl NewSecret {
    pub(crate) fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| RandomError)?;
        Ok(Self { text: Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_ref())) })
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(sha256(self.text.as_bytes()))
    }

    /// The whole token: the only time that it is seen.
    pub(crate) fn token<Id: TokenId>(&self, id: &Id) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}_{}", Id::PREFIX, id.number(), self.text.as_str()))
    }
}

/// A token as somebody presented it: nothing is proven yet.
pub(crate) struct Presented<Id> {
    pub(crate) id: Id,
    hash: SecretHash,
}

impl<Id: TokenId> Presented<Id> {
    pub(crate) fn parse(token: &str) -> Option<Self> {
        if token.len() > MAX_LEN {
            return None;
        }
        let (id, secret) = token.strip_prefix(Id::PREFIX)?.split_once('_')?;
        let id = Id::new(id.parse().ok()?);
        Some(Self { id, hash: SecretHash(sha256(secret.as_bytes())) })
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, stored: &SecretHash) -> bool {
        verify_slices_are_equal(&self.hash.0, &stored.0).is_ok()
    }
}

/// 32 random hexadecimal digits.
pub(crate) fn random_id() -> Result<String, RandomError> {
    Ok(data_encoding::HEXLOWER.encode(&random_bytes()?))
}

/// A random UUID (RFC 9562 section 5.4).
pub(crate) fn random_uuid() -> Result<String, RandomError> {
    Ok(uuid::Builder::from_random_bytes(random_bytes()?).into_uuid().to_string())
}

/// A random number.
pub(crate) fn random_number() -> Result<u16, RandomError> {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(u16::from_be_bytes(bytes))
}

fn random_bytes() -> Result<[u8; 16], RandomError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_matches_its_own_hash_alone() {
        let (secret, other) = (NewSecret::generate().unwrap(), NewSecret::generate().unwrap());
        let token = secret.token(&PopId(7));
        assert!(token.starts_with("lfp_7_"));
        let presented = Presented::<PopId>::parse(&token).unwrap();
        assert_eq!(presented.id, PopId(7));
        assert!(presented.matches(&secret.hash()));
        assert!(!presented.matches(&other.hash()));
    }

    #[test]
    fn a_token_of_another_kind_is_none() {
        let secret = NewSecret::generate().unwrap();
        assert!(Presented::<ApiKeyId>::parse(&secret.token(&PopId(1))).is_none());
        assert!(Presented::<PopId>::parse(&secret.token(&ApiKeyId(1))).is_none());
        for bad in ["", "lf_", "lf_1", "lf_x_y", "lf__", &format!("lf_1_{}", "a".repeat(200))] {
            assert!(Presented::<ApiKeyId>::parse(bad).is_none(), "{bad}");
        }
    }
}
