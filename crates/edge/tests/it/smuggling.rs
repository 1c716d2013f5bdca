//! Requests that two readers could take for different ones (RFC 9112 section 11.2): refused, and
//! no origin sees them.

use std::io::{Read, Write};

use crate::support::{Edge, Recorder, connect, read_to_end};

/// What stands for this in a row is a header that is well-formed so far.
const HOST: &str = "Host: shop.example\r\n";

/// Each has `{}` for something that no other row has, and `HOST` for a `Host` field.
const MALFORMED: &[(&str, &str)] = &[
    (
        "length and coding",
        "POST /{} HTTP/1.1\r\nHOSTContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    ),
    (
        "coding and length",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    ),
    ("two lengths", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    (
        "the same length twice",
        "POST /{} HTTP/1.1\r\nHOSTContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    ("a list of lengths", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 1, 1\r\n\r\na"),
    ("a length with a sign", "POST /{} HTTP/1.1\r\nHOSTContent-Length: +1\r\n\r\na"),
    ("a negative length", "POST /{} HTTP/1.1\r\nHOSTContent-Length: -1\r\n\r\na"),
    ("a hexadecimal length", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 0x1\r\n\r\na"),
    ("a fractional length", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 1.0\r\n\r\na"),
    ("an empty length", "POST /{} HTTP/1.1\r\nHOSTContent-Length:\r\n\r\na"),
    ("a length of two words", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 1 1\r\n\r\na"),
    (
        "an overflowing length",
        "POST /{} HTTP/1.1\r\nHOSTContent-Length: 18446744073709551617\r\n\r\na",
    ),
    (
        "a length of 64 bits",
        "POST /{} HTTP/1.1\r\nHOSTContent-Length: 18446744073709551615\r\n\r\na",
    ),
    ("a length with an underscore", "POST /{} HTTP/1.1\r\nHOSTContent_Length: 1\r\n\r\na"),
    ("a space before the length's colon", "POST /{} HTTP/1.1\r\nHOSTContent-Length : 1\r\n\r\na"),
    ("a coding list", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "another coding first",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("identity", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: identity\r\n\r\n"),
    ("an unknown coding", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: cow\r\n\r\n"),
    ("almost chunked", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked in quotes",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked with a parameter",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    ("an empty coding", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    (
        "a vertical tab before chunked",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the coding's colon",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with an underscore",
        "POST /{} HTTP/1.1\r\nHOSTTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding over HTTP/1.0",
        "POST /{} HTTP/1.0\r\nHOSTTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a folded coding", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("a folded field", "GET /{} HTTP/1.1\r\nHOSTX: a\r\n b\r\n\r\n"),
    ("a field folded with a tab", "GET /{} HTTP/1.1\r\nHOSTX: a\r\n\tb\r\n\r\n"),
    ("a first field after a space", "GET /{} HTTP/1.1\r\n X: a\r\nHOST\r\n"),
    ("a bare LF after the request line", "GET /{} HTTP/1.1\nHOST\r\n"),
    ("a bare LF after a field", "GET /{} HTTP/1.1\r\nHOSTX: a\n\r\n"),
    ("a bare LF for the empty line", "GET /{} HTTP/1.1\r\nHOST\n"),
    ("nothing but bare LFs", "GET /{} HTTP/1.1\nHost: shop.example\n\n"),
    ("a bare CR in a value", "GET /{} HTTP/1.1\r\nHOSTX: a\rY: b\r\n\r\n"),
    ("a bare CR before the CRLF", "GET /{} HTTP/1.1\r\nHOSTX: a\r\r\n\r\n"),
    ("a bare CR in the request line", "GET /{}\r HTTP/1.1\r\nHOST\r\n"),
    ("a NUL in a value", "GET /{} HTTP/1.1\r\nHOSTX: a\0b\r\n\r\n"),
    ("a NUL in a name", "GET /{} HTTP/1.1\r\nHOSTX\0Y: a\r\n\r\n"),
    ("a NUL in the target", "GET /{}\0 HTTP/1.1\r\nHOST\r\n"),
    ("a control character in a value", "GET /{} HTTP/1.1\r\nHOSTX: a\x01b\r\n\r\n"),
    ("a DEL in a value", "GET /{} HTTP/1.1\r\nHOSTX: a\x7fb\r\n\r\n"),
    ("a space in a name", "GET /{} HTTP/1.1\r\nHOSTX Y: a\r\n\r\n"),
    ("a tab before the colon", "GET /{} HTTP/1.1\r\nHOSTX\t: a\r\n\r\n"),
    ("an empty name", "GET /{} HTTP/1.1\r\nHOST: a\r\n\r\n"),
    ("a field without a colon", "GET /{} HTTP/1.1\r\nHOSTX\r\n\r\n"),
    ("parentheses in a name", "GET /{} HTTP/1.1\r\nHOSTX(Y): a\r\n\r\n"),
    ("a name beyond ASCII", "GET /{} HTTP/1.1\r\nHOSTX\u{e9}: a\r\n\r\n"),
    ("no host", "GET /{} HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /{} HTTP/1.1\r\nHOSTHOST\r\n"),
    ("an unknown version", "GET /{} HTTP/1.2\r\nHOST\r\n"),
    ("version 2", "GET /{} HTTP/2.0\r\nHOST\r\n"),
    ("version 0.9", "GET /{}\r\n\r\n"),
    ("a version in lower case", "GET /{} http/1.1\r\nHOST\r\n"),
    ("a version with zeros", "GET /{} HTTP/01.1\r\nHOST\r\n"),
    ("another protocol's version", "GET /{} ICY/1.1\r\nHOST\r\n"),
    ("two spaces after the method", "GET  /{} HTTP/1.1\r\nHOST\r\n"),
    ("two spaces before the version", "GET /{}  HTTP/1.1\r\nHOST\r\n"),
    ("a tab after the method", "GET\t/{} HTTP/1.1\r\nHOST\r\n"),
    ("a space in the target", "GET /{} x HTTP/1.1\r\nHOST\r\n"),
    ("a space after the version", "GET /{} HTTP/1.1 \r\nHOST\r\n"),
    ("a fragment in the target", "GET /{}#x HTTP/1.1\r\nHOST\r\n"),
    ("no method", " /{} HTTP/1.1\r\nHOST\r\n"),
    ("a method that is no token", "GE(T /{} HTTP/1.1\r\nHOST\r\n"),
    ("a line in front that isn't empty", "x\r\nGET /{} HTTP/1.1\r\nHOST\r\n"),
    ("two empty lines in front", "\r\n\r\nGET /{} HTTP/1.1\r\nHOST\r\n"),
    ("the PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /{} HTTP/1.1\r\nHOST\r\n"),
    (
        "the PROXY protocol's second version",
        "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0cGET /{} HTTP/1.1\r\nHOST\r\n",
    ),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /{} HTTP/1.1\r\nHOST\r\n"),
];

/// Bodies of `POST` with `Transfer-Encoding: chunked`, with something wrong in them.
const MALFORMED_CHUNKS: &[(&str, &str)] = &[
    ("an empty size", "\r\na\r\n0\r\n\r\n"),
    ("a size of 0x", "0x1\r\na\r\n0\r\n\r\n"),
    ("a size with a sign", "+1\r\na\r\n0\r\n\r\n"),
    ("a negative size", "-1\r\na\r\n0\r\n\r\n"),
    ("a size that is no number", "z\r\na\r\n0\r\n\r\n"),
    ("an overflowing size", "10000000000000001\r\na\r\n0\r\n\r\n"),
    ("a space before the size", " 1\r\na\r\n0\r\n\r\n"),
    ("a space after the size", "1 \r\na\r\n0\r\n\r\n"),
    ("a tab after the size", "1\t\r\na\r\n0\r\n\r\n"),
    ("a space before the extension", "1 ;x\r\na\r\n0\r\n\r\n"),
    ("a separator in the size", "1_0\r\na\r\n0\r\n\r\n"),
    ("a size that ends with an LF", "1\na\r\n0\r\n\r\n"),
    ("a size that ends with a CR", "1\ra\r\n0\r\n\r\n"),
    ("an extension that ends with an LF", "1;x\na\r\n0\r\n\r\n"),
    ("an extension with a CR", "1;x\ry\r\na\r\n0\r\n\r\n"),
    ("an extension with a NUL", "1;x\0\r\na\r\n0\r\n\r\n"),
    ("data that ends with an LF", "1\r\na\n0\r\n\r\n"),
    ("data that ends with a CR", "1\r\na\r0\r\n\r\n"),
    ("data longer than its size", "1\r\nab\r\n0\r\n\r\n"),
    ("data shorter than its size", "4\r\na\r\n0\r\n\r\n"),
    ("data without an end", "1\r\na0\r\n\r\n"),
    ("a last chunk that ends with an LF", "1\r\na\r\n0\n\r\n"),
    ("an end of a bare LF", "1\r\na\r\n0\r\n\n"),
    ("a length among the trailers", "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"),
    ("a coding among the trailers", "1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a host among the trailers", "1\r\na\r\n0\r\nHost: evil.example\r\n\r\n"),
    ("a length with an underscore among the trailers", "1\r\na\r\n0\r\nContent_Length: 5\r\n\r\n"),
    ("a folded trailer", "1\r\na\r\n0\r\nX: a\r\n b\r\n\r\n"),
    ("a trailer with a space before its colon", "1\r\na\r\n0\r\nX : a\r\n\r\n"),
    ("a trailer with a NUL", "1\r\na\r\n0\r\nX: \0\r\n\r\n"),
    ("a trailer without a colon", "1\r\na\r\n0\r\nGET / HTTP/1.1\r\n\r\n"),
];

/// Requests that look odd and are not.
const VALID: &[(&str, &str)] = &[
    ("an empty line in front", "\r\nGET /{} HTTP/1.1\r\nHOST\r\n"),
    ("an absolute target", "GET http://shop.example/{} HTTP/1.1\r\nHOST\r\n"),
    ("HTTP/1.0", "GET /{} HTTP/1.0\r\nHOST\r\n"),
    ("HTTP/1.0 with a length", "POST /{} HTTP/1.0\r\nHOSTContent-Length: 1\r\n\r\na"),
    ("no space after the colon", "GET /{} HTTP/1.1\r\nHost:shop.example\r\nX:\r\n\r\n"),
    ("spaces and tabs around a value", "GET /{} HTTP/1.1\r\nHOSTX: \t a \t \r\n\r\n"),
    ("an empty value", "GET /{} HTTP/1.1\r\nHOSTX:\r\nY: \r\n\r\n"),
    ("every character of a name", "GET /{} HTTP/1.1\r\nHOST!#$%&'*+-.^_`|~09azAZ: a\r\n\r\n"),
    ("every other character in a value", "GET /{} HTTP/1.1\r\nHOSTX: \"(),/:;<=>?@[\\]{}\r\n\r\n"),
    ("a value beyond ASCII", "GET /{} HTTP/1.1\r\nHOSTX: \u{e9}\r\n\r\n"),
    ("a length of zero", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 0\r\n\r\n"),
    ("a length with zeros in front", "POST /{} HTTP/1.1\r\nHOSTContent-Length: 0003\r\n\r\nabc"),
    ("a GET with a body", "GET /{} HTTP/1.1\r\nHOSTContent-Length: 3\r\n\r\nabc"),
    (
        "a body that looks like a request",
        "POST /{} HTTP/1.1\r\nHOSTContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    ("chunked in capitals", "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    (
        "an empty chunked body",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "sizes in both cases",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ),
    (
        "a size with zeros in front",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n0001\r\na\r\n000\r\n\r\n",
    ),
    (
        "an extension",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n",
    ),
    (
        "a trailer",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
    ),
    (
        "a chunk that looks like the end",
        "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    ),
    ("an unknown method", "BREW /{} HTTP/1.1\r\nHOST\r\n"),
    (
        "an upgrade that is refused",
        "GET /refuse-upgrade/{} HTTP/1.1\r\nHOSTUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
];

/// How a client's bytes are cut.
#[derive(Clone, Copy, Debug)]
enum Sent {
    AtOnce,
    InPieces,
}

fn serving() -> (Edge, Recorder) {
    let (mut edge, recorder) = (Edge::start(""), Recorder::start());
    edge.serve("shop.example", recorder.address());
    (edge, recorder)
}

/// Sends a request and reads until the edge closes. That it may close before all is sent is fine.
fn send(edge: &Edge, request: &str, sent: Sent) -> String {
    let mut stream = connect(edge, "shop.example", "http/1.1");
    let size = match sent {
        Sent::AtOnce => request.len(),
        Sent::InPieces => 3,
    };
    for piece in request.as_bytes().chunks(size) {
        if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
    String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned()
}

fn filled(row: &str, marker: &str) -> String {
    row.replacen("{}", marker, 1).replace("HOST", HOST)
}

#[test]
fn a_malformed_request_is_refused_and_no_origin_sees_a_byte_of_it() {
    let (edge, origin) = serving();
    for sent in [Sent::AtOnce, Sent::InPieces] {
        for (index, (what, row)) in MALFORMED.iter().enumerate() {
            let marker = format!("malformed-{index}-{sent:?}");
            let answer = send(&edge, &filled(row, &marker), sent);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{what}, {sent:?}: {answer}");
            assert!(!origin.has_seen(&marker), "{what}, {sent:?}: an origin saw it");
        }
    }
    assert_eq!(origin.complete(), 0);
}

#[test]
fn a_malformed_request_behind_a_good_one_is_refused_too() {
    let (edge, origin) = serving();
    for (index, (what, row)) in MALFORMED.iter().enumerate() {
        // An empty line may stand between two requests: such a row has one more here.
        let marker = format!("behind-{index}");
        let request = filled(&format!("GET /good HTTP/1.1\r\nHOST\r\n{row}"), &marker);
        let answer = send(&edge, &request, Sent::AtOnce);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
        assert!(answer.contains("okHTTP/1.1 400 "), "{what}: {answer}");
        assert!(!origin.has_seen(&marker), "{what}: an origin saw it");
    }
    assert_eq!(origin.complete(), MALFORMED.len());
}

#[test]
fn a_malformed_body_is_refused_and_no_origin_gets_a_complete_request() {
    let (edge, origin) = serving();
    for sent in [Sent::AtOnce, Sent::InPieces] {
        for (index, (what, body)) in MALFORMED_CHUNKS.iter().enumerate() {
            let marker = format!("chunks-{index}-{sent:?}");
            let header = "POST /{} HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n";
            let behind = "GET /smuggled HTTP/1.1\r\nHOST\r\n";
            let request = filled(&format!("{header}{body}{behind}"), &marker);
            let answer = send(&edge, &request, sent);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{what}, {sent:?}: {answer}");
            assert_eq!(origin.complete(), 0, "{what}, {sent:?}");
            assert!(!origin.has_seen("/smuggled"), "{what}, {sent:?}");
        }
    }
}

#[test]
fn an_odd_request_that_is_valid_passes() {
    let (edge, origin) = serving();
    let mut requests = 0;
    for sent in [Sent::AtOnce, Sent::InPieces] {
        for (index, (what, row)) in VALID.iter().enumerate() {
            let marker = format!("valid-{index}-{sent:?}");
            let request = filled(row, &marker).replacen(
                "HTTP/1.1\r\n",
                "HTTP/1.1\r\nConnection: close\r\n",
                1,
            );
            let request = match what.contains("upgrade") {
                true => filled(row, &marker),
                false => request,
            };
            let answer = send(&edge, &request, sent);
            requests += 1;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{what}, {sent:?}: {answer}");
            assert!(origin.has_seen(&marker), "{what}, {sent:?}");
            assert_eq!(origin.complete(), requests, "{what}, {sent:?}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (edge, origin) = serving();
    let requests = "GET /one HTTP/1.1\r\nHOST\r\n\
                    POST /two HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
                    POST /three HTTP/1.1\r\nHOSTContent-Length: 2\r\n\r\nab\
                    GET /four HTTP/1.1\r\nHOSTConnection: close\r\n\r\n";
    for sent in [Sent::AtOnce, Sent::InPieces] {
        let answer = send(&edge, &filled(requests, ""), sent);
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 4, "{sent:?}: {answer}");
    }
    assert_eq!(origin.complete(), 8);
}

#[test]
fn what_follows_an_upgrade_waits_for_the_answer() {
    let (edge, origin) = serving();
    let upgrade =
        filled("GET /{} HTTP/1.1\r\nHOSTUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "up");
    let mut stream = connect(&edge, "shop.example", "http/1.1");
    stream.write_all(format!("{upgrade}\0early\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\0early\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"late").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"late");
    assert_eq!(origin.complete(), 1);
}

#[test]
fn what_follows_an_upgrade_that_is_refused_never_arrives() {
    let (edge, origin) = serving();
    let request = "GET /refuse-upgrade HTTP/1.1\r\nHOSTUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\
                   GET /smuggled HTTP/1.1\r\nHOST\r\n";
    for sent in [Sent::AtOnce, Sent::InPieces] {
        let answer = send(&edge, &filled(request, ""), sent);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.to_lowercase().contains("connection: close\r\n"), "{answer}");
    }
    assert!(!origin.has_seen("/smuggled"));
}

#[test]
fn no_origin_is_asked_for_http2_in_the_clear() {
    let (edge, origin) = serving();
    let request = "GET /{} HTTP/1.1\r\nHOSTUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
                   Connection: close\r\n\r\n";
    let answer = send(&edge, &filled(request, "h2c"), Sent::AtOnce);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!origin.has_seen("h2c\r\n") && !origin.has_seen("AAMAAABk"));
}

#[test]
fn refusals_are_counted_by_what_was_wrong() {
    let (edge, _origin) = serving();
    let framing = MALFORMED[0].1;
    send(&edge, &filled(framing, "x"), Sent::AtOnce);
    edge.wait_for_metric("landfall_cuts_total{reason=\"framing\"}", 1.0);
    send(&edge, "GET\r\n\r\n", Sent::AtOnce);
    edge.wait_for_metric("landfall_cuts_total{reason=\"malformed\"}", 1.0);
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let answer = send(&edge, &large, Sent::AtOnce);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    edge.wait_for_metric("landfall_cuts_total{reason=\"header_too_large\"}", 1.0);
}
