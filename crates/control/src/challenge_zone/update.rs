//! Records in the operator's own server: dynamic updates (RFC 2136) over TCP, signed by TSIG (RFC 8945).

use std::{
    fmt, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, TSigner, rdata::TXT},
};
use landfall_feed::secret_file::{self, SecretFileError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    config::UpdateConfig,
    store::dns_challenge::DnsChallenge,
    token::{RandomError, random_number},
};

/// By how many seconds the two clocks may differ (RFC 8945 section 10).
const FUDGE: u16 = 300;
/// How long records may be remembered, in seconds.
const TTL: u32 = 1;

/// Tells the operator's server what is in the zone.
pub(super) struct Updater {
    zone: Name,
    config: UpdateConfig,
    signer: TSigner,
}

/// Why the key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TsigKeyError {
    /// The file.
    #[error("the file of the key can't be used")]
    File(#[source] SecretFileError),
    /// What is in it.
    #[error("expected the base64 of at least 16 bytes")]
    Secret,
    /// The algorithm.
    #[error("the key can't be used with its algorithm")]
    Algorithm(#[source] hickory_proto::dnssec::DnsSecError),
}

/// Why an update was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpdateError {
    /// The server doesn't take our signature.
    #[error(
        "the server refuses the TSIG key ({0}): compare its name, algorithm, secret, and the clocks"
    )]
    Key(ResponseCode),
    /// It does, and doesn't let us.
    #[error("the server refuses the update ({0}): allow the key to update TXT records of the zone")]
    Refused(ResponseCode),
    /// The answer isn't signed by who has the key.
    #[error("the answer's signature is wrong")]
    Signature(#[source] ProtoError),
    /// The server said that it was made, and doesn't answer so.
    #[error("the server has made the update, and does not answer as it says")]
    NotVisible,
    /// A message.
    #[error("a message can't be made or read")]
    Message(#[source] ProtoError),
    /// The connection.
    #[error("no exchange with the server")]
    Exchange(#[source] io::Error),
    /// It took too long.
    #[error("the server did not answer in {0:?}")]
    Timeout(Duration),
    /// The randomness that an exchange needs.
    #[error("cannot number a message")]
    Random(#[source] RandomError),
}

impl UpdateError {
    /// For metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Key(_) | Self::Signature(_) => "key",
            Self::Refused(_) => "refused",
            Self::NotVisible => "not_visible",
            Self::Message(_) | Self::Random(_) => "error",
            Self::Exchange(_) => "unreachable",
            Self::Timeout(_) => "timeout",
        }
    }
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updater").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Updater {
    /// For `zone`, with the key that `config` names.
    pub(super) fn new(zone: Name, config: &UpdateConfig) -> Result<Self, TsigKeyError> {
        let text = secret_file::read(&config.secret_file).map_err(TsigKeyError::File)?;
        let secret = BASE64.decode(text.trim().as_bytes()).ok();
        let secret = secret.filter(|secret| secret.len() >= 16).ok_or(TsigKeyError::Secret)?;
        let (algorithm, name) = (config.algorithm.clone(), config.key_name.clone());
        let signer =
            TSigner::new(secret, algorithm, name, FUDGE).map_err(TsigKeyError::Algorithm)?;
        Ok(Self { zone, config: config.clone(), signer })
    }

    /// Adds and removes records, all or none, and sees that the server answers so.
    pub(super) async fn apply(
        &self,
        added: &[DnsChallenge],
        removed: &[DnsChallenge],
    ) -> Result<(), UpdateError> {
        let limit = self.config.timeout;
        let exchange = async {
            let connected = TcpStream::connect(self.config.server).await;
            let mut stream = connected.map_err(UpdateError::Exchange)?;
            self.update(&mut stream, added, removed).await?;
            for record in added {
                self.look(&mut stream, record).await?;
            }
            Ok(())
        };
        timeout(limit, exchange).await.map_err(|_| UpdateError::Timeout(limit))?
    }

    async fn update(
        &self,
        stream: &mut TcpStream,
        added: &[DnsChallenge],
        removed: &[DnsChallenge],
    ) -> Result<(), UpdateError> {
        let mut message = numbered(OpCode::Update)?;
        // RFC 2136 section 2.3
        message.add_query(Query::query(self.zone.clone(), RecordType::SOA));
        for record in added {
            message.add_authority(self.record(record)?);
        }
        for record in removed {
            // RFC 2136 section 2.5.4
            let mut record = self.record(record)?;
            record.dns_class = DNSClass::NONE;
            record.ttl = 0;
            message.add_authority(record);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifier = message.finalize(&self.signer, now).map_err(UpdateError::Message)?;
        let bytes = exchange(stream, &message).await?;
        let answer = read(&bytes, &message)?;
        let code = answer.metadata.response_code;
        if code == ResponseCode::NotAuth {
            // An answer to what isn't signed right isn't signed either (RFC 8945 section 5.3.2).
            return Err(UpdateError::Key(code));
        }
        if let Some(mut verifier) = verifier {
            verifier.verify(&bytes).map_err(UpdateError::Signature)?;
        }
        if code == ResponseCode::NoError { Ok(()) } else { Err(UpdateError::Refused(code)) }
    }

    async fn look(&self, stream: &mut TcpStream, record: &DnsChallenge) -> Result<(), UpdateError> {
        let mut question = numbered(OpCode::Query)?;
        question.add_query(Query::query(self.name(record)?, RecordType::TXT));
        let answer = read(&exchange(stream, &question).await?, &question)?;
        let expected = data(record);
        match answer.answers.iter().any(|answer| answer.data == expected) {
            true => Ok(()),
            false => Err(UpdateError::NotVisible),
        }
    }

    fn name(&self, record: &DnsChallenge) -> Result<Name, UpdateError> {
        self.zone.prepend_label(record.label.as_str()).map_err(UpdateError::Message)
    }

    fn record(&self, record: &DnsChallenge) -> Result<Record, UpdateError> {
        Ok(Record::from_rdata(self.name(record)?, TTL, data(record)))
    }
}

fn data(record: &DnsChallenge) -> RData {
    RData::TXT(TXT::new(vec![record.value.as_str().to_owned()]))
}

fn numbered(op_code: OpCode) -> Result<Message, UpdateError> {
    let id = random_number().map_err(UpdateError::Random)?;
    Ok(Message::new(id, MessageType::Query, op_code))
}

async fn exchange(stream: &mut TcpStream, message: &Message) -> Result<Vec<u8>, UpdateError> {
    let bytes = message.to_vec().map_err(UpdateError::Message)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other);
    let length = length.map_err(UpdateError::Exchange)?;
    let framed = [&length.to_be_bytes(), bytes.as_slice()].concat();
    let answer = async {
        stream.write_all(&framed).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    answer.await.map_err(UpdateError::Exchange)
}

fn read(bytes: &[u8], question: &Message) -> Result<Message, UpdateError> {
    let answer = Message::from_vec(bytes).map_err(|error| UpdateError::Message(error.into()))?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response;
    let other = || UpdateError::Exchange(io::Error::other("the answer is to another question"));
    fits.then_some(answer).ok_or_else(other)
}
