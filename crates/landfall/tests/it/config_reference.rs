//! docs/configuration.md is what the code says of config files, and the example files have every key.

mod types;

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path, time::Duration};

use landfall_control::config::RawControlConfig;
use landfall_edge::config::{Problem, RawEdgeConfig};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use toml::Table;
use types::{Key, Kind, Types};

use crate::root;

/// What is said before the keys of the files.
const HEAD: &str = "\
# Configuration

Every key of `edge.toml` and `control.toml`, as the code reads them. `make docs` writes this page; a test
compares it with the code. [config/edge.toml](../config/edge.toml) and [config/control.toml](../config/control.toml)
have every key with its default, to be copied. `landfall check-config FILE` names everything that is wrong with a
file; a process that is started with one that is wrong says the same and ends with status 64, before it binds a port.

A **duration** is text such as `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h 30m\"` or `\"7d\"`; a **size** is text such as
`\"240B\"`, `\"64KiB\"` or `\"6GiB\"`; relative **paths** start from the file's folder. A key that does not exist is an
error. What is *required* has no default.
";

/// One of the two files.
struct File {
    name: &'static str,
    /// What the file is for.
    about: &'static str,
    raw: &'static str,
    sources: &'static [&'static str],
    /// What tables need that are only there if they are written.
    optional_tables: &'static str,
    /// Files in which each key's bounds are checked.
    probes: &'static [&'static str],
    problems: fn(Table) -> Vec<Problem>,
    serialized: fn(Table) -> Value,
}

const FILES: [File; 2] = [
    File {
        name: "edge.toml",
        about: "A PoP's edge: `landfall edge --config edge.toml`.",
        raw: "RawEdgeConfig",
        sources: &["crates/edge/src/config"],
        optional_tables: "",
        probes: &["[tracing]\nendpoint = 'http://127.0.0.1'"],
        problems: |table| problems(table, RawEdgeConfig::check),
        serialized: serialized::<RawEdgeConfig>,
    },
    File {
        name: "control.toml",
        about: "The control plane: `landfall control --config control.toml`.",
        raw: "RawControlConfig",
        sources: &[
            "crates/control/src/config.rs",
            "crates/control/src/config",
            "crates/issuance/src/plan/inventory.rs",
            "crates/issuance/src/ledger/limits.rs",
            "crates/model/src/issuance.rs",
        ],
        optional_tables: "
            [issuance.authority.'<name>']
            external_account = { key_id = '', hmac_key_file = '' }
            [challenge_zone.update]
            server = ''
            tsig_key_name = ''
            tsig_secret_file = ''",
        probes: &[
            "[issuance]
             certificate_authorities = ['example']
             [issuance.authority.example]
             directory = 'https://ca.example.net/directory'
             [challenge_zone]
             zone = 'acme.example.net'
             listen = ['192.0.2.53']
             nameservers = ['ns1.example.com']",
            "[challenge_zone]
             zone = 'acme.example.net'
             [challenge_zone.update]
             server = '192.0.2.53'
             tsig_key_name = 'landfall'
             tsig_secret_file = 'tsig.key'",
        ],
        problems: |table| problems(table, RawControlConfig::check),
        serialized: serialized::<RawControlConfig>,
    },
];

fn problems<Raw: DeserializeOwned, Checked>(
    table: Table,
    check: fn(Raw, &Path) -> Result<Checked, Vec<Problem>>,
) -> Vec<Problem> {
    match table.try_into::<Raw>() {
        Ok(raw) => check(raw, Path::new("/etc/landfall")).err().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

fn serialized<Raw: DeserializeOwned + Serialize>(table: Table) -> Value {
    serde_json::to_value(table.try_into::<Raw>().unwrap()).unwrap()
}

impl File {
    fn keys(&self) -> Vec<Key> {
        Types::read(&root(), self.sources).keys(self.raw, "")
    }

    /// Every value that the types give by themselves, by section.
    fn defaults(&self) -> Value {
        (self.serialized)(self.optional_tables.parse().unwrap())
    }

    /// The keys that an empty file is refused for.
    fn required(&self) -> BTreeSet<String> {
        (self.problems)(Table::new()).into_iter().map(|problem| problem.key).collect()
    }

    /// What is expected of a key, in the words that a wrong value is refused with.
    fn expected(&self, key: &Key) -> Option<String> {
        let path = key.path.replace("<name>", "example");
        let mut said: Vec<String> = Vec::new();
        for probe in self.probes {
            for wrong in wrong_values(&key.kind) {
                let mut table: Table = probe.parse().unwrap();
                if !set(&mut table, &path, wrong) {
                    continue;
                }
                let found = (self.problems)(table).into_iter();
                let own = found.filter(|problem| problem.key.split('[').next() == Some(&path));
                let words = own.filter_map(|problem| expectation(&problem.message));
                for words in words {
                    if !said.contains(&words) {
                        said.push(words);
                    }
                }
            }
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// What a message says that was expected.
fn expectation(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expected ")?;
    let words = rest.split(", got").next()?.trim_start_matches("a duration ");
    // Sizes and times as they are written in a file; and why the value is none is left out.
    let words = words.replace(".0 ", "").replace(" B", "B").replace("0ns", "0s");
    match words.split_once("\": ") {
        Some((start, _)) => Some(format!("{start}\"")),
        None => Some(words),
    }
}

/// Values that no key of the kind should take, where it has bounds.
fn wrong_values(kind: &Kind) -> Vec<toml::Value> {
    let text = |text: &str| toml::Value::from(text);
    match kind {
        Kind::Integer(most) => vec![0.into(), (*most).into()],
        Kind::Number => vec![(-1.0).into(), 2.0.into()],
        Kind::Duration => vec![text("0s"), text("36500d")],
        Kind::Size => vec![text("0B"), text("8EiB")],
        Kind::Text => vec![text("?")],
        Kind::List(inside) if **inside == Kind::Text => {
            vec![toml::Value::from(vec!["?"]), toml::Value::from(vec!["192.0.2.1"; 17])]
        }
        Kind::Choice(words) => words.iter().map(|word| text(word)).collect(),
        Kind::Bool | Kind::Path | Kind::Inline(_) | Kind::List(_) => Vec::new(),
    }
}

/// Whether the path is one that `table` can have: tables of a list's or a text's are not gone into.
fn set(table: &mut Table, path: &str, value: toml::Value) -> bool {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            true
        }
        Some((first, rest)) => {
            let inside = table.entry(first).or_insert_with(|| Table::new().into());
            inside.as_table_mut().is_some_and(|inside| set(inside, rest, value))
        }
    }
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// Whether the types give the key no value by themselves.
fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// A default, as an operator would write it.
fn written(value: &Value, kind: &Kind) -> String {
    match (value, kind) {
        (Value::String(text), Kind::Size) => {
            format!("\"{}\"", text.replace(".0 ", "").replace(' ', ""))
        }
        (Value::String(text), Kind::Duration) => {
            format!("\"{}\"", duration(humantime::parse_duration(text).unwrap()))
        }
        _ => value.to_string(),
    }
}

/// In the largest unit that leaves no rest, but seconds up to two minutes.
fn duration(value: Duration) -> String {
    let milliseconds = value.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 120_000), ("s", 1_000), ("ms", 1)];
    let (unit, size) = units
        .into_iter()
        .map(|(unit, size)| (unit, if unit == "m" && milliseconds >= size { 60_000 } else { size }))
        .find(|(_, size)| milliseconds >= *size && milliseconds.is_multiple_of(*size))
        .unwrap_or(("ms", 1));
    format!("{}{unit}", milliseconds / size)
}

/// The first letter in upper case.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn row(file: &File, key: &Key, defaults: &Value, required: &BTreeSet<String>) -> String {
    let (text, said) = match key.doc.split_once("Default: ") {
        Some((text, said)) => (text.trim(), Some(said.trim().trim_end_matches('.'))),
        None => (key.doc.trim(), None),
    };
    assert!(!text.is_empty(), "{} {}: its doc comment says nothing", file.name, key.path);
    let value = at(defaults, &key.path);
    let default = match (is_absent(value), said) {
        (false, None) => format!("`{}`", written(value, &key.kind)),
        (false, Some(_)) => {
            panic!("{} {}: the type has its default, its doc comment too", file.name, key.path)
        }
        (true, Some(said)) => sentence(said),
        (true, None) if required.contains(&key.path) || value.as_str() == Some("") => {
            "*required*".to_owned()
        }
        (true, None) if text.contains("Required") => "none".to_owned(),
        (true, None) => panic!(
            "{} {}: the type has no default and the doc comment says none (`Default: …`)",
            file.name, key.path
        ),
    };
    let values = match (file.expected(key), &key.kind) {
        (None, kind) => kind.name(),
        (Some(words), Kind::Choice(_)) => words,
        (Some(words), kind) => format!("{}: {words}", kind.name()),
    };
    let name = key.path.rsplit('.').next().unwrap();
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{name}` | {} | {} | {} |\n", cell(&values), cell(&default), cell(text))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for file in &FILES {
        write!(page, "\n## {}\n\n{}\n", file.name, file.about).unwrap();
        let (defaults, required) = (file.defaults(), file.required());
        let mut section = None;
        for key in file.keys() {
            let own = key.path.rsplit_once('.').map_or("", |(section, _)| section).to_owned();
            if section.as_ref() != Some(&own) {
                let title = match own.as_str() {
                    "" => "Before any section".to_owned(),
                    own => format!("`[{own}]`"),
                };
                write!(page, "\n### {title}\n\n| key | value | default | |\n|---|---|---|---|\n")
                    .unwrap();
                section = Some(own);
            }
            page.push_str(&row(file, &key, &defaults, &required));
        }
    }
    page
}

#[test]
fn the_reference_of_config_files_is_what_the_code_says() {
    let path = root().join("docs/configuration.md");
    let page = page();
    if env::var_os("LANDFALL_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().find(|line| !committed.lines().any(|other| other == *line));
    assert!(
        committed == page,
        "docs/configuration.md is not what the code says: run `make docs`, and commit it. {}",
        differs.unwrap_or_default()
    );
}

/// The example file with everything that is commented out.
fn uncommented(name: &str) -> Table {
    let text = fs::read_to_string(root().join("config").join(name)).unwrap();
    let is_key = |line: &str| {
        let word = line.split_once(" = ").map(|(word, _)| word);
        word.is_some_and(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)))
    };
    let lines = text.lines().map(|line| match line.strip_prefix('#').map(str::trim_start) {
        Some(inside) if is_key(inside) || inside.starts_with('[') && inside.ends_with(']') => {
            inside
        }
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    // The one name of a CA that the example has.
    text.replace("[issuance.authority.lets_encrypt]", "[issuance.authority.'<name>']")
        .parse()
        .unwrap()
}

#[test]
fn the_example_files_have_every_key_with_its_default() {
    let mut wrong = Vec::new();
    for file in &FILES {
        let table = uncommented(file.name);
        let given: Value = serde_json::to_value(&table).unwrap();
        let (defaults, read) = (file.defaults(), (file.serialized)(table));
        for key in file.keys() {
            let default = at(&defaults, &key.path);
            if at(&given, &key.path).is_null() {
                wrong.push(format!("config/{} lacks {}", file.name, key.path));
            } else if !is_absent(default) && at(&read, &key.path) != default {
                let (path, shown) = (&key.path, at(&read, &key.path));
                wrong.push(format!(
                    "config/{}: {path} is {shown}, the default {default}",
                    file.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
