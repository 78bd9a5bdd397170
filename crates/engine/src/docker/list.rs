use std::sync::Arc;

use longshore_core::{
    Error, HostPort, Labels, PortBinding, Result, Timestamp, Workload, WorkloadId, WorkloadState,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Workloads out of Docker's list, each with its record as it came.
pub(super) fn workloads(answer: &[u8]) -> Result<Vec<Workload>> {
    // Maps, not values: serde would take a list for a record too.
    let records: Vec<Map<String, Value>> = serde_json::from_slice(answer).map_err(not_dockers)?;
    records
        .into_iter()
        .map(Value::Object)
        .map(workload)
        .collect()
}

fn workload(native: Value) -> Result<Workload> {
    let record = Record::deserialize(&native).map_err(not_dockers)?;
    let mut workload = Workload::new(WorkloadId::new(record.id)?);
    let own = |name: &String| name.trim_start_matches('/').to_owned();
    workload.names = record.names.iter().flatten().map(own).collect();
    // A link's name has a second slash; the container's own name comes first for us.
    workload.names.sort_by_key(|name| name.contains('/'));
    workload.image = record.image;
    workload.image_id = record.image_id;
    workload.command = record.command;
    workload.created = Timestamp::from_secs(record.created);
    workload.state = WorkloadState::from_word(&record.state).unwrap_or_default();
    workload.labels = record.labels.unwrap_or_default();
    workload.ports = record.ports.iter().flatten().filter_map(port).collect();
    workload.native = Some(Arc::new(native));
    Ok(workload)
}

fn port(port: &Port) -> Option<PortBinding> {
    let protocol = port.protocol.parse().ok()?;
    Some(PortBinding {
        container_port: port.private,
        protocol,
        host: port.public.map(|number| HostPort {
            address: port.ip.clone(),
            port: number,
            protocol,
        }),
    })
}

fn not_dockers(error: serde_json::Error) -> Error {
    Error::protocol("the engine's list of containers is not Docker's").with_source(error)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    state: String,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default, rename = "IP")]
    ip: String,
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(default, rename = "PublicPort")]
    public: Option<u16>,
    #[serde(default, rename = "Type")]
    protocol: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_kept() {
        let text = br#"[{"Id":"a","Names":["/web/db","/a"],"Image":"i","State":"running","New":1,
            "Created":1790000000,"Labels":null,
            "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]}]"#;
        let read = workloads(text).unwrap().remove(0);
        assert_eq!(read.names, ["a", "web/db"]);
        assert_eq!(read.state, WorkloadState::Running);
        assert_eq!(read.ports[0].host.as_ref().unwrap().port, 8080);
        assert_eq!(read.native.unwrap()["New"], 1);
    }

    #[test]
    fn what_is_no_list_is_a_protocol_error() {
        for text in [&b"{}"[..], b"[{}]", b"[[\"a\"]]", b"[1", br#"[{"Id":""}]"#] {
            assert!(workloads(text).is_err());
        }
    }
}
