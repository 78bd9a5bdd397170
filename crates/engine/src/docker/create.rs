use bollard::models::{
    ContainerCreateBody, HostConfig, RestartPolicy as BollardRestart, RestartPolicyNameEnum,
};
use longshore_core::{Error, Resources, RestartPolicy, Result, WorkloadSpec};

use super::{devices, ports};

/// A workload's specification as Docker's body of a create.
pub(super) fn body(spec: &WorkloadSpec) -> Result<ContainerCreateBody> {
    if spec.image.is_empty() {
        return Err(Error::invalid("no image specified"));
    }
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let labels = spec
        .labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.clone()),
        labels: Some(labels),
        working_dir: filled(&spec.working_dir),
        user: filled(&spec.user),
        exposed_ports: Some(spec.ports.iter().map(ports::key).collect()),
        tty: Some(spec.tty),
        open_stdin: Some(spec.open_stdin),
        host_config: Some(HostConfig {
            port_bindings: Some(ports::to_map(&spec.ports)),
            restart_policy: Some(restart(spec.restart)),
            device_requests: devices::requests(&spec.devices),
            ..limits(&spec.resources)?
        }),
        ..ContainerCreateBody::default()
    })
}

fn limits(resources: &Resources) -> Result<HostConfig> {
    if let Some((name, _)) = resources.generic.iter().find(|(_, amount)| **amount > 0) {
        return Err(Error::unsupported(format!(
            "Docker engines have no resource named {name:?}"
        )));
    }
    let too_large = |what| move |_| Error::invalid(format!("the {what} asked for is too large"));
    let nanos = resources.cpu.0.saturating_mul(1_000_000);
    Ok(HostConfig {
        nano_cpus: Some(i64::try_from(nanos).map_err(too_large("processor time"))?),
        memory: Some(i64::try_from(resources.memory.0).map_err(too_large("memory"))?),
        ..HostConfig::default()
    })
}

fn restart(policy: RestartPolicy) -> BollardRestart {
    let (name, count) = match policy {
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, 0),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        RestartPolicy::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, i64::from(count)),
        _ => (RestartPolicyNameEnum::NO, 0),
    };
    BollardRestart {
        name: Some(name),
        maximum_retry_count: Some(count),
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, HostPort, MilliCpu, PortBinding, PortProtocol};

    use super::*;

    #[test]
    fn a_specification_becomes_dockers_body() {
        let mut spec = WorkloadSpec::new("busybox")
            .with_command(["sh", "-c", "true"])
            .with_env("A=b")
            .with_label("k", "v")
            .with_resources(Resources::new(MilliCpu(1500), Bytes::from_mib(64)))
            .with_restart(RestartPolicy::OnFailure(3))
            .with_port(PortBinding {
                container_port: 80,
                protocol: PortProtocol::Tcp,
                host: Some(HostPort::any(8080, PortProtocol::Tcp)),
            });
        spec.working_dir = "/tmp".into();
        spec.devices = vec![longshore_core::DeviceId::new("gpu", "GPU-1")];
        let json = serde_json::to_value(body(&spec).unwrap()).unwrap();
        assert_eq!(json["Cmd"], serde_json::json!(["sh", "-c", "true"]));
        assert_eq!(json["WorkingDir"], "/tmp");
        assert_eq!(json["User"], serde_json::Value::Null);
        assert_eq!(json["Labels"]["k"], "v");
        assert_eq!(json["ExposedPorts"]["80/tcp"], serde_json::json!({}));
        let host = &json["HostConfig"];
        assert_eq!(host["NanoCpus"], 1_500_000_000_u64);
        assert_eq!(host["Memory"], 64 << 20);
        assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
        assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 3);
        assert_eq!(host["PortBindings"]["80/tcp"][0]["HostPort"], "8080");
        let gpu = &host["DeviceRequests"][0];
        assert_eq!(gpu["DeviceIDs"], serde_json::json!(["GPU-1"]));
        assert_eq!(gpu["Capabilities"], serde_json::json!([["gpu"]]));
        // An engine takes either a number or names.
        assert_eq!(gpu["Count"], 0);
    }

    #[test]
    fn what_docker_has_not_is_refused() {
        assert!(body(&WorkloadSpec::default()).is_err());
        let mut resources = Resources::default();
        resources.generic.insert("gpu".into(), 1);
        let error = body(&WorkloadSpec::new("a").with_resources(resources)).unwrap_err();
        assert_eq!(
            error.message(),
            "Docker engines have no resource named \"gpu\""
        );
    }
}
