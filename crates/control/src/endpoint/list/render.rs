use longshore_core::{NodeHealth, PortBinding, Timestamp, WorkloadState};
use serde_json::{Map, Value, json};

use crate::{
    ContainerView,
    endpoint::{
        status::status,
        text::{plain, plain_value},
    },
};

/// One container of the list: everything but its status is rendered once per change.
#[derive(Debug)]
pub(super) struct Piece {
    /// The object up to and including `"Status":`.
    head: String,
    /// The status, quoted, with the closing brace.
    tail: String,
    valid_until: Timestamp,
}

impl Piece {
    pub(super) fn new(view: &ContainerView, now: Timestamp) -> Self {
        let mut object = fields(view);
        object.remove("Status");
        let mut object = Value::Object(object);
        plain_value(&mut object);
        let mut head = object.to_string();
        head.pop();
        head.push_str(",\"Status\":");
        let mut piece = Self {
            head,
            tail: String::new(),
            valid_until: Timestamp::ZERO,
        };
        piece.refresh(view, now);
        piece
    }

    /// Makes the status true for `now`.
    pub(super) fn refresh(&mut self, view: &ContainerView, now: Timestamp) {
        if now < self.valid_until {
            return;
        }
        let (text, valid_until) = if view.node_health == NodeHealth::Healthy {
            let status = status(&view.workload, now);
            (plain(&status.text).into_owned(), status.valid_until)
        } else {
            ("Host Down".to_owned(), Timestamp::from_micros(u64::MAX))
        };
        self.tail = format!("{}}}", Value::String(text));
        self.valid_until = valid_until;
    }

    pub(super) fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(self.tail.as_bytes());
    }
}

/// The container in Docker's listing form: the engine's own record where it gave one.
fn fields(view: &ContainerView) -> Map<String, Value> {
    let workload = &view.workload;
    let mut object = match workload.native.as_deref() {
        Some(Value::Object(native)) => native.clone(),
        _ => portable(view),
    };
    let names: Vec<String> = workload
        .names
        .iter()
        .map(|name| format!("/{}/{}", view.node_name, name.trim_start_matches('/')))
        .collect();
    object.insert("Id".into(), workload.id.as_str().into());
    object.insert("Names".into(), names.into());
    object.insert("State".into(), workload.state.as_str().into());
    if let Some(Value::Array(ports)) = object.get_mut("Ports") {
        let mut seen = Vec::with_capacity(ports.len());
        for mut port in ports.drain(..) {
            localize(&mut port, &view.node_ip);
            if !seen.contains(&port) {
                seen.push(port);
            }
        }
        *ports = seen;
    }
    object
}

/// "All addresses of the node" means something else to a client elsewhere.
fn localize(port: &mut Value, node_ip: &str) {
    let Some(object) = port.as_object_mut() else {
        return;
    };
    if object.get("PublicPort").is_none() || node_ip.is_empty() {
        return;
    }
    let address = object.get("IP").and_then(Value::as_str).unwrap_or("");
    if is_unspecified(address) {
        object.insert("IP".into(), node_ip.into());
    }
}

pub(in crate::endpoint) fn is_unspecified(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::")
}

fn portable(view: &ContainerView) -> Map<String, Value> {
    let workload = &view.workload;
    let labels: Map<String, Value> = workload
        .labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let host_network = workload
        .detail
        .as_ref()
        .is_some_and(|detail| detail.host_network);
    let mode = if host_network { "host" } else { "default" };
    let value = json!({
        "Image": workload.image,
        "ImageID": workload.image_id,
        "Command": workload.command,
        "Created": workload.created.as_secs(),
        "Ports": workload.ports.iter().map(port).collect::<Vec<_>>(),
        "Labels": labels,
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [],
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn port(binding: &PortBinding) -> Value {
    let mut value = json!({
        "PrivatePort": binding.container_port,
        "Type": binding.protocol.as_str(),
    });
    if let Some(host) = &binding.host {
        value["IP"] = host.address.clone().into();
        value["PublicPort"] = host.port.into();
    }
    value
}

/// Whether `docker ps` without `-a` shows it.
pub(super) fn is_running(view: &ContainerView) -> bool {
    matches!(
        view.workload.state,
        WorkloadState::Running | WorkloadState::Paused | WorkloadState::Restarting
    ) && view.node_health == NodeHealth::Healthy
}
