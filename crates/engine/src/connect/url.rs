use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use longshore_core::{Connector, Endpoint, Error, Result};

use super::{TcpConnector, place::ENGINE};
#[cfg(feature = "tls")]
use super::{TlsConnector, TlsSettings};

/// Where an engine listens: `unix:///var/run/docker.sock`, `tcp://10.0.0.1:2375`, `10.0.0.1:2375`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineUrl {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port; whether TLS is spoken there is a matter of [`ConnectOptions`].
    Tcp(Endpoint),
}

impl FromStr for EngineUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text, ENGINE)
    }
}

impl EngineUrl {
    fn parse(text: &str, peer: &str) -> Result<Self> {
        let bad = |reason: &str| {
            Error::invalid(format!(
                "invalid {peer} address {text:?}: {reason}; expected unix:///path, \
                 tcp://host:port or host:port"
            ))
        };
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.strip_prefix('/') {
                Some(_) => Ok(Self::Unix(path.into())),
                None => Err(bad("the socket's path must be absolute")),
            };
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        if scheme != "tcp" {
            return Err(bad(&format!("unknown scheme {scheme:?}")));
        }
        let endpoint: Endpoint = rest
            .strip_suffix('/')
            .unwrap_or(rest)
            .parse()
            .map_err(|error: Error| bad(error.message()))?;
        match (endpoint.host().is_empty(), endpoint.port()) {
            (true, _) => Err(bad("the host is missing")),
            (_, 0) => Err(bad("the port is 0")),
            _ => Ok(Self::Tcp(endpoint)),
        }
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(endpoint) => write!(f, "tcp://{endpoint}"),
        }
    }
}

/// How engines are spoken to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    peer: Option<&'static str>,
    #[cfg(feature = "tls")]
    tls: Option<TlsSettings>,
}

impl ConnectOptions {
    /// Plain text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what is dialled, for errors: `engine` unless told.
    #[must_use]
    pub fn with_peer(mut self, peer: &'static str) -> Self {
        self.peer = Some(peer);
        self
    }

    fn peer(&self) -> &'static str {
        self.peer.unwrap_or(ENGINE)
    }

    /// TLS on every TCP address. Unix sockets stay as they are.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, settings: TlsSettings) -> Self {
        self.tls = Some(settings);
        self
    }

    pub(crate) fn tcp(&self, endpoint: Endpoint) -> Arc<dyn Connector> {
        #[cfg(feature = "tls")]
        if let Some(settings) = &self.tls {
            let connector = TlsConnector::new(endpoint, settings.clone());
            return Arc::new(connector.with_peer(self.peer()));
        }
        Arc::new(TcpConnector::new(endpoint).with_peer(self.peer()))
    }
}

/// The connector for an engine's address, or that of a server that speaks its API. Nothing is dialled yet.
///
/// # Errors
/// The address is malformed, or of a kind that this platform has not.
///
/// ```
/// # fn main() -> longshore_core::Result<()> {
/// use longshore_core::Connector;
/// use longshore_engine::{ConnectOptions, connect};
///
/// let connector = connect("10.0.0.1:2375", &ConnectOptions::new())?;
/// assert_eq!(connector.describe(), "tcp://10.0.0.1:2375");
/// # Ok(())
/// # }
/// ```
pub fn connect(url: &str, options: &ConnectOptions) -> Result<Arc<dyn Connector>> {
    match EngineUrl::parse(url, options.peer())? {
        #[cfg(unix)]
        EngineUrl::Unix(path) => {
            let connector = super::UnixConnector::new(path);
            Ok(Arc::new(connector.with_peer(options.peer())))
        }
        #[cfg(not(unix))]
        EngineUrl::Unix(_) => Err(Error::unsupported(format!(
            "address {url:?}: this platform has no unix sockets"
        ))),
        EngineUrl::Tcp(endpoint) => Ok(options.tcp(endpoint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, reason: &str) {
        let error = text.parse::<EngineUrl>().unwrap_err();
        assert_eq!(
            error.message(),
            format!(
                "invalid engine address {text:?}: {reason}; expected unix:///path, \
                 tcp://host:port or host:port"
            )
        );
    }

    #[test]
    fn addresses_parse_and_print_back() {
        for text in ["unix:///run/a.sock", "tcp://10.0.0.1:2375", "tcp://[::1]:1"] {
            assert_eq!(text.parse::<EngineUrl>().unwrap().to_string(), text);
        }
        let bare: EngineUrl = "host:1".parse().unwrap();
        assert_eq!(bare.to_string(), "tcp://host:1");
    }

    #[test]
    fn errors_name_what_is_dialled() {
        let options = ConnectOptions::new().with_peer("manager");
        let error = connect("ssh://a:1", &options).unwrap_err();
        let expected = "invalid manager address \"ssh://a:1\": unknown scheme";
        assert!(error.message().starts_with(expected), "{error}");
    }

    #[test]
    fn a_bad_address_is_named() {
        refuse("unix://run/a", "the socket's path must be absolute");
        refuse("ssh://a:1", "unknown scheme \"ssh\"");
        refuse("a", "address a: missing port in address");
        refuse(":2375", "the host is missing");
        refuse("a:0", "the port is 0");
    }
}
