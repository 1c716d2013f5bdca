use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    listen: Listen,
    extra: BTreeMap<String, u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listen {
    https: Vec<SocketAddr>,
    threads: Option<u16>,
    verbose: Option<bool>,
}

fn check(raw: Raw, _base: &Path) -> Result<Raw, Vec<Problem>> {
    let mut problems = Vec::new();
    if raw.name.is_none() {
        problems.push(Problem::new("name", "required: a name"));
    }
    if raw.listen.https.is_empty() {
        problems.push(Problem::new("listen.https", "required: at least one address"));
    }
    if raw.listen.threads == Some(0) {
        problems.push(Problem::new("listen.threads", "expected at least 1, got 0"));
    }
    if problems.is_empty() { Ok(raw) } else { Err(problems) }
}

fn load(text: &str) -> Result<Raw, ConfigError> {
    ConfigFile { path: "edge.toml".into(), text: text.to_owned() }.load(check)
}

fn errors(text: &str) -> Vec<String> {
    load(text).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn reads_a_file_that_is_right() {
    let raw = load("name = 'x'\n[listen]\nhttps = ['[::]:443']\n").unwrap();
    assert_eq!(raw.name.as_deref(), Some("x"));
    assert_eq!(raw.listen.https, ["[::]:443".parse().unwrap()]);
}

#[test]
fn says_every_error_at_once_in_the_order_of_the_file() {
    let text = "name = 3\n[listen]\nhttps = ['soon', '127.0.0.1:1', 'later']\nthread = 2\nverbose = 'no'\n\n[extra]\na = 99999\n";
    assert_eq!(
        errors(text),
        [
            "edge.toml:1: name: expected a string, got 3",
            "edge.toml:3: listen.https: expected an address and a port such as \"127.0.0.1:8443\", got 'soon'",
            "edge.toml:3: listen.https: expected an address and a port such as \"127.0.0.1:8443\", got 'later'",
            "edge.toml:4: listen.thread: unknown key; did you mean `threads`?",
            "edge.toml:5: listen.verbose: expected true or false, got 'no'",
            "edge.toml:8: extra.a: expected a number from 0 to 65535, got 99999",
        ]
    );
}

#[test]
fn a_value_that_did_not_parse_is_not_also_called_missing() {
    assert_eq!(
        errors("name = 'x'\nlisten = { https = 'here' }\n"),
        ["edge.toml:2: listen.https: expected a list, got 'here'"]
    );
}

#[test]
fn a_missing_key_has_the_line_of_its_table_or_none() {
    assert_eq!(
        errors("[listen]\nthreads = 0\n"),
        [
            "edge.toml:1: listen.https: required: at least one address",
            "edge.toml:2: listen.threads: expected at least 1, got 0",
            "edge.toml: name: required: a name",
        ]
    );
}

#[test]
fn an_unknown_table_is_named_where_it_stands() {
    let text = "name = 'x'\n[listen]\nhttps = ['[::]:443']\n[limts]\na = 1\n";
    assert_eq!(
        errors(text),
        ["edge.toml:4: limts: unknown key; expected one of `name`, `listen`, `extra`"]
    );
}

#[test]
fn a_table_of_the_wrong_type_is_one_error() {
    assert_eq!(
        errors("name = 'x'\nlisten = 7\n[extra]\n"),
        ["edge.toml:2: listen: expected a table, got 7"]
    );
}

#[test]
fn a_text_that_is_no_toml_is_one_error_with_its_line() {
    let errors = errors("name = 'x'\n[listen\nhttps = 3\n");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("edge.toml:2: not TOML: "), "{errors:?}");
}

#[test]
fn gives_up_on_a_file_with_too_many_errors() {
    let text: String = (0..300).map(|n| format!("wrong{n} = 1\n")).collect();
    assert_eq!(errors(&text).len(), MAX_ROUNDS);
}

#[test]
fn tells_the_two_kinds_of_file_apart() {
    let kind = |text: &str| ConfigFile { path: "f".into(), text: text.to_owned() }.kind().unwrap();
    assert_eq!(kind("system_domain = 'x.example'"), ConfigKind::Control);
    assert_eq!(kind("[api]"), ConfigKind::Control);
    assert_eq!(kind("[listen]"), ConfigKind::Edge);
}
