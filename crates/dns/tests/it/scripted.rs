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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
    time::sleep,
};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Without the trailing dot.
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    /// By a client of a resolver; otherwise the zone's own servers are meant.
    pub(crate) recursion_desired: bool,
    /// The resolver is not to validate the answer.
    pub(crate) checking_disabled: bool,
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
    /// Over UDP so many datagrams with ids that are guessed, and then the answer.
    AfterGuesses(usize, Box<Self>),
    Nothing,
}

/// Answers over UDP and TCP. Ends with the value.
pub(crate) struct Scripted {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let (listener, socket) = sockets().await;
        let address = socket.local_addr().unwrap();
        let script = Arc::new(script);
        let over_tcp = tokio::spawn(serve_streams(listener, Arc::clone(&script)));
        Self { address, tasks: [tokio::spawn(serve(Arc::new(socket), script)), over_tcp] }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
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
        let said = script(&asked(&question));
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            for answer in answers(question, said).await {
                socket.send_to(&answer, client).await.unwrap();
            }
        });
    }
}

async fn serve_streams(
    listener: TcpListener,
    script: Arc<impl Fn(&Asked) -> Said + Send + Sync + 'static>,
) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer).unwrap();
        let said = script(&asked(&question));
        tokio::spawn(async move {
            let Some(answer) = answers(question, said).await.pop() else { return };
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        });
    }
}

/// Both with the same port.
async fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            return (listener, socket);
        }
    }
}

fn asked(question: &Message) -> Asked {
    let query = &question.queries[0];
    Asked {
        name: query.name().to_ascii().trim_end_matches('.').to_owned(),
        kind: query.query_type(),
        recursion_desired: question.metadata.recursion_desired,
        checking_disabled: question.metadata.checking_disabled,
    }
}

/// What is sent; the answer is the last of it.
async fn answers(question: Message, said: Said) -> Vec<Vec<u8>> {
    let mut answer = question;
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.authoritative = true;
    let (mut said, mut sent) = (said, Vec::new());
    loop {
        match said {
            Said::After(delay, later) => {
                sleep(delay).await;
                said = *later;
            }
            Said::AfterGuesses(count, later) => {
                let mut guess = answer.clone();
                for place in 1..=count {
                    let difference = u16::try_from(place).unwrap();
                    guess.metadata.id = answer.metadata.id.wrapping_add(difference);
                    sent.push(guess.to_vec().unwrap());
                }
                said = *later;
            }
            Said::Records(records) => {
                answer.answers = records;
                sent.push(answer.to_vec().unwrap());
                return sent;
            }
            Said::Code(code) => {
                answer.metadata.response_code = code;
                sent.push(answer.to_vec().unwrap());
                return sent;
            }
            Said::Bytes(bytes) => {
                sent.push([&answer.metadata.id.to_be_bytes()[..], &bytes].concat());
                return sent;
            }
            Said::Nothing => return sent,
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
