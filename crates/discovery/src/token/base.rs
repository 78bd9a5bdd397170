//! Where a token service is. Pure.

use std::fmt;

use longshore_core::{Endpoint, Error, Result};

/// `http://host[:port]/path` or `https://…`: what stands before `/clusters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBase {
    pub(super) secure: bool,
    pub(super) endpoint: Endpoint,
    /// With a leading slash, without a trailing one; may be empty.
    pub(super) path: String,
}

impl TokenBase {
    /// Reads a base URL.
    ///
    /// # Errors
    /// It is no `http://` or `https://` URL; the text names it.
    pub fn parse(url: &str) -> Result<Self> {
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => {
                return Err(Error::invalid(
                    "the base URL of a token service begins with https:// or http://",
                )
                .with_context("url", shown(url)));
            }
        };
        Self::from_rest(secure, rest)
    }

    /// `host[:port][/path]`.
    pub(super) fn from_rest(secure: bool, rest: &str) -> Result<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.bytes().all(sound) || path.len() > 256 {
            return Err(Error::invalid(
                "the path of a token service has letters, digits, and - . _ ~ / only",
            )
            .with_context("path", shown(path)));
        }
        let port = if secure { 443 } else { 80 };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let endpoint: Endpoint = match has_port {
            true => authority.parse()?,
            false => Endpoint::new(authority.trim_matches(['[', ']']), port)?,
        };
        if endpoint.host().is_empty() || endpoint.port() == 0 {
            return Err(
                Error::invalid("the token service's address has no host or no port")
                    .with_context("address", shown(authority)),
            );
        }
        let path = match path {
            "" => String::new(),
            path => format!("/{path}"),
        };
        Ok(Self {
            secure,
            endpoint,
            path,
        })
    }
}

impl fmt::Display for TokenBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.endpoint, self.path)
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, printed: &str) {
        assert_eq!(TokenBase::parse(url).unwrap().to_string(), printed);
    }

    #[test]
    fn bases_are_read_with_and_without_port_and_path() {
        check("https://a.b/v1/", "https://a.b:443/v1");
        check("http://a:8080", "http://a:8080");
        check("http://[::1]:80/x/y", "http://[::1]:80/x/y");
        check("https://[::1]", "https://[::1]:443");
        for bad in [
            "a.b",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a/%20",
            "http://a:b",
        ] {
            assert!(TokenBase::parse(bad).is_err(), "{bad}");
        }
    }
}
