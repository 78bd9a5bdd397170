use std::{fmt, path::PathBuf, str::FromStr};

use longshore_core::{Endpoint, Error};

/// Where to listen: `unix:///path/to/socket`, `tcp://host:port`, or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A unix socket at a path.
    Unix(PathBuf),
    /// A TCP port. Without a host: all interfaces.
    Tcp(Endpoint),
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(endpoint) => {
                endpoint.host() == "localhost"
                    || endpoint.ip().is_some_and(|address| address.is_loopback())
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (protocol, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match protocol {
            "tcp" => Ok(Self::Tcp(rest.parse()?)),
            "unix" if rest.is_empty() => Err(Error::invalid(format!(
                "invalid address {text:?}: the path of the socket is missing"
            ))),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            other => Err(Error::invalid(format!("unsupported protocol: {other:?}"))),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(endpoint) => write!(f, "tcp://{endpoint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, message: &str) {
        let error = text.parse::<ListenAddress>().unwrap_err();
        assert_eq!(error.message(), message);
    }

    #[test]
    fn addresses_parse_and_print_back() {
        for text in [
            "unix:///run/longshore.sock",
            "tcp://127.0.0.1:2375",
            "tcp://:2376",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!(
            "0.0.0.0:1".parse::<ListenAddress>().unwrap().to_string(),
            "tcp://0.0.0.0:1"
        );
    }

    #[test]
    fn a_bad_address_is_named() {
        refuse("fd://3", "unsupported protocol: \"fd\"");
        refuse("tcp://x", "address x: missing port in address");
        refuse(
            "unix://",
            "invalid address \"unix://\": the path of the socket is missing",
        );
    }

    #[test]
    fn loopback_and_sockets_are_local() {
        let local = |text: &str| text.parse::<ListenAddress>().unwrap().is_local();
        assert!(local("unix:///x") && local("127.0.0.1:1") && local("[::1]:1"));
        assert!(local("localhost:1"));
        assert!(!local("0.0.0.0:1") && !local(":1") && !local("10.0.0.1:1"));
    }
}
