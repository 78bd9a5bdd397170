use std::sync::Arc;

use longshore_core::{
    Error, ErrorKind, HostPort, Labels, PortBinding, Result, Timestamp, Workload, WorkloadState,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{id, native};

/// Workloads out of Docker's list, each with its record as it came unless that is very long.
///
/// Entries without an id of Docker's are left out. A list that is too long is an error and not cut
/// off: what is missing from a list counts as gone.
pub(super) fn workloads(answer: &[u8]) -> Result<Vec<Workload>> {
    // Each record is read on its own, so that its length is known before its parts are allocated.
    let records: Vec<&RawValue> = serde_json::from_slice(answer).map_err(not_dockers)?;
    if records.len() > MOST {
        return Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "the engine lists {} containers, and at most {MOST} of one node are taken in; \
                 remove those that are not needed",
                records.len()
            ),
        ));
    }
    let read = records.into_iter().filter_map(|record| {
        if record.get().len() > LONGEST_RECORD {
            let length = record.get().len();
            tracing::warn!(
                length,
                "the engine's record of a container is too long: left out"
            );
            return None;
        }
        workload(record.get()).transpose()
    });
    read.collect()
}

fn workload(text: &str) -> Result<Option<Workload>> {
    // A map, not a value: serde would take a list for a record too.
    let native: Map<String, Value> = serde_json::from_str(text).map_err(not_dockers)?;
    let native = Value::Object(native);
    let record = Record::deserialize(&native).map_err(not_dockers)?;
    let id = match id::container(&record.id) {
        Ok(id) => id,
        Err(error) => {
            tracing::debug!(%error, "a container is left out");
            return Ok(None);
        }
    };
    let mut workload = Workload::new(id);
    let own = |name: &String| native::name(name.trim_start_matches('/'));
    let names = record.names.iter().flatten().take(MOST_NAMES);
    workload.names = names.map(own).collect();
    // A link's name has a second slash; the container's own name comes first for us.
    workload.names.sort_by_key(|name| name.contains('/'));
    workload.image = native::name(&record.image);
    workload.image_id = native::name(&record.image_id);
    workload.command = native::cut(record.command);
    workload.created = Timestamp::from_secs(record.created);
    workload.state = WorkloadState::from_word(&record.state).unwrap_or_default();
    workload.labels = record.labels.unwrap_or_default();
    workload.ports = record.ports.iter().flatten().filter_map(port).collect();
    workload.native = (text.len() <= native::LONGEST).then(|| Arc::new(native));
    Ok(Some(workload))
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

/// Containers of one engine.
const MOST: usize = 10_000;
/// Names of one container: its own, and those of links to it.
const MOST_NAMES: usize = 64;
/// With more, a record is no container's.
const LONGEST_RECORD: usize = 512 << 10;

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
    use serde_json::json;

    use super::*;

    fn id(number: u64) -> String {
        format!("{number:064x}")
    }

    fn read(list: &Value) -> Vec<Workload> {
        workloads(list.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn records_are_read_and_kept() {
        let read = read(&json!([{
            "Id": id(1), "Names": ["/web/db", "/a"], "Image": "i", "State": "running", "New": 1,
            "Created": 1_790_000_000, "Labels": null,
            "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
        }]))
        .remove(0);
        assert_eq!(read.names, ["a", "web/db"]);
        assert_eq!(read.state, WorkloadState::Running);
        assert_eq!(read.ports[0].host.as_ref().unwrap().port, 8080);
        assert_eq!(read.native.unwrap()["New"], 1);
    }

    #[test]
    fn what_is_no_list_is_a_protocol_error() {
        for text in [&b"{}"[..], b"[{}]", b"[[\"a\"]]", b"[1", b"[1]"] {
            let error = workloads(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn what_has_no_id_of_dockers_is_left_out() {
        let read =
            read(&json!([{"Id": ""}, {"Id": "../x"}, {"Id": id(7)}, {"Id": "A".repeat(64)}]));
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].id.as_str(), id(7));
    }

    /// Cut off, the rest would count as gone and be made anew elsewhere.
    #[test]
    fn a_list_that_is_too_long_is_refused_whole() {
        let list =
            |count: usize| -> Value { (0..count).map(|n| json!({"Id": id(n as u64)})).collect() };
        assert_eq!(read(&list(MOST)).len(), MOST);
        let error = workloads(list(MOST + 1).to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(
            error.message(),
            "the engine lists 10001 containers, and at most 10000 of one node are taken in; remove \
             those that are not needed"
        );
    }

    #[test]
    fn what_is_kept_of_a_container_is_bounded() {
        let with = |filling: usize| json!({"Id": id(1), "Image": "x".repeat(filling)});
        let read = read(&json!([
            with(100),
            with(native::LONGEST),
            with(LONGEST_RECORD)
        ]));
        assert_eq!(read.len(), 2);
        assert!(read[0].native.is_some() && read[1].native.is_none());
        assert!(read[1].image.len() < 1000);
    }

    #[test]
    fn names_are_printable() {
        let read =
            read(&json!([{"Id": id(1), "Names": ["/\u{1b}[2Jpwn\n"], "Image": "\u{1b}]0;x"}]));
        assert_eq!(read[0].names, ["\\u{1b}[2Jpwn\\u{a}"]);
        assert_eq!(read[0].image, "\\u{1b}]0;x");
    }
}
