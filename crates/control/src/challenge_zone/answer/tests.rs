use std::str::FromStr;

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::*;

const LABEL: &str = "0123456789abcdef0123456789abcdef";

fn value(byte: u8) -> TxtValue {
    TxtValue::of_digest(&[byte; 32]).unwrap()
}

fn zone_with(values: u8) -> Zone {
    let name = |text: &str| Name::from_str(text).unwrap();
    let nameservers = vec![name("ns1.edge.test."), name("ns2.edge.test.")];
    let apex = Apex::new(name("dcv.edge.test."), nameservers, name("dns.edge.test."));
    let label = ChallengeLabel::parse(LABEL).unwrap();
    Zone::new(apex, 7, (0..values).map(|byte| (label.clone(), value(byte))))
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
    message
}

fn ask(zone: &Zone, question: &Message, transport: Transport) -> Message {
    let reply = zone.answer(&question.to_vec().unwrap(), transport).unwrap();
    let message = Message::from_vec(&reply.bytes).unwrap();
    assert_eq!(message.metadata.id, 4_711);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    // BADVERS and BADSIG are one number.
    assert_eq!(u16::from(message.metadata.response_code), u16::from(reply.code));
    assert!(!message.metadata.recursion_available);
    message
}

fn texts(message: &Message) -> Vec<String> {
    let text = |record: &Record| record.data.to_string().trim_matches('"').to_owned();
    message.answers.iter().map(text).collect()
}

#[test]
fn every_kind_of_question_has_its_answer() {
    use ResponseCode::{NXDomain, NoError, Refused};
    let known = format!("{LABEL}.dcv.edge.test.");
    let cases = [
        ("dcv.edge.test.", RecordType::SOA, NoError, 1, Some(0)),
        ("dcv.edge.test.", RecordType::NS, NoError, 2, Some(0)),
        ("dcv.edge.test.", RecordType::A, NoError, 0, Some(1)),
        ("DCV.Edge.Test.", RecordType::TXT, NoError, 0, Some(1)),
        (&known, RecordType::TXT, NoError, 2, Some(0)),
        (&known.to_uppercase(), RecordType::TXT, NoError, 2, Some(0)),
        (&known, RecordType::A, NoError, 0, Some(1)),
        (&known, RecordType::CAA, NoError, 0, Some(1)),
        (&format!("x.{known}"), RecordType::TXT, NXDomain, 0, Some(1)),
        ("nobody.dcv.edge.test.", RecordType::TXT, NXDomain, 0, Some(1)),
        ("edge.test.", RecordType::SOA, Refused, 0, None),
        ("xdcv.edge.test.", RecordType::TXT, Refused, 0, None),
        (".", RecordType::NS, Refused, 0, None),
        (&known, RecordType::ANY, Refused, 0, None),
        ("dcv.edge.test.", RecordType::AXFR, Refused, 0, None),
        ("dcv.edge.test.", RecordType::IXFR, Refused, 0, None),
    ];
    let zone = zone_with(2);
    for (name, kind, code, answers, soa) in cases {
        let message = ask(&zone, &question(name, kind), Transport::Udp);
        assert_eq!(message.metadata.response_code, code, "{name} {kind}");
        assert_eq!(message.answers.len(), answers, "{name} {kind}");
        // Only what is our own is said with authority, and every "there is none" with the SOA.
        assert_eq!(message.metadata.authoritative, soa.is_some(), "{name} {kind}");
        assert_eq!(message.authorities.len(), soa.unwrap_or(0), "{name} {kind}");
        assert!(message.authorities.iter().all(|one| one.record_type() == RecordType::SOA));
    }
}

#[test]
fn a_name_and_its_wildcard_have_their_values_side_by_side() {
    let name = format!("{LABEL}.dcv.edge.test.");
    let message = ask(&zone_with(2), &question(&name, RecordType::TXT), Transport::Udp);
    assert_eq!(texts(&message), [value(0).as_str(), value(1).as_str()]);
}

#[test]
fn a_udp_answer_is_as_long_as_its_client_takes() {
    let mut asked = question(&format!("{LABEL}.dcv.edge.test."), RecordType::TXT);
    let zone = zone_with(16);
    let plain = zone.answer(&asked.to_vec().unwrap(), Transport::Udp).unwrap().bytes;
    assert!(plain.len() <= 512);
    assert!(Message::from_vec(&plain).unwrap().metadata.truncation);
    assert_eq!(ask(&zone, &asked, Transport::Tcp).answers.len(), 16);

    let mut edns = Edns::new();
    edns.set_max_payload(65_535).set_version(0);
    asked.set_edns(edns);
    let message = ask(&zone, &asked, Transport::Udp);
    assert_eq!(message.answers.len(), 16);
    assert_eq!(message.edns.unwrap().max_payload(), 1_232);
}

#[test]
fn an_unknown_version_of_edns_is_said_to_be_bad() {
    let mut asked = question("dcv.edge.test.", RecordType::SOA);
    let mut edns = Edns::new();
    edns.set_version(1);
    asked.set_edns(edns);
    let message = ask(&zone_with(1), &asked, Transport::Udp);
    assert_eq!(u16::from(message.metadata.response_code), 16);
    assert_eq!(message.edns.unwrap().version(), 0);
}

#[test]
fn what_is_no_query_of_one_question_is_refused_by_a_header() {
    let zone = zone_with(1);
    let answer = |message: &Message| {
        let reply = zone.answer(&message.to_vec().unwrap(), Transport::Udp).unwrap();
        assert_eq!(reply.bytes.len(), HEADER_LEN);
        reply.code
    };
    let mut update = question("dcv.edge.test.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(answer(&update), ResponseCode::NotImp);
    let mut two = question("dcv.edge.test.", RecordType::SOA);
    two.add_query(Query::query(Name::root(), RecordType::A));
    assert_eq!(answer(&two), ResponseCode::FormErr);
}

#[test]
fn answers_and_fragments_are_not_answered() {
    let zone = zone_with(1);
    let mut answer = question("dcv.edge.test.", RecordType::SOA);
    answer.metadata.message_type = MessageType::Response;
    assert_eq!(zone.answer(&answer.to_vec().unwrap(), Transport::Udp), None);
    assert_eq!(zone.answer(b"", Transport::Udp), None);
    assert_eq!(zone.answer(&[0; 11], Transport::Udp), None);
}

#[test]
fn a_truncated_answer_is_no_longer_than_the_question() {
    let asked = question(&format!("{LABEL}.dcv.edge.test."), RecordType::TXT).to_vec().unwrap();
    let answer = truncated(&asked).unwrap();
    assert_eq!(answer.len(), asked.len());
    assert!(Message::from_vec(&answer).unwrap().metadata.truncation);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_shortly_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let zone = zone_with(2);
        if let Some(reply) = zone.answer(&bytes, Transport::Udp) {
            prop_assert!(reply.bytes.len() <= 1_232);
            prop_assert_eq!(&reply.bytes[..2], &bytes[..2]);
        }
        truncated(&bytes);
    }

    #[test]
    fn a_damaged_question_is_answered_shortly_or_not_at_all(
        places in prop::collection::vec((0_usize..80, any::<u8>()), 1..6),
        length in 0_usize..80,
    ) {
        let name = format!("{LABEL}.dcv.edge.test.");
        let mut bytes = question(&name, RecordType::TXT).to_vec().unwrap();
        for (place, byte) in places {
            if let Some(own) = bytes.get_mut(place) {
                *own = byte;
            }
        }
        bytes.truncate(length.max(20));
        if let Some(reply) = zone_with(2).answer(&bytes, Transport::Udp) {
            prop_assert!(reply.bytes.len() <= 1_232);
        }
        truncated(&bytes);
    }
}
