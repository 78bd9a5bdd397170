use std::collections::BTreeMap;

use longshore_core::{
    PortBinding, RestartPolicy, Workload, WorkloadDetail, WorkloadId, WorkloadState,
};
use serde_json::{Map, Value, json};

use super::{devices, notes::Note, shape::merged, words};

/// The answer of `GET /containers/{id}/json`. What only the create knew (an entrypoint, a domain
/// name) is taken from its body, if it came this way.
pub(super) fn container(workload: &Workload, note: &Note, execs: Vec<String>) -> Value {
    let detail = workload.detail.clone().unwrap_or_default();
    let words = command(workload, note);
    let (path, arguments) = match words.split_first() {
        Some((path, arguments)) => (path.as_str(), arguments),
        None => ("", &[][..]),
    };
    json!({
        "Id": workload.id,
        "Created": workload.created.to_string(),
        "Path": path,
        "Args": arguments,
        "State": state(workload, &detail),
        "Image": workload.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": format!("/{}", workload.name()),
        "RestartCount": detail.restarts,
        "Driver": "none",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if execs.is_empty() { Value::Null } else { json!(execs) },
        "HostConfig": host_config(&detail, note),
        "GraphDriver": { "Name": "none", "Data": null },
        "Mounts": [],
        "Config": config(workload, &detail, note),
        "NetworkSettings": network(workload),
    })
}

fn state(workload: &Workload, detail: &WorkloadDetail) -> Value {
    let is = |state| workload.state == state;
    let mut state = json!({
        "Status": workload.state.as_str(),
        "Running": is(WorkloadState::Running) || is(WorkloadState::Paused) || is(WorkloadState::Restarting),
        "Paused": is(WorkloadState::Paused),
        "Restarting": is(WorkloadState::Restarting),
        "OOMKilled": detail.exit.as_ref().is_some_and(|exit| exit.out_of_memory),
        "Dead": is(WorkloadState::Dead),
        "Pid": detail.pid,
        "ExitCode": exit_code(workload, detail),
        "Error": detail.error,
        "StartedAt": words::time(detail.started),
        "FinishedAt": words::time(detail.finished),
    });
    if !detail.health.is_empty() {
        state["Health"] = json!({ "Status": detail.health, "FailingStreak": 0, "Log": [] });
    }
    state
}

/// Docker's number. An end with an unknown code is told as 255, never as a success.
fn exit_code(workload: &Workload, detail: &WorkloadDetail) -> i64 {
    let ended = matches!(
        workload.state,
        WorkloadState::Exited | WorkloadState::Dead | WorkloadState::Restarting
    );
    match &detail.exit {
        Some(exit) if ended => exit.code.unwrap_or(UNKNOWN_CODE),
        None if ended => UNKNOWN_CODE,
        _ => 0,
    }
}

fn config(workload: &Workload, detail: &WorkloadDetail, note: &Note) -> Value {
    // As Docker does, what was asked for comes back, with what is in force on top.
    let mut config = json!({
        "Hostname": short(&workload.id),
        "Domainname": "",
        "User": "",
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": detail.tty,
        "OpenStdin": detail.open_stdin,
        "StdinOnce": false,
        "Env": detail.env,
        "Cmd": command(workload, note),
        "Image": workload.image,
        "Volumes": null,
        "WorkingDir": detail.working_dir,
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": workload.labels,
    });
    let exposed: BTreeMap<String, Value> = detail
        .requested_ports
        .iter()
        .map(|port| (key(port), json!({})))
        .collect();
    if !exposed.is_empty() {
        config["ExposedPorts"] = json!(exposed);
    }
    if let Some(limit) = detail.stop_timeout {
        config["StopTimeout"] = json!(limit.as_secs());
    }
    for field in ASKED {
        let asked = note.at(&format!("/{field}"));
        if let Some(value) = asked.filter(|value| value.as_str() != Some("")) {
            config[field] = value.clone();
        }
    }
    config
}

fn host_config(detail: &WorkloadDetail, note: &Note) -> Value {
    let (policy, count) = match detail.restart {
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure(count) => ("on-failure", count),
        _ => ("no", 0),
    };
    let own = json!({
        "NetworkMode": if detail.host_network { "host" } else { "default" },
        "PortBindings": bindings(&detail.requested_ports),
        "RestartPolicy": { "Name": policy, "MaximumRetryCount": count },
        "AutoRemove": note.flag("/HostConfig/AutoRemove"),
        "Memory": detail.resources.memory,
        "DeviceRequests": devices::given(&detail.devices),
        "NanoCpus": detail.resources.cpu.0.saturating_mul(1_000_000),
    });
    merged(merged(isolation(), limits()), own)
}

/// What sets a container apart; here nothing does.
fn isolation() -> Value {
    json!({
        "Binds": null,
        "ContainerIDFile": "",
        "LogConfig": { "Type": "longshore", "Config": {} },
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": null,
        "CapDrop": null,
        "CgroupnsMode": "host",
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": null,
        "GroupAdd": null,
        "IpcMode": "host",
        "Cgroup": "",
        "Links": null,
        "PidMode": "host",
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyRootfs": false,
        "SecurityOpt": null,
        "UTSMode": "host",
        "UsernsMode": "",
        "Runtime": "longshore",
        "Isolation": "",
        "MaskedPaths": null,
        "ReadonlyPaths": null,
    })
}

/// Limits that are not set.
fn limits() -> Value {
    json!({
        "ConsoleSize": [0, 0],
        "CpuShares": 0,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "Devices": [],
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "MemorySwappiness": null,
        "OomKillDisable": false,
        "OomScoreAdj": 0,
        "PidsLimit": null,
        "ShmSize": 0,
        "Ulimits": null,
    })
}

fn network(workload: &Workload) -> Value {
    json!({
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": bindings(&workload.ports),
        "SandboxKey": "",
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": {},
    })
}

/// Docker's map of ports: `80/tcp` to a list of host addresses, or null where only exposed.
fn bindings(ports: &[PortBinding]) -> Value {
    let mut map = Map::new();
    for port in ports {
        let entry = map.entry(key(port)).or_insert(Value::Null);
        let Some(host) = &port.host else { continue };
        let binding = json!({
            "HostIp": host.address,
            "HostPort": if host.port == 0 { String::new() } else { host.port.to_string() },
        });
        match entry {
            Value::Array(hosts) => hosts.push(binding),
            entry => *entry = json!([binding]),
        }
    }
    Value::Object(map)
}

fn key(port: &PortBinding) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

/// Program and arguments: as asked for, or else the engine's joined text taken apart at blanks.
fn command(workload: &Workload, note: &Note) -> Vec<String> {
    let words = |pointer| -> Vec<String> {
        match note.at(pointer) {
            Some(Value::Array(words)) => words
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
            Some(Value::String(word)) => vec![word.clone()],
            _ => Vec::new(),
        }
    };
    let mut asked = words("/Entrypoint");
    asked.extend(words("/Cmd"));
    if asked.is_empty() {
        asked = workload.command.split(' ').map(str::to_owned).collect();
        asked.retain(|word| !word.is_empty());
    }
    asked
}

pub(super) fn short(id: &WorkloadId) -> &str {
    id.as_str().get(..12).unwrap_or(id.as_str())
}

/// Of the create's body, what engines keep no account of.
const ASKED: [&str; 11] = [
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "StdinOnce",
    "Cmd",
    "Entrypoint",
    "StopSignal",
    "Healthcheck",
];
pub(super) const UNKNOWN_CODE: i64 = 255;

#[cfg(test)]
mod tests {
    use longshore_core::{ExitStatus, HostPort, PortProtocol};

    use super::*;

    fn workload(state: WorkloadState, exit: Option<ExitStatus>) -> Workload {
        let mut workload = Workload::new(WorkloadId::new("0123456789abcdef").unwrap());
        workload.names = vec!["web".into()];
        workload.command = "sh -c x".into();
        workload.state = state;
        let mut detail = WorkloadDetail::default();
        detail.exit = exit;
        workload.detail = Some(detail);
        workload
    }

    fn code(state: WorkloadState, exit: Option<ExitStatus>) -> Value {
        let json = container(&workload(state, exit), &Note::default(), Vec::new());
        json["State"]["ExitCode"].clone()
    }

    #[test]
    fn an_unknown_end_is_never_a_success() {
        assert_eq!(code(WorkloadState::Exited, Some(ExitStatus::exited(0))), 0);
        assert_eq!(
            code(WorkloadState::Exited, Some(ExitStatus::unknown("?"))),
            255
        );
        assert_eq!(code(WorkloadState::Exited, None), 255);
        assert_eq!(code(WorkloadState::Created, None), 0);
    }

    #[test]
    fn the_command_is_taken_apart() {
        let json = container(
            &workload(WorkloadState::Created, None),
            &Note::default(),
            Vec::new(),
        );
        assert_eq!(
            (&json["Path"], &json["Args"]),
            (&json!("sh"), &json!(["-c", "x"]))
        );
        assert_eq!(json["Name"], "/web");
        assert_eq!(json["Config"]["Hostname"], "0123456789ab");
        assert_eq!(json["ExecIDs"], Value::Null);
        assert_eq!(json["Mounts"], json!([]));
    }

    #[test]
    fn ports_have_dockers_shape() {
        let port = |host| PortBinding {
            container_port: 80,
            protocol: PortProtocol::Tcp,
            host,
        };
        let published = port(Some(HostPort::any(8080, PortProtocol::Tcp)));
        assert_eq!(
            bindings(&[published]),
            json!({ "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] })
        );
        assert_eq!(bindings(&[port(None)]), json!({ "80/tcp": null }));
    }
}
