//! A request as it is traced: one span for it, and one for each try at an origin.

use std::{mem, sync::Arc};

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use pingora::{
    Error,
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
};
use pingora_proxy::Session;
use tokio::sync::mpsc;

use super::{
    attributes,
    context::{Decision, Parent, SpanId, TRACEPARENT, TRACESTATE, TraceId, traceparent},
    metrics::{Dropped, TraceMetrics},
    sampling::Sampler,
    span::{Clock, Outcome, Side, number, text, version},
};

/// The parent is known to be on another machine (bits of a span's flags in OTLP).
const IS_REMOTE: u32 = 0x300;
/// The parent is known to be in this process.
const IS_LOCAL: u32 = 0x100;
/// The trace is recorded.
const SAMPLED: u32 = 1;

/// Traces requests, and hands over what is to be sent.
#[derive(Clone)]
pub(crate) struct Tracer {
    sampler: Sampler,
    /// The spans of one request each.
    spans: mpsc::Sender<Vec<Span>>,
    metrics: Arc<TraceMetrics>,
}

/// What is known of a request's trace.
#[derive(Default)]
pub(crate) enum RequestTrace {
    /// Traces are off: the request's own context is none of our business.
    #[default]
    Off,
    /// Not recorded; the origin is told so.
    Skipped(Context),
    /// Recorded.
    Recorded(Box<Recording>),
}

/// What all spans of a trace share.
pub(crate) struct Context {
    trace: TraceId,
    state: Option<HeaderValue>,
}

/// A request that is recorded.
pub(crate) struct Recording {
    context: Context,
    parent: Option<SpanId>,
    span: SpanId,
    clock: Clock,
    /// In order; the last one may be going on. pingora bounds their number.
    tries: Vec<Try>,
}

/// One try at an origin.
struct Try {
    id: SpanId,
    span: Span,
    status: Option<u16>,
    state: TryState,
}

#[derive(PartialEq, Eq)]
enum TryState {
    Going,
    Ended,
}

impl Tracer {
    pub(super) fn new(
        sampler: Sampler,
        spans: mpsc::Sender<Vec<Span>>,
        metrics: Arc<TraceMetrics>,
    ) -> Self {
        Self { sampler, spans, metrics }
    }

    /// Decides on a request. `peer_headers` are those of a peer whose context is believed.
    pub(crate) fn begin(&self, peer_headers: Option<&HeaderMap>) -> RequestTrace {
        let parent = peer_headers.and_then(Parent::of);
        let trace = parent.as_ref().map_or_else(TraceId::random, |parent| parent.trace);
        let decision = self.sampler.decide(trace, parent.as_ref().map(|parent| parent.decision));
        let span_of_parent = parent.as_ref().map(|parent| parent.span);
        let context = Context { trace, state: parent.and_then(|parent| parent.state) };
        match decision {
            Decision::Skip => RequestTrace::Skipped(context),
            Decision::Record => RequestTrace::Recorded(Box::new(Recording {
                context,
                parent: span_of_parent,
                span: SpanId::random(),
                clock: Clock::start(),
                tries: Vec::with_capacity(1),
            })),
        }
    }

    /// Hands a request's spans over, or drops and counts them where there is no room.
    pub(crate) fn end(&self, trace: &mut RequestTrace, session: &Session, error: Option<&Error>) {
        let RequestTrace::Recorded(recording) = mem::take(trace) else {
            return;
        };
        let spans = recording.into_spans(session, error);
        let count = spans.len() as u64;
        if self.spans.try_send(spans).is_err() {
            self.metrics.dropped(count, Dropped::QueueFull);
        }
    }
}

impl RequestTrace {
    /// An origin was chosen.
    pub(crate) fn try_begins(&mut self, session: &Session, peer: &HttpPeer) {
        if let Self::Recorded(recording) = self {
            recording.end_try(None);
            recording.begin_try(session.req_header(), peer);
        }
    }

    /// Replaces the client's context by ours in what is sent to the origin.
    pub(crate) fn send_on(&self, header: &mut RequestHeader) -> pingora::Result<()> {
        let (context, span, decision) = match self {
            Self::Off => return Ok(()),
            Self::Skipped(context) => (context, SpanId::random(), Decision::Skip),
            Self::Recorded(recording) => {
                let span = recording.tries.last().map_or(recording.span, |last| last.id);
                (&recording.context, span, Decision::Record)
            }
        };
        header.remove_header(&TRACESTATE);
        header.remove_header(&TRACEPARENT);
        if let Some(value) = traceparent(context.trace, span, decision) {
            header.insert_header(TRACEPARENT, value)?;
        }
        if let Some(state) = &context.state {
            header.insert_header(TRACESTATE, state.clone())?;
        }
        Ok(())
    }

    /// The origin's header has arrived, interim ones (RFC 9110 section 15.2) included.
    pub(crate) fn try_answered(&mut self, response: &ResponseHeader) {
        if let Self::Recorded(recording) = self
            && let Some(last) = recording.going()
            && last.status.is_none()
            && (!response.status.is_informational() || response.status == 101)
        {
            let status = response.status.as_u16();
            last.status = Some(status);
            last.span.attributes.extend([
                number("http.response.status_code", status),
                text("network.protocol.version", version(response.version)),
            ]);
        }
    }

    /// The try has failed. Another one may follow.
    pub(crate) fn try_failed(&mut self, error: &Error) {
        if let Self::Recorded(recording) = self {
            recording.end_try(Some(error));
        }
    }
}

impl Recording {
    fn going(&mut self) -> Option<&mut Try> {
        self.tries.last_mut().filter(|last| last.state == TryState::Going)
    }

    fn begin_try(&mut self, request: &RequestHeader, peer: &HttpPeer) {
        let id = SpanId::random();
        let (method, mut attributes) = attributes::method(&request.method);
        attributes.extend(attributes::of_origin(request, peer));
        let before = i64::try_from(self.tries.len()).unwrap_or(i64::MAX);
        if before > 0 {
            attributes.push(number("http.request.resend_count", before));
        }
        let span = Span {
            parent_span_id: self.span.0.to_vec(),
            flags: SAMPLED | IS_LOCAL,
            name: method.to_owned(),
            kind: SpanKind::Client as i32,
            start_time_unix_nano: self.clock.now(),
            attributes,
            ..self.context.span(id)
        };
        self.tries.push(Try { id, span, status: None, state: TryState::Going });
    }

    fn end_try(&mut self, error: Option<&Error>) {
        let now = self.clock.now();
        if let Some(last) = self.going() {
            last.state = TryState::Ended;
            last.span.end_time_unix_nano = now;
            Outcome::of(Side::Client, last.status, error).put_in(&mut last.span);
        }
    }

    fn into_spans(mut self, session: &Session, error: Option<&Error>) -> Vec<Span> {
        self.end_try(error);
        let (method, mut attributes) = attributes::method(&session.req_header().method);
        attributes.extend(attributes::of_request(session));
        let mut span = Span {
            parent_span_id: self.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
            flags: SAMPLED | self.parent.map_or(IS_LOCAL, |_| IS_REMOTE),
            name: method.to_owned(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: self.clock.began(),
            end_time_unix_nano: self.clock.now(),
            attributes,
            ..self.context.span(self.span)
        };
        let status = session.response_written().map(|response| response.status.as_u16());
        Outcome::of(Side::Server, status, error).put_in(&mut span);
        let mut spans = Vec::with_capacity(1 + self.tries.len());
        spans.push(span);
        spans.extend(self.tries.into_iter().map(|tried| tried.span));
        spans
    }
}

impl Context {
    fn span(&self, id: SpanId) -> Span {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default();
        Span {
            trace_id: self.trace.0.to_vec(),
            span_id: id.0.to_vec(),
            trace_state: state.to_owned(),
            ..Span::default()
        }
    }
}

impl Outcome {
    fn put_in(&self, span: &mut Span) {
        span.attributes.extend(self.error_type.as_deref().map(|kind| text("error.type", kind)));
        span.status = self.status();
    }
}
