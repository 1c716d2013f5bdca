//! What a ticket is: the secret's name, a nonce, and the session encrypted under a key for this
//! policy alone.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::{MAX_SESSION, NAME_LEN, Secrets, TicketSecret, expand};

/// The largest session that a ticket is made of, in bytes: a client's certificates are in it, and
/// it must fit into a ClientHello again, whose size is limited.
const MAX_PLAIN: usize = 6 * 1024;
const BEGAN_LEN: usize = size_of::<u64>();

/// What a ticket is bound to. It opens for nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    /// The digest of the TLS policy, the rule for client certificates included.
    pub(crate) policy: &'a [u8; 32],
    /// The name of the entry that is served.
    pub(crate) name: &'a [u8],
}

/// A ticket, and until when it is taken.
pub(super) struct Issued {
    pub(super) ticket: Vec<u8>,
    pub(super) taken_until: u64,
}

/// A session that a ticket held.
pub(super) struct Session {
    /// When the handshake was that began it, in seconds since 1970.
    pub(super) began: u64,
    pub(super) plain: Vec<u8>,
}

impl Secrets {
    /// A ticket for a session that began at `began`. `None` without a secret for the time.
    pub(super) fn issue(
        &self,
        now: u64,
        binding: Binding<'_>,
        Session { began, plain }: Session,
    ) -> Option<Issued> {
        let plain = Zeroizing::new(plain);
        let secret = self.current(now).filter(|_| plain.len() <= MAX_PLAIN)?;
        let mut sealed = Vec::with_capacity(BEGAN_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&began.to_be_bytes());
        sealed.extend_from_slice(&plain);
        let key = secret.key(binding)?;
        let nonce = key.seal_in_place_append_tag(secret.aad(binding), &mut sealed).ok()?;
        let ticket = [&secret.name[..], nonce.as_ref(), &sealed].concat();
        let taken_until = secret.taken_until().min(began.saturating_add(MAX_SESSION));
        Some(Issued { ticket, taken_until })
    }

    /// What `ticket` holds, while it is taken.
    pub(super) fn open(&self, now: u64, binding: Binding<'_>, ticket: &[u8]) -> Option<Session> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let secret = self.named(name, now)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let key = secret.key(binding)?;
        let opened = key.open_in_place(nonce, secret.aad(binding), &mut opened).ok()?;
        let (began, plain) = opened.split_first_chunk::<BEGAN_LEN>()?;
        let began = u64::from_be_bytes(*began);
        let is_young = now < began.saturating_add(MAX_SESSION);
        is_young.then(|| Session { began, plain: plain.to_vec() })
    }
}

impl TicketSecret {
    /// One key for each policy: a ticket of another one does not open, and a key that leaks opens
    /// no other policy's.
    fn key(&self, binding: Binding<'_>) -> Option<RandomizedNonceKey> {
        let mut key = Zeroizing::new([0; 32]);
        expand(&self.root, &[b"key", binding.policy], key.as_mut_slice())?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).ok()
    }

    fn aad(&self, binding: Binding<'_>) -> Aad<Vec<u8>> {
        Aad::from([&self.name[..], binding.name].concat())
    }
}
