use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A host and a port, printed back in joined form (`10.0.0.1:2375`, `[::1]:2375`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    host: Box<str>,
    port: u16,
}

impl Endpoint {
    /// From a host (without brackets) and a port. Port 0 is allowed: "any free port" for listeners.
    ///
    /// # Errors
    /// The host is longer than 253 characters or has characters that no host name has.
    pub fn new(host: impl Into<String>, port: u16) -> crate::Result<Self> {
        let host = host.into();
        let named = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if host.len() > 253 || !(named || host.parse::<IpAddr>().is_ok()) {
            return Err(Error::invalid(format!(
                "invalid host {host:?} in an address"
            )));
        }
        Ok(Self {
            host: host.into_boxed_str(),
            port,
        })
    }

    /// The host name or address, without brackets. May be empty (all interfaces, in a listener).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let bad = |reason: &str| Error::invalid(format!("address {text}: {reason}"));
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(bad("missing port in address"));
        };
        if text.ends_with(']') {
            return Err(bad("missing port in address"));
        }
        let host = if let Some(inner) = host.strip_prefix('[') {
            inner
                .strip_suffix(']')
                .ok_or_else(|| bad("missing ']' in address"))?
        } else if host.contains(':') {
            return Err(bad("too many colons in address"));
        } else {
            host
        };
        let port = port.parse::<u16>().map_err(|_| {
            bad(&format!(
                "the port {port:?} is not a number from 0 to 65535"
            ))
        })?;
        Self::new(host, port).map_err(|error| bad(error.message()))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string().into_boxed_str(),
            port: address.port(),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;
    fn try_from(text: String) -> crate::Result<Self> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, reason: &str) {
        assert_eq!(text.parse::<Endpoint>().unwrap_err().message(), reason);
    }

    #[test]
    fn addresses_parse_and_print_back() {
        for text in ["10.0.0.1:2375", "[::1]:80", "node-1.example:1", ":2375"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_address_is_named() {
        refuse("10.0.0.1", "address 10.0.0.1: missing port in address");
        refuse("a:b:1", "address a:b:1: too many colons in address");
        refuse("[::1]", "address [::1]: missing port in address");
        refuse(
            "a:x",
            "address a:x: the port \"x\" is not a number from 0 to 65535",
        );
        refuse("a b:1", "address a b:1: invalid host \"a b\" in an address");
    }
}
