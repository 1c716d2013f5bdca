//! Recognises private keys in texts where none belongs, in the forms that people paste.
//!
//! It finds accidents: PEM whose label or line breaks were damaged on the way, and a key's base64
//! without its label. It copies nothing of the text but the few bytes that tell what begins there.

use std::iter;

/// What is looked for among a label's words (RFC 7468 sections 10, 11 and 13).
const BEGIN: &str = "BEGIN";
const PRIVATE: &str = "PRIVATE";
const KEY: &str = "KEY";
/// How many words may stand between `BEGIN` and `PRIVATE`, as in `BEGIN RSA PRIVATE KEY`.
const WORDS_BETWEEN: usize = 3;

/// DER tags (ITU-T X.690).
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// What the identifiers of schemes that encrypt keys begin with: PKCS #5 and PKCS #12.
const PKCS: [u8; 7] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01];
const PKCS_5: u8 = 5;
const PKCS_12: u8 = 12;
/// The least that a private key's DER has, in bytes: Ed25519 as PKCS#8 has 48.
const LEAST: usize = 40;
/// How long an elliptic curve's secret is, in bytes.
const SECRET: std::ops::RangeInclusive<usize> = 20..=66;
/// The least that a number of an RSA or DSA key has, in bytes.
const LEAST_NUMBER: usize = 64;

/// Whether a private key stands anywhere in `text`, encrypted or not.
pub(crate) fn is_in(text: &str) -> bool {
    is_labelled(text) || is_bare(text.as_bytes())
}

/// Whether there is a label of a private key, in whatever case and with whatever between its words.
fn is_labelled(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut words_since_begin = None;
    let mut after_private = false;
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (_, from) = rest.split_at(start);
        let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        rest = after;
        if after_private && word.eq_ignore_ascii_case(KEY) {
            // The end of a label is enough where its beginning is lost.
            let dashes = after.trim_start().starts_with("--");
            if dashes || words_since_begin.is_some_and(|words| words <= WORDS_BETWEEN + 1) {
                return true;
            }
        }
        after_private = word.eq_ignore_ascii_case(PRIVATE);
        words_since_begin = match word.eq_ignore_ascii_case(BEGIN) {
            true => Some(0),
            false => words_since_begin.map(|words: usize| words.saturating_add(1)),
        };
    }
    false
}

/// Whether a word begins the base64 (RFC 4648) of a private key's DER.
fn is_bare(text: &[u8]) -> bool {
    let mut follows_base64 = false;
    for (at, byte) in text.iter().enumerate() {
        // A sequence's tag and any length begin with this letter.
        if *byte == b'M' && !follows_base64 {
            let from = text.get(at..).unwrap_or_default();
            if begins_key(&mut decoded(from)).is_some() {
                return true;
            }
        }
        follows_base64 = sextet(*byte).is_some();
    }
    false
}

/// `Some` where these are the first bytes of PKCS#8 (RFC 5958 sections 2 and 3), PKCS#1 (RFC 8017
/// appendix A.1.2), SEC1 (RFC 5915 section 3) or the like of a DSA key.
fn begins_key(der: &mut impl Iterator<Item = u8>) -> Option<()> {
    let holds = |condition: bool| condition.then_some(());
    holds(der.next()? == SEQUENCE && length(der)? >= LEAST)?;
    match der.next()? {
        INTEGER => {
            // The version.
            holds(der.next()? == 1 && der.next()? <= 1)?;
            match der.next()? {
                SEQUENCE => {
                    length(der)?;
                    holds(der.next()? == OBJECT_IDENTIFIER)
                }
                OCTET_STRING => holds(SECRET.contains(&length(der)?)),
                INTEGER => holds(length(der)? >= LEAST_NUMBER),
                _ => None,
            }
        }
        SEQUENCE => {
            length(der)?;
            holds(der.next()? == OBJECT_IDENTIFIER)?;
            length(der)?;
            for byte in PKCS {
                holds(der.next()? == byte)?;
            }
            holds(matches!(der.next()?, PKCS_5 | PKCS_12))
        }
        _ => None,
    }
}

/// A length of at most three bytes (ITU-T X.690 section 8.1.3).
fn length(der: &mut impl Iterator<Item = u8>) -> Option<usize> {
    match der.next()? {
        short @ ..=0x7f => Some(usize::from(short)),
        long @ 0x81..=0x83 => {
            let bytes = der.take(usize::from(long & 0x7f));
            Some(bytes.fold(0, |length, byte| length << 8 | usize::from(byte)))
        }
        _ => None,
    }
}

/// The bytes that base64 stands for, of either alphabet and with white space between.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let characters = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let mut sextets = characters.map_while(|byte| sextet(*byte));
    let (mut held, mut bits) = (0_u8, 0_u32);
    iter::from_fn(move || {
        if bits == 0 {
            (held, bits) = (sextets.next()?, 6);
        }
        let next = sextets.next()?;
        let missing = 8 - bits;
        let byte = held << missing | next >> (6 - missing);
        bits = 6 - missing;
        held = next & ((1 << bits) - 1);
        Some(byte)
    })
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD};
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_label_is_found_in_whatever_case_and_with_whatever_between_its_words() {
        for text in [
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE\tKEY-----",
            "begin  rsa \n private\r\nkey",
            "x -----begin ec private key----- y",
            "-----BEGIN\u{a0}ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "BEGIN_OPENSSH_PRIVATE_KEY",
            "abc\n-----END PRIVATE KEY-----",
            "PRIVATE KEY -----",
        ] {
            assert!(is_in(text), "{text:?}");
        }
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN CERTIFICATE-----",
            "a private key",
            "rotate the private key - soon",
            "beginning private keys",
            "Begin here: whatever you do never post your private key",
            "é PRIVATE",
        ] {
            assert!(!is_in(text), "{text:?}");
        }
    }

    #[test]
    fn the_base64_of_a_key_is_found_without_a_label() {
        let p256 = KeyPair::generate().unwrap().serialize_der();
        let rsa = [&[0x30, 0x82, 0x04, 0xa4, 2, 1, 0, 2, 0x82, 1, 1, 0], &[0xa5; 256][..]].concat();
        let sec1 = [&[0x30, 0x77, 2, 1, 1, 4, 0x20], &[0x5a; 100][..]].concat();
        let pkcs5 = [&[0x30, 0x81, 0xe0, 0x30, 0x57, 6, 9][..], &PKCS, &[5, 13], &[1; 80]].concat();
        for der in [&p256, &rsa, &sec1, &pkcs5] {
            let text = BASE64.encode(der);
            assert!(is_in(&text), "{text}");
            assert!(is_in(&BASE64URL_NOPAD.encode(der)));
            assert!(is_in(&BASE64_MIME.encode(der)));
            assert!(is_in(&format!("my key: {text} (test)")));
            assert!(is_in(&text.chars().flat_map(|c| [c, ' ']).collect::<String>()));
            assert!(!is_in(text.get(..6).unwrap()));
        }
    }

    #[test]
    fn the_base64_of_anything_else_is_none() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["www.shop.test".to_owned()]).unwrap();
        let request = params.serialize_request(&key).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        for der in [certificate.der().as_ref(), request.der().as_ref()] {
            assert!(!is_in(&BASE64.encode(der)));
            assert!(!is_in(&BASE64_MIME.encode(der)));
        }
        for text in ["M", "MII", "MIIMIIMIIMII", "Marketing", &"M".repeat(100_000)] {
            assert!(!is_in(text));
        }
    }
}
