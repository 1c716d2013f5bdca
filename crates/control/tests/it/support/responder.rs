//! A DNS server in this process: it answers what the test says, or keeps silent.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// What is answered for a name. Names that nothing is said of don't exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Addresses(Vec<Ipv4Addr>),
    /// A TXT record of at most 255 bytes.
    Text(String),
    /// A CNAME record that leads there.
    Alias(String),
    Silence,
}

/// Answers until it is dropped.
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    task: JoinHandle<()>,
}

impl Responder {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let replies = Arc::new(Mutex::new(HashMap::new()));
        let task = tokio::spawn(serve(socket, Arc::clone(&replies)));
        Self { address, replies, task }
    }

    /// From now on `name`, and what is below it where it begins with a dot, gets this reply.
    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(name.to_owned(), reply);
    }

    pub(crate) fn point(&self, name: &str, address: &str) {
        self.set(name, Reply::Addresses(vec![address.parse().unwrap()]));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, replies: Arc<Mutex<HashMap<String, Reply>>>) {
    let mut buffer = [0; 1_500];
    loop {
        let Ok((len, client)) = socket.recv_from(&mut buffer).await else { return };
        let answer = answer(&buffer[..len], &replies.lock().unwrap());
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

/// RFC 1035 section 4.1: the header, the question as it came, and the answers.
fn answer(query: &[u8], replies: &HashMap<String, Reply>) -> Option<Vec<u8>> {
    const A: u16 = 1;
    const TXT: u16 = 16;
    const CNAME: u16 = 5;
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    let parent = name.split_once('.').map_or(String::new(), |(_, parent)| format!(".{parent}"));
    let reply = replies.get(&name).or_else(|| replies.get(&parent));
    let found_kind = if matches!(reply, Some(Reply::Alias(_))) { CNAME } else { kind };
    let (code, found): (u8, Vec<Vec<u8>>) = match reply {
        Some(Reply::Silence) => return None,
        Some(Reply::Addresses(addresses)) if kind == A => {
            (0, addresses.iter().map(|address| address.octets().to_vec()).collect())
        }
        Some(Reply::Text(text)) if kind == TXT => {
            let len = u8::try_from(text.len()).unwrap();
            (0, vec![[&[len], text.as_bytes()].concat()])
        }
        Some(Reply::Alias(target)) => (0, vec![wire(target)]),
        Some(Reply::Addresses(_) | Reply::Text(_)) => (0, Vec::new()),
        None if name.is_empty() => (0, Vec::new()),
        None => (3, Vec::new()),
    };
    let count = u8::try_from(found.len()).unwrap();
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend(&query[12..end + 4]);
    for data in found {
        answer.extend([0xc0, 12]);
        answer.extend(found_kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// A name as records have it.
fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The question's name without the trailing dot, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let len = usize::from(*query.get(at)?);
        if len == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at + 1));
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + len)?).into_owned());
        at += 1 + len;
    }
}
