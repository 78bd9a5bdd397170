//! What a `dns://` URL names. Pure.

use std::net::SocketAddr;

use hickory_proto::rr::Name;
use longshore_core::{Error, Result};

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// SRV records: they have hosts and ports.
    Service(Name),
    /// A and AAAA records, with this port.
    Host(Name, u16),
}

/// `name`, `name:port` or either with `?server=host:port[,host:port]`.
pub(super) fn parse(rest: &str) -> Result<(Target, Vec<SocketAddr>)> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut given = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("server", value)) => given.extend(servers(value)?),
            _ => {
                return Err(Error::invalid("dns:// knows ?server=host:port only")
                    .with_context("parameter", shown(pair)));
            }
        }
    }
    let target = match name.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            let port: u16 = port.ok_or_else(|| bad(rest, "the port is from 1 to 65535"))?;
            Target::Host(self::name(host)?, port)
        }
        None if name.starts_with('_') => Target::Service(self::name(name)?),
        None => {
            return Err(bad(
                name,
                "write host:port for addresses, or _service._tcp.domain for SRV records",
            ));
        }
    };
    Ok((target, given))
}

/// Addresses of servers, port 53 unless told.
pub(super) fn servers(text: &str) -> Result<Vec<SocketAddr>> {
    let parts = text.split(',').map(str::trim);
    let read = |part: &str| {
        let with_port = part.parse::<SocketAddr>().ok();
        let alone = || part.parse().ok().map(|ip| SocketAddr::new(ip, 53));
        with_port.or_else(alone).ok_or_else(|| {
            bad(
                part,
                "a DNS server is an IP address, with a port or without",
            )
        })
    };
    let servers: Vec<_> = parts.map(read).collect::<Result<_>>()?;
    match servers.len() {
        0..=MOST_SERVERS => Ok(servers),
        _ => Err(Error::invalid(format!(
            "at most {MOST_SERVERS} DNS servers"
        ))),
    }
}

/// The servers that the system uses.
pub(super) fn system(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    });
    let servers = lines.filter_map(|ip| ip.parse().ok());
    let servers = servers.map(|ip| SocketAddr::new(ip, 53));
    servers.take(MOST_SERVERS).collect()
}

fn name(text: &str) -> Result<Name> {
    let mut name =
        Name::from_ascii(text).map_err(|error| bad(text, "no domain name").with_source(error))?;
    if name.is_root() {
        return Err(bad(text, "no domain name"));
    }
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

fn bad(input: &str, reason: &str) -> Error {
    Error::invalid(format!("dns://{}: {reason}", shown(input)))
}

fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    start.escape_debug().to_string()
}

const MOST_SERVERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ports_and_servers_are_read() {
        let (target, servers) = parse("_docker._tcp.Example.com?server=127.0.0.1:5353").unwrap();
        let name = Name::from_ascii("_docker._tcp.example.com.").unwrap();
        assert_eq!(target, Target::Service(name));
        assert_eq!(servers, ["127.0.0.1:5353".parse().unwrap()]);
        let (target, servers) = parse("nodes.lan:2375?server=10.0.0.1,[::1]:54").unwrap();
        assert!(matches!(target, Target::Host(_, 2375)));
        assert_eq!(servers[0].port(), 53);
        assert_eq!(servers.len(), 2);
        for bad in [
            "",
            ".",
            "nodes.lan",
            "nodes.lan:0",
            "nodes.lan:x",
            "a:1?x=1",
            "a:1?server=name",
            "..:1",
            "a:1?server=1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{}.lan:1", "x".repeat(64))).is_err());
    }

    #[test]
    fn the_systems_servers_are_found() {
        let text =
            "# x\nsearch lan\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\n";
        let found = system(text);
        assert_eq!(
            found,
            ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
        );
    }
}
