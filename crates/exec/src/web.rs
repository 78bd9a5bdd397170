//! The web terminal: a page that speaks the [native protocol](crate::protocol::native).
//!
//! A [`Gateway`](crate::gateway::Gateway) serves it below `/terminal/` when it was given [`Assets`];
//! this module's page, `EmbeddedPage`, comes with the feature `web`. Files are all that is served:
//! the page opens its session by a WebSocket to `/v1/exec`, like any other client.
//!
//! # In an axum application
//!
//! With the features `gateway` and `web`. `examples/web_terminal.rs` of the repository is a whole
//! program, over a Docker engine; this is what it gives the gateway, and axum:
//!
//! ```no_run
#![cfg_attr(not(feature = "web"), doc = "# fn main() {}")]
#![cfg_attr(feature = "web", doc = include_str!("web/axum.rs"))]
//! ```
//!
//! Served at `127.0.0.1:8080`, `http://127.0.0.1:8080/terminal/?target=web` opens a terminal in the
//! container `web`. Below a path of your own it works the same way: `Router::new().nest_service("/shell", …)`.
//!
//! # Security model
//!
//! * **Who may get in** is the gateway's `AccessControl`, asked at the first message and again while
//!   the session goes on. Without one nobody may. The page holds no right of its own, so its files
//!   are served to everybody.
//! * **The token** is typed into the page, sent in the first WebSocket message, and kept in that
//!   page's memory. It is in no address, cookie or storage. A deployment that has users logged in
//!   already puts an `Identity` among the request's extensions instead; cookies that it uses for that
//!   must be `SameSite=Strict`.
//! * **A page that is loaded again** comes back to its session by the session's own secret, which the
//!   tab's `sessionStorage` holds until the session ends. It opens that one session for its grace
//!   time and nothing else, is another one after each connection, and leave is asked for again.
//! * **Other sites** can't open a session: the gateway compares `Origin` with `Host`, and `Host` with
//!   its own names. They can't frame the page, or read its files.
//! * **The page runs its own scripts only** ([`CONTENT_SECURITY_POLICY`]): what a container prints
//!   can't become one. Styles may be inline, because xterm.js makes a style element; images may come
//!   from no other place.
//! * **What a container prints** is shown by xterm.js. It can set the page's title and ring; it can't
//!   read the clipboard, resize the page, or answer with anything but xterm.js's own reports.
//! * **TLS** is the server's around the gateway. Over plain HTTP on anything but the own machine,
//!   everybody on the way can read along.

#[cfg(feature = "web")]
mod embedded;

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

#[cfg(feature = "web")]
pub use self::embedded::EmbeddedPage;

/// Files for browsers.
pub trait Assets: Debug + Send + Sync + 'static {
    /// The file of this name, without a leading slash; `index.html` is the page itself.
    fn find(&self, name: &str) -> Option<Asset>;
}

/// A file for browsers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asset {
    /// What it contains.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: &'static str,
    /// Changes with the content; without quotes.
    pub version: String,
}

impl Asset {
    /// A file. The version changes whenever the content does.
    pub fn new(
        bytes: impl Into<Bytes>,
        content_type: &'static str,
        version: impl Into<String>,
    ) -> Self {
        Self {
            bytes: bytes.into(),
            content_type,
            version: version.into(),
        }
    }
}

/// What the page may do, for its browser.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Answers for a file.
pub(crate) fn serve(
    assets: &dyn Assets,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    secure(response.headers_mut());
    if method != Method::GET && method != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(asset) = assets.find(name) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return plain(response, "no such file");
    };
    let tag = format!("\"{}\"", asset.version);
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let known = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let is_known = known.map(str::trim).any(|known| known == tag);
    let answer = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.insert(header::ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    answer.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(asset.content_type),
    );
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(asset.bytes.len()));
    if method == Method::GET {
        *response.body_mut() = Full::new(asset.bytes);
    }
    response
}

/// To the page's folder, from its name: files are found relative to it.
pub(crate) fn redirect(query: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    secure(response.headers_mut());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let place = match query {
        Some(query) => format!("terminal/?{query}"),
        None => "terminal/".to_owned(),
    };
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn plain(mut response: Response<Full<Bytes>>, text: &'static str) -> Response<Full<Bytes>> {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    *response.body_mut() = Full::from(text);
    response
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];
