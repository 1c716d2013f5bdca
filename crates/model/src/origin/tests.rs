use super::*;

#[test]
fn reads_an_origin_with_or_without_port() {
    let table = [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
        ("http://192.0.2.7", "http://192.0.2.7:80"),
        ("https://192.0.2.7", "https://192.0.2.7:443"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
        ("https://Origin.Example", "https://origin.example:443"),
        ("https://bücher.example:8443", "https://xn--bcher-kva.example:8443"),
    ];
    for (given, expected) in table {
        assert_eq!(given.parse::<Origin>().unwrap().to_string(), expected);
    }
}

#[test]
fn says_what_is_wrong_with_an_origin() {
    let text = |given: &str| given.parse::<Origin>().unwrap_err().to_string();
    assert!(text("127.0.0.1:80").contains("http://"));
    assert!(text("ftp://127.0.0.1").contains("http://"));
    let wrong = [
        "http://0.0.0.0:80",
        "http://127.0.0.1:0",
        "http://127.0.0.1:",
        "http://127.0.0.1:+80",
        "http://127.0.0.1:65536",
        "http://",
        "http://:80",
        "http://localhost",
        "http://a_b.example",
        "http://1.2.3",
        "http://[[2001:db8::1]]",
        "http://[2001:db8::1",
        "http://[127.0.0.1]",
        "http://2001:db8::1",
    ];
    for given in wrong {
        assert!(text(given).contains("no IP address or DNS name"), "{given}");
    }
    assert!(text("http://127.0.0.1/path").contains("has a path"));
    assert!(text("http://user@127.0.0.1").contains("has a path"));
}

#[test]
fn a_pool_says_nothing_of_what_is_the_default() {
    let pool: OriginPool =
        serde_json::from_str(r#"{"origins":[{"url":"http://192.0.2.1"}]}"#).unwrap();
    assert_eq!(pool, OriginPool::of("http://192.0.2.1".parse().unwrap()));
    assert!(pool.verify && pool.sni == OriginName::Origin);
    assert_eq!(pool.host_header, OriginName::Request);
    let json = serde_json::to_string(&pool).unwrap();
    assert_eq!(serde_json::from_str::<OriginPool>(&json).unwrap(), pool);
}

#[test]
fn a_pool_out_of_range_is_refused() {
    let origin = |text: &str| WeightedOrigin::from(text.parse::<Origin>().unwrap());
    let one = || OriginPool::of("http://192.0.2.1".parse().unwrap());
    assert_eq!(OriginPool::with(vec![]).checked(), Err(OriginPoolError::Count(0)));
    let twice = vec![origin("http://192.0.2.1"), origin("http://192.0.2.1:80")];
    assert!(matches!(OriginPool::with(twice).checked(), Err(OriginPoolError::Repeated(_))));
    let mut pool = one();
    pool.origins[0].weight = 0;
    assert_eq!(pool.checked(), Err(OriginPoolError::Weight(0)));
    let timeouts = OriginTimeouts { read_ms: Some(0), ..OriginTimeouts::default() };
    let refused = OriginPool { timeouts, ..one() }.checked().unwrap_err();
    assert_eq!(refused.to_string(), "readMs is from 1 to 86400000, got 0");
    let check = |json: &str| OriginPool {
        health_check: Some(serde_json::from_str(json).unwrap()),
        ..one()
    };
    assert!(check(r#"{"path":"/healthz"}"#).checked().is_ok());
    assert!(check(r#"{"path":"/","expectedStatus":100}"#).checked().is_err());
    assert!(serde_json::from_str::<HealthCheck>(r#"{"path":"x"}"#).is_err());
}

#[test]
fn a_name_for_an_origin_is_read_back() {
    for text in [":request_host_header:", ":origin:", "a.example"] {
        assert_eq!(text.parse::<OriginName>().unwrap().to_string(), text);
    }
    assert!(":other:".parse::<OriginName>().is_err());
}

#[test]
fn an_error_quotes_the_beginning_of_a_text_that_is_no_origin() {
    let (long, start) = ("x".repeat(1_000), format!("`{}…` ", "x".repeat(32)));
    let error = long.parse::<Origin>().unwrap_err().to_string();
    assert!(error.starts_with(&start), "{error}");
    let error = format!("{long} ").parse::<OriginName>().unwrap_err().to_string();
    assert!(error.starts_with(&start), "{error}");
    let error = format!("https://{long}").parse::<Origin>().unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}
