use std::path::Path;

use super::{fixtures::KEY, *};

fn check(text: &str) -> Result<EdgeConfig, Vec<Problem>> {
    let raw: RawEdgeConfig = toml::from_str(text).unwrap();
    raw.check(Path::new("/etc/landfall"))
}

fn least() -> String {
    format!(
        r#"
        [listen]
        https = ["[::]:443"]
        [feed]
        url = "https://control.example:8081/"
        token_file = "token"
        signing_keys = ["{KEY}"]
        [keys]
        group_key_files = ["group.key", "/run/group.key"]
        [state]
        directory = "state"
        "#
    )
}

#[test]
fn the_least_file_takes_every_default() {
    let config = check(&least()).unwrap();
    assert_eq!(config.listen.admin, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.feed.url, "https://control.example:8081");
    assert_eq!(config.feed.wait, Duration::from_secs(25));
    assert_eq!(config.feed.signing_keys, [KEY.parse().unwrap()]);
    assert_eq!(config.key_cache, 128 << 20);
    assert_eq!(config.limits.client_hello, 16 << 10);
    assert_eq!(config.limits.header_size, 32 << 10);
    assert_eq!(config.limits.h2_streams, 100);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(3));
    assert!(config.tracing.is_none());
    assert_eq!(config.server.drain, Duration::from_secs(5));
    assert_eq!(config.server.handover_drain, Duration::from_secs(600));
}

#[test]
fn relative_paths_are_those_of_the_file() {
    let config = check(&least()).unwrap();
    assert_eq!(config.feed.token_file, Path::new("/etc/landfall/token"));
    assert_eq!(
        config.group_key_files,
        [Path::new("/etc/landfall/group.key"), Path::new("/run/group.key")]
    );
    assert_eq!(config.server.run_directory, Path::new("/etc/landfall/state"));
}

#[test]
fn a_run_directory_is_refused_in_which_a_sockets_path_would_be_too_long() {
    let with =
        |directory: &str| check(&format!("{}\n[server]\nrun_directory = \"{directory}\"", least()));
    let longest = format!("/{}", "d".repeat(96));
    assert!(with(&longest).is_ok());
    let problems = with(&format!("{longest}d")).unwrap_err();
    assert_eq!(problems[0].key, "server.run_directory");
    assert!(problems[0].message.starts_with("expected a path of at most 97"), "{problems:?}");
}

#[test]
fn an_empty_file_says_all_that_is_missing() {
    let problems = check("").unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "listen.https",
            "feed.url",
            "feed.token_file",
            "feed.signing_keys",
            "keys.group_key_files",
            "state.directory"
        ]
    );
}

#[test]
fn resolvers_are_addresses_with_or_without_a_port() {
    for section in ["issuance", "upstream"] {
        let file = |text: &str| format!("{}\n[{section}]\nresolvers = [\"{text}\"]", least());
        let problems = check(&file("dns.example")).unwrap_err();
        assert_eq!(problems[0].key, format!("{section}.resolvers"));
        assert!(problems[0].message.contains("\"192.0.2.53\""), "{}", problems[0].message);
        for (text, port) in [("9.9.9.9", 53), ("9.9.9.9:5353", 5353), ("2620:fe::fe", 53)] {
            let config = check(&file(text)).unwrap();
            let found = match section {
                "issuance" => config.issuance.unwrap().dns.resolvers,
                _ => config.upstream.resolvers,
            };
            assert_eq!(found[0].port(), port, "{section} {text}");
        }
    }
}

#[test]
fn every_wrong_value_is_said_at_once() {
    let text = r#"
        [listen]
        https = ["443", "127.0.0.1:443", "127.0.0.1:443"]
        admin = "localhost"
        [feed]
        url = "ftp://user:secret@control.example"
        token_file = "token"
        signing_keys = ["ed25519:short"]
        wait = "5m"
        [keys]
        group_key_files = ["k"]
        [state]
        directory = "s"
        [store]
        key_cache = "1KiB"
        [limits]
        header_timeout = "0s"
        client_hello = "1GiB"
        h2_streams = 0
        [tracing]
        endpoint = "http://user:secret@collector"
        sample = 1.5
        queue = 0
        service_name = ""
        timeout = "0s"
        [server]
        threads = 0
    "#;
    let problems = check(text).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "listen.https",
            "listen.admin",
            "feed.url",
            "feed.signing_keys",
            "feed.wait",
            "store.key_cache",
            "limits.h2_streams",
            "limits.client_hello",
            "limits.header_timeout",
            "tracing.endpoint",
            "tracing.sample",
            "tracing.queue",
            "tracing.service_name",
            "tracing.timeout",
            "server.threads"
        ]
    );
    assert!(problems.iter().all(|problem| !problem.message.contains("secret")));
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    let text = least().replace(r#"["[::]:443"]"#, r#"["127.0.0.1:443", "127.0.0.1:443"]"#);
    let problems = check(&text).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("already taken"), "{problems:?}");
}

#[test]
fn traces_need_no_more_than_a_collector() {
    let config = check(&format!("{}\n[tracing]\nendpoint = \"http://[::1]:4318/\"", least()));
    let tracing = config.unwrap().tracing.unwrap();
    assert_eq!(tracing.endpoint, "http://[::1]:4318");
    assert_eq!(tracing.sample, Ratio::new(0.01).unwrap());
    assert_eq!(tracing.timeout, Duration::from_secs(10));
    assert_eq!(tracing.queue.get(), 2048);
    assert_eq!(tracing.service_name, "landfall-edge");
    assert_eq!(Ratio::new(f64::NAN), None);
}

#[test]
fn unknown_keys_are_refused() {
    let error = toml::from_str::<RawEdgeConfig>("[limits]\nheader_timout = \"1s\"").unwrap_err();
    assert!(error.to_string().contains("header_timout"));
}

#[test]
fn a_default_hostname_is_a_hostname() {
    let with = |name: &str| check(&(least() + &format!("[tls]\ndefault_hostname = \"{name}\"")));
    let name = with("WWW.Example.net").unwrap().default_hostname.unwrap();
    assert_eq!(name.as_str(), "www.example.net");
    for wrong in ["", "*.example.net", "192.0.2.1", "no name"] {
        let problems = with(wrong).unwrap_err();
        assert_eq!(problems.len(), 1, "{wrong}");
        assert_eq!(problems[0].key, "tls.default_hostname", "{wrong}");
    }
}
