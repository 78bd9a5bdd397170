use std::collections::HashMap;

use bollard::models::PortBinding as BollardBinding;
use longshore_core::{HostPort, PortBinding, PortProtocol};
use serde_json::{Value, json};

/// Docker's map of ports, for example `80/tcp` to host addresses; `None` for one only exposed.
pub(super) type PortMap = HashMap<String, Option<Vec<BollardBinding>>>;

/// Reads a map of ports. What can't be read is left out: an engine's word is not checked further.
pub(super) fn from_map(map: &PortMap) -> Vec<PortBinding> {
    let mut ports = Vec::new();
    for (key, hosts) in map {
        let Some((container_port, protocol)) = key_parts(key) else {
            continue;
        };
        let mut push = |host| {
            ports.push(PortBinding {
                container_port,
                protocol,
                host,
            });
        };
        match hosts.as_deref() {
            None | Some([]) => push(None),
            Some(hosts) => {
                for host in hosts {
                    let port = host.host_port.as_deref().unwrap_or_default();
                    push(Some(HostPort {
                        address: host.host_ip.clone().unwrap_or_default(),
                        port: port.parse().unwrap_or(0),
                        protocol,
                    }));
                }
            }
        }
    }
    ports.sort_by_key(|port| {
        (
            port.container_port,
            port.host.as_ref().map(|host| host.port),
        )
    });
    ports
}

/// The list form, as in `GET /containers/json`.
pub(super) fn to_list(ports: &[PortBinding]) -> Value {
    let list = ports.iter().map(|port| {
        let mut one = json!({
            "PrivatePort": port.container_port,
            "Type": port.protocol.as_str(),
        });
        if let Some(host) = &port.host {
            one["IP"] = host.address.as_str().into();
            one["PublicPort"] = host.port.into();
        }
        one
    });
    list.collect()
}

/// The map of what is to be published.
pub(super) fn to_map(ports: &[PortBinding]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let Some(host) = &port.host else { continue };
        map.entry(key(port))
            .or_default()
            .get_or_insert_default()
            .push(BollardBinding {
                host_ip: Some(host.address.clone()),
                host_port: Some(match host.port {
                    0 => String::new(),
                    port => port.to_string(),
                }),
            });
    }
    map
}

/// `80/tcp`.
pub(super) fn key(port: &PortBinding) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

fn key_parts(key: &str) -> Option<(u16, PortProtocol)> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    Some((port.parse().ok()?, protocol.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_survive_the_way_there_and_back() {
        let bind = |container_port, host: Option<u16>| PortBinding {
            container_port,
            protocol: PortProtocol::Tcp,
            host: host.map(|port| HostPort::any(port, PortProtocol::Tcp)),
        };
        let ports = vec![
            bind(80, Some(8080)),
            bind(80, Some(8081)),
            bind(443, Some(0)),
        ];
        assert_eq!(from_map(&to_map(&ports)), ports);
        assert!(to_map(&[bind(1, None)]).is_empty());
    }
}
