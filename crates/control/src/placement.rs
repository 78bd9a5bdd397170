use longshore_core::{
    DeviceId, EngineInfo, Expression, HostPort, Image, Labels, MilliCpu, NodeId, PlacedWorkload,
    PlacementRequest, Resources, ServiceName, Workload, WorkloadId, WorkloadState,
};

use crate::{devices, stack::labels};

/// What may be handed out on a node: what it has, and `overcommit` of it on top, exact in
/// milli-CPUs and bytes.
pub(crate) fn capacity_of(info: &EngineInfo, overcommit: f64) -> Resources {
    let scale = |amount: u64| {
        let extra = amount as f64 * overcommit.abs();
        if overcommit < 0.0 {
            amount.saturating_sub(extra.ceil() as u64)
        } else {
            amount.saturating_add(extra as u64)
        }
    };
    Resources::new(
        MilliCpu(scale(info.cpu.0)),
        longshore_core::Bytes(scale(info.memory.0)),
    )
}

/// The names by which a scheduler knows a node's images.
pub(crate) fn image_names(images: &[Image]) -> Vec<String> {
    let mut names: Vec<String> = images
        .iter()
        .flat_map(|image| {
            std::iter::once(&image.id)
                .chain(&image.tags)
                .chain(&image.digests)
                .cloned()
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Which containers take up room on their node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accounting {
    /// All until they are removed, as Swarm did: a stopped one can be started at any time, without
    /// a new decision.
    #[default]
    All,
    /// Those that run, or were made and not started yet. What has ended takes no processors and no
    /// memory; starting it again may fill a node beyond what it has. Its ports it keeps.
    Running,
}

/// A container as the scheduler sees it.
pub(crate) fn placed(workload: &Workload, node: &NodeId, accounting: Accounting) -> PlacedWorkload {
    let mut placed = PlacedWorkload::new(workload.id.clone(), node.clone());
    placed.name = workload.name().to_owned();
    placed.service = service_of(&workload.labels);
    placed.image.clone_from(&workload.image);
    placed.labels = workload.labels.clone();
    let mut ports: Vec<HostPort> = workload
        .ports
        .iter()
        .filter_map(|port| port.host.clone())
        .collect();
    if let Some(detail) = &workload.detail {
        let ended = matches!(workload.state, WorkloadState::Exited | WorkloadState::Dead);
        if !(ended && accounting == Accounting::Running) {
            placed.resources = detail.resources.clone();
        }
        for binding in &detail.requested_ports {
            match &binding.host {
                Some(host) => ports.push(host.clone()),
                // On the node's own network an exposed port is a node port.
                None if detail.host_network => {
                    ports.push(HostPort::any(binding.container_port, binding.protocol));
                }
                None => {}
            }
        }
    }
    placed.ports = held(ports);
    placed.devices = devices::of_workload(workload);
    placed
}

/// Each port once: a published port is told as it was asked for and as it is, for IPv4 and for IPv6.
fn held(mut ports: Vec<HostPort>) -> Vec<HostPort> {
    ports.retain(|port| port.port != 0);
    for port in &mut ports {
        if port.is_any_address() {
            port.address.clear();
        }
    }
    // On all addresses comes first, and makes the others of that port idle.
    ports.sort_by(|a, b| (a.port, a.protocol, &a.address).cmp(&(b.port, b.protocol, &b.address)));
    ports.dedup_by(|later, first| {
        (later.port, later.protocol) == (first.port, first.protocol)
            && (first.is_any_address() || later.address == first.address)
    });
    ports
}

/// What a request becomes once an engine has made it.
pub(crate) fn fulfilled(
    request: &PlacementRequest,
    id: &WorkloadId,
    node: &NodeId,
    devices: &[DeviceId],
) -> PlacedWorkload {
    let mut placed = PlacedWorkload::new(id.clone(), node.clone());
    placed.devices = devices.to_vec();
    placed.name.clone_from(&request.name);
    placed.service.clone_from(&request.service);
    placed.image.clone_from(&request.image);
    placed.labels = request.labels.clone();
    placed.resources = request.resources.clone();
    placed.ports = request.ports.clone();
    placed.ports.retain(|port| port.port != 0);
    placed
}

/// What to ask for in order to place an existing container again.
pub(crate) fn request_of(workload: &Workload, node: &NodeId) -> PlacementRequest {
    let placed = placed(workload, node, Accounting::All);
    let mut request = PlacementRequest::new(placed.image).with_resources(placed.resources);
    request.name = placed.name;
    request.service = placed.service;
    request.labels = placed.labels;
    request.ports = placed.ports;
    request.devices = devices::alike(&placed.devices);
    // What does not parse was not asked for through a control plane.
    let wishes = |label: &str| -> Vec<Expression> {
        let texts = workload.labels.get(label).unwrap_or("[]");
        let texts: Vec<String> = serde_json::from_str(texts).unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    };
    request.constraints = wishes(CONSTRAINTS_LABEL);
    request.affinities = wishes(AFFINITIES_LABEL);
    request.whitelists = wishes(WHITELISTS_LABEL);
    request
}

const CONSTRAINTS_LABEL: &str = "com.docker.swarm.constraints";
const AFFINITIES_LABEL: &str = "com.docker.swarm.affinities";
const WHITELISTS_LABEL: &str = "com.docker.swarm.whitelists";

fn service_of(found: &Labels) -> Option<ServiceName> {
    let stack = found.get(labels::STACK)?;
    let service = found.get(labels::SERVICE)?;
    ServiceName::new(format!("{stack}.{service}")).ok()
}

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, NodeName};

    use super::*;

    #[track_caller]
    fn check(cpus: u64, overcommit: f64, milli: u64) {
        let info = EngineInfo::new(
            NodeId::new("n").unwrap(),
            NodeName::new("n").unwrap(),
            MilliCpu::from_cpus(cpus),
            Bytes(100),
        );
        assert_eq!(capacity_of(&info, overcommit).cpu, MilliCpu(milli));
    }

    #[test]
    fn a_port_is_held_once_however_often_it_is_told() {
        let port = |address: &str, port| HostPort {
            address: address.to_owned(),
            ..HostPort::any(port, longshore_core::PortProtocol::Tcp)
        };
        let told = ["0.0.0.0", "::", "", "10.0.0.1"].map(|address| port(address, 80));
        assert_eq!(held(told.to_vec()), [port("", 80)]);
        let told = vec![port("10.0.0.2", 80), port("10.0.0.1", 80), port("", 0)];
        let both = [port("10.0.0.1", 80), port("10.0.0.2", 80)];
        assert_eq!(held(told), both);
    }

    #[test]
    fn s16_small_nodes_get_their_share_of_overcommit() {
        check(1, 0.05, 1050);
        check(4, 0.05, 4200);
        check(4, 0.0, 4000);
        check(4, -0.5, 2000);
    }
}
