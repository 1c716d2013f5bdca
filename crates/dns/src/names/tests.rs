use hickory_resolver::proto::rr::Name;

use super::*;

fn hostname(text: &str) -> Hostname {
    text.parse().unwrap()
}

#[test]
fn an_apex_is_one_label_below_a_public_suffix() {
    for name in ["example.com", "shop.co.uk", "me.github.io", "shop.test"] {
        assert!(is_apex(&hostname(name)), "{name}");
    }
    for name in ["www.example.com", "co.uk", "github.io", "a.me.github.io"] {
        assert!(!is_apex(&hostname(name)), "{name}");
    }
}

#[test]
fn public_suffixes_are_registries_and_providers() {
    for name in ["co.uk", "github.io", "herokuapp.com", "xn--55qx5d.cn"] {
        assert!(is_public_suffix(&hostname(name)), "{name}");
    }
    for name in ["example.com", "a.co.uk", "me.github.io"] {
        assert!(!is_public_suffix(&hostname(name)), "{name}");
    }
}

#[test]
fn certificates_are_counted_by_registered_domain() {
    let cases = [
        ("a.b.example.com", Some("example.com")),
        ("example.com", Some("example.com")),
        ("www.shop.co.uk", Some("shop.co.uk")),
        ("a.me.github.io", Some("me.github.io")),
        ("co.uk", None),
    ];
    for (name, domain) in cases {
        assert_eq!(registered_domain(&hostname(name)), domain.map(hostname), "{name}");
    }
}

#[test]
fn goes_up_to_the_top_level() {
    let name = absolute("a.b.example.com").unwrap();
    let names: Vec<String> = upwards(&name).map(|name| shown(&name)).collect();
    assert_eq!(names, ["a.b.example.com", "b.example.com", "example.com", "com"]);
}

#[test]
fn shows_any_bytes_of_a_name() {
    let cases: [(&[&[u8]], &str); 5] = [
        (&[b"WWW", b"Shop", b"test"], "www.shop.test"),
        (&[b"_acme", b"test"], "_acme.test"),
        (&[b"a.b", b"\\", b"test"], "a\\.b.\\\\.test"),
        (&[b"\0\n\x7f\xff ", b"test"], "\\000\\010\\127\\255\\032.test"),
        (&[], "."),
    ];
    for (labels, text) in cases {
        assert_eq!(shown(&Name::from_labels(labels.iter().copied()).unwrap()), text);
    }
}

#[test]
fn a_wildcard_is_a_question_of_its_own() {
    let name = question(&"*.shop.test".parse().unwrap()).unwrap();
    assert_eq!(shown(&name), "*.shop.test");
    let longest = format!(
        "{}.test",
        ["a".repeat(62), "b".repeat(62), "c".repeat(62), "d".repeat(59)].join(".")
    );
    assert_eq!(longest.len(), 253);
    assert!(question(&HostPattern::Exact(hostname(&longest))).is_some());
    assert!(question(&HostPattern::Wildcard(hostname(&longest))).is_none());
}
