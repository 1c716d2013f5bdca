//! Which form of an error's answer a client wants (RFC 9110 section 12.5.1).

use http::header;
use pingora::http::RequestHeader;

use crate::preference::weighted;

/// A form of an error's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    /// RFC 9457
    Json,
}

impl Format {
    /// JSON where a type of it is named, and wanted at least as much as a text that is named.
    pub(super) fn of(request: &RequestHeader) -> Self {
        let (mut text, mut json) = (0, 0);
        for value in request.headers.get_all(header::ACCEPT).iter() {
            for element in value.to_str().unwrap_or_default().split(',') {
                let (range, weight) = weighted(element);
                let range = range.to_ascii_lowercase();
                if range.starts_with("text/") || range.starts_with("application/xhtml") {
                    text = text.max(weight);
                } else if range.ends_with("/json") || range.ends_with("+json") {
                    json = json.max(weight);
                }
            }
        }
        if json > 0 && json >= text { Self::Json } else { Self::Text }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        let table = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("application/json", Format::Json),
            ("application/problem+json, */*;q=0.1", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text),
            ("text/html, application/json;q=0.9", Format::Text),
            ("text/html;q=0.5, application/json;q=0.9", Format::Json),
            ("application/json;q=0", Format::Text),
            ("application/json;q=much", Format::Text),
        ];
        for (accept, expected) in table {
            let mut request = RequestHeader::build(Method::GET, b"/", None).unwrap();
            request.insert_header("accept", accept).unwrap();
            assert_eq!(Format::of(&request), expected, "{accept}");
        }
    }
}
