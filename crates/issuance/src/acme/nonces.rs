//! How often a CA may refuse nonces (RFC 8555 section 6.5).

use std::cell::Cell;

/// How often a request is sent whose nonce the CA refuses. One that has forgotten its nonces has
/// forgotten many at once.
pub(crate) const NONCE_ATTEMPTS: u32 = 5;

tokio::task_local! {
    /// How many nonces in a row were refused within a call of [`with_other_nonces`].
    pub(crate) static REFUSED: Cell<u32>;
}

/// What became of a nonce.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Refused,
    Taken,
}

/// Does something again while the CA refuses its nonces: the library tries thrice by itself.
macro_rules! with_other_nonces {
    ($call:expr) => {
        $crate::acme::nonces::REFUSED
            .scope(std::cell::Cell::new(0), async {
                loop {
                    let done = $call;
                    if !$crate::acme::refusal::is_of_nonce(&done)
                        || $crate::acme::nonces::was_last()
                    {
                        break done;
                    }
                }
            })
            .await
    };
}
pub(crate) use with_other_nonces;

/// Counts what became of a nonce.
pub(crate) fn count(fate: Fate) {
    // Outside of a call the library's own three tries are all.
    let _outside = REFUSED.try_with(|count| match fate {
        Fate::Refused => count.set(count.get() + 1),
        Fate::Taken => count.set(0),
    });
}

/// Whether the CA has refused as many nonces in a row as it may.
pub(crate) fn was_last() -> bool {
    REFUSED.try_with(|count| count.get() >= NONCE_ATTEMPTS).unwrap_or(false)
}
