//! The operator's commands, before any server has run.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{landfall, stderr, stdout};

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// A control plane's config and the keys that it names.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let made = landfall(&["keys", "init", "--dir", keys.to_str().unwrap()]);
        assert!(made.status.success(), "{}", stderr(&made));
        let config = "system_domain = \"edge.example.net\"
            [state]\ndirectory = \"state\"
            [keys]\ngroup_public_key_file = \"keys/group.pub\"\n";
        fs::write(folder.path().join("control.toml"), config).unwrap();
        Self { folder }
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        let config = self.folder.path().join("control.toml");
        landfall(&[args, &["--config", config.to_str().unwrap()]].concat())
    }

    /// Standard output of a command that must succeed.
    fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).to_owned()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn makes_group_keys_once_and_never_overwrites_them() {
    let site = Site::new();
    let keys = site.folder.path().join("keys");
    let key = fs::read(keys.join("group.key")).unwrap();
    assert_eq!((mode(&keys), mode(&keys.join("group.key"))), (0o700, 0o600));

    let again = landfall(&["keys", "init", "--dir", keys.to_str().unwrap()]);

    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("group."), "{}", stderr(&again));
    assert_eq!(fs::read(keys.join("group.key")).unwrap(), key);
}

#[test]
fn replaces_nothing_before_another_group_key_is_in_use() {
    let site = Site::new();
    let used = site.must(&["keys", "in-use"]);
    let rows: Vec<&str> = used.lines().collect();
    assert_eq!(rows[0], "GROUP KEY\tHOSTNAMES\tCERTIFICATES\tACCOUNTS\tTICKET SECRETS\tUSE");
    let key = rows[1].split('\t').next().unwrap();
    assert_eq!(rows[1], format!("{key}\t0\t0\t0\t0\tnew secrets are sealed to it"));

    for (replaced, said) in [(key, "is the group key that"), ("former", "restart it")] {
        let refused = site.run(&["keys", "replace", replaced]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
    let named = site.run(&["keys", "in-use", "--hostnames", key]);
    assert_eq!(stdout(&named), "HOSTNAME\tISSUERS\tNEXT CERTIFICATE\n");
    assert!(stderr(&named).contains("No certificate's key is sealed to"), "{}", stderr(&named));
}

#[test]
fn enrols_lists_and_removes_a_pop_with_its_token_shown_once() {
    let site = Site::new();
    let added = site.run(&["pop", "add", "fra1", "--address", "192.0.2.1", "2001:db8::1"]);
    assert!(added.status.success(), "{}", stderr(&added));
    let token = stdout(&added).trim();
    assert!(token.starts_with("lfp_") && !token.contains(char::is_whitespace));
    assert!(stderr(&added).contains("signing_keys = [\"ed25519:"), "{}", stderr(&added));
    assert!(!stderr(&added).contains(token));
    let records = "\n*.edge.example.net. IN A 192.0.2.1\n*.edge.example.net. IN AAAA 2001:db8::1\n";
    assert!(stderr(&added).ends_with(records), "{}", stderr(&added));

    let listed = site.must(&["pop", "list"]);
    let header = "NAME\tADDRESSES\tFEED\tTRAFFIC AND LAST REQUEST\n";
    let expected = "fra1\t192.0.2.1 2001:db8::1\tnever seen\ttraffic on, asked never\n";
    assert_eq!(listed, format!("{header}{expected}"));
    site.must(&["pop", "traffic", "fra1", "off"]);
    assert!(site.must(&["pop", "list"]).contains("traffic off"));
    site.must(&["pop", "remove", "fra1"]);
    assert_eq!(site.must(&["pop", "list"]), header);

    let unknown = site.run(&["pop", "remove", "fra1"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("no PoP named `fra1`"), "{}", stderr(&unknown));
}

#[test]
fn makes_lists_and_revokes_an_api_key() {
    let site = Site::new();
    let key = site.must(&["api-key", "add", "ci"]);
    assert!(key.starts_with("lf_"), "{key}");
    assert!(site.must(&["api-key", "list"]).ends_with("\tvalid\n"));
    site.must(&["api-key", "revoke", "ci"]);
    let listed = site.must(&["api-key", "list"]);
    assert!(listed.contains("\trevoked ") && !listed.contains(key.trim()), "{listed}");
}

#[test]
fn asks_for_nothing_of_cas_that_it_does_not_know() {
    let site = Site::new();
    let accounts = site.must(&["issuance", "accounts"]);
    assert_eq!(accounts, "CA\tACCOUNT\tKEY\tREGISTERED\tCONTACT\tNEXT KEY\tLAST FAILURE\n");
    assert!(site.must(&["issuance", "forecast"]).starts_with("No job waits"));
    let json = site.must(&["issuance", "forecast", "--json"]);
    assert!(json.starts_with('{') && json.contains("\"waiting\":0"), "{json}");
    site.must(&["issuance", "retry", "lets_encrypt"]);
    let revoke = ["certificate", "revoke", "www.customer.test", "--reason", "superseded"];
    let table: [(&[&str], &str); 5] = [
        (
            &["issuance", "retry", "zerossl"],
            "no configured CA named `zerossl`; there is lets_encrypt, lets_encrypt_staging",
        ),
        (
            &["issuance", "rollover", "zerossl"],
            "no configured CA named `zerossl`; there is lets_encrypt, lets_encrypt_staging",
        ),
        (
            &["issuance", "rollover", "lets_encrypt"],
            "no account at a CA named `lets_encrypt`; there is none",
        ),
        (
            &["issuance", "forget", "lets_encrypt"],
            "no account at a CA named `lets_encrypt`; there is none",
        ),
        (&revoke, "no hostname named `www.customer.test`"),
    ];
    for (args, said) in table {
        let ran = site.run(args);
        assert_eq!(ran.status.code(), Some(1), "{args:?}");
        assert!(stderr(&ran).contains(said), "{args:?}: {}", stderr(&ran));
    }
    let unsaid = site.run(&["certificate", "revoke", "www.customer.test", "--reason", "because"]);
    assert_eq!(unsaid.status.code(), Some(64));
    assert!(stderr(&unsaid).contains("keyCompromise"), "{}", stderr(&unsaid));
}

#[test]
fn starts_epochs_and_allows_shrinking() {
    let site = Site::new();
    let first = site.run(&["feed", "new-epoch"]);
    let second = site.run(&["feed", "new-epoch"]);
    assert!(first.status.success() && second.status.success(), "{}", stderr(&first));
    assert_ne!(stderr(&first), stderr(&second));
    site.must(&["feed", "allow-shrink"]);
}

#[test]
fn a_wrong_command_line_exits_with_64_and_help_with_0() {
    assert_eq!(landfall(&["control"]).status.code(), Some(64));
    assert_eq!(landfall(&["pop", "add", "x", "--address", "here"]).status.code(), Some(64));
    let help = landfall(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in [
        "control",
        "edge",
        "demo",
        "check-config",
        "keys",
        "pop",
        "api-key",
        "feed",
        "certificate",
        "issuance",
    ] {
        assert!(stdout(&help).contains(&format!("\n  {command}")), "{command}");
    }
    assert!(!stdout(&help).contains("exit-with-parent"));
}

#[test]
fn an_error_is_told_with_its_causes() {
    let site = Site::new();
    fs::write(site.folder.path().join("state"), "a file where a folder belongs").unwrap();
    let output = site.run(&["pop", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("landfall: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("state"), "{}", stderr(&output));
}
