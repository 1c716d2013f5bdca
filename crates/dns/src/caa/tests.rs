use super::*;

fn cas() -> [CaIdentity; 1] {
    let domains = vec!["ours.test".to_owned(), "also-ours.test".to_owned()];
    [CaIdentity { name: "ours".to_owned(), domains }]
}

/// Records such as `0 issue ours.test`.
fn records(texts: &[&str]) -> Vec<CAA> {
    let record = |text: &&str| {
        let mut parts = text.splitn(3, ' ');
        let critical = parts.next() == Some("128");
        let mut record = CAA::new_issue(critical, None, Vec::new());
        record.tag = parts.next().unwrap().to_owned();
        record.value = parts.next().unwrap_or_default().as_bytes().to_vec();
        record
    };
    texts.iter().map(record).collect()
}

#[test]
fn judges_the_records_for_a_name_and_for_a_wildcard() {
    use CaaVerdict::{Forbidden, Permitted};
    let cases: &[(&[&str], CaaVerdict, CaaVerdict)] = &[
        (&["0 issue ours.test"], Permitted, Permitted),
        (&["0 issue also-ours.test"], Permitted, Permitted),
        (&["0 ISSUE Ours.TEST"], Permitted, Permitted),
        (
            &["0 issue  ours.test ; accounturi=https://x.test/1; validationmethods=dns-01"],
            Permitted,
            Permitted,
        ),
        (&["0 issue other.test", "0 issue ours.test"], Permitted, Permitted),
        (&["0 issue other.test"], Forbidden, Forbidden),
        (&["0 issue ;"], Forbidden, Forbidden),
        (&["0 issue "], Forbidden, Forbidden),
        (&["0 issue %%%"], Forbidden, Forbidden),
        (&["0 issue ours.test.evil.test"], Forbidden, Forbidden),
        (&["0 issue other.test; ours.test"], Forbidden, Forbidden),
        (&["0 issuewild ours.test"], Permitted, Permitted),
        (&["0 issuewild other.test"], Permitted, Forbidden),
        (&["0 issue ours.test", "0 issuewild ;"], Permitted, Forbidden),
        (&["0 issue other.test", "0 issuewild ours.test"], Forbidden, Permitted),
        (&["0 iodef mailto:a@x.test"], Permitted, Permitted),
        (&["128 iodef mailto:a@x.test"], Permitted, Permitted),
        (&["128 issue ours.test"], Permitted, Permitted),
        (&["0 future x"], Permitted, Permitted),
        (&["0 issue ours.test", "128 future x"], Forbidden, Forbidden),
    ];
    for (texts, exact, wildcard) in cases {
        let records = records(texts);
        assert_eq!(judge(&records, &"www.shop.test".parse().unwrap(), &cas()), *exact, "{texts:?}");
        assert_eq!(
            judge(&records, &"*.shop.test".parse().unwrap(), &cas()),
            *wildcard,
            "{texts:?}"
        );
    }
}

#[test]
fn tells_which_methods_the_records_of_our_cas_leave() {
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};
    let cases: &[(&[&str], Option<&[ChallengeMethod]>)] = &[
        (&["0 issue ours.test"], None),
        (&["0 issue other.test; validationmethods=dns-01"], None),
        (&["0 issue ours.test; validationmethods=dns-01"], Some(&[Dns01])),
        (&["0 issue ours.test; validationmethods=dns-01,http-01"], Some(&[Http01, Dns01])),
        (
            &[
                "0 issue ours.test; validationmethods=tls-alpn-01",
                "0 issue also-ours.test; validationmethods=dns-01",
            ],
            Some(&[TlsAlpn01, Dns01]),
        ),
        (&["0 issue ours.test; validationmethods=dns-01", "0 issue also-ours.test"], None),
        (&["0 issue ours.test; validationmethods=unheard-of"], None),
    ];
    for (texts, expected) in cases {
        let set = CaaSet::Found { at: "shop.test".to_owned(), records: records(texts) };
        let evidence = evidence(&set, &"www.shop.test".parse().unwrap(), &cas());
        assert_eq!(evidence.methods.as_deref(), *expected, "{texts:?}");
    }
}

#[test]
fn shows_records_without_judging_them_where_no_public_ca_is_to_issue() {
    let at = "shop.test".to_owned();
    let set = CaaSet::Found { at, records: records(&["128 issue other.test; x=\"\u{1}"]) };
    let evidence = evidence(&set, &"www.shop.test".parse().unwrap(), &[]);
    assert_eq!(evidence.verdict, CaaVerdict::NotJudged);
    assert_eq!(evidence.found_at.as_deref(), Some("shop.test"));
    assert_eq!(evidence.records, ["128 issue \"other.test; x=\\\"\\001\""]);
}

#[test]
fn what_cannot_be_looked_up_blocks_issuance() {
    let set = CaaSet::Failed { at: "shop.test".to_owned() };
    let evidence = evidence(&set, &"www.shop.test".parse().unwrap(), &cas());
    assert_eq!(evidence.verdict, CaaVerdict::Failed);
}

#[test]
fn a_hostname_with_many_labels_takes_no_more_questions_than_one_with_some() {
    let name = |labels: usize| absolute(&vec!["a"; labels].join(".")).unwrap();
    for (labels, questions) in [(1, 1), (3, 3), (16, 16), (17, 17), (118, 17)] {
        let names = asked(&name(labels));
        assert_eq!((names.len(), names.first()), (questions, Some(&name(labels))));
    }
}
