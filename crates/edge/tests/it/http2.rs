//! HTTP/2 clients that attack with frames.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned};

use crate::support::{Edge, Origin, PATIENCE, connect, curl, read_to_end};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `:method`, `:scheme`, `:path` `/` and `:authority`, all from HPACK's static table but the last.
fn header_block(method: u8) -> Vec<u8> {
    let mut block = vec![method, 0x87, 0x84, 0x01, 12];
    block.extend_from_slice(b"shop.example");
    block
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &header_block(0x82))
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &header_block(0x83))
}

impl Client {
    fn connect(edge: &Edge, settings: &[u8]) -> Self {
        let stream = connect(edge, "shop.example", "h2");
        stream.sock.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream };
        client.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).unwrap();
        client
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends what `frames` makes for each odd number until the edge has had enough.
    fn flood(&mut self, frames: impl Fn(u32) -> Vec<u8>) {
        let started = Instant::now();
        for stream in (0_u32..).map(|number| number * 2 + 1) {
            if self.send(&frames(stream)).is_err() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the connection is still open");
        }
    }

    /// The next frame's kind, stream and payload; `None` at the end.
    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[3], u32::from_be_bytes(head[5..9].try_into().unwrap()), payload))
    }
}

fn serving(more: &str) -> Edge {
    let mut edge = Edge::start(more);
    edge.serve("shop.example", Origin::start().address());
    edge
}

fn floods(edge: &Edge) -> f64 {
    edge.metric("landfall_cuts_total{reason=\"flood\"}")
}

#[test]
fn a_flood_of_frames_that_do_nothing_ends_the_connection() {
    let edge = serving("[limits]\nh2_control_frames = 50\nh2_window_updates = 100");
    let mut cut = 0.0;
    type Flood = fn(u32) -> Vec<u8>;
    let table: [(&str, Flood); 7] = [
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, b"")),
        ("SETTINGS that change the table's size", |stream| {
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, u8::try_from(stream % 200).unwrap()])
        }),
        ("PING", |_| frame(PING, 0, 0, &[7; 8])),
        ("answers to PING", |_| frame(PING, 1, 0, &[7; 8])),
        ("PRIORITY", |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16])),
        ("unknown frames", |_| frame(0xbe, 0, 0, b"x")),
        ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    ];
    for (what, flood) in table {
        Client::connect(&edge, b"").flood(flood);
        cut += 1.0;
        edge.wait_for_metric("landfall_cuts_total{reason=\"flood\"}", cut);
        assert_eq!(curl(&edge, "shop.example", "/", &["--http2"]).status, 200, "after {what}");
    }
}

#[test]
fn requests_that_are_taken_back_are_limited() {
    let edge = serving("[limits]\nh2_resets = 20");
    let mut client = Client::connect(&edge, b"");
    client.flood(|stream| {
        // Most are reset before the edge looks at them, and h2 has a limit of its own for those.
        [get(stream), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
    // One at a time, each seen before it is taken back.
    let mut client = Client::connect(&edge, b"");
    let before = floods(&edge);
    for stream in (0..1000).map(|number| number * 2 + 1) {
        let answered = client.send(&get(stream)).is_ok()
            && std::iter::from_fn(|| client.next()).any(|(_, of, _)| of == stream)
            && client.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).is_ok();
        if !answered {
            break;
        }
    }
    edge.wait_for_metric("landfall_cuts_total{reason=\"flood\"}", before + 1.0);
    assert_eq!(curl(&edge, "shop.example", "/", &["--http2"]).status, 200);
}

#[test]
fn a_client_that_makes_the_edge_reset_its_requests_is_ended() {
    let edge = serving("");
    // A window opened by 0 is an error of its stream (RFC 9113 section 6.9).
    Client::connect(&edge, b"").flood(|stream| {
        [post(stream), frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes())].concat()
    });
    // So is content after the end of the stream.
    Client::connect(&edge, b"")
        .flood(|stream| [get(stream), frame(DATA, 0, stream, b"x")].concat());
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
    assert_eq!(curl(&edge, "shop.example", "/", &["--http2"]).status, 200);
}

#[test]
fn a_header_in_endless_continuations_is_ended() {
    let edge = serving("");
    for payload in [&b""[..], b"x"] {
        let mut client = Client::connect(&edge, b"");
        client.send(&frame(HEADERS, END_STREAM, 1, &header_block(0x82))).unwrap();
        client.flood(|_| frame(CONTINUATION, 0, 1, payload));
    }
    edge.wait_for_metric("landfall_open_connections{listener=\"https\"}", 0.0);
}

#[test]
fn a_header_that_unpacks_to_more_than_is_allowed_is_refused() {
    let edge = serving("[limits]\nheader_size = \"4KiB\"");
    // A little more is answered, far more ends the connection.
    for (times, expected) in [(5, HEADERS), (200, GOAWAY)] {
        let mut client = Client::connect(&edge, b"");
        // A field of 1,000 bytes goes to the table once, and is named by one byte after that.
        let mut block = header_block(0x82);
        block.extend([0x40, 1, b'x', 0x7f, 0xe9, 0x06]);
        block.extend([b'y'; 1000]);
        block.resize(block.len() + times, 0xbe);
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).unwrap();
        let mut frames = std::iter::from_fn(|| client.next()).map(|(kind, _, _)| kind);
        assert!(frames.any(|kind| kind == expected), "{times}");
    }
    assert!((edge.metric("landfall_requests_total{class=\"2xx\"}")).abs() < 0.1);
}

#[test]
fn a_client_that_takes_no_response_loses_it() {
    let mut edge = Edge::start("[limits]\nresponse_write_timeout = \"300ms\"");
    let origin = Origin::start();
    edge.serve("shop.example", origin.address());
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: the header comes, its content can't.
    let mut client = Client::connect(&edge, &[0, 4, 0, 0, 0, 0]);
    client.send(&get(1)).unwrap();
    let reset =
        std::iter::from_fn(|| client.next()).any(|(kind, of, _)| (kind, of) == (RST_STREAM, 1));
    assert!(reset, "the stream was not reset");
    // The connection is still of use.
    let opened = [0, 4, 0, 0, 0xff, 0xff];
    client.send(&[frame(SETTINGS, 0, 0, &opened), get(3)].concat()).unwrap();
    let answered =
        std::iter::from_fn(|| client.next()).any(|(kind, of, _)| (kind, of) == (DATA, 3));
    assert!(answered, "no answer on the same connection");
}

#[test]
fn a_client_that_opens_its_window_byte_by_byte_is_ended() {
    let edge = serving("");
    let mut client = Client::connect(&edge, &[0, 4, 0, 0, 0, 0]);
    let started = Instant::now();
    client.send(&get(1)).unwrap();
    while client.send(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())).is_ok() {
        assert!(started.elapsed() < PATIENCE, "the connection is still open");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(floods(&edge) > 0.5);
}

#[test]
fn ordinary_use_is_no_flood() {
    let edge = serving("");
    for _ in 0..3 {
        let mut client = Client::connect(&edge, b"");
        for number in 0..100 {
            client.send(&get(number * 2 + 1)).unwrap();
            client.send(&frame(PING, 0, 0, &[1; 8])).unwrap();
        }
        client.send(&frame(GOAWAY, 0, 0, &[0; 8])).unwrap();
        drop(read_to_end(&mut client.stream));
    }
    assert!(floods(&edge).abs() < 0.1);
    edge.wait_for_metric("landfall_requests_total{class=\"2xx\"}", 300.0);
}
