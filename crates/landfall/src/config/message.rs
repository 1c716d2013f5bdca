//! Puts what the parser says into the form `expected …, got …`.

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be offered in place of the other.
const LIKELY: f64 = 0.8;

/// What the parser expects, and the words that help more.
const EXPECTED: &[(&str, &str)] = &[
    ("a duration", "a duration such as \"10s\""),
    ("parsable string", "a size such as \"64KiB\""),
    ("an integer or string", "a size such as \"64KiB\""),
    ("a sequence", "a list"),
    ("u16", "a number from 0 to 65535"),
    ("u32", "a whole number from 0"),
    ("u64", "a whole number from 0"),
    ("usize", "a whole number from 0"),
    ("a boolean", "true or false"),
    ("socket address", "an address and a port such as \"127.0.0.1:8443\""),
];

/// Whole messages of parsers that do not say what was expected.
const BARE: &[(&str, &str)] = &[
    ("invalid socket address syntax", "an address and a port such as \"127.0.0.1:8443\""),
    ("invalid IP address syntax", "an IP address such as \"192.0.2.1\""),
];

/// The message for text that is no TOML.
pub(super) fn of_syntax(message: &str) -> String {
    format!("not TOML: {}", message.replace('\n', ", "))
}

/// The message for a value or key that does not fit; `given` is its text in the file.
pub(super) fn of_value(message: &str, given: &str) -> String {
    let given = given.trim();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return of_unknown_key(rest);
    }
    let expected = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.rsplit_once(", expected "))
        .map(|(_, expected)| reworded(EXPECTED, expected).unwrap_or(expected))
        .or_else(|| reworded(BARE, message));
    match expected {
        Some(expected) if expected.starts_with("struct ") => {
            format!("expected a table, got {given}")
        }
        Some(expected) if is_short(given) => format!("expected {expected}, got {given}"),
        Some(expected) => format!("expected {expected}"),
        None => message.replace('\n', ", "),
    }
}

fn reworded(table: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    table.iter().find(|(from, _)| *from == text).map(|(_, to)| *to)
}

/// A value worth repeating: one line, not a whole table.
fn is_short(given: &str) -> bool {
    !given.is_empty() && given.len() <= 60 && !given.contains('\n') && !given.starts_with('[')
}

/// From serde's words: the key in backquotes, then the expected ones, each in backquotes.
fn of_unknown_key(rest: &str) -> String {
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let given = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .map(|key| (strsim::jaro_winkler(given, key), key))
        .filter(|(likeness, _)| *likeness >= LIKELY)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match (nearest, known.as_slice()) {
        (Some((_, key)), _) => format!("unknown key; did you mean `{key}`?"),
        (None, []) => "unknown key; none is expected here".to_owned(),
        (None, [only]) => format!("unknown key; expected `{only}`"),
        (None, _) => format!("unknown key; expected one of `{}`", known.join("`, `")),
    }
}
