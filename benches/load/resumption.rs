//! Whether handshakes are full, or resume, by the word of who served them.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    LoadError,
    client::Sessions,
    handshakes,
    peers::{Logging, Peer},
    stage::Stage,
    subject::Subject,
};

/// Handshakes of each kind.
const NUMBER: u64 = 20;
/// For a log to be written.
const WRITTEN: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Handshakes that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    full: u64,
    resumed: u64,
}

/// Has both clients of the comparison make some handshakes with each proxy, and compares what the
/// clients believe with the peer's own log, or the edge's metrics. The stage has been started with
/// [`Logging::Sessions`] and is left so.
pub(super) async fn check(stage: &mut Stage) -> Result<(), LoadError> {
    for subject in Subject::PROXIES {
        for sessions in [Sessions::Forget, Sessions::Keep] {
            // Nothing is in its log, and nothing counted.
            stage.restart(subject, Logging::Sessions).await?;
            let started = seen(stage, subject, Seen::default()).await?;
            let address = stage.target(subject).address;
            handshakes::some(&stage.identity.root, address, sessions, NUMBER).await?;
            // The first one is always full.
            let expected = match sessions {
                Sessions::Forget => Seen { full: started.full + 1 + NUMBER, resumed: 0 },
                Sessions::Keep => Seen { full: started.full + 1, resumed: NUMBER },
            };
            let was = seen(stage, subject, expected).await?;
            if was != expected {
                let (was, expected) = (format!("{was:?}"), format!("{expected:?}"));
                return Err(LoadError::Resumption { who: subject.name(), was, expected });
            }
        }
    }
    Ok(())
}

/// What a subject has seen, once it is as much as is expected or stays less.
async fn seen(stage: &Stage, subject: Subject, expected: Seen) -> Result<Seen, LoadError> {
    let deadline = Instant::now() + WRITTEN;
    loop {
        let seen = match Peer::of(subject) {
            Some(peer) => read(peer, &peer.log(&stage.folder))?,
            None => {
                let (full, resumed) = stage.edge_handshakes().await;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole numbers from 0"
                )]
                let seen = Seen { full: full as u64, resumed: resumed as u64 };
                seen
            }
        };
        // A subject that was asked whether it answers has at least that to tell.
        let least = (expected.full + expected.resumed).max(1);
        if seen.full + seen.resumed >= least || Instant::now() > deadline {
            return Ok(seen);
        }
        sleep(PAUSE).await;
    }
}

fn read(peer: Peer, log: &Path) -> Result<Seen, LoadError> {
    if !log.exists() {
        return Ok(Seen::default());
    }
    let text = fs::read_to_string(log).map_err(LoadError::file(log))?;
    let lines = text.lines().filter_map(|line| match peer {
        Peer::Nginx => of_words(line, "r"),
        Peer::Haproxy => of_words(line, "1"),
        Peer::Caddy => of_caddy(line),
    });
    Ok(lines.fold(Seen::default(), |seen, resumed| match resumed {
        Handshake::Full => Seen { full: seen.full + 1, ..seen },
        Handshake::Resumed => Seen { resumed: seen.resumed + 1, ..seen },
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    Full,
    Resumed,
}

/// A line with the version and a word that says whether it resumed; others are about other things.
fn of_words(line: &str, resumed: &str) -> Option<Handshake> {
    let word = line.strip_prefix("TLSv1.3 ")?.trim();
    Some(if word == resumed { Handshake::Resumed } else { Handshake::Full })
}

/// What matters of a line of Caddy's access log.
#[derive(Deserialize)]
struct Line {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    tls: Tls,
}

#[derive(Deserialize)]
struct Tls {
    resumed: bool,
    version: u16,
}

fn of_caddy(line: &str) -> Option<Handshake> {
    let Line { request: Request { tls } } = serde_json::from_str(line).ok()?;
    // TLS 1.3 (RFC 8446 section 4.1.2).
    (tls.version == 0x0304).then_some(())?;
    Some(if tls.resumed { Handshake::Resumed } else { Handshake::Full })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_peer_logs_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let caddy = |resumed: bool, version: u16| {
            format!(
                "{{\"level\":\"info\",\"request\":{{\"proto\":\"HTTP/1.1\",\"tls\":\
                 {{\"resumed\":{resumed},\"version\":{version},\"cipher_suite\":4865}}}}}}\n"
            )
        };
        let caddy = [caddy(false, 772), caddy(true, 772), caddy(true, 771)].concat();
        for (peer, log) in [
            (Peer::Nginx, "TLSv1.3 .\nTLSv1.3 r\nTLSv1.2 r\n"),
            (Peer::Haproxy, "[NOTICE] started\nTLSv1.3 0\nTLSv1.3 1\n"),
            (Peer::Caddy, &caddy),
        ] {
            let path = folder.path().join("log");
            fs::write(&path, log).unwrap();
            assert_eq!(read(peer, &path).unwrap(), Seen { full: 1, resumed: 1 }, "{peer:?}");
        }
    }
}
