//! The trace that a request belongs to, as peers write it (W3C Trace Context, level 1).

use std::fmt;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that names the trace and the sender's span.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The field that holds what tracing systems say to themselves.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-<32 hexadecimal digits>-<16>-<2>`
const LEN: usize = 55;
/// The bit of the flags that asks receivers to record.
const SAMPLED: u8 = 1;
/// The most bytes of a `tracestate` that are passed on (section 3.3.1.5 asks for no less).
const MAX_STATE: usize = 512;

/// The name of a trace: not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceId(pub(super) [u8; 16]);

/// The name of a span: not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

/// Whether a trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Spans are made and sent.
    Record,
    /// Its context is passed on, and nothing else.
    Skip,
}

/// The context that a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) decision: Decision,
    pub(super) state: Option<HeaderValue>,
}

impl TraceId {
    pub(super) fn random() -> Self {
        Self(random())
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(random())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Parent {
    /// `None` where there is not exactly one valid `traceparent` (section 3.2.2).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?.as_bytes();
        if values.next().is_some() {
            return None;
        }
        let (start, rest) = value.split_at_checked(LEN)?;
        let [version] = hex(start.get(..2)?)?;
        // A later version may have more behind another dash.
        let is_known = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| start.get(*at) == Some(&b'-'));
        let (trace, span) = (hex::<16>(start.get(3..35)?)?, hex::<8>(start.get(36..52)?)?);
        let [flags] = hex(start.get(53..)?)?;
        let is_valid = is_known && has_dashes && trace != [0; 16] && span != [0; 8];
        is_valid.then(|| Self {
            trace: TraceId(trace),
            span: SpanId(span),
            decision: match flags & SAMPLED {
                0 => Decision::Skip,
                _ => Decision::Record,
            },
            state: state(headers),
        })
    }
}

/// The `traceparent` for whom `span` is the parent.
pub(super) fn traceparent(trace: TraceId, span: SpanId, decision: Decision) -> Option<HeaderValue> {
    let mut text = String::with_capacity(LEN);
    text.push_str("00-");
    HEXLOWER.encode_append(&trace.0, &mut text);
    text.push('-');
    HEXLOWER.encode_append(&span.0, &mut text);
    text.push_str(match decision {
        Decision::Record => "-01",
        Decision::Skip => "-00",
    });
    HeaderValue::try_from(text).ok()
}

/// All `tracestate` fields as one (section 3.3.1). `None` where there is none, or too much.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Vec<_> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    let joined = values.join(&b","[..]);
    let is_plain = joined.iter().all(|byte| (b' '..=b'~').contains(byte));
    let is_state = is_plain && (1..=MAX_STATE).contains(&joined.len());
    is_state.then(|| HeaderValue::from_bytes(&joined).ok()).flatten()
}

/// Lower-case digits alone, as many as fill it.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    HEXLOWER.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness the process could do no TLS either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parent(parents: &[&str], states: &[&str]) -> Option<Parent> {
        let mut headers = HeaderMap::new();
        for value in parents {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        for value in states {
            headers.append(TRACESTATE, value.parse().unwrap());
        }
        Parent::of(&headers)
    }

    #[test]
    fn reads_what_a_peer_writes() {
        let table = [
            (format!("00-{TRACE}-{SPAN}-01"), Decision::Record),
            (format!("00-{TRACE}-{SPAN}-00"), Decision::Skip),
            (format!("00-{TRACE}-{SPAN}-03"), Decision::Record),
            (format!("cc-{TRACE}-{SPAN}-01"), Decision::Record),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes-later"), Decision::Record),
        ];
        for (text, decision) in table {
            let parent = parent(&[&text], &[]).unwrap();
            assert_eq!(format!("{:?}-{:?}", parent.trace, parent.span), format!("{TRACE}-{SPAN}"));
            assert_eq!(parent.decision, decision, "{text}");
        }
    }

    #[test]
    fn takes_nothing_from_what_is_malformed() {
        let zero = |len: usize| "0".repeat(len);
        let table = [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", zero(32)),
            format!("00-{TRACE}-{}-01", zero(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00-{TRACE}-{SPAN}-zz"),
        ];
        for text in table {
            assert_eq!(parent(&[&text], &[]), None, "{text}");
        }
        let twice = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(parent(&[&twice, &twice], &[]), None);
    }

    #[test]
    fn states_are_one_list_with_a_bound() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| {
            let state = parent(&[&text], states).unwrap().state;
            state.map(|state| state.to_str().unwrap().to_owned())
        };
        assert_eq!(state(&[]), None);
        assert_eq!(state(&["a=1", "b=2,c=3"]).as_deref(), Some("a=1,b=2,c=3"));
        let most = "x".repeat(MAX_STATE);
        assert_eq!(state(&[&most]).as_deref(), Some(most.as_str()));
        assert_eq!(state(&[&most, "y"]), None);
        assert_eq!(state(&["a=\t1"]), None);
    }

    #[test]
    fn writes_what_it_would_read() {
        let (trace, span) = (TraceId::random(), SpanId::random());
        for decision in [Decision::Record, Decision::Skip] {
            let value = traceparent(trace, span, decision).unwrap();
            let read = parent(&[value.to_str().unwrap()], &[]).unwrap();
            assert_eq!(read, Parent { trace, span, decision, state: None });
        }
    }
}
