use std::{fmt, str::FromStr};

use longshore_core::{Error, Result};

/// Which kind of backend a discovery URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// A list of addresses in the URL itself.
    Nodes,
    /// A file of addresses.
    File,
    /// etcd.
    Etcd,
    /// Consul.
    Consul,
    /// ZooKeeper.
    Zk,
    /// A hosted list, found by a token.
    Token,
    /// Nodes that tell each other.
    Gossip,
    /// Records in the DNS.
    Dns,
    /// Managers that replicate a store among themselves.
    Raft,
}

impl Scheme {
    /// The word before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::File => "file",
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::Zk => "zk",
            Self::Token => "token",
            Self::Gossip => "gossip",
            Self::Dns => "dns",
            Self::Raft => "raft",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A discovery URL, `scheme://rest`. Without a scheme it is a list of nodes.
///
/// `Display` gives the URL for logs: what may be a secret (the token, user and password before an
/// `@`) is left out. So does `Debug`.
///
/// ```
/// use longshore_discovery::{DiscoveryUrl, Scheme};
///
/// let url = DiscoveryUrl::parse("file:///etc/cluster/nodes")?;
/// assert_eq!((url.scheme(), url.rest()), (Scheme::File, "/etc/cluster/nodes"));
/// assert_eq!(DiscoveryUrl::parse("10.0.0.1:2375")?.scheme(), Scheme::Nodes);
/// # Ok::<(), longshore_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DiscoveryUrl {
    scheme: Scheme,
    rest: String,
}

impl DiscoveryUrl {
    /// Cuts the URL at the first `://` and looks the scheme up. What comes behind is read by the
    /// backend.
    ///
    /// # Errors
    /// The scheme is unknown, or the URL is longer than 1 MiB.
    pub fn parse(url: &str) -> Result<Self> {
        if url.len() > LONGEST {
            return Err(Error::invalid(format!(
                "discovery URL longer than {LONGEST} bytes"
            )));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(Self {
                scheme: Scheme::Nodes,
                rest: url.to_owned(),
            });
        };
        let Some(scheme) = ALL.into_iter().find(|known| known.as_str() == scheme) else {
            let shown: String = scheme.chars().take(40).collect();
            return Err(Error::invalid("discovery service not supported")
                .with_context("scheme", shown.escape_debug()));
        };
        Ok(Self {
            scheme,
            rest: rest.to_owned(),
        })
    }

    /// The kind of backend.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Everything behind `://`. May hold a secret.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

impl FromStr for DiscoveryUrl {
    type Err = Error;
    fn from_str(url: &str) -> Result<Self> {
        Self::parse(url)
    }
}

impl fmt::Display for DiscoveryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.scheme {
            // The last part of the path is the token.
            Scheme::Token => match self.rest.rsplit_once('/') {
                Some((host, _)) => format!("{host}/…"),
                None => "…".to_owned(),
            },
            Scheme::Etcd | Scheme::Consul | Scheme::Zk => without_credentials(&self.rest),
            Scheme::Nodes | Scheme::File | Scheme::Gossip | Scheme::Dns | Scheme::Raft => {
                self.rest.clone()
            }
        };
        write!(f, "{}://{shown}", self.scheme)
    }
}

impl fmt::Debug for DiscoveryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiscoveryUrl({self})")
    }
}

fn without_credentials(rest: &str) -> String {
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => rest.to_owned(),
    }
}

const ALL: [Scheme; 9] = [
    Scheme::Nodes,
    Scheme::File,
    Scheme::Etcd,
    Scheme::Consul,
    Scheme::Zk,
    Scheme::Token,
    Scheme::Gossip,
    Scheme::Dns,
    Scheme::Raft,
];

/// Room for thousands of nodes in one argument; more belongs into a file.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::ErrorKind;
    use proptest::prelude::*;

    #[track_caller]
    fn check(url: &str, scheme: Scheme, rest: &str) {
        let parsed = DiscoveryUrl::parse(url).unwrap();
        assert_eq!((parsed.scheme(), parsed.rest()), (scheme, rest), "{url}");
    }

    #[test]
    fn the_scheme_ends_at_the_first_separator() {
        check("nodes://a:1,b:2", Scheme::Nodes, "a:1,b:2");
        check("file:///abs", Scheme::File, "/abs");
        check("file://rel", Scheme::File, "rel");
        check("consul://a://b", Scheme::Consul, "a://b");
        for scheme in ALL {
            check(&format!("{scheme}://x"), scheme, "x");
        }
    }

    #[test]
    fn d1_without_a_scheme_it_is_a_list_of_nodes() {
        check(
            "10.0.0.1:2375,10.0.0.2:2375",
            Scheme::Nodes,
            "10.0.0.1:2375,10.0.0.2:2375",
        );
        check("", Scheme::Nodes, "");
    }

    #[test]
    fn d1_an_unknown_scheme_is_named() {
        let error = DiscoveryUrl::parse("carrier-pigeon://loft").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            "discovery service not supported (scheme: carrier-pigeon)"
        );
        assert_eq!(
            DiscoveryUrl::parse("FILE:///x").unwrap_err().message(),
            "discovery service not supported"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for url in [
            "token://s3cret",
            "token://host/path/s3cret",
            "etcd://user:s3cret@host/p",
        ] {
            let url = DiscoveryUrl::parse(url).unwrap();
            assert!(!format!("{url} {url:?}").contains("s3cret"), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,80}") {
            if let Ok(url) = DiscoveryUrl::parse(&text) {
                prop_assert!(text.ends_with(url.rest()));
            }
        }
    }
}
