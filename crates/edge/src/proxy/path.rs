//! Paths that servers read in different ways.
//!
//! Which origin a request goes to is decided by its path as it is sent, byte for byte, and so the
//! origin gets it. Many origins decode, merge and resolve before they look: `/x/../admin` would
//! reach the origins of `/` and be `/admin` there. Where a hostname has path routes, such a path is
//! refused.

use landfall_model::PathRoute;

/// Whether `path` is written such that an origin may take it for one of another route: it has a
/// segment `.` or `..`, or it starts otherwise once it is decoded, parameters of segments are left
/// out and empty segments too.
pub(super) fn is_disguised(path: &str, routes: &[PathRoute]) -> bool {
    if routes.is_empty() || !is_odd(path) {
        return false;
    }
    let Some(plain) = plain(path) else { return true };
    let as_sent = routes.iter().position(|route| route.prefix.covers(path));
    let covers = |route: &PathRoute| {
        let prefix = self::plain(route.prefix.as_str()).unwrap_or_default();
        plain.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    as_sent != routes.iter().position(covers)
}

/// Whether there is anything to be read in two ways.
fn is_odd(path: &str) -> bool {
    path.contains(['%', '\\', ';']) || path.contains("//") || path.contains("/.")
}

/// The path as the most eager of readers sees it; `None` where it goes up.
fn plain(path: &str) -> Option<String> {
    let decoded = String::from_utf8_lossy(&decoded(path)).replace('\\', "/");
    let segments = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    let mut plain = String::with_capacity(path.len());
    for segment in segments.filter(|segment| !segment.is_empty()) {
        if matches!(segment, "." | "..") {
            return None;
        }
        plain.push('/');
        plain.push_str(segment);
    }
    Some(plain)
}

/// Takes `%41` for `A`, once (RFC 3986 section 2.1).
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let mut digits = bytes.clone();
        let mut digit = || char::from(digits.next()?).to_digit(16);
        let escaped = if byte == b'%' { digit().zip(digit()) } else { None };
        let escaped = escaped.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        if escaped.is_some() {
            bytes = digits;
        }
        decoded.push(escaped.unwrap_or(byte));
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(prefixes: &[&str]) -> Vec<PathRoute> {
        let route = |prefix: &&str| PathRoute { prefix: prefix.parse().unwrap(), origins: vec![] };
        prefixes.iter().map(route).collect()
    }

    #[test]
    fn a_path_that_an_origin_may_take_for_another_routes_is_disguised() {
        let routes = routes(&["/admin/deep", "/admin", "/a%20b"]);
        for path in [
            "/x/../admin",
            "/x/%2e%2E/admin",
            "/x/..%2fadmin",
            "/x/..;/admin",
            "/./admin",
            "//admin",
            "/%61dmin",
            "/%2fadmin",
            "/admin%2fdeep",
            "/;x/admin",
            "/admin;x",
            "/\\admin",
            "/%5cadmin",
            "/admin\\deep",
            "/x;/../admin",
            "/admin/..",
            "/admin/../x",
            "/admin/.%2e/x",
            "/admin/..;x/y",
            "/admin//deep",
            "/admin%3bx",
            "/..",
            "/admin/../x/%2e%2e/admin",
        ] {
            assert!(is_disguised(path, &routes), "{path}");
        }
        assert!(!is_disguised("/x/../admin", &[]));
    }

    #[test]
    fn a_path_that_everybody_routes_alike_is_not() {
        let routes = routes(&["/admin", "/a%20b"]);
        for path in [
            "/",
            "/admin",
            "/admin/",
            "/admin/x%20y",
            "/x%2fy",
            "/%E4%BD%A0",
            "/x//y",
            "/x;v=1/y",
            "/.well-known/x",
            "/admin/.hidden",
            "/a%20b/c",
            "/adminx",
            "/x/admin",
            "/100%",
            "/%zz",
            "/x/...",
            "/admin//x",
            "*",
        ] {
            assert!(!is_disguised(path, &routes), "{path}");
        }
    }
}
