//! The one form in which origins get requests, however their clients wrote them.

use http::{HeaderValue, Uri, header};
use pingora::http::RequestHeader;

/// Makes a URL in the place of the target the path that it has (RFC 9112 section 3.2.1: its scheme
/// and port are the client's words), and one `Cookie` of several, as which HTTP/2 clients may send
/// it (RFC 9113 section 8.2.3).
pub(super) fn put_in(header: &mut RequestHeader) -> pingora::Result<()> {
    if !matches!(header.raw_path().first(), Some(b'/' | b'*')) {
        let path = header.uri.path_and_query().cloned();
        header.set_uri(path.map_or_else(Uri::default, Uri::from));
    }
    match joined_cookies(header) {
        Some(cookies) => header.insert_header(header::COOKIE, cookies),
        None => Ok(()),
    }
}

/// `None` where there are not several.
fn joined_cookies(header: &RequestHeader) -> Option<HeaderValue> {
    let pieces: Vec<&[u8]> =
        header.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let is_split = pieces.len() > 1;
    is_split.then(|| HeaderValue::from_bytes(&pieces.join(&b"; "[..])).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_url_becomes_its_path() {
        for (target, expected) in [
            ("http://shop.example:99/a?b", "/a?b"),
            ("https://shop.example", "/"),
            ("https://shop.example?b", "/?b"),
            ("/a?b", "/a?b"),
            ("*", "*"),
        ] {
            let mut header = RequestHeader::build(Method::GET, target.as_bytes(), None).unwrap();
            put_in(&mut header).unwrap();
            assert_eq!(String::from_utf8_lossy(header.raw_path()), expected);
        }
    }

    #[test]
    fn several_cookies_become_one() {
        let mut header = RequestHeader::build(Method::GET, b"/", None).unwrap();
        put_in(&mut header).unwrap();
        assert!(header.headers.get("cookie").is_none());
        for piece in ["a=1", "b=\u{e9}", "c=3; d=4"] {
            header.append_header("cookie", piece).unwrap();
        }
        put_in(&mut header).unwrap();
        let cookies: Vec<_> = header.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=\u{e9}; c=3; d=4".as_bytes()]);
    }
}
