//! etcd: one member or a cluster.

use std::path::PathBuf;

use super::member::{StoreMember, data_of, directory};
use super::probe::Probe;
use super::{StoreSpec, ports};
use crate::{LabError, tool};

pub(super) fn program() -> Result<PathBuf, String> {
    tool::find("etcd").ok_or_else(|| "needs Debian's etcd-server".to_owned())
}

pub(super) fn members(count: usize, spec: &StoreSpec) -> Result<Vec<StoreMember>, LabError> {
    let program = program().map_err(LabError::new)?;
    let ports = ports::free_ports(count * 2)?;
    let (clients, peers) = ports.split_at(count);
    let ip = spec.place.ip;
    let cluster: Vec<_> = peers
        .iter()
        .enumerate()
        .map(|(index, port)| format!("m{index}=http://{ip}:{port}"))
        .collect();
    let cluster = cluster.join(",");
    let mut members = Vec::new();
    for (index, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let directory = directory("etcd")?;
        let scheme = if spec.tls.is_some() { "https" } else { "http" };
        let client_url = format!("{scheme}://{ip}:{client}");
        let peer_url = format!("http://{ip}:{peer}");
        let mut arguments: Vec<String> = [
            ("--name", format!("m{index}")),
            ("--data-dir", data_of(&directory).display().to_string()),
            ("--listen-client-urls", client_url.clone()),
            ("--advertise-client-urls", client_url),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url),
            ("--initial-cluster", cluster.clone()),
            ("--initial-cluster-state", "new".to_owned()),
            ("--initial-cluster-token", format!("lab-{}", peers[0])),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        if let Some(tls) = &spec.tls {
            for (name, path) in [
                ("--cert-file", &tls.certificate),
                ("--key-file", &tls.key),
                ("--trusted-ca-file", &tls.authority),
            ] {
                arguments.extend([name.to_owned(), path.display().to_string()]);
            }
            arguments.push("--client-cert-auth".to_owned());
        }
        arguments.extend(spec.arguments.iter().cloned());
        let probe = match spec.tls {
            Some(_) => Probe::Connects,
            None => Probe::Http(vec![("/health", "true")]),
        };
        members.push(StoreMember::new(
            format!("etcd member {index}"),
            directory,
            (&spec.place, *client),
            program.clone(),
            arguments,
            probe,
        ));
    }
    Ok(members)
}
