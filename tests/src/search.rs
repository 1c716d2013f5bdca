use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use axum::body::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// What is searched for, in bytes: any [`WINDOW`] of a secret holds a whole one.
const BLOCK: usize = 12;
/// How many consecutive bytes of a secret are always found.
pub const WINDOW: usize = 2 * BLOCK;

/// Bytes that may not be found, and what to call them.
pub struct Secret {
    name: String,
    bytes: Vec<u8>,
}

impl Secret {
    /// A secret of at least 12 bytes that look random: what is shorter or regular would be found
    /// by chance.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), bytes: bytes.to_vec() }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Finds secrets, raw or in an encoding in which programs write bytes: hexadecimal, base64 and
/// base64url at every alignment, lists of numbers, and Rust's and JSON's escapes.
pub struct Searcher {
    automaton: AhoCorasick,
    names: Vec<String>,
}

impl Searcher {
    /// Prepares to search for all of these.
    ///
    /// # Panics
    /// Where a secret is too short.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let (mut patterns, mut names) = (Vec::new(), Vec::new());
        for secret in secrets {
            assert!(secret.bytes.len() >= BLOCK, "{} is too short", secret.name);
            for pattern in secret.bytes.chunks_exact(BLOCK).flat_map(written) {
                patterns.push(pattern);
                names.push(secret.name.clone());
            }
        }
        Self { automaton: AhoCorasick::new(patterns).unwrap(), names }
    }

    /// The names of the secrets that are in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = self.automaton.find_iter(bytes);
        found.map(|found| self.names[found.pattern().as_usize()].as_str()).collect()
    }
}

/// A block in every encoding.
fn written(block: &[u8]) -> Vec<Vec<u8>> {
    let escaped = [block.escape_ascii().to_string(), debug(block)];
    // A log line in JSON escapes the escapes.
    let twice = escaped.clone().map(|text| text.replace('\\', r"\\").replace('"', "\\\""));
    let mut texts = vec![
        HEXLOWER.encode(block),
        HEXUPPER.encode(block),
        numbers(block, ", "),
        numbers(block, ","),
    ];
    texts.extend(escaped);
    texts.extend(twice);
    // Three bytes are four letters, and a block may start at any of the three.
    for start in 0..3 {
        let whole = &block[start..start + 9];
        texts.extend([BASE64.encode(whole), BASE64URL_NOPAD.encode(whole)]);
    }
    let mut written: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    written.push(block.to_vec());
    written
}

fn debug(block: &[u8]) -> String {
    let text = format!("{:?}", Bytes::copy_from_slice(block));
    text.strip_prefix("b\"").and_then(|text| text.strip_suffix('"')).unwrap().to_owned()
}

fn numbers(block: &[u8], separator: &str) -> String {
    let numbers: Vec<_> = block.iter().map(u8::to_string).collect();
    numbers.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As programs would write it, with so many bytes before it.
    fn programs_write(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![
            bytes.to_vec(),
            HEXLOWER.encode(bytes).into_bytes(),
            HEXUPPER.encode(bytes).into_bytes(),
            serde_json::to_vec(bytes).unwrap(),
            format!("{bytes:?}").into_bytes(),
            format!("{:?}", Bytes::copy_from_slice(bytes)).into_bytes(),
            format!("{}", bytes.escape_ascii()).into_bytes(),
            serde_json::to_vec(&format!("{:?}", Bytes::copy_from_slice(bytes))).unwrap(),
            serde_json::to_vec(&format!("{}", bytes.escape_ascii())).unwrap(),
        ];
        for before in 0..3 {
            let with_more = [&[0xff; 2][..before], bytes, b"more"].concat();
            all.push(BASE64.encode(&with_more).into_bytes());
            all.push(BASE64URL_NOPAD.encode(&with_more).into_bytes());
        }
        all
    }

    #[test]
    fn finds_every_window_of_a_secret_in_every_encoding() {
        // Every byte there is, in an order that is none.
        let bytes: Vec<u8> = (0..=255_u8).map(|n| n.wrapping_mul(167).wrapping_add(91)).collect();
        let secret = Secret::new("secret", &bytes);
        let searcher = Searcher::new([&secret]);
        for window in bytes.windows(WINDOW) {
            for written in programs_write(window) {
                let text = String::from_utf8_lossy(&written).into_owned();
                let found = searcher.find(&[b"before ", &written[..], b" after"].concat());
                assert_eq!(found, BTreeSet::from(["secret"]), "{text}");
            }
        }
    }

    #[test]
    fn finds_nothing_in_what_is_shorter_than_a_block() {
        let secret = Secret::new("secret", b"twelve bytes and some more");
        let searcher = Searcher::new([&secret]);
        assert_eq!(searcher.find(b"twelve byte, and some m"), BTreeSet::new());
        assert_eq!(searcher.find(b""), BTreeSet::new());
    }
}
