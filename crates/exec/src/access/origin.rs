use std::net::IpAddr;

use http::{Request, header, uri::Authority};
use longshore_core::{Error, ErrorKind, Result};

/// Refuses requests that a page of another site makes in somebody's browser.
///
/// `Host` must be an address, `localhost`, a name below it, or listed, in every request: a page can
/// turn its own name to this server ("DNS rebinding"), and what it then sends is to the browser a
/// request of a page to its own site, for which a `GET` has no `Origin`. An address can't be turned.
/// Where the connection proves the server's name, [`NameProven`] says so.
///
/// Where there is an `Origin`, its host and port must be those of `Host`. The scheme and the ports 80
/// and 443 are not compared: LAIN's stock client says `http://host:443` over TLS. Who sends neither
/// header is no browser.
#[derive(Clone, Debug, Default)]
pub struct OriginCheck {
    hosts: Vec<String>,
}

/// Among a request's extensions: no web page can have come to this connection under another
/// server's name. So it is over TLS, whose certificates browsers compare with the name, and on a
/// unix socket. The server around the gateway says it, for `Host` to be compared with nothing but
/// `Origin`.
#[derive(Clone, Copy, Debug)]
pub struct NameProven;

impl OriginCheck {
    /// Knows addresses, `localhost` and the names below it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name under which this server is called, without a port.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(plain(&host.into()));
        self
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], saying what is wrong.
    pub fn check<B>(&self, request: &Request<B>) -> Result<()> {
        if let Some(site) = request.headers().get("sec-fetch-site")
            && matches!(site.as_bytes(), b"cross-site" | b"same-site")
        {
            return refused("refused: the request comes from a web page of another site");
        }
        self.check_names(request)
    }

    /// As [`check`](Self::check), for what a link of another site may lead to.
    pub(crate) fn check_names<B>(&self, request: &Request<B>) -> Result<()> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => match host.to_str().ok().and_then(place) {
                Some(host) => Some(host),
                None => return refused("refused: the Host header is malformed"),
            },
            _ => return refused("refused: there is more than one Host header"),
        };
        // HTTP/2 has it here, and whoever asks as of a proxy.
        let named = request.uri().authority().map(Authority::as_str);
        let named = match named.map(place) {
            Some(None) => return refused("refused: the request's authority is malformed"),
            Some(named) => named,
            None => None,
        };
        if request.extensions().get::<NameProven>().is_none() {
            for (host, _) in host.iter().chain(&named) {
                if !self.is_ours(host) {
                    let host = longshore_core::printable(host, 100);
                    return refused(format!(
                        "refused: {host} is not a name of this server; call it by its address or \
                         as localhost, or let its operator allow the name \
                         (OriginCheck::with_host, platform manage --allowed-host)"
                    ));
                }
            }
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => return Ok(()),
            (Some(origin), None) => origin.to_str().unwrap_or("?"),
            _ => return refused("refused: there is more than one Origin header"),
        };
        let Some(host) = host.or(named) else {
            return refused("refused: there is an Origin and no Host");
        };
        let own = origin
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .and_then(|(_, rest)| place(rest));
        if own.as_ref() != Some(&host) {
            let origin = longshore_core::printable(origin, 100);
            return refused(format!(
                "refused: the request comes from a web page of {origin}"
            ));
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known == host)
    }
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Result<()> {
    Err(Error::new(ErrorKind::PermissionDenied, text))
}

/// Host and port, where the two usual ports are one.
fn place(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let port = authority
        .port_u16()
        .filter(|port| !matches!(port, 80 | 443));
    Some((plain(authority.host()), port))
}

/// Lower case, without the brackets of an address and the dot that ends a full name.
fn plain(name: &str) -> String {
    let name = name.strip_prefix('[').unwrap_or(name);
    let name = name.strip_suffix(']').unwrap_or(name);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], allowed: bool) {
        let map = headers.iter().map(|(name, value)| {
            (
                header::HeaderName::from_static(name),
                value.parse().unwrap(),
            )
        });
        let mut request = Request::new(());
        for (name, value) in map {
            request.headers_mut().append(name, value);
        }
        let answer = OriginCheck::new().with_host("entry.lain").check(&request);
        assert_eq!(answer.is_ok(), allowed, "{headers:?}: {answer:?}");
    }

    #[test]
    fn the_stock_client_is_let_in_and_foreign_pages_are_not() {
        check(
            &[
                ("host", "entry.lain:443"),
                ("origin", "http://entry.lain:443"),
            ],
            true,
        );
        check(
            &[("host", "entry.lain"), ("origin", "http://entry.lain:443")],
            true,
        );
        check(
            &[("host", "entry.lain"), ("origin", "https://entry.lain")],
            true,
        );
        check(
            &[("host", "Entry.LAIN"), ("origin", "https://entry.lain:80")],
            true,
        );
        check(
            &[
                ("host", "entry.lain:8080"),
                ("origin", "http://entry.lain:8080"),
            ],
            true,
        );
        check(
            &[
                ("host", "127.0.0.1:7681"),
                ("origin", "http://127.0.0.1:7681"),
            ],
            true,
        );
        check(
            &[("host", "[::1]:7681"), ("origin", "http://[::1]:7681")],
            true,
        );
        check(
            &[("host", "entry.lain:8080"), ("origin", "http://entry.lain")],
            false,
        );
        check(
            &[("host", "entry.lain"), ("origin", "https://evil.example")],
            false,
        );
        check(&[("host", "entry.lain"), ("origin", "null")], false);
        check(
            &[
                ("host", "entry.lain"),
                ("origin", "http://entry.lain@evil.example"),
            ],
            false,
        );
        check(&[("origin", "http://entry.lain")], false);
        check(
            &[("host", "evil.example"), ("origin", "http://evil.example")],
            false,
        );
        check(
            &[("host", "entry.lain"), ("sec-fetch-site", "cross-site")],
            false,
        );
        check(
            &[
                ("host", "entry.lain"),
                ("origin", "http://entry.lain"),
                ("origin", "http://b"),
            ],
            false,
        );
    }

    /// A page whose name was turned to this server asks its own site, as the browser sees it.
    #[test]
    fn a_foreign_name_is_refused_without_an_origin_too() {
        check(&[], true);
        for own in [
            "localhost",
            "LocalHost:7681",
            "gateway.localhost",
            "127.0.0.1:7681",
            "[::1]:7681",
            "10.0.0.7",
            "entry.lain",
            "Entry.Lain.:8080",
        ] {
            check(&[("host", own)], true);
        }
        for foreign in [
            "evil.example",
            "evil.example:7681",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "entry.lain.evil.example",
            "localhost@evil.example",
            "evillocalhost",
            "",
        ] {
            check(&[("host", foreign)], false);
        }
        check(&[("host", "localhost"), ("host", "evil.example")], false);
    }

    #[test]
    fn the_address_of_the_request_counts_like_its_host() {
        let ask = |uri: &str, host: Option<&str>| {
            let mut request = Request::get(uri).body(()).unwrap();
            if let Some(host) = host {
                let host = host.parse().unwrap();
                request.headers_mut().append(header::HOST, host);
            }
            OriginCheck::new().check(&request)
        };
        assert!(ask("http://localhost/api/sessions", None).is_ok());
        assert!(ask("http://evil.example/api/sessions", None).is_err());
        assert!(ask("http://evil.example/api/sessions", Some("localhost")).is_err());
        let refused = ask("http://localhost/", Some("evil.example")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        assert!(refused.to_string().contains("evil.example"), "{refused}");
    }

    #[test]
    fn a_proven_name_is_compared_with_the_origin_only() {
        let ask = |origin: Option<&str>| {
            let mut request = Request::new(());
            request.extensions_mut().insert(NameProven);
            let headers = request.headers_mut();
            headers.append(header::HOST, "manager.example:2376".parse().unwrap());
            if let Some(origin) = origin {
                headers.append(header::ORIGIN, origin.parse().unwrap());
            }
            OriginCheck::new().check(&request)
        };
        assert!(ask(None).is_ok());
        assert!(ask(Some("https://manager.example:2376")).is_ok());
        assert!(ask(Some("https://evil.example:2376")).is_err());
    }
}
