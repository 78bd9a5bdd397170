use http::StatusCode;
use longshore_core::{
    Bytes, Error, ErrorKind, HostPort, ListFilter, MilliCpu, PortBinding, PortProtocol,
    RestartPolicy, Result, WorkloadName, WorkloadSpec,
};
use serde_json::{Value, json};

use super::{
    devices,
    query::object,
    reply::{Reply, json_reply},
    router::Call,
};

/// `POST /containers/create`.
pub(super) async fn create(mut call: Call) -> Result<Reply> {
    let body = call.body().await?;
    let asked = object(&body, "container configuration")?;
    let mut spec = spec(&asked)?;
    if let Some(name) = call.query.get("name") {
        let name = name.strip_prefix('/').unwrap_or(name);
        spec.name = Some(WorkloadName::new(name)?);
    }
    let engine = call.shared.engine()?;
    if asked
        .pointer("/HostConfig/DeviceRequests")
        .is_some_and(|it| !it.is_null())
    {
        spec.devices = devices::asked(&asked, &engine.info().await?.devices)?;
    }
    let id = engine.create(&spec).await.map_err(|error| {
        // The client fetches a missing image and tries again on this very text.
        if error.kind() == ErrorKind::NotFound && !error.message().starts_with("No such image") {
            let text = format!("No such image: {} ({})", spec.image, error.message());
            Error::not_found(text).with_source(error)
        } else {
            error
        }
    })?;
    let notes = &call.shared.notes;
    let warnings = ignored(&asked);
    notes.created(&id, asked);
    if notes.are_many() {
        let listed = engine.list(&ListFilter::all()).await?;
        notes.keep(|noted| noted == &id || listed.iter().any(|workload| workload.id == *noted));
    }
    Ok(json_reply(
        StatusCode::CREATED,
        &json!({ "Id": id, "Warnings": warnings }),
    ))
}

fn spec(asked: &Value) -> Result<WorkloadSpec> {
    let image = text(asked, "/Image")?;
    if image.is_empty() {
        return Err(Error::invalid("no image specified"));
    }
    let mut spec = WorkloadSpec::new(image);
    spec.command = texts(asked, "/Entrypoint")?;
    spec.command.extend(texts(asked, "/Cmd")?);
    spec.env = texts(asked, "/Env")?;
    spec.working_dir = text(asked, "/WorkingDir")?;
    spec.user = text(asked, "/User")?;
    spec.tty = flag(asked, "/Tty")?;
    spec.open_stdin = flag(asked, "/OpenStdin")?;
    for (key, value) in map(asked, "/Labels")? {
        let value = value.as_str().unwrap_or_default();
        spec.labels.insert(key, value);
    }
    spec.ports = ports(asked)?;
    spec.resources.memory = Bytes(amount(asked, "/HostConfig/Memory")?);
    let nanos = amount(asked, "/HostConfig/NanoCpus")?;
    let (quota, period) = (
        amount(asked, "/HostConfig/CpuQuota")?,
        amount(asked, "/HostConfig/CpuPeriod")?,
    );
    spec.resources.cpu = match (nanos, quota) {
        (0, 0) => MilliCpu::ZERO,
        (0, quota) => {
            let period = if period == 0 { 100_000 } else { period };
            MilliCpu(quota.saturating_mul(1000).div_ceil(period))
        }
        (nanos, _) => MilliCpu::from_nanos(nanos),
    };
    spec.restart = restart(asked)?;
    if flag(asked, "/HostConfig/AutoRemove")? && spec.restart != RestartPolicy::Never {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(spec)
}

fn restart(asked: &Value) -> Result<RestartPolicy> {
    let count = amount(asked, "/HostConfig/RestartPolicy/MaximumRetryCount")?;
    let name = text(asked, "/HostConfig/RestartPolicy/Name")?;
    if count > 0 && name != "on-failure" {
        return Err(Error::invalid(format!(
            "maximum retry count cannot be used with restart policy '{name}'"
        )));
    }
    Ok(match name.as_str() {
        "" | "no" => RestartPolicy::Never,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure(u32::try_from(count).unwrap_or(u32::MAX)),
        other => return Err(Error::invalid(format!("invalid restart policy '{other}'"))),
    })
}

fn ports(asked: &Value) -> Result<Vec<PortBinding>> {
    let mut ports = Vec::new();
    let published = map(asked, "/HostConfig/PortBindings")?;
    for (key, hosts) in &published {
        let (container_port, protocol) = port_key(key)?;
        for host in hosts.as_array().into_iter().flatten() {
            let number = host["HostPort"].as_str().unwrap_or_default();
            let port = match number {
                "" => 0,
                number => number.parse().map_err(|_| {
                    Error::invalid(format!("invalid host port {number:?} for {key}"))
                })?,
            };
            ports.push(PortBinding {
                container_port,
                protocol,
                host: Some(HostPort {
                    address: host["HostIp"].as_str().unwrap_or_default().to_owned(),
                    port,
                    protocol,
                }),
            });
        }
    }
    for key in map(asked, "/ExposedPorts")?.keys() {
        let (container_port, protocol) = port_key(key)?;
        let known = ports
            .iter()
            .any(|port| port.container_port == container_port && port.protocol == protocol);
        if !known {
            ports.push(PortBinding {
                container_port,
                protocol,
                host: None,
            });
        }
    }
    Ok(ports)
}

fn port_key(key: &str) -> Result<(u16, PortProtocol)> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let port = port
        .parse()
        .map_err(|_| Error::invalid(format!("invalid port {key:?}")))?;
    Ok((port, protocol.parse()?))
}

/// What was asked for and will not happen, so that the client can say so.
fn ignored(asked: &Value) -> Vec<String> {
    let has = |pointer: &&&str| {
        asked.pointer(pointer).is_some_and(|value| match value {
            Value::Null => false,
            Value::Bool(on) => *on,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    };
    IGNORED
        .iter()
        .filter(has)
        .map(|pointer| {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            format!("{name} is ignored: this engine has no such thing")
        })
        .collect()
}

fn wrong(pointer: &str, expected: &str) -> Error {
    let name = pointer.trim_start_matches('/').replace('/', ".");
    Error::invalid(format!("invalid {name}: expected {expected}"))
}

fn text(asked: &Value, pointer: &str) -> Result<String> {
    match asked.pointer(pointer) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(pointer, "a text")),
    }
}

fn texts(asked: &Value, pointer: &str) -> Result<Vec<String>> {
    match asked.pointer(pointer) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong(pointer, "a list of texts")),
        Some(_) => Err(wrong(pointer, "a list of texts")),
    }
}

fn flag(asked: &Value, pointer: &str) -> Result<bool> {
    match asked.pointer(pointer) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(wrong(pointer, "true or false")),
    }
}

fn amount(asked: &Value, pointer: &str) -> Result<u64> {
    match asked.pointer(pointer) {
        None | Some(Value::Null) => Ok(0),
        // Docker's -1 means "no limit".
        Some(value) if value.as_i64().is_some_and(|number| number < 0) => Ok(0),
        Some(value) => value.as_u64().ok_or_else(|| wrong(pointer, "a number")),
    }
}

fn map(asked: &Value, pointer: &str) -> Result<serde_json::Map<String, Value>> {
    match asked.pointer(pointer) {
        None | Some(Value::Null) => Ok(serde_json::Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(wrong(pointer, "an object")),
    }
}

const IGNORED: [&str; 14] = [
    "/Volumes",
    "/Healthcheck",
    "/HostConfig/Binds",
    "/HostConfig/Mounts",
    "/HostConfig/Tmpfs",
    "/HostConfig/VolumesFrom",
    "/HostConfig/Devices",
    "/HostConfig/Privileged",
    "/HostConfig/CapAdd",
    "/HostConfig/CapDrop",
    "/HostConfig/ReadonlyRootfs",
    "/HostConfig/ExtraHosts",
    "/HostConfig/Dns",
    "/HostConfig/Links",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_client_sends_is_read() {
        let asked = json!({
            "Image": "host", "Cmd": ["-c", "x"], "Entrypoint": ["sh"], "Env": ["A=b"],
            "Labels": {"k": "v"}, "Tty": true, "OpenStdin": true, "Volumes": {},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "HostConfig": {
                "Memory": 1048576, "NanoCpus": 500_000_000,
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                "MemorySwappiness": -1, "Binds": null
            }
        });
        let spec = spec(&asked).unwrap();
        assert_eq!(spec.command, ["sh", "-c", "x"]);
        assert_eq!(spec.resources.cpu, MilliCpu(500));
        assert_eq!(spec.restart, RestartPolicy::OnFailure(3));
        assert_eq!(spec.ports.len(), 2);
        assert_eq!(spec.ports[0].host.as_ref().unwrap().port, 8080);
        assert!(spec.tty && spec.open_stdin);
        assert!(ignored(&asked).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refuse = |asked: Value| spec(&asked).unwrap_err().message().to_owned();
        assert_eq!(refuse(json!({})), "no image specified");
        assert_eq!(
            refuse(json!({"Image": "a", "Cmd": [1]})),
            "invalid Cmd: expected a list of texts"
        );
        assert_eq!(
            refuse(json!({"Image": "a", "HostConfig": {"RestartPolicy": {"Name": "maybe"}}})),
            "invalid restart policy 'maybe'"
        );
    }

    #[test]
    fn what_is_not_done_is_said() {
        let asked = json!({"HostConfig": {"Binds": ["/a:/b"], "Privileged": true}});
        assert_eq!(
            ignored(&asked),
            [
                "HostConfig.Binds is ignored: this engine has no such thing",
                "HostConfig.Privileged is ignored: this engine has no such thing"
            ]
        );
    }
}
