use http::{Method, StatusCode, header};
use longshore_core::{
    ListFilter, Result, WorkloadState,
    http::{empty_body, full_body},
};
use serde_json::{Value, json};

use super::{
    devices,
    reply::{API_VERSION, MIN_API_VERSION, Reply, ok, plain},
    router::Call,
    shape::merged,
};

/// `GET /_ping` and `HEAD /_ping`. Asks the engine, so that a hung one does not look well.
pub(super) async fn ping(call: &Call, method: &Method) -> Result<Reply> {
    call.shared.engine()?.ping().await?;
    let body = match *method {
        Method::HEAD => empty_body(),
        _ => full_body("OK"),
    };
    let mut reply = plain(StatusCode::OK, body);
    let headers = reply.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    Ok(reply)
}

/// `GET /version`.
pub(super) async fn version(call: &Call) -> Result<Reply> {
    let info = call.shared.engine()?.info().await?;
    let attribute = |key: &str| info.attributes.get(key).unwrap_or_default().to_owned();
    let os = info.attributes.get("ostype").unwrap_or("linux");
    let architecture = go_architecture(&attribute("architecture")).to_owned();
    let kernel = attribute("kernelversion");
    Ok(ok(&json!({
        "Platform": { "Name": "longshore" },
        "Components": [{
            "Name": "Engine",
            "Version": info.version,
            "Details": {
                "ApiVersion": API_VERSION,
                "MinAPIVersion": MIN_API_VERSION,
                "Arch": architecture,
                "BuildTime": "",
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "",
                "KernelVersion": kernel,
                "Os": os,
            },
        }],
        "Version": info.version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": os,
        "Arch": architecture,
        "KernelVersion": kernel,
        "BuildTime": "",
    })))
}

/// `GET /info`.
pub(super) async fn info(call: &Call) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let info = engine.info().await?;
    let listed = engine.list(&ListFilter::all()).await?;
    let count = |wanted: &[WorkloadState]| {
        let counted = listed
            .iter()
            .filter(|workload| wanted.contains(&workload.state));
        counted.count()
    };
    let running = count(&[WorkloadState::Running, WorkloadState::Restarting]);
    let paused = count(&[WorkloadState::Paused]);
    let attribute = |key: &str| info.attributes.get(key).unwrap_or_default();
    let labels: Vec<String> = info
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let driver = info.attributes.get("storagedriver").unwrap_or("none");
    let own = json!({
        "ID": info.id,
        "Name": info.name,
        "Containers": listed.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": listed.len() - running - paused,
        "Images": engine.images().await?.len(),
        "Driver": driver,
        "NCPU": info.cpu.0 / 1000,
        "MemTotal": info.memory,
        "Labels": labels,
        "ServerVersion": info.version,
        "GenericResources": devices::resources(&info.devices),
        "SystemTime": info.system_time.unwrap_or_else(|| call.shared.clock.now()).to_string(),
        "KernelVersion": attribute("kernelversion"),
        "OperatingSystem": attribute("operatingsystem"),
        "OSType": info.attributes.get("ostype").unwrap_or("linux"),
        "Architecture": attribute("architecture"),
    });
    Ok(ok(&merged(merged(daemon(), abilities()), own)))
}

/// What a Docker daemon has and this engine has not.
fn daemon() -> Value {
    json!({
        "DriverStatus": [],
        "Plugins": { "Volume": [], "Network": ["host"], "Authorization": null, "Log": [] },
        "Debug": false,
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "LoggingDriver": "longshore",
        "CgroupDriver": "none",
        "CgroupVersion": "2",
        "OSVersion": "",
        "IndexServerAddress": "",
        "RegistryConfig": null,
        "DockerRootDir": "",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "ExperimentalBuild": false,
        "Runtimes": {},
        "DefaultRuntime": "",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": false,
            "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": false,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": { "ID": "", "Expected": "" },
        "RuncCommit": { "ID": "", "Expected": "" },
        "InitCommit": { "ID": "", "Expected": "" },
        "SecurityOptions": [],
        "Warnings": null,
    })
}

/// Abilities that the client warns about when they are missing. These engines make no claim of
/// isolation, so a warning for each would only hide the real ones.
fn abilities() -> Value {
    json!({
        "MemoryLimit": true,
        "SwapLimit": true,
        "KernelMemory": true,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": true,
        "BridgeNfIptables": true,
        "BridgeNfIp6tables": true,
        "OomKillDisable": true,
    })
}

/// The name that Docker's clients know a processor by.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
