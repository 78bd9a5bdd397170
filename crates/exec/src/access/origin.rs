use std::net::IpAddr;

use http::{HeaderMap, header, uri::Authority};
use longshore_core::{Error, ErrorKind, Result};

/// Refuses requests that a page of another site makes in somebody's browser.
///
/// The scheme of the origin and the ports 80 and 443 are not compared: LAIN's stock client says
/// `http://host:443` over TLS. Who sends no `Origin` is no browser. The name itself must be an
/// address, `localhost`, or listed, because a page can turn its own name to this server.
#[derive(Clone, Debug, Default)]
pub struct OriginCheck {
    hosts: Vec<String>,
}

impl OriginCheck {
    /// Knows addresses and `localhost`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name under which this server is called, without a port.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into().to_ascii_lowercase());
        self
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], saying what is wrong.
    pub fn check(&self, headers: &HeaderMap) -> Result<()> {
        let refused = |text: String| Err(Error::new(ErrorKind::PermissionDenied, text));
        if let Some(site) = headers.get("sec-fetch-site")
            && matches!(site.as_bytes(), b"cross-site" | b"same-site")
        {
            return refused("refused: the request comes from a web page of another site".into());
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or("?");
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| place(host.to_str().ok()?));
        let (Some(host), None, None) = (host, hosts.next(), origins.next()) else {
            return refused("refused: Host and Origin must be there once each".into());
        };
        if !self.is_ours(&host.0) {
            return refused(format!(
                "refused: {} is not a name of this server; allow it, or call an address",
                host.0
            ));
        }
        let own = origin
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .and_then(|(_, rest)| place(rest));
        if own.as_ref() != Some(&host) {
            return refused(format!(
                "refused: the request comes from a web page of {origin:?}"
            ));
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known == host)
    }
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
    Some((authority.host().to_ascii_lowercase(), port))
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
        let mut all = HeaderMap::new();
        for (name, value) in map {
            all.append(name, value);
        }
        let answer = OriginCheck::new().with_host("entry.lain").check(&all);
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
        check(&[("host", "whatever")], true);
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
}
