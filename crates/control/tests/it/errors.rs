//! The list of error codes has every code of the sources.

use std::{collections::BTreeSet, fs, path::Path};

/// Whose argument is a code, and which.
const MAKERS: &[(&str, usize)] = &[
    ("new", 1),
    ("invalid", 1),
    ("bad_parameter", 1),
    ("bad_header", 1),
    ("conflict", 0),
    ("unprocessable", 0),
    ("unavailable", 0),
];

/// A call's arguments, where `rest` begins behind its parenthesis.
fn arguments(rest: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start, mut found) = (0, false, 0, Vec::new());
    let mut before = ' ';
    for (at, letter) in rest.char_indices() {
        match letter {
            '"' if before != '\\' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => {
                found.push(rest[start..at].trim());
                return found;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(rest[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        before = letter;
    }
    found
}

fn literal(argument: &str) -> Option<&str> {
    let word = argument.strip_prefix('"')?.strip_suffix('"')?;
    word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(word)
}

fn codes_of(source: &str, codes: &mut BTreeSet<String>) {
    for (maker, position) in MAKERS {
        for of in ["Problem", "Self"] {
            for (_, rest) in source
                .match_indices(&format!("{of}::{maker}("))
                .map(|(at, call)| (at, &source[at + call.len()..]))
            {
                let code = arguments(rest).get(*position).copied().and_then(literal);
                codes.extend(code.map(str::to_owned));
            }
        }
    }
    for (at, _) in source.match_indices("code(") {
        let is_function = source[..at].rsplit('\n').next().is_some_and(|line| line.contains("fn "));
        let end = source[at..].find("\n}\n").unwrap_or_default();
        if is_function {
            let arms = source[at..at + end].split("=> ").skip(1);
            let words = arms.filter_map(|arm| literal(arm.split(',').next()?.trim()));
            codes.extend(words.map(str::to_owned));
        }
    }
}

fn walk(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("cloudflare") => {}
            true => walk(&path, codes),
            false if path.extension().is_some_and(|own| own == "rs") => {
                codes_of(&fs::read_to_string(&path).unwrap(), codes);
            }
            false => {}
        }
    }
}

#[test]
fn every_code_is_in_the_list_of_errors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = BTreeSet::new();
    walk(&root.join("src"), &mut codes);
    assert!(codes.len() > 50, "{codes:?}");
    let list = fs::read_to_string(root.join("../../docs/errors.md")).unwrap();
    let missing: Vec<_> =
        codes.iter().filter(|code| !list.contains(&format!("\n| `{code}` | "))).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
}
