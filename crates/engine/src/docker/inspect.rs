use std::{sync::Arc, time::Duration};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, HostConfig, RestartPolicyNameEnum,
};
use longshore_core::{
    Bytes, Error, ExitStatus, Labels, MilliCpu, PortBinding, Resources, RestartPolicy, Result,
    Timestamp, Workload, WorkloadDetail, WorkloadState,
};

use super::{devices, error, id, native, ports};

/// A workload out of Docker's inspection, on an engine with so many processors (0: unknown).
pub(super) fn workload(answer: ContainerInspectResponse, cpus: u64) -> Result<Workload> {
    let mut record = native::listing(&answer);
    let id = answer
        .id
        .ok_or_else(|| Error::protocol("the engine's inspection has no container id"))?;
    let mut workload = Workload::new(id::container(&id)?);
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();

    let name = answer.name.unwrap_or_default();
    workload.names = vec![native::name(name.trim_start_matches('/'))];
    workload.image = native::name(config.image.as_deref().unwrap_or_default());
    workload.image_id = native::name(answer.image.as_deref().unwrap_or_default());
    let command = answer
        .path
        .into_iter()
        .chain(answer.args.unwrap_or_default());
    workload.command = native::cut(command.collect::<Vec<_>>().join(" "));
    workload.created = time(answer.created.as_deref()).unwrap_or_default();
    workload.state = state_of(&state);
    workload.labels = config
        .labels
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect::<Labels>();
    let in_force = answer.network_settings.and_then(|network| network.ports);
    workload.ports = in_force.as_ref().map(ports::from_map).unwrap_or_default();
    record["Ports"] = ports::to_list(&workload.ports);
    workload.native = (record.to_string().len() <= native::LONGEST).then(|| Arc::new(record));
    let mut detail = detail(config, &host, state, workload.state);
    detail.resources = resources(&host, cpus);
    detail.devices = devices::given(host.device_requests.as_deref().unwrap_or_default());
    detail.restarts = count(answer.restart_count);
    workload.detail = Some(detail);
    Ok(workload)
}

fn detail(
    config: ContainerConfig,
    host: &HostConfig,
    state: ContainerState,
    word: WorkloadState,
) -> WorkloadDetail {
    let mut detail = WorkloadDetail::default();
    detail.pid = count(state.pid);
    detail.requested_ports = requested(&config, host);
    detail.env = config.env.unwrap_or_default();
    detail.working_dir = config.working_dir.unwrap_or_default();
    detail.host_network = host.network_mode.as_deref() == Some("host");
    detail.restart = restart(host);
    detail.tty = config.tty.unwrap_or_default();
    detail.open_stdin = config.open_stdin.unwrap_or_default();
    detail.started = time(state.started_at.as_deref());
    detail.finished = time(state.finished_at.as_deref());
    detail.exit = exit(&state, word);
    detail.health = state
        .health
        .and_then(|health| health.status)
        .map(|status| status.to_string())
        .filter(|status| status != "none")
        .unwrap_or_default();
    detail.stop_timeout = config
        .stop_timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    detail.error = error::text(state.error.as_deref().unwrap_or_default());
    detail
}

/// What it holds. Without a number of CPUs its shares stand for whole ones, as Swarm hands them out;
/// the larger of memory and its reservation counts.
fn resources(host: &HostConfig, cpus: u64) -> Resources {
    let cpu = match amount(host.nano_cpus) {
        0 => MilliCpu::from_cpus(amount(host.cpu_shares).saturating_mul(cpus) / 1024),
        nanos => MilliCpu::from_nanos(nanos),
    };
    let memory = amount(host.memory).max(amount(host.memory_reservation));
    Resources::new(cpu, Bytes(memory))
}

/// How it last ended. While it runs, Docker's code says nothing of that.
fn exit(state: &ContainerState, word: WorkloadState) -> Option<ExitStatus> {
    if !matches!(
        word,
        WorkloadState::Exited | WorkloadState::Dead | WorkloadState::Restarting
    ) {
        return None;
    }
    let mut status = match state.exit_code {
        Some(code) => ExitStatus::exited(code),
        None => ExitStatus::unknown("the engine does not say"),
    };
    if state.oom_killed == Some(true) {
        status = status.with_out_of_memory();
    }
    Some(status)
}

fn state_of(state: &ContainerState) -> WorkloadState {
    let word = state.status.map(|status| status.to_string());
    word.and_then(|word| WorkloadState::from_word(&word))
        .unwrap_or(if state.running == Some(true) {
            WorkloadState::Running
        } else {
            WorkloadState::Exited
        })
}

fn requested(config: &ContainerConfig, host: &HostConfig) -> Vec<PortBinding> {
    let mut map = host.port_bindings.clone().unwrap_or_default();
    for port in config.exposed_ports.iter().flatten() {
        map.entry(port.clone()).or_insert(None);
    }
    ports::from_map(&map)
}

fn restart(host: &HostConfig) -> RestartPolicy {
    let Some(policy) = &host.restart_policy else {
        return RestartPolicy::Never;
    };
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS) => RestartPolicy::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            RestartPolicy::OnFailure(count(policy.maximum_retry_count))
        }
        _ => RestartPolicy::Never,
    }
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text?).ok().flatten()
}

fn count(number: Option<i64>) -> u32 {
    number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn amount(number: Option<i64>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use longshore_core::{HostPort, PortProtocol};
    use serde_json::json;

    use super::*;

    fn tcp(container_port: u16) -> PortBinding {
        PortBinding {
            container_port,
            protocol: PortProtocol::Tcp,
            host: None,
        }
    }

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    fn read(json: serde_json::Value) -> Workload {
        workload(serde_json::from_value(json).unwrap(), 4).unwrap()
    }

    #[test]
    fn an_inspection_is_read() {
        let read = read(json!({
            "Id": id(), "Created": "2026-01-02T03:04:05.678901234Z", "Path": "sh",
            "Args": ["-c", "x"], "Name": "/web", "RestartCount": 2, "Image": "sha256:1",
            "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": true, "Pid": 0,
                      "StartedAt": "2026-01-02T03:04:06Z", "FinishedAt": "0001-01-01T00:00:00Z"},
            "Config": {"Image": "busybox", "Labels": {"a": "b"}, "Env": ["A=b"], "Tty": true,
                       "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "StopTimeout": 7},
            "HostConfig": {"NanoCpus": 500_000_000, "Memory": 1024, "NetworkMode": "host",
                           "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                           "DeviceRequests": [{"DeviceIDs": ["0"], "Capabilities": [["gpu"]]}],
                           "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}}
        }));
        assert_eq!((read.name(), read.command.as_str()), ("web", "sh -c x"));
        assert_eq!(read.state, WorkloadState::Exited);
        assert_eq!(
            read.ports[0].host.as_ref().map(|host| host.port),
            Some(8080)
        );
        let detail = read.detail.unwrap();
        let exit = detail.exit.unwrap();
        assert_eq!((exit.code, exit.out_of_memory), (Some(137), true));
        assert_eq!((detail.started.is_some(), detail.finished), (true, None));
        assert_eq!(detail.restart, RestartPolicy::OnFailure(3));
        assert_eq!(detail.resources.cpu, MilliCpu(500));
        assert_eq!(detail.devices, [longshore_core::DeviceId::new("gpu", "0")]);
        assert_eq!(detail.stop_timeout, Some(Duration::from_secs(7)));
        let published = PortBinding {
            host: Some(HostPort::any(8080, PortProtocol::Tcp)),
            ..tcp(80)
        };
        assert_eq!(detail.requested_ports, vec![published, tcp(81)]);
    }

    #[test]
    fn shares_are_whole_processors_and_reserved_memory_counts() {
        let read = read(json!({
            "Id": id(), "State": {"Status": "running"},
            "HostConfig": {"CpuShares": 512, "Memory": 5, "MemoryReservation": 9},
        }));
        let resources = read.detail.unwrap().resources;
        assert_eq!(resources, Resources::new(MilliCpu::from_cpus(2), Bytes(9)));
    }

    #[test]
    fn an_inspection_gives_a_listing_record() {
        let read = read(json!({
            "Id": id(), "Name": "/web", "Created": "2026-01-02T03:04:05Z", "Path": "sh",
            "Config": {"Image": "busybox"}, "HostConfig": {"NetworkMode": "back"},
            "State": {"Status": "running"},
            "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/data"}],
            "NetworkSettings": {
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/udp": null},
                "Networks": {"back": {"NetworkID": "n1", "IPAddress": "172.18.0.2"}},
            },
        }));
        let native = read.native.unwrap();
        assert_eq!(native["Image"], "busybox");
        assert_eq!(native["Created"], 1_767_323_045);
        assert_eq!(native["HostConfig"]["NetworkMode"], "back");
        assert_eq!(
            native["NetworkSettings"]["Networks"]["back"]["NetworkID"],
            "n1"
        );
        assert_eq!(native["Mounts"][0]["Name"], "data");
        assert_eq!(
            native["Ports"],
            json!([
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"PrivatePort": 90, "Type": "udp"},
            ])
        );
    }

    #[test]
    fn an_id_that_is_not_dockers_is_refused() {
        for id in [json!("../x"), json!(null), json!("abc")] {
            let answer = serde_json::from_value(json!({"Id": id})).unwrap();
            assert!(workload(answer, 4).is_err(), "{id}");
        }
    }

    #[test]
    fn a_record_that_is_very_long_is_not_kept() {
        let value = "x".repeat(native::LONGEST);
        let read = read(json!({"Id": id(), "Config": {"Labels": {"a": value}}}));
        assert!(read.native.is_none() && read.labels.get("a").is_some());
    }

    #[test]
    fn what_runs_has_no_exit_code() {
        let read = read(json!({"Id": id(), "State": {"Status": "running", "ExitCode": 0}}));
        assert_eq!(read.detail.unwrap().exit, None);
    }
}
