//! Where a CA may be asked. Its answers name URLs, and so do those who handed an order's URL to the
//! control plane: none of them may lead an agent to what it alone can reach, as its edge's admin port.

use reqwest::Url;

/// The longest URL of a CA, in bytes.
const MAX_URL: usize = 2_048;
/// How much of a URL is shown that is refused, in characters.
const SHOWN: usize = 200;

/// Why a CA is not asked at a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL, too long, or has what no URL shows.
    #[error("{url:?} is no URL of up to {MAX_URL} bytes")]
    Unreadable {
        /// How it begins.
        url: String,
    },
    /// It is not `https`. Plain HTTP is for a directory on loopback alone (RFC 8555 section 6.1).
    #[error("{url:?} is no https URL")]
    Plain {
        /// How it begins.
        url: String,
    },
    /// It has a user's name or password.
    #[error("{url:?} has a user's name or password")]
    UserInfo {
        /// How it begins.
        url: String,
    },
    /// It has an IP address or `localhost` for a host, and the directory has a name.
    #[error("{url:?} has an address for a host, and the CA's directory has a name")]
    Literal {
        /// How it begins.
        url: String,
    },
}

/// The one rule for every URL of a CA, as its directory's URL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlRule {
    scheme: Scheme,
    hosts: Hosts,
}

/// Over what a CA is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Https,
    /// Or plain HTTP, on this machine.
    HttpOnLoopback,
}

/// Which hosts a CA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    Names,
    /// Or IP addresses and `localhost`.
    Any,
}

impl UrlRule {
    /// The rule for a CA with this directory.
    ///
    /// # Errors
    /// [`UrlError`] where the directory itself can't be asked for.
    pub fn of(directory: &str) -> Result<Self, UrlError> {
        let widest = Self { scheme: Scheme::HttpOnLoopback, hosts: Hosts::Any };
        let url = widest.read(directory)?;
        let scheme = if url.scheme() == "http" { widest.scheme } else { Scheme::Https };
        let hosts = if is_literal(&url) { Hosts::Any } else { Hosts::Names };
        Ok(Self { scheme, hosts })
    }

    /// Whether the CA may be asked at a URL.
    pub fn permits(self, text: &str) -> bool {
        self.read(text).is_ok()
    }

    /// Reads a URL at which the CA may be asked.
    pub(crate) fn read(self, text: &str) -> Result<Url, UrlError> {
        let shown = || text.chars().take(SHOWN).collect::<String>();
        // What reads URLs leaves out spaces and control characters.
        let is_plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = Url::parse(text).ok().filter(|url| is_plain && url.has_host());
        let url = url.ok_or_else(|| UrlError::Unreadable { url: shown() })?;
        match url.scheme() {
            "https" => {}
            "http" if self.scheme == Scheme::HttpOnLoopback && is_loopback(&url) => {}
            _ => return Err(UrlError::Plain { url: shown() }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo { url: shown() });
        }
        if self.hosts == Hosts::Names && is_literal(&url) {
            return Err(UrlError::Literal { url: shown() });
        }
        Ok(url)
    }
}

/// Whether the host is an IP address or `localhost` (RFC 6761 section 6.3).
fn is_literal(url: &Url) -> bool {
    url.domain().is_none_or(is_localhost)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    url.domain().is_some_and(is_localhost)
        || address.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn is_localhost(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain == "localhost" || domain.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_https_or_on_this_machine() {
        for good in [
            "https://ca.test/dir",
            "https://192.0.2.1/dir",
            "http://127.0.0.1:80/",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(UrlRule::of(good).is_ok(), "{good}");
        }
        for bad in [
            "http://ca.test/dir",
            "http://localhost.ca.test/",
            "http://192.0.2.1/",
            "ftp://127.0.0.1/",
            "https://user@ca.test/",
            "ca.test",
            "",
        ] {
            assert!(UrlRule::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cas_urls_lead_where_its_directory_may() {
        let (named, own, lab) =
            ("https://ca.test/dir", "https://10.0.0.1:14000/dir", "http://127.0.0.1:4001/dir");
        let table = [
            ("https://ca.test/order/1", named, true),
            ("https://other.ca.test:8443/order?a=1", named, true),
            ("https://ca.test/order/1", lab, true),
            ("https://10.0.0.2/order", own, true),
            ("https://localhost:14000/order", own, true),
            ("http://127.0.0.1:4001/order", lab, true),
            ("http://localhost:4001/order", lab, true),
            ("http://10.0.0.1/order", lab, false),
            ("http://ca.test/order", lab, false),
            ("http://127.0.0.1:9901/drain", named, false),
            ("http://127.0.0.1:9901/drain", own, false),
            ("http://ca.test/order", named, false),
            ("https://127.0.0.1:9901/", named, false),
            ("https://2130706433/", named, false),
            ("https://0x7f.1/", named, false),
            ("https://[::1]:9901/", named, false),
            ("https://[::ffff:127.0.0.1]/", named, false),
            ("https://localhost/", named, false),
            ("https://LOCALHOST./", named, false),
            ("https://a.localhost/", named, false),
            ("https://me@ca.test/", named, false),
            ("https://me:too@10.0.0.1/", own, false),
            ("https://ca.test/order\n", named, false),
            ("https://ca.test/a b", named, false),
            ("https://ca.t\u{e9}st/", named, false),
            ("https://", named, false),
            ("file:///etc/passwd", lab, false),
            ("ftp://ca.test/account", named, false),
            ("/order/1", named, false),
            ("", named, false),
        ];
        for (url, directory, expected) in table {
            let rule = UrlRule::of(directory).unwrap();
            assert_eq!(rule.permits(url), expected, "{url:?} {directory}");
        }
        let rule = UrlRule::of(named).unwrap();
        assert!(!rule.permits(&format!("https://ca.test/{}", "a".repeat(MAX_URL))));
    }
}
