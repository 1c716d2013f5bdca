use proptest::prelude::*;

use super::*;

#[test]
fn normalises_to_lower_case_a_labels_without_trailing_dot() {
    let table = [
        ("example.com", "example.com"),
        ("WWW.Example.COM", "www.example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-1.b2.c3d", "a-1.b2.c3d"),
    ];
    for (given, expected) in table {
        assert_eq!(given.parse::<Hostname>().unwrap().as_str(), expected, "{given}");
    }
}

#[test]
fn refuses_what_is_not_a_hostname_and_says_why() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{}example.com", "abcdefgh.".repeat(28));
    let table = [
        ("", NameError::Empty),
        (".", NameError::Empty),
        ("localhost", NameError::SingleLabel),
        ("a..b", NameError::EmptyLabel),
        (".a.b", NameError::EmptyLabel),
        ("a.b..", NameError::EmptyLabel),
        ("-a.example", NameError::HyphenAtEdge),
        ("a-.example", NameError::HyphenAtEdge),
        ("a_b.example", NameError::InvalidCharacter),
        ("a b.example", NameError::InvalidCharacter),
        ("a/b.example", NameError::InvalidCharacter),
        ("a\0.example", NameError::InvalidCharacter),
        ("xn--\u{fc}.example", NameError::InvalidCharacter),
        ("xn--zzzzzzzzzzz9.example", NameError::InvalidCharacter),
        ("127.0.0.1", NameError::IpAddress),
        ("::1", NameError::IpAddress),
        ("[::1]", NameError::IpAddress),
        ("10.0.0.999", NameError::IpAddress),
        ("*.example.com", NameError::MisplacedWildcard),
        (&long_label, NameError::LabelTooLong),
        (&long_name, NameError::TooLong),
    ];
    for (given, expected) in table {
        assert_eq!(given.parse::<Hostname>(), Err(expected), "{given:?}");
    }
}

#[test]
fn wildcard_covers_exactly_one_label() {
    let pattern: HostPattern = "*.Example.com".parse().unwrap();
    let covers = |name: &str| pattern.covers(&name.parse().unwrap());
    assert!(covers("a.example.com"));
    assert!(!covers("example.com"));
    assert!(!covers("a.b.example.com"));
    assert!(!covers("badexample.com"));
    assert_eq!(pattern.to_string(), "*.example.com");
    for bad in
        ["*", "*.", "*.com", "a.*.com", "**.example.com", "*a.example.com", "*.*.example.com"]
    {
        assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
    }
}

#[test]
fn knows_what_is_under_a_suffix() {
    let suffix: Hostname = "demo.localhost".parse().unwrap();
    let under = |name: &str| name.parse::<Hostname>().unwrap().is_under(&suffix);
    assert!(under("shop.demo.localhost"));
    assert!(under("a.shop.demo.localhost"));
    assert!(!under("demo.localhost"));
    assert!(!under("notdemo.localhost"));
}

#[test]
fn reads_the_authority_of_a_request() {
    let table = [
        ("a.example", Some("a.example")),
        ("A.Example.:8443", Some("a.example")),
        ("a.example:", Some("a.example")),
        ("a.example:https", None),
        ("a.example:123456", None),
        ("[::1]:443", None),
        ("", None),
        (".", None),
        ("a example", None),
        ("b\u{fc}cher.example", None),
    ];
    for (given, expected) in table {
        let name = LookupName::from_authority(given);
        assert_eq!(name.as_ref().map(LookupName::as_str), expected, "{given:?}");
    }
}

#[test]
fn a_wildcard_answers_for_a_label_and_not_for_none() {
    let base = |text: &str| LookupName::from_sni(text).unwrap().wildcard_base().map(str::to_owned);
    assert_eq!(base("a.example.com").as_deref(), Some("example.com"));
    assert_eq!(base(".example.com"), None);
    assert_eq!(base("localhost"), None);
}

proptest! {
    #[test]
    fn never_panics_and_is_idempotent(text in "\\PC{0,300}") {
        if let Ok(name) = text.parse::<Hostname>() {
            prop_assert_eq!(&name.as_str().parse::<Hostname>().unwrap(), &name);
            let looked_up = LookupName::from_sni(name.as_str()).unwrap();
            prop_assert_eq!(looked_up.as_str(), name.as_str());
        }
        let _ = LookupName::from_authority(&text);
    }
}
