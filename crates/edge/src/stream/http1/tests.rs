use proptest::prelude::*;

use super::*;
use crate::config::fixtures;

/// What a whole connection's bytes came to: what passed, and the fault that ended it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    passed: Vec<u8>,
    fault: Option<Fault>,
    owed: Owed,
}

/// Sends `bytes` in `pieces`, and answers each request as soon as it is complete.
fn follow<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let limits = fixtures::limits("header_size = \"1KiB\"\nheader_count = 8");
    let mut guard = Guard::new(&limits);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            guard.next_request();
            match guard.advance(&held) {
                Ok(Passed { from, to }) => {
                    passed.extend_from_slice(&held[from..to]);
                    held.drain(..to);
                    if to == 0 || held.is_empty() {
                        break;
                    }
                }
                Err(fault) => {
                    return Outcome { passed, fault: Some(fault), owed: Owed::Nothing };
                }
            }
        }
    }
    guard.next_request();
    Outcome { passed, fault: None, owed: guard.owed(held.len()) }
}

fn whole(bytes: &[u8]) -> Outcome {
    follow([bytes])
}

#[test]
fn nothing_of_a_header_passes_before_its_end() {
    let mut guard = Guard::new(&fixtures::limits(""));
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for end in 1..request.len() {
        assert_eq!(guard.advance(&request[..end]), Ok(Passed { from: 0, to: 0 }));
        assert_eq!((guard.passed(), guard.owed(end)), (0, Owed::Header));
    }
    assert_eq!(guard.advance(request), Ok(Passed { from: 0, to: request.len() }));
    assert_eq!((guard.passed(), guard.owed(0)), (1, Owed::Nothing));
}

#[test]
fn a_second_request_waits_for_the_first_ones_answer() {
    let mut guard = Guard::new(&fixtures::limits(""));
    let one = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let two = [&one[..], one].concat();
    assert_eq!(guard.advance(&two), Ok(Passed { from: 0, to: one.len() }));
    assert_eq!(guard.advance(one), Ok(Passed { from: 0, to: 0 }));
    guard.next_request();
    assert_eq!(guard.advance(one), Ok(Passed { from: 0, to: one.len() }));
}

#[test]
fn the_end_of_a_chunked_body_passes_with_its_trailers_alone() {
    let mut guard = Guard::new(&fixtures::limits(""));
    let start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    assert_eq!(guard.advance(start), Ok(Passed { from: 0, to: start.len() }));
    assert_eq!(guard.advance(b"0\r\nX: 1\r\n"), Ok(Passed { from: 0, to: 0 }));
    assert_eq!(guard.owed(9), Owed::Body);
    assert_eq!(guard.advance(b"0\r\nX: 1\r\n\r\n"), Ok(Passed { from: 0, to: 11 }));
}

#[test]
fn a_fault_behind_a_header_keeps_the_header_of_the_same_read() {
    let mut guard = Guard::new(&fixtures::limits(""));
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n";
    assert_eq!(guard.advance(bytes), Err(Fault::Framing));
    assert_eq!(guard.passed(), 0);
}

#[test]
fn an_empty_line_in_front_is_dropped_once() {
    let outcome = whole(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(outcome.passed, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(whole(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").fault, Some(Fault::Malformed));
}

#[test]
fn after_a_switch_of_protocols_everything_passes() {
    let mut guard = Guard::new(&fixtures::limits(""));
    let plain = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    guard.advance(plain).unwrap();
    assert!(!guard.may_switch_protocols());
    guard.next_request();
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    guard.advance(upgrade).unwrap();
    assert_eq!(guard.advance(b"\0\n"), Ok(Passed { from: 0, to: 0 }));
    assert!(guard.may_switch_protocols());
    guard.switch_protocols();
    assert_eq!(guard.advance(b"\0\n"), Ok(Passed { from: 0, to: 2 }));
    assert!(!guard.may_switch_protocols());
}

#[test]
fn size_and_count_have_limits_in_header_and_trailers() {
    let fields = |count| "A: b\r\n".repeat(count);
    let header = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(count));
    assert_eq!(whole(header(7).as_bytes()).fault, None);
    assert_eq!(whole(header(8).as_bytes()).fault, Some(Fault::HeaderTooLarge));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(2000));
    assert_eq!(whole(long.as_bytes()).fault, Some(Fault::HeaderTooLarge));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let trailers = format!("{chunked}{}\r\n", fields(10));
    assert_eq!(whole(trailers.as_bytes()).fault, Some(Fault::HeaderTooLarge));
}

/// What requests and attacks on them are made of.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "HEAD / HTTP/1.0\r\n",
        "Host: a.example\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "X: y\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "\r",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "abc",
        "5;x=y\r\nabcde\r\n",
    ];
    prop_oneof![
        12 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}

/// Mostly requests, some of them with something wrong in them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "",
    ]);
    (start, prop::collection::vec(piece(), 0..8))
        .prop_map(|(start, pieces)| [start.as_bytes(), &pieces.concat()].concat())
}

/// A reading of the first request that looks at all of it at once: the bytes that it takes.
/// `None` where it is not a complete and clear request.
fn reference(bytes: &[u8]) -> Option<usize> {
    let skip = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let text = &bytes[skip..];
    let end = text.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (header, rest) = text.split_at(end);
    let mut fields = [httparse::EMPTY_HEADER; 8];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(header).ok()?.is_complete() {
        return None;
    }
    let named = |name: &str| {
        let fields = request.headers.iter();
        fields.filter(|field| field.name.replace('_', "-").eq_ignore_ascii_case(name)).count()
    };
    let value = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).into_owned())
    };
    let is_11 = request.version == Some(1);
    if named("host") > 1 || (is_11 && named("host") == 0) {
        return None;
    }
    match (named("content-length"), named("transfer-encoding")) {
        (0, 0) => Some(skip + end),
        (1, 0) => {
            let length: usize = value("content-length")?.parse().ok()?;
            (rest.len() >= length).then_some(skip + end + length)
        }
        (0, 1) if is_11 && value("transfer-encoding")?.eq_ignore_ascii_case("chunked") => {
            let mut at = 0;
            loop {
                let line = rest[at..].windows(2).position(|two| two == b"\r\n")?;
                let text = std::str::from_utf8(&rest[at..at + line]).ok()?;
                let digits = text.split(';').next()?;
                let size = usize::from_str_radix(digits, 16).ok()?;
                at += line + 2;
                if size == 0 {
                    let trailers = [b"\r\n", &rest[at..]].concat();
                    let end = trailers.windows(4).position(|four| four == b"\r\n\r\n")? + 2;
                    return Some(skip + header.len() + at + end);
                }
                if rest.get(at + size..at + size + 2)? != b"\r\n" {
                    return None;
                }
                at += size + 2;
            }
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn the_cuts_between_reads_change_nothing(bytes in bytes(), size in 1_usize..20) {
        let (at_once, in_pieces) = (whole(&bytes), follow(bytes.chunks(size)));
        prop_assert_eq!(at_once.fault, in_pieces.fault);
        if at_once.fault.is_none() {
            prop_assert_eq!(at_once, in_pieces);
        }
    }

    #[test]
    fn a_request_that_passes_ends_where_another_reading_says(bytes in bytes()) {
        let mut guard = Guard::new(&fixtures::limits("header_size = \"1KiB\"\nheader_count = 8"));
        if let Ok(Passed { to, .. }) = guard.advance(&bytes) && guard.is_at_end() {
            prop_assert_eq!(reference(&bytes), Some(to), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_clear_request_passes(
        path in "/[a-z0-9%?=&]{0,20}",
        value in "[ -~\t\u{e9}]{0,30}",
        body in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        chunk in 1_usize..10,
        size in 1_usize..50,
    ) {
        let mut bytes = format!("POST {path} HTTP/1.1\r\nhost:a\r\nx-field: {value}\r\n").into_bytes();
        match body {
            Some(body) if chunk > 5 => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(body);
            }
            Some(body) => {
                bytes.extend_from_slice(b"transfer-encoding:  Chunked \r\n\r\n");
                for piece in body.chunks(chunk) {
                    bytes.extend(format!("{:X}\r\n", piece.len()).bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\nx-sum: 1\r\n\r\n");
            }
            None => bytes.extend_from_slice(b"\r\n"),
        }
        let outcome = follow(bytes.chunks(size));
        prop_assert_eq!(outcome, Outcome { passed: bytes, fault: None, owed: Owed::Request });
    }
}
