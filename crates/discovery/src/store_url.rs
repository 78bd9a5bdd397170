//! The rest of `etcd://`, `consul://` and `zk://`: `[user:password@]host:port[,host:port…][/prefix]`.
//! Pure.

use longshore_core::{Endpoint, Error, Result};

use crate::{DiscoveryUrl, StoreCredentials};

/// Where a store is, who we are, and what comes before the path of the nodes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) prefix: String,
    pub(crate) credentials: Option<StoreCredentials>,
}

impl StoreUrl {
    /// # Errors
    /// Names the address that is wrong, never the credentials.
    pub(crate) fn parse(url: &DiscoveryUrl, usual_port: u16) -> Result<Self> {
        let scheme = url.scheme();
        let (authority, prefix) = url.rest().split_once('/').unwrap_or((url.rest(), ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let example = format!("expected for example {scheme}://10.0.0.1:{usual_port}/prefix");
        let mut endpoints = Vec::new();
        for host in hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
        {
            let endpoint: Endpoint = host.parse().map_err(|error: Error| {
                Error::invalid(format!("{}; {example}", error.message()))
            })?;
            if endpoint.port() == 0 || endpoint.host().is_empty() {
                return Err(Error::invalid(format!(
                    "address {endpoint}: a host and a port from 1 to 65535 are needed; {example}"
                )));
            }
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            return Err(Error::invalid(format!(
                "{scheme}:// names no server; {example}"
            )));
        }
        Ok(Self {
            endpoints,
            prefix: prefix.trim_matches('/').to_owned(),
            credentials: credentials.map(parse_credentials).transpose()?,
        })
    }
}

fn parse_credentials(text: &str) -> Result<StoreCredentials> {
    let (user, password) = text.split_once(':').ok_or_else(|| {
        Error::invalid("credentials in a discovery URL have the form user:password@")
    })?;
    Ok(StoreCredentials::new(decode(user)?, decode(password)?))
}

/// `%XX` stands for a byte, so that a password may have any character.
fn decode(text: &str) -> Result<String> {
    let bad = || Error::invalid("credentials in a discovery URL have a % that begins no %XX");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Result<StoreUrl> {
        StoreUrl::parse(&DiscoveryUrl::parse(url).unwrap(), 2379)
    }

    #[test]
    fn servers_prefix_and_credentials_are_read() {
        let url = parse("etcd://me:p%40s%2F@a:1, [::1]:2,a:1/x/y/").unwrap();
        let shown: Vec<_> = url.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown, url.prefix.as_str()),
            (vec!["a:1".to_owned(), "[::1]:2".to_owned()], "x/y")
        );
        assert_eq!(url.credentials, Some(StoreCredentials::new("me", "p@s/")));
        assert_eq!(parse("consul://a:1").unwrap().prefix, "");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (url, text) in [
            (
                "etcd://10.0.0.1/x",
                "address 10.0.0.1: missing port in address; expected for example \
                 etcd://10.0.0.1:2379/prefix",
            ),
            (
                "zk:///x",
                "zk:// names no server; expected for example zk://10.0.0.1:2379/prefix",
            ),
            (
                "etcd://secret@a:1",
                "credentials in a discovery URL have the form user:password@",
            ),
            (
                "etcd://a:%zz@a:1",
                "credentials in a discovery URL have a % that begins no %XX",
            ),
        ] {
            assert_eq!(parse(url).unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            if let Ok(url) = parse(&format!("etcd://{text}")) {
                prop_assert!(!url.endpoints.is_empty());
            }
        }
    }
}
