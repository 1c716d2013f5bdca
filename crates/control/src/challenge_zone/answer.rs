//! What is answered to a question: pure, so that any bytes can be tried on it.

use std::collections::{HashMap, hash_map::Entry};

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{NS, SOA, TXT},
    },
    serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder},
};

use super::record::{ChallengeLabel, TxtValue};

/// How long answers may be remembered, in seconds: the next order has another value.
const TTL: u32 = 1;
/// How long the records at the top may be remembered, in seconds.
const APEX_TTL: u32 = 3_600;
/// The most bytes of a UDP answer, which no network on the way splits (RFC 9715).
const UDP_PAYLOAD: u16 = 1_232;
/// The most bytes of a UDP answer to who doesn't say what it takes (RFC 1035 section 4.2.1).
const PLAIN_UDP: u16 = 512;
/// The length of a header.
const HEADER_LEN: usize = 12;

/// What a zone is called and who serves it.
#[derive(Clone, Debug)]
pub(crate) struct Apex {
    name: Name,
    nameservers: Vec<Name>,
    contact: Name,
}

/// A zone with what it has now.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    apex: Apex,
    serial: u32,
    values: HashMap<Vec<u8>, Vec<TxtValue>>,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Its sender may be another than it says.
    Udp,
    /// Its sender is who it says.
    Tcp,
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) code: ResponseCode,
}

/// What of the zone answers a question.
struct Found {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    authoritative: Authority,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Authority {
    Ours,
    Nobodys,
}

impl Apex {
    /// The zone `name`, served by `nameservers`, of which there is one at least.
    pub(crate) fn new(name: Name, nameservers: Vec<Name>, contact: Name) -> Self {
        Self { name, nameservers, contact }
    }

    fn soa(&self, serial: u32) -> Record {
        let first = self.nameservers.first().unwrap_or(&self.name).clone();
        let ttl = i32::try_from(APEX_TTL).unwrap_or(i32::MAX);
        // What isn't there now may be there in a second (RFC 2308 section 4).
        let soa = SOA::new(first, self.contact.clone(), serial, ttl, ttl, ttl, TTL);
        Record::from_rdata(self.name.clone(), TTL, RData::SOA(soa))
    }
}

impl Zone {
    /// With these records.
    pub(crate) fn new(
        apex: Apex,
        serial: u32,
        records: impl IntoIterator<Item = (ChallengeLabel, TxtValue)>,
    ) -> Self {
        let mut values: HashMap<Vec<u8>, Vec<TxtValue>> = HashMap::new();
        for (label, value) in records {
            match values.entry(label.as_str().as_bytes().to_vec()) {
                Entry::Occupied(mut known) => known.get_mut().push(value),
                Entry::Vacant(new) => drop(new.insert(vec![value])),
            }
        }
        Self { apex, serial, values }
    }

    /// The same zone with other records.
    pub(crate) fn with(
        &self,
        serial: u32,
        records: impl IntoIterator<Item = (ChallengeLabel, TxtValue)>,
    ) -> Self {
        Self::new(self.apex.clone(), serial, records)
    }

    /// How many names have records.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// What is sent back to `question`; nothing to what is no question at all.
    pub(crate) fn answer(&self, question: &[u8], transport: Transport) -> Option<Reply> {
        let header = question_header(question)?;
        if header.metadata.op_code != OpCode::Query {
            return refusal(&header, ResponseCode::NotImp);
        }
        let Some(asked) = read(question, &header) else {
            return refusal(&header, ResponseCode::FormErr);
        };
        let found = match &asked.edns {
            // RFC 6891 section 6.1.3
            Some(edns) if edns.version() > 0 => Found::nothing(ResponseCode::BADVERS),
            Some(_) | None => self.find(&asked.query),
        };
        encode(&header, asked, found, transport)
    }

    fn find(&self, query: &Query) -> Found {
        let kind = query.query_type();
        let is_listing = matches!(kind, RecordType::ANY | RecordType::AXFR | RecordType::IXFR);
        if query.query_class() != DNSClass::IN
            || is_listing
            || !self.apex.name.zone_of(query.name())
        {
            return Found::nothing(ResponseCode::Refused);
        }
        let own = usize::from(self.apex.name.num_labels());
        let labels: Vec<&[u8]> = query.name().iter().collect();
        match labels.len().saturating_sub(own) {
            0 => self.at_apex(kind),
            1 => {
                let label = labels.first().map(|label| label.to_ascii_lowercase());
                match label.and_then(|label| self.values.get(&label)) {
                    Some(values) => self.at_label(query, values),
                    None => self.missing(ResponseCode::NXDomain),
                }
            }
            _ => self.missing(ResponseCode::NXDomain),
        }
    }

    fn at_apex(&self, kind: RecordType) -> Found {
        let apex = &self.apex;
        if kind == RecordType::SOA {
            Found::records(vec![apex.soa(self.serial)])
        } else if kind == RecordType::NS {
            let ns = |server: &Name| {
                let data = RData::NS(NS(server.clone()));
                Record::from_rdata(apex.name.clone(), APEX_TTL, data)
            };
            Found::records(apex.nameservers.iter().map(ns).collect())
        } else {
            self.missing(ResponseCode::NoError)
        }
    }

    fn at_label(&self, query: &Query, values: &[TxtValue]) -> Found {
        if query.query_type() != RecordType::TXT {
            return self.missing(ResponseCode::NoError);
        }
        let record = |value: &TxtValue| {
            let data = RData::TXT(TXT::new(vec![value.as_str().to_owned()]));
            Record::from_rdata(query.name().clone(), TTL, data)
        };
        Found::records(values.iter().map(record).collect())
    }

    /// There is none: the SOA says for how long that may be remembered (RFC 2308 section 3).
    fn missing(&self, code: ResponseCode) -> Found {
        Found {
            code,
            answers: Vec::new(),
            authorities: vec![self.apex.soa(self.serial)],
            authoritative: Authority::Ours,
        }
    }
}

impl Found {
    const fn nothing(code: ResponseCode) -> Self {
        Self {
            code,
            answers: Vec::new(),
            authorities: Vec::new(),
            authoritative: Authority::Nobodys,
        }
    }

    const fn records(answers: Vec<Record>) -> Self {
        Self {
            code: ResponseCode::NoError,
            answers,
            authorities: Vec::new(),
            authoritative: Authority::Ours,
        }
    }
}

/// A question that can be answered.
struct Asked {
    query: Query,
    edns: Option<Edns>,
}

/// What a question begins with; none where it is too short, or an answer: those are never answered, or
/// two servers could keep each other busy.
fn question_header(question: &[u8]) -> Option<Header> {
    let header = Header::read(&mut BinDecoder::new(question.get(..HEADER_LEN)?)).ok()?;
    (header.metadata.message_type == MessageType::Query).then_some(header)
}

fn read(question: &[u8], header: &Header) -> Option<Asked> {
    let counts = &header.counts;
    // Looked at before the rest is read: room is made by what the counts say.
    if counts.queries != 1
        || counts.answers != 0
        || counts.authorities != 0
        || counts.additionals > 2
    {
        return None;
    }
    let mut message = Message::from_vec(question).ok()?;
    Some(Asked { query: message.queries.pop()?, edns: message.edns.take() })
}

/// An answer of nothing but a header.
fn refusal(header: &Header, code: ResponseCode) -> Option<Reply> {
    let mut message =
        Message::new(header.metadata.id, MessageType::Response, header.metadata.op_code);
    message.metadata.recursion_desired = header.metadata.recursion_desired;
    message.metadata.response_code = code;
    Some(Reply { bytes: message.to_vec().ok()?, code })
}

/// An answer that says no more than: ask over TCP. It is no longer than the question.
pub(crate) fn truncated(question: &[u8]) -> Option<Vec<u8>> {
    let header = question_header(question)?;
    let asked = read(question, &header)?;
    let mut message = Message::new(header.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = header.metadata.recursion_desired;
    message.metadata.truncation = true;
    message.add_query(asked.query);
    message.to_vec().ok()
}

fn encode(header: &Header, asked: Asked, found: Found, transport: Transport) -> Option<Reply> {
    let mut message = Message::new(header.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = header.metadata.recursion_desired;
    message.metadata.authoritative = found.authoritative == Authority::Ours;
    message.metadata.response_code = found.code;
    message.add_query(asked.query);
    message.insert_answers(found.answers);
    message.insert_authorities(found.authorities);
    let limit = match (transport, &asked.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP, UDP_PAYLOAD),
        (Transport::Udp, None) => PLAIN_UDP,
    };
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_version(0);
        message.set_edns(edns);
    }
    let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    message.emit(&mut encoder).ok()?;
    Some(Reply { bytes, code: found.code })
}

#[cfg(test)]
mod tests;
