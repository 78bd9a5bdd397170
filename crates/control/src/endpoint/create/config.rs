//! What a create body means for placement, and what the engine gets of it.

mod devices;
mod labels;

use longshore_core::{
    Dependency, DependencyKind, DeviceId, Expression, HostPort, Labels, MilliCpu, PlacementRequest,
    PortProtocol, Resources,
};
use serde_json::{Map, Value, json};

use self::{
    devices::Devices,
    labels::{AFFINITIES, CONSTRAINTS, RESCHEDULE, WHITELISTS, check_labels, labels_mut, take},
};
use crate::{
    SWARM_ID_LABEL,
    devices::{DEVICES_LABEL, to_label},
    endpoint::{call::exact_fields, error::ApiError},
};

/// A create body, read once.
#[derive(Clone, Debug)]
pub(in crate::endpoint) struct CreateConfig {
    /// The body as the engine gets it: carriers out of the environment, labels written back. CPU
    /// shares are still in whole processors.
    pub(super) body: Map<String, Value>,
    pub(in crate::endpoint) request: PlacementRequest,
    /// Networks named by the body, without node prefix, that are no built-in modes.
    pub(super) networks: Vec<String>,
    /// Whole processors asked for with `-c`, if any.
    pub(super) cpu_shares: u64,
    /// The memory swappiness default was put in by us.
    pub(super) default_swappiness: bool,
    devices: Devices,
}

/// The fields that are looked at here.
const READ: [&str; 10] = [
    "CpuShares",
    "Cpuset",
    "Env",
    "ExposedPorts",
    "HostConfig",
    "Image",
    "Labels",
    "Memory",
    "MemorySwap",
    "NetworkingConfig",
];

impl CreateConfig {
    /// Reads a body.
    ///
    /// # Errors
    /// 400, naming what is wrong: JSON that is no object, a malformed `com.docker.swarm.*` label, a
    /// bad expression, policy or port.
    pub(in crate::endpoint) fn parse(
        body: Value,
        name: &str,
        system_label: &str,
        swarm_id: impl FnOnce() -> String,
    ) -> Result<Self, ApiError> {
        let Value::Object(mut body) = body else {
            return Err(ApiError::bad_request(
                "invalid JSON: a container's configuration is an object",
            ));
        };
        exact_fields(&body, &READ)?;
        check_labels(&body, system_label)?;
        let constraints = take(&mut body, &CONSTRAINTS)?;
        let affinities = take(&mut body, &AFFINITIES)?;
        let whitelists = take(&mut body, &WHITELISTS)?;
        check_policies(&take(&mut body, &RESCHEDULE)?)?;
        let constraints = expressions(&constraints)?;
        let mut config = Self {
            request: PlacementRequest::default(),
            networks: Vec::new(),
            cpu_shares: 0,
            default_swappiness: false,
            devices: Devices::default(),
            body,
        };
        config.override_resources();
        config.request.name = name.to_owned();
        config.request.image = config.text("Image").to_owned();
        config.request.constraints = constraints;
        config.request.affinities = expressions(&affinities)?;
        config.request.whitelists = expressions(&whitelists)?;
        config.read_resources();
        config.read_devices()?;
        config.read_dependencies();
        config.read_ports()?;
        config.read_networks()?;
        let labels = labels_mut(&mut config.body);
        // Always a fresh one: containers are found by it, and a name must not lead to another's.
        labels.insert(SWARM_ID_LABEL.to_owned(), swarm_id().into());
        config.request.labels = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect::<Labels>();
        Ok(config)
    }

    /// About how many bytes of memory it holds.
    pub(in crate::endpoint) fn weight(&self) -> usize {
        // The request, in the queue too, holds most of it again.
        let fields = self.body.iter();
        2 * fields.map(weight_of_field).sum::<usize>()
    }

    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn host(&self, key: &str) -> Option<&Value> {
        self.body
            .get("HostConfig")?
            .get(key)
            .filter(|v| !v.is_null())
    }

    pub(super) fn host_mut(&mut self) -> &mut Map<String, Value> {
        object_mut(&mut self.body, "HostConfig")
    }

    /// The old top-level fields win over the host configuration when set and different.
    fn override_resources(&mut self) {
        for (old, new) in [
            ("Memory", "Memory"),
            ("MemorySwap", "MemorySwap"),
            ("CpuShares", "CpuShares"),
            ("Cpuset", "CpusetCpus"),
        ] {
            let Some(value) = self.body.get(old).filter(|value| is_set(value)).cloned() else {
                continue;
            };
            let host = self.host_mut();
            if host.get(new) != Some(&value) {
                host.insert(new.to_owned(), value);
            }
        }
        if self.host("MemorySwappiness").is_none() {
            self.host_mut()
                .insert("MemorySwappiness".to_owned(), json!(-1));
            self.default_swappiness = true;
        }
    }

    /// `-c N` are N processors; NanoCPUs win; the larger of memory and its reservation counts.
    fn read_resources(&mut self) {
        let amount = |key: &str| {
            let value = self.host(key).and_then(Value::as_i64).unwrap_or(0);
            u64::try_from(value).unwrap_or(0)
        };
        let (shares, nanos) = (amount("CpuShares"), amount("NanoCpus"));
        let cpu = match nanos {
            0 => MilliCpu::from_cpus(shares),
            nanos => MilliCpu::from_nanos(nanos),
        };
        let memory = amount("Memory").max(amount("MemoryReservation"));
        self.cpu_shares = shares;
        self.request.resources = Resources::new(cpu, longshore_core::Bytes(memory));
    }

    fn read_devices(&mut self) -> Result<(), ApiError> {
        exact_fields(self.host_mut(), &["DeviceRequests"])?;
        (self.devices, self.request.devices) = Devices::read(self.host("DeviceRequests"))?;
        Ok(())
    }

    fn read_dependencies(&mut self) {
        let mut found = Vec::new();
        let mut add = |kind, target: &str| {
            if !target.is_empty() {
                found.push(Dependency {
                    kind,
                    target: target.trim_start_matches('/').to_owned(),
                });
            }
        };
        for item in strings(self.host("VolumesFrom")) {
            let target = item.rsplit_once(':').map_or(item, |(target, _)| target);
            add(DependencyKind::VolumesFrom, target);
        }
        for item in strings(self.host("Links")) {
            let target = item.split_once(':').map_or(item, |(target, _)| target);
            add(DependencyKind::Link, target);
        }
        if let Some(target) = self.network_mode().strip_prefix("container:") {
            add(DependencyKind::Network, target);
        }
        self.request.dependencies = found;
    }

    pub(super) fn network_mode(&self) -> &str {
        self.host("NetworkMode")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    fn read_ports(&mut self) -> Result<(), ApiError> {
        let mut ports = Vec::new();
        let host_network = self.network_mode() == "host";
        if host_network {
            let exposed = self.body.get("ExposedPorts").and_then(Value::as_object);
            for key in exposed.into_iter().flat_map(|exposed| exposed.keys()) {
                let (port, protocol) = container_port(key)?;
                ports.push(HostPort::any(port, protocol));
            }
        } else if let Some(bindings) = self.host("PortBindings").and_then(Value::as_object) {
            for (key, list) in bindings {
                let (_, protocol) = container_port(key)?;
                for binding in list.as_array().into_iter().flatten() {
                    let field = |key| binding.get(key).and_then(Value::as_str).unwrap_or("");
                    let text = field("HostPort").trim();
                    // Of a range the engine takes any port that is free: nothing to hold.
                    let is_range = text.split_once('-').is_some_and(|(from, to)| {
                        from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok()
                    });
                    if text.is_empty() || is_range {
                        continue;
                    }
                    let port = text.parse::<u16>().map_err(|_| {
                        ApiError::bad_request(format!("invalid port specification: {text:?}"))
                    })?;
                    if port != 0 {
                        ports.push(HostPort {
                            address: field("HostIp").to_owned(),
                            port,
                            protocol,
                        });
                    }
                }
            }
        }
        self.request.host_network = host_network;
        self.request.ports = ports;
        Ok(())
    }

    /// `node/net` means that node; the engine knows the network without the node.
    fn read_networks(&mut self) -> Result<(), ApiError> {
        let mode = self.network_mode().to_owned();
        let mut wanted = Vec::new();
        let mut nodes = Vec::new();
        if !is_builtin_mode(&mode) {
            let bare = split_node(&mode, &mut nodes);
            self.host_mut()
                .insert("NetworkMode".to_owned(), bare.clone().into());
            wanted.push(bare);
        }
        let endpoints = self
            .body
            .get_mut("NetworkingConfig")
            .and_then(|config| config.get_mut("EndpointsConfig"))
            .and_then(Value::as_object_mut);
        if let Some(endpoints) = endpoints {
            let renamed: Map<String, Value> = std::mem::take(endpoints)
                .into_iter()
                .map(|(name, endpoint)| (split_node(&name, &mut nodes), endpoint))
                .collect();
            wanted.extend(
                renamed
                    .keys()
                    .filter(|name| !is_builtin_mode(name))
                    .cloned(),
            );
            *endpoints = renamed;
        }
        nodes.dedup();
        for node in nodes {
            let expression = format!("node=={node}").parse::<Expression>();
            let expression =
                expression.map_err(|error| ApiError::bad_request(error.to_string()))?;
            self.request.constraints.push(expression);
        }
        wanted.sort_unstable();
        wanted.dedup();
        self.networks = wanted;
        Ok(())
    }

    /// Whether a hard constraint names the node.
    pub(super) fn is_pinned(&self) -> bool {
        self.request.constraints.iter().any(|expression| {
            expression.key() == "node"
                && !expression.is_soft()
                && expression.operator() == longshore_core::Operator::Equal
        })
    }

    /// The body for an engine with this many processors, on whose node these devices were chosen.
    /// They stand in a label, too.
    ///
    /// # Errors
    /// The scheduler did not choose as many as were asked for.
    pub(super) fn body_for(&self, cpus: u64, devices: &[DeviceId]) -> Result<Value, ApiError> {
        let mut body = self.body.clone();
        if !self.devices.is_empty() {
            let naming = self.devices.naming(devices).ok_or_else(|| {
                ApiError::internal(format!(
                    "the scheduler chose {} devices, which is not what was asked for",
                    devices.len()
                ))
            })?;
            object_mut(&mut body, "HostConfig").insert("DeviceRequests".to_owned(), json!(naming));
            labels_mut(&mut body).insert(DEVICES_LABEL.to_owned(), to_label(devices).into());
        }
        if self.cpu_shares > 0 && cpus > 0 {
            let shares = self.cpu_shares.saturating_mul(1024).div_ceil(cpus);
            object_mut(&mut body, "HostConfig").insert("CpuShares".to_owned(), shares.into());
            if body.get("CpuShares").is_some_and(is_set) {
                body.insert("CpuShares".to_owned(), shares.into());
            }
        }
        Ok(Value::Object(body))
    }
}

fn expressions(items: &[String]) -> Result<Vec<Expression>, ApiError> {
    items
        .iter()
        .map(|item| {
            item.parse()
                .map_err(|error: longshore_core::ExpressionError| {
                    ApiError::bad_request(error.to_string())
                })
        })
        .collect()
}

fn check_policies(policies: &[String]) -> Result<(), ApiError> {
    match policies {
        [] => Ok(()),
        [policy] if matches!(policy.as_str(), "off" | "on-node-failure") => Ok(()),
        [policy] => Err(ApiError::bad_request(format!(
            "invalid reschedule policy: {policy}"
        ))),
        _ => Err(ApiError::bad_request("too many reschedule policies")),
    }
}

/// `80/tcp`, `80`.
fn container_port(text: &str) -> Result<(u16, PortProtocol), ApiError> {
    let bad = || ApiError::bad_request(format!("invalid port specification: {text:?}"));
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    // A range of exposed ports is expanded by clients; the engine refuses what is left.
    let port = port.split('-').next().unwrap_or(port);
    Ok((
        port.parse().map_err(|_| bad())?,
        protocol.to_ascii_lowercase().parse().map_err(|_| bad())?,
    ))
}

fn split_node(name: &str, nodes: &mut Vec<String>) -> String {
    match name.split_once('/') {
        Some((node, bare)) if !node.is_empty() && !bare.is_empty() => {
            nodes.push(node.to_owned());
            bare.to_owned()
        }
        _ => name.to_owned(),
    }
}

fn is_builtin_mode(mode: &str) -> bool {
    matches!(mode, "" | "default" | "bridge" | "host" | "none" | "nat")
        || mode.starts_with("container:")
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The object under a key; made if it is missing or null.
pub(in crate::endpoint) fn object_mut<'a>(
    body: &'a mut Map<String, Value>,
    key: &str,
) -> &'a mut Map<String, Value> {
    let entry = body.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    match entry {
        Value::Object(object) => object,
        _ => unreachable!("made an object above"),
    }
}

/// What a value takes in memory, its parts included: an object is a tree, however small it is.
fn weight_of(value: &Value) -> usize {
    const TREE: usize = 640;
    ITEM + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight_of).sum(),
        Value::Object(fields) => TREE + fields.iter().map(weight_of_field).sum::<usize>(),
        _ => 0,
    }
}

fn weight_of_field((name, value): (&String, &Value)) -> usize {
    ITEM + name.len() + weight_of(value)
}

const ITEM: usize = 64;

#[cfg(test)]
mod tests;
