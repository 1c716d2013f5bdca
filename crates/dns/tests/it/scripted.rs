//! A DNS server that answers as a test says, with what no real one would say.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS},
    },
};
use tokio::{net::UdpSocket, task::JoinHandle, time::sleep};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Without the trailing dot.
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    /// By a client of a resolver; otherwise the zone's own servers are meant.
    pub(crate) recursion_desired: bool,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Records(Vec<Record>),
    Code(ResponseCode),
    /// Later than it was asked for.
    After(Duration, Box<Self>),
    /// The question's id, and then these.
    Bytes(Vec<u8>),
    Nothing,
}

/// Ends with the value.
pub(crate) struct Scripted {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(serve(socket, Arc::new(script)));
        Self { address, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: Arc<UdpSocket>,
    script: Arc<impl Fn(&Asked) -> Said + Send + Sync + 'static>,
) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let query = &question.queries[0];
        let asked = Asked {
            name: query.name().to_ascii().trim_end_matches('.').to_owned(),
            kind: query.query_type(),
            recursion_desired: question.metadata.recursion_desired,
        };
        let said = script(&asked);
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            if let Some(answer) = answer(question, said).await {
                socket.send_to(&answer, client).await.unwrap();
            }
        });
    }
}

async fn answer(question: Message, said: Said) -> Option<Vec<u8>> {
    let mut answer = question;
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.authoritative = true;
    let mut said = said;
    loop {
        match said {
            Said::After(delay, later) => {
                sleep(delay).await;
                said = *later;
            }
            Said::Records(records) => {
                answer.answers = records;
                return Some(answer.to_vec().unwrap());
            }
            Said::Code(code) => {
                answer.metadata.response_code = code;
                return Some(answer.to_vec().unwrap());
            }
            Said::Bytes(bytes) => {
                return Some([&answer.metadata.id.to_be_bytes()[..], &bytes].concat());
            }
            Said::Nothing => return None,
        }
    }
}

pub(crate) fn address(name: &str, address: &str) -> Record {
    let data = match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(absolute(name), 60, data)
}

pub(crate) fn cname(name: &str, target: &str) -> Record {
    Record::from_rdata(absolute(name), 60, RData::CNAME(CNAME(absolute(target))))
}

pub(crate) fn ns(name: &str, server: &str) -> Record {
    Record::from_rdata(absolute(name), 60, RData::NS(NS(absolute(server))))
}

fn absolute(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}
