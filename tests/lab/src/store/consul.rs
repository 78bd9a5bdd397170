//! Consul: one server.

use std::path::PathBuf;

use super::member::{StoreMember, data_of, directory};
use super::probe::Probe;
use super::{StoreSpec, ports, store_cache};
use crate::{LabError, tool};

/// On the path, or where `cargo xtask test` unpacked it.
pub(super) fn program() -> Result<PathBuf, String> {
    let cached = store_cache().join("consul/usr/bin/consul");
    tool::find("consul")
        .or_else(|| cached.is_file().then_some(cached))
        .ok_or_else(|| "needs consul (`cargo xtask test` fetches it as root)".to_owned())
}

pub(super) fn member(spec: &StoreSpec) -> Result<StoreMember, LabError> {
    let program = program().map_err(LabError::new)?;
    let directory = directory("consul")?;
    let ports = ports::free_ports(4)?;
    let file = directory.join("base.json");
    let ip = spec.place.ip;
    let (scheme, off) = match spec.tls {
        Some(_) => ("https", "http"),
        None => ("http", "https"),
    };
    let tls = spec.tls.as_ref().map_or(String::new(), |tls| {
        format!(
            r#", "verify_incoming_https": true,
                "ca_file": {:?}, "cert_file": {:?}, "key_file": {:?}"#,
            tls.authority, tls.certificate, tls.key
        )
    });
    let base = format!(
        r#"{{
            "server": true, "bootstrap": true, "bind_addr": "{ip}", "client_addr": "{ip}",
            "node_name": "lab", "disable_update_check": true, "leave_on_terminate": false,
            "session_ttl_min": "500ms", "performance": {{ "raft_multiplier": 1 }},
            "ports": {{ "{scheme}": {}, "{off}": -1, "server": {}, "serf_lan": {}, "serf_wan": -1,
                        "dns": -1, "grpc": -1 }}{tls}
        }}"#,
        ports[0], ports[1], ports[2],
    );
    let written = std::fs::write(&file, base).and_then(|()| match spec.configuration.is_empty() {
        true => Ok(()),
        false => std::fs::write(directory.join("more.json"), &spec.configuration),
    });
    written.map_err(|error| LabError::io("cannot write consul's configuration", error))?;
    let mut arguments = vec![
        "agent".to_owned(),
        format!("-data-dir={}", data_of(&directory).display()),
        format!("-config-file={}", file.display()),
    ];
    if !spec.configuration.is_empty() {
        arguments.push(format!(
            "-config-file={}",
            directory.join("more.json").display()
        ));
    }
    arguments.extend(spec.arguments.iter().cloned());
    // With access control, the catalogue is not shown to strangers.
    let probe = match spec.configuration.contains("\"acl\"") {
        _ if spec.tls.is_some() => Probe::Connects,
        true => Probe::Http(vec![("/v1/status/leader", ":")]),
        false => Probe::Http(vec![
            ("/v1/status/leader", ":"),
            ("/v1/catalog/nodes", "\"lab\""),
        ]),
    };
    let place = (&spec.place, ports[0]);
    Ok(StoreMember::new(
        "consul", directory, place, program, arguments, probe,
    ))
}
