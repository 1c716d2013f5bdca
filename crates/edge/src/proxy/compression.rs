//! Whether a response is compressed, and with what. The work is pingora's, which would take the
//! first coding that the client names, whatever its weight.

mod encoder;

use http::{HeaderValue, Method, StatusCode, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::http::compression::Algorithm,
};
use pingora_proxy::Session;

use crate::preference::weighted;
use encoder::{Encoder, EncoderBuilder};

/// Below it, in bytes, what is gained is less than what the coding itself takes.
const MIN_LEN: u64 = 256;
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Compresses responses. A request whose response is not compressed pays nothing for it.
pub(super) struct Compression {
    modules: HttpModules,
}

impl Compression {
    pub(super) fn new() -> Self {
        let mut modules = HttpModules::new();
        modules.add_module(Box::new(EncoderBuilder));
        Self { modules }
    }

    /// Prepares `session` for the response, whose header it is about to get.
    pub(super) fn apply(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> pingora::Result<()> {
        if response.status.is_informational() || !is_compressible(response) {
            return Ok(());
        }
        let request = session.req_header();
        let coding = match request.method == Method::HEAD {
            // Its length stays unknown, as it would for GET.
            true => None,
            false => best(request),
        };
        let Some(coding) = coding else {
            return vary(response);
        };
        let mut context = self.modules.build_ctx();
        if let Some(encoder) = context.get_mut::<Encoder>() {
            encoder.start(coding, level(coding))?;
        }
        session.downstream_modules_ctx = context;
        Ok(())
    }
}

/// Where speed and size meet, for each coding's own scale.
fn level(coding: Algorithm) -> u32 {
    match coding {
        Algorithm::Brotli => 4,
        Algorithm::Zstd => 3,
        Algorithm::Gzip => 5,
        Algorithm::Any | Algorithm::Dcb | Algorithm::Dcz | Algorithm::Other => 0,
    }
}

/// Caches must not give one client's form to another (RFC 9110 section 12.5.5).
fn vary(response: &mut ResponseHeader) -> pingora::Result<()> {
    let covers = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if response.headers.get_all(header::VARY).iter().any(covers) {
        return Ok(());
    }
    response.append_header(header::VARY, ACCEPT_ENCODING).map(drop)
}

/// The coding that the client wants most; of equals, the one that does most.
fn best(request: &RequestHeader) -> Option<Algorithm> {
    let values = request.headers.get_all(header::ACCEPT_ENCODING).iter();
    let text = values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    let weights: Vec<(&str, u16)> = text.split(',').map(weighted).collect();
    let weight = |name: &str| {
        let named = |wanted: &str| {
            weights.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(wanted)).map(|own| own.1)
        };
        named(name).or_else(|| named("*")).unwrap_or(0)
    };
    let codings = [Algorithm::Gzip, Algorithm::Zstd, Algorithm::Brotli];
    // Of several largest, the last.
    let best = codings.into_iter().max_by_key(|coding| weight(coding.as_str()))?;
    (weight(best.as_str()) > 0).then_some(best)
}

/// Whether the response gains by it, and loses nothing: not a part of something, not with a digest
/// of its bytes, not what is read while it is written.
fn is_compressible(response: &ResponseHeader) -> bool {
    let text = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let has = |name: &str| response.headers.contains_key(name);
    let is_whole = !matches!(
        response.status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let is_large = text("content-length")
        .is_none_or(|length| length.parse::<u64>().is_ok_and(|length| length >= MIN_LEN));
    let may_change = text("cache-control")
        .is_none_or(|control| !control.to_ascii_lowercase().contains("no-transform"));
    let bound = ["content-encoding", "content-range", "content-digest", "digest", "content-md5"];
    is_whole
        && is_large
        && may_change
        && !bound.into_iter().any(has)
        // They would have to give way to the last bytes.
        && !has("trailer")
        && text("content-type").is_some_and(is_text)
}

fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        // Read while it is written: it would be held back for more to come.
        "text/event-stream" | "application/x-ndjson" | "application/stream+json" => false,
        "application/javascript"
        | "application/json"
        | "application/vnd.ms-fontobject"
        | "application/wasm"
        | "application/x-javascript"
        | "application/xml"
        | "font/otf"
        | "font/ttf"
        | "image/bmp"
        | "image/svg+xml"
        | "image/x-icon" => true,
        kind => {
            kind.starts_with("text/")
                || (kind.starts_with("application/")
                    && (kind.ends_with("+json") || kind.ends_with("+xml")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_coding() {
        let table = [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, zstd", Some("zstd")),
            ("br;q=0.5, gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.1", Some("gzip")),
            ("*", Some("br")),
            ("*, br;q=0", Some("zstd")),
            ("GZIP;Q=1", Some("gzip")),
            ("gzip;q=0", None),
            ("identity", None),
            ("", None),
        ];
        for (accepted, expected) in table {
            let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
            request.insert_header("accept-encoding", accepted).unwrap();
            let found = best(&request).map(|coding| coding.as_str());
            assert_eq!(found, expected, "{accepted}");
        }
        assert_eq!(best(&RequestHeader::build(Method::GET, b"/", None).unwrap()), None);
    }

    fn response(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        response.insert_header("content-type", "text/html; charset=utf-8").unwrap();
        for (name, value) in fields {
            response.insert_header(*name, *value).unwrap();
        }
        response
    }

    #[test]
    fn what_gains_nothing_or_would_break_stays_as_it_is() {
        for fields in [&[][..], &[("content-length", "256")], &[("cache-control", "private")]] {
            assert!(is_compressible(&response(200, fields)), "{fields:?}");
        }
        assert!(is_compressible(&response(404, &[])));
        assert!(!is_compressible(&response(206, &[])));
        assert!(!is_compressible(&response(304, &[])));
        for field in [
            ("content-length", "255"),
            ("content-encoding", "gzip"),
            ("cache-control", "public, No-Transform"),
            ("content-range", "bytes 0-1/2"),
            ("trailer", "x-checksum"),
            ("content-digest", "sha-256=:AA==:"),
            ("content-type", "text/event-stream"),
            ("content-type", "application/grpc"),
            ("content-type", "image/png"),
            ("content-type", "application/zip"),
        ] {
            assert!(!is_compressible(&response(200, &[field])), "{field:?}");
        }
    }

    #[test]
    fn caches_are_told_once_what_it_depends_on() {
        for (own, expected) in [
            ("origin", vec!["origin", "accept-encoding"]),
            ("Origin, Accept-Encoding", vec!["Origin, Accept-Encoding"]),
            ("*", vec!["*"]),
        ] {
            let mut response = response(200, &[("vary", own)]);
            vary(&mut response).unwrap();
            let values: Vec<_> = response.headers.get_all("vary").iter().collect();
            assert_eq!(values, expected);
        }
    }
}
