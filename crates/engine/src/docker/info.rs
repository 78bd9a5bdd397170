use bollard::models::{SystemInfo, SystemVersion};
use longshore_core::{
    Bytes, EngineInfo, Error, Labels, MilliCpu, NodeId, NodeName, Result, Timestamp,
};

/// What an engine says of itself, from `GET /info` and `GET /version`.
pub(super) fn engine(info: SystemInfo, version: SystemVersion) -> Result<EngineInfo> {
    let id = info.id.filter(|id| !id.is_empty()).ok_or_else(|| {
        Error::protocol("the engine does not say its id; make sure it is a Docker Engine")
    })?;
    let name = info.name.unwrap_or_default();
    let mut engine = EngineInfo::new(
        NodeId::new(id)?,
        NodeName::new(name)?,
        MilliCpu::from_cpus(amount(info.ncpu)),
        Bytes(amount(info.mem_total)),
    );
    for label in info.labels.unwrap_or_default() {
        match label.split_once('=') {
            // `node` is what constraints call the node itself.
            Some((key, value)) if !key.is_empty() && key != "node" => {
                engine.labels.insert(key, value);
            }
            _ => engine.bad_labels.push(label),
        }
    }
    engine.attributes = [
        ("storagedriver", info.driver),
        ("kernelversion", info.kernel_version),
        ("operatingsystem", info.operating_system),
        ("ostype", info.os_type),
        ("architecture", info.architecture),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect::<Labels>();
    engine.version = info.server_version.unwrap_or_default();
    engine.api_version = version.api_version.unwrap_or_default();
    engine.min_api_version = version.min_api_version.unwrap_or_default();
    let time = info.system_time.as_deref();
    engine.system_time = time.and_then(|text| Timestamp::parse_rfc3339(text).ok().flatten());
    Ok(engine)
}

fn amount(number: Option<i64>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bad_labels_are_listed_and_the_rest_is_read() {
        let info = json!({
            "ID": "A:B", "Name": "host-1", "NCPU": 2, "MemTotal": 1024, "Driver": "overlay2",
            "KernelVersion": "6.1", "OperatingSystem": "Debian", "OSType": "linux",
            "Architecture": "x86_64", "ServerVersion": "20.10", "Labels": ["zone=a", "b", "node=x"],
            "SystemTime": "2026-01-01T00:00:00.5Z"
        });
        let version = json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12"});
        let engine = engine(
            serde_json::from_value(info).unwrap(),
            serde_json::from_value(version).unwrap(),
        )
        .unwrap();
        assert_eq!(engine.labels, Labels::new().with("zone", "a"));
        assert_eq!(engine.bad_labels, ["b", "node=x"]);
        assert_eq!(engine.attributes.get("storagedriver"), Some("overlay2"));
        assert_eq!(engine.cpu, MilliCpu(2000));
        assert_eq!(engine.min_api_version, "1.12");
        assert!(engine.system_time.is_some());
    }

    #[test]
    fn what_has_no_id_is_no_engine() {
        assert!(engine(SystemInfo::default(), SystemVersion::default()).is_err());
    }
}
