//! How an operator asks for a hand-over: a Unix socket in the run directory, for the owner alone.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener as TokioListener, UnixStream as TokioStream},
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

/// The socket's name in the run directory.
pub const SOCKET: &str = "edge.sock";
/// The one thing that can be asked for.
const REQUEST: &[u8] = b"reload\n";
/// Who asks for nothing is sent away.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Callers at a time.
const MAX_CALLERS: usize = 8;
const BACKLOG: i32 = 16;
/// Longer than the longest hand-over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(240);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// After the system refused to accept.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new process serves.
    TakenOver {
        /// Its id.
        pid: u32,
    },
    /// The process that was asked goes on.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No edge listens.
    #[error(
        "no edge can be asked at {}: one that runs with another `server.run_directory` is reloaded by SIGHUP",
        path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It gave no answer.
    #[error("the edge gave no answer: see its log")]
    NoAnswer(#[source] io::Error),
}

/// Asks the edge with this run directory to hand its listeners over to a new process. Blocks until
/// it has, or says why not.
///
/// # Errors
/// [`AskError`].
pub fn ask(run_directory: &Path) -> Result<Outcome, AskError> {
    let path = run_directory.join(SOCKET);
    let mut stream = UnixStream::connect(&path)
        .map_err(|source| AskError::Unreachable { path: path.clone(), source })?;
    let mut answer = Vec::new();
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(REQUEST_TIMEOUT)))
        .and_then(|()| stream.write_all(REQUEST))
        .and_then(|()| stream.take(MAX_ANSWER).read_to_end(&mut answer))
        .map_err(AskError::NoAnswer)?;
    serde_json::from_slice(&answer).map_err(|error| AskError::NoAnswer(error.into()))
}

/// Listens in the run directory.
///
/// # Errors
/// The system's; [`io::ErrorKind::AddrInUse`] where another edge listens there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another edge has this directory"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody connects before it listens.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// Asked for by somebody who waits for the outcome.
pub(crate) struct Request {
    pub(crate) answer: oneshot::Sender<Outcome>,
}

/// Passes on what callers ask for. Never ends.
pub(crate) async fn serve(listener: &TokioListener, requests: mpsc::Sender<Request>) {
    let places = Arc::new(Semaphore::new(MAX_CALLERS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // Without a place the caller is sent away.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let requests = requests.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, requests).await {
                tracing::debug!(%error, "who asked for a hand-over got no answer");
            }
            drop(place);
        });
    }
}

async fn answer(mut stream: TokioStream, requests: mpsc::Sender<Request>) -> io::Result<()> {
    let mut asked = [0; REQUEST.len()];
    timeout(REQUEST_TIMEOUT, stream.read_exact(&mut asked)).await??;
    if asked != REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (answer, outcome) = oneshot::channel();
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    requests.send(Request { answer }).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    let outcome = outcome.await.map_err(gone)?;
    let bytes = serde_json::to_vec(&outcome)?;
    timeout(REQUEST_TIMEOUT, stream.write_all(&bytes)).await??;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_at_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let first = listen(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        listen(&path).unwrap();
    }

    #[tokio::test]
    async fn who_asks_is_told_the_outcome() {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(&folder.path().join(SOCKET)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TokioListener::from_std(listener).unwrap();
        let (requests, mut asked) = mpsc::channel(1);
        let directory = folder.path().to_owned();
        let asking = tokio::task::spawn_blocking(move || ask(&directory));
        let outcome = Outcome::Refused { reason: "not now".to_owned() };
        let answering = async {
            let request: Request = asked.recv().await.unwrap();
            request.answer.send(outcome.clone()).unwrap();
            asking.await.unwrap().unwrap()
        };
        tokio::select! {
            () = serve(&listener, requests) => unreachable!(),
            told = answering => assert_eq!(told, outcome),
        }
    }

    #[test]
    fn that_there_is_no_edge_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(ask(folder.path()), Err(AskError::Unreachable { .. })));
    }
}
