//! Where a hostname's requests go, and how they are treated.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    HttpPolicy, HttpPolicyError, Origin, OriginName, OriginPoolError, PropertyId, WeightedOrigin,
    origin::check_origins,
};

/// The most path routes of one hostname.
pub const MAX_PATHS: usize = 32;

/// Where a hostname's requests go, and how they are treated.
///
/// Everything that isn't said here of the origins comes from the property's pool: it travels in a
/// record of its own, so that a change of it is one record, however many hostnames there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The owner.
    pub property: PropertyId,
    /// Takes the place of the property's origins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_origin: Option<CustomOrigin>,
    /// Paths that have origins of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathRoute>,
    /// How requests and responses are treated.
    #[serde(default)]
    pub http: HttpPolicy,
}

/// An origin that takes the place of the property's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CustomOrigin {
    /// The server.
    pub server: Origin,
    /// The name in the TLS handshake. Default: the property's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<OriginName>,
}

/// Requests for a path and everything below it go to these origins. The longest prefix wins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PathRoute {
    /// Which paths.
    pub prefix: PathPrefix,
    /// Where they go.
    pub origins: Vec<WeightedOrigin>,
}

impl Route {
    /// To the property's origins, everything else the default.
    pub fn to(property: PropertyId) -> Self {
        Self { property, custom_origin: None, paths: Vec::new(), http: HttpPolicy::default() }
    }

    /// Checks counts and values, and puts the paths in one order, the longest first.
    ///
    /// # Errors
    /// The first [`RouteError`].
    pub fn checked(mut self) -> Result<Self, RouteError> {
        if self.paths.len() > MAX_PATHS {
            return Err(RouteError::TooManyPaths(self.paths.len()));
        }
        let key = |own: &PathRoute| (std::cmp::Reverse(own.prefix.0.len()), own.prefix.0.clone());
        self.paths.sort_by_key(key);
        for (one, next) in self.paths.iter().zip(self.paths.iter().skip(1)) {
            if one.prefix == next.prefix {
                return Err(RouteError::RepeatedPath(one.prefix.clone()));
            }
        }
        for path in &self.paths {
            check_origins(&path.origins)?;
        }
        self.http = self.http.checked()?;
        Ok(self)
    }
}

/// Why a route can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// More path routes than there may be.
    #[error("a hostname has at most {MAX_PATHS} path routes, this one has {0}")]
    TooManyPaths(usize),
    /// Two routes for one path.
    #[error("there is more than one route for the path {0}")]
    RepeatedPath(PathPrefix),
    /// The origins of a path.
    #[error("the origins of a path route are invalid: {0}")]
    Origins(#[from] OriginPoolError),
    /// How requests and responses are treated.
    #[error(transparent)]
    Http(#[from] HttpPolicyError),
}

/// The start of a path, of whole segments: `/api` covers `/api` and `/api/…`, not `/apis`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PathPrefix(String);

/// A text that is no path prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path prefix starts with `/`, has at most 1024 visible ASCII characters and neither `?`, `#`, \
     `//`, nor a segment `.` or `..`"
)]
pub struct PathPrefixError;

impl PathPrefix {
    /// The prefix without a slash at its end; empty for `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` is the prefix or below it. The path is compared as it is sent, byte for byte.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        let is_visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        let plain = text.strip_suffix('/').unwrap_or(text);
        let mut segments = plain.split('/').skip(1);
        let is_plain = text.starts_with('/')
            && text.len() <= 1_024
            && text.bytes().all(is_visible)
            && segments.all(|segment| !matches!(segment, "" | "." | ".."));
        match is_plain {
            true => Ok(Self(plain.to_owned())),
            false => Err(PathPrefixError),
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl<'de> Deserialize<'de> for PathPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        match text.is_empty() {
            // As `/` is serialised.
            true => Ok(Self(String::new())),
            false => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> PathPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_covers_whole_segments() {
        assert!(prefix("/api").covers("/api"));
        assert!(prefix("/api").covers("/api/v1"));
        assert!(prefix("/api/").covers("/api"));
        assert!(!prefix("/api").covers("/apis"));
        assert!(!prefix("/api").covers("/"));
        assert!(prefix("/").covers("/anything"));
    }

    #[test]
    fn refuses_what_is_no_plain_path() {
        for text in ["", "api", "/a?b", "/a#b", "/a b", "//", "/a//b", "/a/../b", "/.", "/é"] {
            assert!(text.parse::<PathPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_are_put_in_order_the_longest_first() {
        let origins = vec!["http://192.0.2.1".parse::<Origin>().unwrap().into()];
        let path = |text: &str| PathRoute { prefix: prefix(text), origins: origins.clone() };
        let paths = vec![path("/"), path("/api"), path("/api/v1"), path("/a")];
        let route = Route { paths, ..Route::to(PropertyId(1)) }.checked().unwrap();
        let order: Vec<_> = route.paths.iter().map(|own| own.prefix.to_string()).collect();
        assert_eq!(order, ["/api/v1", "/api", "/a", "/"]);
        let twice = Route { paths: vec![path("/a"), path("/a/")], ..Route::to(PropertyId(1)) };
        assert_eq!(twice.checked(), Err(RouteError::RepeatedPath(prefix("/a"))));
    }

    #[test]
    fn a_route_is_read_back() {
        let json = r#"{"property":1,"customOrigin":{"server":"https://o.example","sni":":request_host_header:"},
            "paths":[{"prefix":"/","origins":[{"url":"http://192.0.2.1"}]}]}"#;
        let route: Route = serde_json::from_str(json).unwrap();
        let route = route.checked().unwrap();
        assert!(route.http.https_redirect);
        let again = serde_json::to_string(&route).unwrap();
        assert_eq!(serde_json::from_str::<Route>(&again).unwrap(), route);
    }
}
