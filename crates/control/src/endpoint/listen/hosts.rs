use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::uri::Authority;

/// The names that a client on plain TCP may call the endpoint by.
///
/// A browser shows a page of another site everything that this site's name leads to. The name's
/// owner may let it lead to this machine, so a request on plain TCP counts only under a name that
/// is this machine's own.
#[derive(Clone, Debug, Default)]
pub(in crate::endpoint) struct Hosts {
    /// The name listened at and those that the options add, in lower case.
    names: Arc<[String]>,
    /// The address that a connection came to.
    here: Option<IpAddr>,
}

impl Hosts {
    pub(super) fn new(listened: &str, further: &[String]) -> Self {
        let names = further.iter().map(String::as_str).chain([listened]);
        Self {
            names: names.filter(|name| !name.is_empty()).map(plain).collect(),
            here: None,
        }
    }

    /// For one connection.
    pub(super) fn reached_at(&self, address: Option<SocketAddr>) -> Self {
        Self {
            names: Arc::clone(&self.names),
            here: address.map(|address| address.ip().to_canonical()),
        }
    }

    /// Whether a `Host` is one of them; its port is not looked at.
    pub(in crate::endpoint) fn has(&self, host: &Authority) -> bool {
        if host.as_str().contains('@') {
            return false;
        }
        let name = plain(host.host());
        if let Ok(address) = name.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || self.here == Some(address)
                || self.names.contains(&name);
        }
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
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
    fn check(host: &str, expected: bool) {
        let hosts = Hosts::new("Docker-1.lan", &["cluster.example".to_owned()]);
        let hosts = hosts.reached_at(Some("[::ffff:10.0.0.1]:2375".parse().unwrap()));
        assert_eq!(hosts.has(&host.parse().unwrap()), expected, "{host}");
    }

    #[test]
    fn only_this_machine_s_own_names_count() {
        for own in [
            "localhost",
            "LOCALHOST:2375",
            "api.moby.localhost:1",
            "127.0.0.1:2375",
            "127.9.9.9",
            "[::1]:2375",
            "10.0.0.1:2375",
            "docker-1.lan:2375",
            "cluster.example",
            "cluster.example.:80",
        ] {
            check(own, true);
        }
        for foreign in [
            "evil.example:2375",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.2:2375",
            "localhost@evil.example",
            "0.0.0.0:2375",
        ] {
            check(foreign, false);
        }
    }
}
