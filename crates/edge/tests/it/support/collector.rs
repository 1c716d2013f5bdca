//! A collector that takes traces over OTLP, as protobuf over HTTP/1.1.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;

use super::wait_until;

/// What a collector does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it.
    Takes,
    /// Takes it, and says that it has refused one span.
    TakesLess,
    /// Answers with this status.
    Answers(u16),
    /// Reads it and says nothing.
    Silent,
}

/// A collector on a port of its own.
pub(crate) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    seen: Mutex<Seen>,
}

/// What has arrived.
#[derive(Default)]
struct Seen {
    requests: usize,
    header: String,
    resources: Vec<Resource>,
    /// Those that were taken.
    spans: Vec<Span>,
}

impl Collector {
    pub(crate) fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { mood: Mutex::new(mood), seen: Mutex::default() });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || while shared.take(&stream).is_some() {});
            }
        });
        Self { address, shared }
    }

    /// `[tracing]` that sends everything here at once, with `more` at its end.
    pub(crate) fn config(&self, more: &str) -> String {
        let interval = if more.contains("interval") { "" } else { "interval = \"0s\"" };
        let sample = if more.contains("sample") { "" } else { "sample = 1.0" };
        format!("[tracing]\nendpoint = \"http://{}/\"\n{interval}\n{sample}\n{more}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How often something was sent.
    pub(crate) fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().requests
    }

    /// The header of the last request.
    pub(crate) fn header(&self) -> String {
        self.shared.seen.lock().unwrap().header.clone()
    }

    /// Who the last sender says it is.
    pub(crate) fn resource(&self) -> Resource {
        self.shared.seen.lock().unwrap().resources.last().unwrap().clone()
    }

    /// What has been taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.shared.seen.lock().unwrap().spans.clone()
    }

    /// Waits until so many spans have been taken, and forgets them: the server's, then its
    /// tries at origins.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Span> {
        wait_until(&format!("{count} spans were taken"), || self.spans().len() >= count);
        let spans = std::mem::take(&mut self.shared.seen.lock().unwrap().spans);
        assert_eq!(spans.len(), count, "{spans:#?}");
        assert_eq!(spans[0].kind(), SpanKind::Server);
        assert!(spans[1..].iter().all(|span| span.kind() == SpanKind::Client));
        spans
    }
}

impl Shared {
    /// Reads one request and answers it. `None` ends the connection.
    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut header = String::new();
        while !header.ends_with("\r\n\r\n") {
            if reader.read_line(&mut header).ok()? == 0 {
                return None;
            }
        }
        let lower = header.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let mood = *self.mood.lock().unwrap();
        self.note(header, &body, mood);
        let (status, answer) = match mood {
            Mood::Takes => (200, ExportTraceServiceResponse::default()),
            Mood::TakesLess => {
                let less = ExportTracePartialSuccess { rejected_spans: 1, ..Default::default() };
                (200, ExportTraceServiceResponse { partial_success: Some(less) })
            }
            Mood::Answers(status) => (status, ExportTraceServiceResponse::default()),
            Mood::Silent => {
                // Until the edge gives up.
                let _ = reader.read(&mut [0]);
                return None;
            }
        };
        let answer = answer.encode_to_vec();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(&[head.into_bytes(), answer].concat()).ok()
    }

    fn note(&self, header: String, body: &[u8], mood: Mood) {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let mut seen = self.seen.lock().unwrap();
        seen.requests += 1;
        seen.header = header;
        if matches!(mood, Mood::Takes | Mood::TakesLess) {
            for of_resource in request.resource_spans {
                seen.resources.extend(of_resource.resource);
                let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                for span in spans {
                    // An answer that came too late makes a batch come again.
                    if !seen.spans.contains(&span) {
                        seen.spans.push(span);
                    }
                }
            }
        }
    }
}

/// An attribute as text; empty where it isn't there.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let of_key: Vec<_> = attributes.iter().filter(|attribute| attribute.key == key).collect();
    assert!(of_key.len() <= 1, "{key} is there more than once: {of_key:?}");
    of_key.first().map(|attribute| text(attribute.value.clone().unwrap())).unwrap_or_default()
}

fn text(value: AnyValue) -> String {
    match value.value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::ArrayValue(list) => list.values.into_iter().map(text).collect::<Vec<_>>().join(" "),
        Value::BoolValue(_)
        | Value::DoubleValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => panic!("an attribute of a type that isn't used"),
    }
}
