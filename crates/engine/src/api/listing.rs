use longshore_core::{PortBinding, Timestamp, Workload};
use serde_json::{Value, json};

use super::words;

/// A record of `GET /containers/json`.
pub(super) fn record(workload: &Workload, now: Timestamp) -> Value {
    let names: Vec<String> = workload
        .names
        .iter()
        .map(|name| format!("/{name}"))
        .collect();
    let host_network = workload
        .detail
        .as_ref()
        .is_none_or(|detail| detail.host_network);
    let mode = if host_network { "host" } else { "default" };
    json!({
        "Id": workload.id,
        "Names": names,
        "Image": workload.image,
        "ImageID": workload.image_id,
        "Command": workload.command,
        "Created": workload.created.as_secs(),
        "Ports": workload.ports.iter().map(port).collect::<Vec<_>>(),
        "Labels": workload.labels,
        "State": workload.state.as_str(),
        "Status": words::status(workload, now),
        "HostConfig": { "NetworkMode": mode },
        "NetworkSettings": { "Networks": {} },
        "Mounts": [],
    })
}

fn port(port: &PortBinding) -> Value {
    let mut record = json!({
        "PrivatePort": port.container_port,
        "Type": port.protocol.as_str(),
    });
    if let Some(host) = &port.host {
        record["IP"] = match host.address.as_str() {
            "" => json!("0.0.0.0"),
            address => json!(address),
        };
        record["PublicPort"] = json!(host.port);
    }
    record
}
