//! Fatal alerts for handshakes that end before a configuration is chosen.

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A fatal alert (RFC 8446 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// It is our fault.
    InternalError,
    /// The name is not served here (RFC 6066 section 3).
    UnrecognizedName,
}

impl Alert {
    /// The plaintext record: type alert, version 1.2, two bytes, fatal, the description.
    const fn record(self) -> [u8; 7] {
        let description = match self {
            Self::InternalError => 80,
            Self::UnrecognizedName => 112,
        };
        [0x15, 3, 3, 0, 2, 2, description]
    }

    /// Sends the alert and ends the connection. The client may be gone, which changes nothing.
    pub(super) async fn send(self, mut io: impl AsyncWrite + Unpin) {
        if io.write_all(&self.record()).await.is_ok() {
            let _ = io.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unrecognized_name_is_the_record_of_the_rfc() {
        assert_eq!(Alert::UnrecognizedName.record(), [0x15, 3, 3, 0, 2, 2, 0x70]);
    }
}
