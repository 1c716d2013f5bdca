//! An origin that keeps every byte it gets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Answers each complete request with `200` and `ok`; one with an `Upgrade` with `101`, after
/// which it echoes.
pub(crate) struct Recorder {
    address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
    complete: Arc<AtomicUsize>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Self {
            address: listener.local_addr().unwrap(),
            bytes: Arc::default(),
            complete: Arc::default(),
        };
        let (bytes, complete) = (recorder.bytes.clone(), recorder.complete.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (bytes, complete) = (bytes.clone(), complete.clone());
                std::thread::spawn(move || record(stream, &bytes, &complete));
            }
        });
        recorder
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether any byte sequence like this has arrived.
    pub(crate) fn has_seen(&self, text: &str) -> bool {
        let bytes = self.bytes.lock().unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// What has arrived since the last call.
    pub(crate) fn take_seen(&self) -> String {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many requests have arrived whole.
    pub(crate) fn complete(&self) -> usize {
        self.complete.load(Ordering::Relaxed)
    }
}

fn record(mut stream: TcpStream, bytes: &Mutex<Vec<u8>>, complete: &AtomicUsize) {
    let (mut pending, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
        pending.extend_from_slice(&buffer[..count]);
        while let Some(len) = whole(&pending) {
            let request = String::from_utf8_lossy(&pending[..len]).to_ascii_lowercase();
            pending.drain(..len);
            complete.fetch_add(1, Ordering::Relaxed);
            if request.contains("\r\nupgrade:") && !request.contains("/refuse-upgrade") {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                               Connection: upgrade\r\n\r\n";
                let _ = stream.write_all(answer);
                return echo(stream, &pending, bytes);
            }
            let body = if request.starts_with("head ") { "" } else { "ok" };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        }
    }
}

fn echo(mut stream: TcpStream, pending: &[u8], bytes: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    let _ = stream.write_all(pending);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
        let _ = stream.write_all(&buffer[..count]);
    }
}

/// The length of the first request, once it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let header = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..header]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked") {
        return Some(header + chunked(&bytes[header..])?);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = header + length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
    (bytes.len() >= end).then_some(end)
}

/// The length of a chunked body without trailers, once it is whole.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2 + size + 2;
        if size == 0 {
            return (bytes.len() >= at).then_some(at);
        }
    }
}
