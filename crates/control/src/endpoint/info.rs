//! `GET /info`: the cluster as one big engine, with Swarm's `SystemStatus`.

use std::collections::HashSet;

use http::StatusCode;
use longshore_core::{Image, Leader, NodeHealth, Resources};
use serde_json::{Map, Value, json};

use super::{
    Shared,
    call::json,
    error::ApiResult,
    system::{SWARM_VERSION, go_arch, kernel_version},
};
use crate::NodeView;

pub(super) fn info(shared: &Shared) -> ApiResult {
    let nodes = shared.plane.nodes();
    let (strategy, filters) = shared.plane.scheduler_info();
    let count = |pick: fn(&NodeView) -> usize| nodes.iter().map(pick).sum::<usize>();
    // Of a node that does not answer nobody knows what its containers do now.
    let known = |pick: fn(&NodeView) -> usize| {
        let answering = nodes
            .iter()
            .filter(|node| node.health == NodeHealth::Healthy);
        answering.map(pick).sum::<usize>()
    };
    let mut total = Resources::default();
    for node in &nodes {
        total.add(&node.capacity);
    }
    let images: HashSet<&str> = nodes
        .iter()
        .flat_map(|node| node.images.iter())
        .filter(|image| !is_dangling(image))
        .map(|image| image.id.as_str())
        .collect();
    let status: Vec<Value> = system_status(role(shared), &nodes, &strategy, &filters)
        .into_iter()
        .map(|(key, value)| json!([key, value]))
        .collect();
    let mut warnings = shared.options.warnings.clone();
    for node in &nodes {
        warnings.extend(
            node.warnings
                .iter()
                .map(|warning| format!("{}: {warning}", node.name)),
        );
        let counted = node.containers.total;
        if node.health != NodeHealth::Healthy && counted > 0 {
            let containers = if counted == 1 {
                "container"
            } else {
                "containers"
            };
            warnings.push(format!(
                "{}: Host Down; its {counted} {containers} are among all, and not among those that \
                 run, are paused or stopped",
                node.name
            ));
        }
    }
    let now = shared.plane.clock().now();
    let mut info = manager();
    let mut put = |key: &str, value: Value| info.insert(key.to_owned(), value);
    put("Containers", count(|node| node.containers.total).into());
    put(
        "ContainersRunning",
        known(|node| node.containers.running).into(),
    );
    put(
        "ContainersPaused",
        known(|node| node.containers.paused).into(),
    );
    put(
        "ContainersStopped",
        known(|node| node.containers.stopped).into(),
    );
    put("Images", images.len().into());
    put("SystemStatus", status.into());
    put("NCPU", (total.cpu.0 / 1000).into());
    put("MemTotal", total.memory.0.into());
    put("SystemTime", now.to_string().into());
    put("Warnings", warnings.into());
    json(StatusCode::OK, &info)
}

/// What is said of the manager itself. An endpoint for many engines can do what any of them can.
fn manager() -> Map<String, Value> {
    let mut info = Map::new();
    for ability in [
        "MemoryLimit",
        "SwapLimit",
        "KernelMemory",
        "KernelMemoryTCP",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "IPv4Forwarding",
        "BridgeNfIptables",
        "BridgeNfIp6tables",
        "OomKillDisable",
    ] {
        info.insert(ability.to_owned(), true.into());
    }
    for (key, value) in [
        ("ServerVersion", SWARM_VERSION.to_owned()),
        ("Name", host_name()),
        ("KernelVersion", kernel_version()),
        ("OperatingSystem", std::env::consts::OS.to_owned()),
        ("OSType", std::env::consts::OS.to_owned()),
        ("Architecture", go_arch().to_owned()),
        ("HttpProxy", proxy("http_proxy", "HTTP_PROXY")),
        ("HttpsProxy", proxy("https_proxy", "HTTPS_PROXY")),
        ("NoProxy", proxy("no_proxy", "NO_PROXY")),
        ("ID", String::new()),
        ("Driver", String::new()),
        ("LoggingDriver", String::new()),
        ("CgroupDriver", String::new()),
        ("IndexServerAddress", String::new()),
        ("DockerRootDir", String::new()),
        ("ClusterStore", String::new()),
        ("ClusterAdvertise", String::new()),
        ("DefaultRuntime", String::new()),
        ("Isolation", String::new()),
        ("InitBinary", String::new()),
    ] {
        info.insert(key.to_owned(), value.into());
    }
    for key in [
        "DriverStatus",
        "RegistryConfig",
        "Labels",
        "Runtimes",
        "SecurityOptions",
    ] {
        info.insert(key.to_owned(), Value::Null);
    }
    for key in ["Debug", "ExperimentalBuild", "LiveRestoreEnabled"] {
        info.insert(key.to_owned(), false.into());
    }
    for key in ["NFd", "NGoroutines", "NEventsListener"] {
        info.insert(key.to_owned(), 0.into());
    }
    info.insert(
        "Plugins".to_owned(),
        json!({"Volume": null, "Network": null, "Authorization": null, "Log": null}),
    );
    info.insert(
        "Swarm".to_owned(),
        json!({
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive",
            "ControlAvailable": false, "Error": "", "RemoteManagers": null,
        }),
    );
    info
}

pub(super) fn is_dangling(image: &Image) -> bool {
    image.tags.iter().all(|tag| tag == "<none>:<none>")
}

/// Who leads.
fn role(shared: &Shared) -> Vec<(String, String)> {
    let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let leader = shared.plane.election().map(|election| election.leader());
    match leader {
        None | Some(Leader::Here { .. }) => vec![row("Role", "primary")],
        Some(Leader::Elsewhere(address)) => {
            vec![row("Role", "replica"), row("Primary", &address)]
        }
        Some(_) => vec![row("Role", "replica"), row("Primary", "(none)")],
    }
}

/// Swarm's table of the cluster. Tools read it by position and by these very keys.
fn system_status(
    mut rows: Vec<(String, String)>,
    nodes: &[NodeView],
    strategy: &str,
    filters: &[String],
) -> Vec<(String, String)> {
    rows.extend([
        ("Strategy".to_owned(), strategy.to_owned()),
        ("Filters".to_owned(), filters.join(", ")),
        ("Nodes".to_owned(), nodes.len().to_string()),
    ]);
    for node in nodes {
        let name = if node.id.is_none() && node.name.is_empty() {
            "(unknown)"
        } else {
            &node.name
        };
        rows.push((format!(" {name}"), node.address.clone()));
        let mut row = |key: &str, value: String| rows.push((format!("  └ {key}"), value));
        let counts = node.containers;
        row(
            "ID",
            node.id
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        );
        row("Status", status_of(node));
        row(
            "Containers",
            if node.health == NodeHealth::Healthy {
                format!(
                    "{} ({} Running, {} Paused, {} Stopped)",
                    counts.total, counts.running, counts.paused, counts.stopped
                )
            } else {
                counts.total.to_string()
            },
        );
        row(
            "Reserved CPUs",
            format!("{} / {}", node.reserved.cpu, node.capacity.cpu),
        );
        row(
            "Reserved Memory",
            format!("{} / {}", node.reserved.memory, node.capacity.memory),
        );
        row("Labels", labels_of(node));
        if let Some(error) = &node.error {
            row("Error", error.clone());
        }
        row("UpdatedAt", node.updated_at.to_string());
        row(
            "ServerVersion",
            node.info
                .as_ref()
                .map_or_else(String::new, |info| info.version.clone()),
        );
    }
    rows
}

fn status_of(node: &NodeView) -> String {
    use longshore_core::Availability;
    let mut text = node.health.to_string();
    match node.availability {
        Availability::Cordoned => text.push_str(" (cordoned)"),
        Availability::Draining => text.push_str(" (draining)"),
        _ => {}
    }
    if node.stale {
        text.push_str(" (stale)");
    }
    text
}

fn labels_of(node: &NodeView) -> String {
    let Some(info) = &node.info else {
        return String::new();
    };
    let mut labels: std::collections::BTreeMap<&str, &str> = info.labels.iter().collect();
    labels.extend(info.attributes.iter());
    let pairs: Vec<String> = labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(", ")
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// The control plane's own proxy settings, without credentials in them.
fn proxy(lower: &str, upper: &str) -> String {
    let value = std::env::var(lower)
        .or_else(|_| std::env::var(upper))
        .unwrap_or_default();
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://xxxxx@{host}"),
        (None, Some((_, host))) => format!("xxxxx@{host}"),
        _ => value,
    }
}
