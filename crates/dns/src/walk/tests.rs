use hickory_resolver::proto::{
    op::OpCode,
    rr::{
        Record,
        rdata::{A, CNAME, SOA},
    },
};

use super::*;
use crate::names::absolute;

fn name(text: &str) -> Name {
    absolute(text).unwrap()
}

/// An answer with records such as `a.test CNAME b.test` and `b.test A`.
fn message(code: ResponseCode, records: &[&str]) -> Message {
    let mut message = Message::response(1, OpCode::Query);
    message.metadata.response_code = code;
    for record in records {
        let words: Vec<&str> = record.split(' ').collect();
        let own = name(words[0]);
        match words[1] {
            "CNAME" => {
                let data = RData::CNAME(CNAME(name(words[2])));
                message.answers.push(Record::from_rdata(own, 60, data));
            }
            "A" => {
                let data = RData::A(A([192, 0, 2, 1].into()));
                message.answers.push(Record::from_rdata(own, 60, data));
            }
            _ => {
                let data = SOA::new(own.clone(), own.clone(), 1, 1, 1, 1, 1);
                message.authorities.push(Record::from_rdata(own, 60, RData::SOA(data)));
            }
        }
    }
    message
}

fn followed(extent: Extent, code: ResponseCode, records: &[&str]) -> (String, Step) {
    let mut trail = Trail { start: name("a.test"), chain: Vec::new() };
    let answer = Answer { message: message(code, records), extent };
    let step = follow(&mut trail, &answer, RecordType::A);
    let chain: Vec<String> = trail.chain.iter().map(crate::names::shown).collect();
    (chain.join(" "), step)
}

#[test]
fn follows_an_answer_as_far_as_it_goes() {
    use LookupOutcome::{Loop, NoData, NxDomain, Refused};
    use ResponseCode::{NXDomain, NoError, ServFail};
    let missing = |outcome| Step::Ended(End::Missing(outcome));
    let found = || Step::Ended(End::Found(vec![RData::A(A([192, 0, 2, 1].into()))]));
    let cases: [(ResponseCode, &[&str], &str, Step); 13] = [
        (NoError, &["a.test A"], "", found()),
        (NoError, &["b.test A"], "", missing(NoData)),
        (NoError, &["b.test A", "a.test CNAME b.test"], "b.test", found()),
        (NoError, &["A.Test CNAME B.test", "b.TEST A"], "b.test", found()),
        (NoError, &[], "", missing(NoData)),
        (NXDomain, &[], "", missing(NxDomain)),
        (NXDomain, &["a.test CNAME b.test"], "b.test", missing(NxDomain)),
        (NoError, &["a.test CNAME b.test"], "b.test", Step::Onwards),
        (NoError, &["a.test CNAME b.test", "test SOA"], "b.test", missing(NoData)),
        (NoError, &["a.test CNAME b.other", "test SOA"], "b.other", Step::Onwards),
        (NoError, &["a.test CNAME b.test", "b.test CNAME a.test"], "b.test a.test", missing(Loop)),
        (ServFail, &[], "", Step::Failed),
        (ResponseCode::Refused, &[], "", missing(Refused)),
    ];
    for (code, records, chain, step) in cases {
        assert_eq!(
            followed(Extent::Everything, code, records),
            (chain.to_owned(), step),
            "{records:?}"
        );
    }
}

#[test]
fn a_zones_server_is_believed_in_its_zone_alone() {
    let records = ["a.test CNAME b.other", "b.other A"];
    let (chain, step) = followed(Extent::Zone(name("test")), ResponseCode::NoError, &records);
    assert_eq!((chain.as_str(), step), ("b.other", Step::Onwards));
}

#[test]
fn takes_sixteen_hops_and_no_more() {
    let mut trail = Trail { start: name("a.test"), chain: Vec::new() };
    for hop in 0..MAX_HOPS {
        assert_eq!(trail.hop(name(&format!("h{hop}.test"))), Ok(()));
    }
    let too_many = Err(End::Missing(LookupOutcome::TooManyHops));
    assert_eq!(trail.hop(name("last.test")), too_many);
    assert_eq!(trail.chain.len(), MAX_HOPS);
}
