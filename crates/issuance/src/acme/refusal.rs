//! What a CA says when it refuses, whatever form it has.

use landfall_model::{ChallengeMethod, HostPattern};
use serde::Deserialize;

use super::{error::AcmeError, http::Reply};
use crate::failure::{Problem, ProblemKind, Step, Subproblem, Words};

/// How much of an answer that is not ACME is shown, in characters.
const EXCERPT: usize = 160;
/// How much of it is looked at, in bytes.
const LOOKED_AT: usize = 8 * 1024;
/// The most subproblems that are kept.
const MAX_SUBPROBLEMS: usize = 20;

/// A problem document (RFC 8555 section 6.7, RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) subproblems: Vec<SubproblemDocument>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubproblemDocument {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) identifier: Identifier,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Identifier {
    pub(crate) value: String,
}

impl Document {
    /// As it is kept; `status` is that of the HTTP answer.
    pub(crate) fn into_problem(self, step: Step, status: Option<u16>) -> Problem {
        let kind = |text: Option<String>| ProblemKind::from_urn(&text.unwrap_or_default());
        let subproblem = |sub: SubproblemDocument| Subproblem {
            name: sub.identifier.value.into(),
            kind: kind(sub.kind),
            detail: sub.detail.unwrap_or_default().into(),
        };
        Problem {
            step,
            status,
            detail: self.detail.or(self.title).unwrap_or_default().into(),
            subproblems: self
                .subproblems
                .into_iter()
                .take(MAX_SUBPROBLEMS)
                .map(subproblem)
                .collect(),
            kind: kind(self.kind),
            retry_after: None,
            method: None,
        }
    }
}

/// What an answer says that is no success.
pub(crate) fn refusal(step: Step, reply: &Reply, method: Option<ChallengeMethod>) -> AcmeError {
    let status = reply.status.as_u16();
    let retry_after = reply.retry_after();
    match serde_json::from_slice::<Document>(&reply.body) {
        Ok(document) if document.kind.is_some() || document.detail.is_some() => {
            let problem = document.into_problem(step, Some(status));
            AcmeError::Refused(Box::new(Problem { retry_after, method, ..problem }))
        }
        // A load balancer in front of the CA asks for less in words of its own.
        _ if status == 429 || retry_after.is_some() => {
            let kind =
                if status == 429 { ProblemKind::RateLimited } else { ProblemKind::ServerInternal };
            let document =
                Document { detail: Some(first_words(&reply.body)), ..Default::default() };
            let problem = document.into_problem(step, Some(status));
            AcmeError::Refused(Box::new(Problem { kind, retry_after, ..problem }))
        }
        // It is not there: that is clear without words.
        _ if matches!(status, 404 | 410) && step != Step::Directory => {
            let document =
                Document { detail: Some(first_words(&reply.body)), ..Default::default() };
            AcmeError::Refused(Box::new(document.into_problem(step, Some(status))))
        }
        _ => nonsense(step, reply),
    }
}

/// Whether a CA refused a nonce.
pub(crate) fn is_of_nonce<T>(done: &Result<T, AcmeError>) -> bool {
    matches!(done, Err(AcmeError::Refused(problem)) if problem.kind == ProblemKind::BadNonce)
}

/// What an answer is that can't be understood.
pub(crate) fn nonsense(step: Step, reply: &Reply) -> AcmeError {
    let excerpt: Words = first_words(&reply.body).into();
    AcmeError::Nonsense { step, status: reply.status.as_u16(), excerpt }
}

/// How an answer begins, without the tags of HTML.
fn first_words(body: &[u8]) -> String {
    let body = body.get(..LOOKED_AT).unwrap_or(body);
    let text = String::from_utf8_lossy(body);
    let mut plain = String::new();
    // What stands before the first tag, then what follows each one's end.
    for (index, part) in text.split('<').enumerate() {
        let shown = if index == 0 { part } else { part.split_once('>').unwrap_or_default().1 };
        plain.push(' ');
        plain.push_str(shown);
    }
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT).collect()
}

/// One problem of several: the first, with what is said of the others' names.
pub(crate) fn combined(failed: Vec<(HostPattern, Problem)>) -> Option<Problem> {
    let mut failed = failed.into_iter();
    let (name, mut first) = failed.next()?;
    let subproblem = |name: HostPattern, problem: &Problem| Subproblem {
        name: name.to_string().into(),
        kind: problem.kind,
        detail: problem.detail.clone(),
    };
    let others: Vec<_> = failed.map(|(name, problem)| subproblem(name, &problem)).collect();
    if !others.is_empty() {
        first.subproblems.insert(0, subproblem(name, &first));
        first.subproblems.extend(others);
    }
    Some(first)
}

/// Whether a CA may refuse an order for what it says of the certificate that it replaces (RFC 9773 section 5).
/// CAs say so in their own ways: an issuer that is theirs no more is malformed to some, and an order that
/// they have forgotten an error of their own. What is no reason costs one more request.
pub(crate) fn is_of_replaces(problem: &Problem) -> bool {
    use ProblemKind::{AlreadyReplaced, Conflict, Malformed, RateLimited};
    let said = problem.detail.as_str().to_ascii_lowercase();
    matches!(problem.kind, AlreadyReplaced | Conflict | Malformed)
        || (problem.kind != RateLimited
            && (said.contains("replace") || said.contains("certificate")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
    use time::OffsetDateTime;

    use super::*;

    fn reply(status: u16, body: &'static str, retry_after: Option<&str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn problem(reply: &Reply) -> Problem {
        let refused = refusal(Step::Order, reply, Some(ChallengeMethod::Http01));
        let AcmeError::Refused(problem) = refused else { panic!("{refused:?}") };
        *problem
    }

    #[test]
    fn keeps_all_that_a_problem_says() {
        let body = r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many",
            "status": 200, "subproblems": [{"type": "urn:ietf:params:acme:error:caa",
            "detail": "no", "identifier": {"type": "dns", "value": "a.test"}}]}"#;
        let read = problem(&reply(429, body, Some("60")));
        // The status is that of the answer, whatever the body says.
        assert_eq!(read.status, Some(429));
        assert_eq!(read.kind, ProblemKind::RateLimited);
        assert_eq!(read.detail.as_str(), "too many");
        assert_eq!(read.retry_after, Some(OffsetDateTime::from_unix_timestamp(60).unwrap()));
        assert_eq!(read.method, Some(ChallengeMethod::Http01));
        assert_eq!(read.subproblems[0].kind, ProblemKind::Caa);
        assert_eq!(read.subproblems[0].name.as_str(), "a.test");
    }

    #[test]
    fn what_is_not_there_needs_no_words() {
        let read = problem(&reply(404, "", None));
        assert_eq!((read.kind, read.status), (ProblemKind::Unlisted, Some(404)));
        assert!(problem(&reply(410, "<p>gone</p>", None)).detail.as_str() == "gone");
    }

    #[test]
    fn a_page_that_asks_to_wait_is_a_rate_limit_and_another_is_nonsense() {
        let page = "<html><head><title>Slow down</title></head>\n<body>please &amp; thanks</body>";
        let read = problem(&reply(429, page, None));
        assert_eq!(read.kind, ProblemKind::RateLimited);
        assert_eq!(read.detail.as_str(), "Slow down please &amp; thanks");
        let read = problem(&reply(503, page, Some("60")));
        assert_eq!((read.kind, read.status), (ProblemKind::ServerInternal, Some(503)));

        for (status, body, words) in [
            (502, "<h1>Bad gateway</h1>", "Bad gateway"),
            (500, "", ""),
            (403, "[1, 2]", "[1, 2]"),
            (400, "{}", "{}"),
            (500, "<", ""),
        ] {
            let read = refusal(Step::Order, &reply(status, body, None), None);
            let AcmeError::Nonsense { status: own, excerpt, .. } = read else { panic!("{read:?}") };
            assert_eq!((own, excerpt.as_str()), (status, words), "{body}");
        }
    }

    #[test]
    fn a_ca_has_many_words_for_what_it_does_not_want_replaced() {
        let table = [
            (409, "alreadyReplaced", "it was replaced before", true),
            (400, "malformed", "parsing ARI CertID failed: no known issuer", true),
            (500, "serverInternal", "could not find an order for the given certificate", true),
            (403, "unauthorized", "it replaces what is not yours", true),
            (429, "rateLimited", "too many certificates already issued", false),
            (403, "rejectedIdentifier", "by policy", false),
            (503, "serverInternal", "busy", false),
        ];
        for (status, kind, detail, expected) in table {
            let document = Document {
                kind: Some(format!("urn:ietf:params:acme:error:{kind}")),
                title: None,
                detail: Some(detail.to_owned()),
                subproblems: Vec::new(),
            };
            let status = StatusCode::from_u16(status).unwrap();
            let problem = document.into_problem(Step::Order, Some(status.as_u16()));
            assert_eq!(is_of_replaces(&problem), expected, "{kind} {detail}");
        }
    }
}
