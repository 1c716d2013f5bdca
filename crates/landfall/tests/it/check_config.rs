//! `landfall check-config`, and the examples in `config/`.

use std::{fs, path::Path};

use crate::{landfall, root, stderr, stdout};

fn check(text: &str) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    fs::write(&path, text).unwrap();
    let output = landfall(&["check-config", path.to_str().unwrap()]);
    let prefix = format!("{}:", path.display());
    let lines = stderr(&output).lines().map(|line| line.replace(&prefix, "")).collect();
    (output.status.code(), lines)
}

#[test]
fn every_example_is_right() {
    for entry in fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        let output = landfall(&["check-config", path.to_str().unwrap()]);
        let whose = match path.file_name().and_then(|name| name.to_str()) {
            Some("control.toml") => "a control plane's",
            _ => "an edge's",
        };
        let ok = "config is ok; the files that it names were not looked at";
        let expected = format!("{}: {whose} {ok}\n", path.display());
        assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    }
}

#[test]
fn the_defaults_that_an_example_shows_are_keys_that_exist() {
    for name in ["control.toml", "edge.toml"] {
        let text = fs::read_to_string(root().join("config").join(name)).unwrap();
        let is_default = |line: &str| line.starts_with("# ") && line.contains(" = ");
        let shown = text.lines().filter(|line| is_default(line)).count();
        assert!(shown > 5, "{name} shows {shown} defaults");
        let lines = text.lines().map(|line| match is_default(line) {
            true => line.trim_start_matches("# "),
            false => line,
        });
        let (status, errors) = check(&lines.collect::<Vec<_>>().join("\n"));
        assert_eq!((status, errors), (Some(0), Vec::new()), "{name}");
    }
}

#[test]
fn names_every_error_with_its_line_and_exits_with_64() {
    let (status, lines) = check(
        "[listen]
https = [\"here\"]
htp = []

[feed]
url = 7
wait = \"soon\"

[keys]
group_key_files = [\"group.key\"]

[store]
key_cache = \"much\"

[limits]
header_count = 0
h2_streams = -1
",
    );
    assert_eq!(status, Some(64));
    let expected = [
        "2: listen.https: expected an IP address and a port such as \"[::]:443\", got \"here\"",
        "3: listen.htp: unknown key; did you mean `http`?",
        "5: feed.token_file: required: a path",
        "5: feed.signing_keys: required: at least one \"ed25519:…\"",
        "6: feed.url: expected a string, got 7",
        "7: feed.wait: expected a duration such as \"10s\", got \"soon\"",
        "13: store.key_cache: expected a size such as \"64KiB\", got \"much\"",
        "16: limits.header_count: expected at least 1",
        "17: limits.h2_streams: expected a whole number from 0, got -1",
        " state.directory: required: a path",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn takes_a_file_with_a_system_domain_for_the_control_planes() {
    let (status, lines) = check("system_domain = \"edge.example.net\"\n");
    assert_eq!(status, Some(64));
    assert!(lines.iter().any(|line| line.contains("keys.group_public_key_file")), "{lines:?}");
}

#[test]
fn names_a_file_that_is_missing() {
    let output = landfall(&["check-config", "no-such-file.toml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("no-such-file.toml"), "{}", stderr(&output));
    assert!(stderr(&output).contains("No such file"), "{}", stderr(&output));
}

#[test]
fn names_what_is_wrong_with_the_files_that_a_config_names() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    assert!(landfall(&["keys", "init", "--dir", keys.to_str().unwrap()]).status.success());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("token"), "lfp_1_x").unwrap();
    fs::write(path("ca.pem"), "none").unwrap();
    let edge = "[listen]\nhttps = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\n\
                [feed]\nurl = \"http://127.0.0.1:1\"\ntoken_file = \"token\"\n\
                signing_keys = [\"ed25519:JgQxmz2pdw2lUIOqdswJO3Q9JjkhfdPWIBBFmjsqjmo\"]\n\n\
                [keys]\ngroup_key_files = [\"keys/group.key\", \"keys/group.pub\", \"gone.key\"]\n\n\
                [state]\ndirectory = \"state\"\n\n[upstream]\nca_file = \"ca.pem\"\n";
    fs::write(path("edge.toml"), edge).unwrap();
    let control = "system_domain = \"edge.example.net\"\n\n[state]\ndirectory = \"control\"\n\n\
                   [keys]\ngroup_public_key_file = \"keys/group.pub\"\n\n\
                   [issuance]\ncertificate_authorities = [\"own\"]\n\n[issuance.authority.own]\n\
                   directory = \"https://ca.example/directory\"\nroots_file = \"ca.pem\"\n";
    fs::write(path("control.toml"), control).unwrap();
    let check = |name: &str| {
        let output = landfall(&["check-config", "--files", path(name).to_str().unwrap()]);
        (output.status.code(), stderr(&output).replace(folder.path().to_str().unwrap(), ""))
    };
    let (status, lines) = check("edge.toml");
    assert_eq!(status, Some(64), "{lines}");
    for expected in [
        "edge.toml:7: feed.token_file: a secret can't be read: /token is open to others (mode 0644)",
        "edge.toml:11: keys.group_key_files: a secret can't be read: /keys/group.pub is open to others",
        "edge.toml:11: keys.group_key_files: a secret can't be read: cannot read /gone.key: No such",
        "upstream.ca_file: /ca.pem has no certificate that can be a root",
    ] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
    assert!(!lines.contains("group.key "), "{lines}");
    let (status, lines) = check("control.toml");
    assert_eq!(status, Some(64), "{lines}");
    assert!(lines.contains("roots_file is no PEM of certificates"), "{lines}");
    assert!(!path("state").exists() && !path("control").exists());
}

#[test]
fn servers_refuse_a_wrong_config_before_they_make_anything() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["control", "edge"] {
        let path = folder.path().join("wrong.toml");
        fs::write(&path, "[state]\ndirectory = \"state\"\nwrong = 1\n").unwrap();
        let output = landfall(&[kind, "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        assert!(stderr(&output).contains("wrong.toml:3: state.wrong"), "{}", stderr(&output));
        assert!(!Path::new(&folder.path().join("state")).exists());
    }
}
