use std::net::IpAddr;

use landfall_model::{AuthorityName, ChallengeMethod, HostPattern};
use time::{Duration, OffsetDateTime};

use super::*;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn problem(kind: &str, method: Option<ChallengeMethod>, detail: &str) -> Problem {
    Problem {
        step: if method.is_some() { Step::Validation } else { Step::Order },
        status: None,
        kind: ProblemKind::from_urn(kind),
        detail: detail.into(),
        subproblems: Vec::new(),
        retry_after: None,
        method,
    }
}

fn judged(trouble: &Trouble) -> Failure {
    let authority: AuthorityName = "lets_encrypt".parse().unwrap();
    let name: HostPattern = "www.shop.test".parse().unwrap();
    let addresses: [IpAddr; 2] = ["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let setting = Setting {
        now: now(),
        authority: &authority,
        caa_identity: Some("letsencrypt.org"),
        name: &name,
        addresses: &addresses,
    };
    classify(trouble, &setting)
}

/// The class and remedy of a problem of each kind, as CAs word them.
#[test]
fn classes_what_a_ca_says() {
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};
    use FailureClass as C;
    let account = Remedy::Operator { scope: HoldScope::Account };
    let cases = [
        ("dns", Some(Http01), "DNS problem: SERVFAIL looking up A", C::DnsBroken, Remedy::Backoff),
        ("dns", Some(Http01), "DNS problem: NXDOMAIN looking up A", C::DnsNotHere, Remedy::DnsLoop),
        ("connection", Some(Http01), "203.0.113.1: Timeout", C::Connection, Remedy::Backoff),
        ("connection", Some(Http01), "Connection reset", C::Connection, Remedy::Backoff),
        ("connection", Some(Http01), "198.51.100.7: Timeout", C::StaleAddress, Remedy::Backoff),
        ("connection", Some(Http01), "could not resolve", C::DnsNotHere, Remedy::DnsLoop),
        (
            "unauthorized",
            Some(Http01),
            "203.0.113.1: Invalid: 404",
            C::WrongAnswer,
            Remedy::Backoff,
        ),
        ("unauthorized", Some(Http01), "2001:db8::7: 404", C::StaleAddress, Remedy::Backoff),
        ("incorrectResponse", Some(Http01), "did not match", C::WrongAnswer, Remedy::Backoff),
        ("unauthorized", Some(Dns01), "Incorrect TXT record", C::WrongAnswer, Remedy::Backoff),
        ("tls", Some(TlsAlpn01), "Cannot negotiate ALPN", C::AlpnRefused, Remedy::OtherMethod),
        ("caa", Some(Http01), "CAA record forbids", C::CaaForbids, Remedy::OtherAuthority),
        (
            "connection",
            Some(Http01),
            "During secondary validation: 203.0.113.1: Timeout",
            C::PerspectivesDiffer,
            Remedy::Backoff,
        ),
        ("rejectedIdentifier", None, "policy forbids", C::NameRefused, Remedy::Terminal),
        ("alreadyReplaced", None, "", C::ReplacesRefused, Remedy::WithoutReplaces),
        ("conflict", None, "is replaced", C::ReplacesRefused, Remedy::WithoutReplaces),
        ("malformed", None, "bad \"replaces\" field", C::ReplacesRefused, Remedy::WithoutReplaces),
        ("badNonce", None, "", C::NonceRefused, Remedy::Soon),
        ("serverInternal", None, "", C::AuthorityBusy, Remedy::Soon),
        ("accountDoesNotExist", None, "", C::AccountGone, Remedy::Soon),
        ("unauthorized", None, "Account is deactivated", C::AccountGone, account),
        ("externalAccountRequired", None, "", C::AccountRefused, account),
        ("userActionRequired", None, "", C::AccountRefused, account),
        (
            "invalidProfile",
            None,
            "",
            C::ProfileRefused,
            Remedy::Operator { scope: HoldScope::Authority },
        ),
        ("badCSR", None, "", C::RequestRefused, Remedy::Backoff),
        ("eclipse", None, "", C::RequestRefused, Remedy::Backoff),
    ];
    for (kind, method, detail, class, remedy) in cases {
        let failure = judged(&Trouble::Problem(problem(kind, method, detail)));
        assert_eq!((failure.class, failure.remedy), (class, remedy), "{kind} {detail}");
        let words = (!detail.is_empty()).then(|| Words::from(detail));
        assert_eq!(failure.words, words, "{kind} {detail}");
    }
}

#[test]
fn reads_from_the_cas_words_for_whom_a_limit_holds() {
    use HoldScope::{Account, Authority, Name, RegisteredDomain};
    let cases = [
        ("too many new orders (300) from this account in the last 3h0m0s", Account, 10),
        ("too many certificates (50) already issued for \"shop.test\"", RegisteredDomain, 240),
        ("too many certificates (5) already issued for this exact set of identifiers", Name, 60),
        ("too many failed authorizations (5) for \"www.shop.test\"", Name, 60),
        ("Service busy; retry later.", Authority, 60),
    ];
    for (detail, scope, minutes) in cases {
        let failure = judged(&Trouble::Problem(problem("rateLimited", None, detail)));
        let until = now() + Duration::minutes(minutes);
        assert_eq!(failure.remedy, Remedy::RetryAfter { scope, until }, "{detail}");
        assert_eq!(failure.class, FailureClass::RateLimited, "{detail}");
    }
}

#[test]
fn waits_as_long_as_the_ca_says_within_bounds() {
    let cases = [
        (Some(now() + Duration::minutes(7)), "", now() + Duration::minutes(7)),
        (Some(now() + Duration::days(400)), "", now() + Duration::hours(6)),
        (Some(now() - Duration::days(400)), "", now() + Duration::hours(1)),
        (None, "retry after 2027-01-15 09:00:00 UTC", now() + Duration::hours(1)),
        (None, "retry after 2027-01-15 10:00:00 UTC", now() + Duration::hours(2)),
    ];
    for (retry_after, detail, until) in cases {
        let problem = Problem { status: Some(429), retry_after, ..problem("", None, detail) };
        let failure = judged(&Trouble::Problem(problem));
        let remedy = Remedy::RetryAfter { scope: HoldScope::Authority, until };
        assert_eq!(failure.remedy, remedy, "{retry_after:?} {detail}");
    }
    let busy = Problem {
        status: Some(503),
        retry_after: Some(now() + Duration::days(3_650)),
        ..problem("", None, "later")
    };
    let until = now() + Duration::HOUR;
    let remedy = Remedy::RetryAfter { scope: HoldScope::Authority, until };
    assert_eq!(judged(&Trouble::Problem(busy)).remedy, remedy);
    let words = "too many certificates (50) already issued for \"shop.test\"";
    let domain = Problem {
        retry_after: Some(now() + Duration::days(400)),
        ..problem("rateLimited", None, words)
    };
    let until = now() + Duration::days(8);
    let remedy = Remedy::RetryAfter { scope: HoldScope::RegisteredDomain, until };
    assert_eq!(judged(&Trouble::Problem(domain)).remedy, remedy, "for some names alone");
}

#[test]
fn the_status_decides_where_there_is_no_kind() {
    use FailureClass as C;
    let cases = [
        (503, Step::Order, C::AuthorityBusy),
        (500, Step::Directory, C::AuthorityBusy),
        (404, Step::Order, C::OrderGone),
        (404, Step::Account, C::RequestRefused),
        (403, Step::Finalize, C::RequestRefused),
    ];
    for (status, step, class) in cases {
        let problem = Problem { status: Some(status), step, ..problem("", None, "") };
        assert_eq!(judged(&Trouble::Problem(problem)).class, class, "{status} {step:?}");
    }
}

#[test]
fn looks_into_a_compound_problem() {
    let sub = |kind, detail: &str| Subproblem {
        name: "www.shop.test".into(),
        kind: ProblemKind::from_urn(kind),
        detail: detail.into(),
    };
    let subproblems = vec![sub("compound", ""), sub("caa", "forbids")];
    let compound = Problem { subproblems, ..problem("compound", None, "several") };
    let failure = judged(&Trouble::Problem(compound));
    assert_eq!(failure.class, FailureClass::CaaForbids);
    assert_eq!(failure.words, Some("forbids".into()));
}

#[test]
fn classes_what_no_ca_said() {
    use FailureClass as C;
    let nonsense = |status, step| Trouble::Nonsense { step, status, excerpt: "<html>".into() };
    let challenge = |failed: &[&str]| {
        Trouble::Precheck(Precheck::Challenge {
            method: ChallengeMethod::Http01,
            failed: failed.iter().map(|pop| Words::from(*pop)).collect(),
            asked: 3,
            detail: "404".into(),
        })
    };
    let authority = Remedy::Operator { scope: HoldScope::Authority };
    let cases = [
        (Trouble::Precheck(Precheck::Dns { advice: "x".into() }), C::DnsNotHere, Remedy::DnsLoop),
        (
            Trouble::Precheck(Precheck::Caa { at: "x".into(), identity: "".into() }),
            C::CaaForbids,
            Remedy::OtherAuthority,
        ),
        (challenge(&["fra1"]), C::PopUnreachable, Remedy::Soon),
        (challenge(&["fra1", "fra2", "fra3"]), C::ChallengeUnreachable, Remedy::OtherMethod),
        (
            Trouble::NoConnection { step: Step::Directory, detail: "refused".into() },
            C::AuthorityDown,
            Remedy::Soon,
        ),
        (Trouble::Slow { step: Step::Order, waited: 20 }, C::AuthoritySlow, Remedy::Soon),
        (nonsense(200, Step::Order), C::AuthorityNonsense, Remedy::Soon),
        (nonsense(502, Step::Order), C::AuthorityBusy, Remedy::Soon),
        (nonsense(404, Step::Directory), C::BadDirectory, authority),
        (Trouble::BadDirectory { detail: "no newOrder".into() }, C::BadDirectory, authority),
        (Trouble::OrderInvalid { detail: "".into() }, C::OrderInvalid, Remedy::Backoff),
        (Trouble::OrderExpired, C::OrderGone, Remedy::Soon),
        (Trouble::BadChain { detail: "x".into() }, C::BadChain, Remedy::OtherAuthority),
        (Trouble::ClockOff { ours: now(), theirs: now() }, C::ClockOff, Remedy::Soon),
        (Trouble::ControlClockOff { ours: now(), theirs: now() }, C::ControlClock, Remedy::Soon),
        (Trouble::NoGroupKey { key_id: "k".into() }, C::GroupKey, Remedy::Soon),
        (Trouble::AccountSealed { key_id: "k".into() }, C::AccountSealed, Remedy::Soon),
        (Trouble::Disk { detail: "ENOSPC".into() }, C::Disk, Remedy::Soon),
        (Trouble::Upload { detail: "x".into() }, C::Upload, Remedy::Soon),
        (
            Trouble::AccountUnusable { detail: "".into() },
            C::AccountUnusable,
            Remedy::Operator { scope: HoldScope::Account },
        ),
        (Trouble::LeaseLost, C::LeaseLost, Remedy::Soon),
    ];
    for (trouble, class, remedy) in cases {
        let failure = judged(&trouble);
        assert_eq!((failure.class, failure.remedy), (class, remedy), "{trouble:?}");
    }
}

#[test]
fn tells_the_owner_facts() {
    use ChallengeMethod::{Dns01, Http01};
    let ca = |kind, method, detail| Trouble::Problem(problem(kind, Some(method), detail));
    let cases = [
        (ca("connection", Http01, "198.51.100.7: Timeout"), "stale A record 198.51.100.7 of www"),
        (ca("connection", Http01, "2001:db8::7: Timeout"), "stale AAAA record 2001:db8::7"),
        (ca("connection", Http01, "Connection reset"), "connect to www.shop.test: check"),
        (ca("unauthorized", Http01, "404"), "Another server answered"),
        (ca("unauthorized", Dns01, "Incorrect"), "_acme-challenge.www.shop.test"),
        (ca("dns", Http01, "SERVFAIL"), "DNSSEC"),
        (ca("caa", Http01, "no"), "`CAA 0 issue \"letsencrypt.org\"` at www.shop.test"),
        (
            Trouble::Precheck(Precheck::Caa {
                at: "shop.test".into(),
                identity: "own.test".into(),
            }),
            "`CAA 0 issue \"letsencrypt.org\"` at shop.test",
        ),
        (Trouble::Precheck(Precheck::Dns { advice: "Make a CNAME.".into() }), "Make a CNAME."),
        (
            Trouble::Precheck(Precheck::TxtMissing { name: "_acme-challenge.shop.test".into() }),
            "_acme-challenge.shop.test",
        ),
        (
            Trouble::Precheck(Precheck::NotDelegated {
                name: "_acme-challenge.shop.test".into(),
                target: "x.dcv.test".into(),
            }),
            "CNAME record _acme-challenge.shop.test that points at x.dcv.test",
        ),
        (Trouble::Problem(problem("rateLimited", None, "")), "after 2027-01-15 09:00 UTC"),
        (Trouble::Slow { step: Step::Order, waited: 20 }, "temporarily unavailable"),
    ];
    for (trouble, part) in cases {
        let told = judged(&trouble).owner.unwrap_or_default();
        assert!(told.contains(part), "{trouble:?}: {told}");
    }
}

#[test]
fn tells_the_operator_what_only_they_can_mend() {
    let slow = Trouble::Precheck(Precheck::Challenge {
        method: ChallengeMethod::Http01,
        failed: vec!["fra1".into()],
        asked: 3,
        detail: "".into(),
    });
    let failure = judged(&slow);
    let said = "1 of 3 PoPs did not answer the http-01 challenge: fra1.";
    assert_eq!(failure.operator.as_deref(), Some(said));
    let dead = problem("connection", Some(ChallengeMethod::Http01), "203.0.113.1: refused");
    let failure = judged(&Trouble::Problem(dead));
    assert!(failure.operator.unwrap().contains("connect to 203.0.113.1, which is a PoP's"));
    assert_eq!(failure.owner, None);
    for kind in ["accountDoesNotExist", "userActionRequired", "invalidProfile"] {
        let failure = judged(&Trouble::Problem(problem(kind, None, "")));
        assert!(failure.operator.is_some() && failure.owner.is_none(), "{kind}");
    }
}

#[test]
fn a_clock_that_differs_from_the_cas_may_be_either() {
    let failure = judged(&Trouble::ClockOff { ours: now(), theirs: now() + Duration::hours(2) });
    let operator = failure.operator.unwrap_or_default();
    assert!(operator.contains("7200 s ahead of the agent's and the control plane's"), "{operator}");
    assert!(operator.contains("or both of ours"), "{operator}");
    let failure = judged(&Trouble::ClockOff { ours: now(), theirs: now() - Duration::hours(2) });
    assert!(failure.operator.unwrap_or_default().contains("7200 s behind"));
}

#[test]
fn an_authorization_is_spent_only_at_the_ca() {
    let tried = problem("connection", Some(ChallengeMethod::Http01), "");
    assert!(Trouble::Problem(tried).spends_an_authorization());
    assert!(!Trouble::Problem(problem("rateLimited", None, "")).spends_an_authorization());
    let dns = Trouble::Precheck(Precheck::Dns { advice: Words::default() });
    assert!(!dns.spends_an_authorization());
}

#[test]
fn a_ca_whose_roots_are_others_is_told_with_the_key_to_mend() {
    let detail = "error sending request: invalid peer certificate: UnknownIssuer".into();
    let told = judged(&Trouble::NoConnection { step: Step::Directory, detail }).operator;
    let told = told.unwrap_or_default();
    assert!(told.contains("issuance.authority.lets_encrypt.roots_file"), "{told}");
}
