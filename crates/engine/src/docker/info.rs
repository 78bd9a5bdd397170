use bollard::models::{SystemInfo, SystemVersion};
use longshore_core::{
    Bytes, EngineInfo, Error, Labels, MilliCpu, NodeId, NodeName, Result, Timestamp, is_printable,
    printable,
};

use super::devices;

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
    for label in info.labels.unwrap_or_default().iter().take(MOST_LABELS) {
        match label.split_once('=') {
            // `node` is what constraints call the node itself.
            Some((key, value))
                if !key.is_empty()
                    && key != "node"
                    && label.len() <= LONGEST_LABEL
                    && is_printable(label) =>
            {
                engine.labels.insert(key, value);
            }
            _ if engine.bad_labels.len() < MOST_BAD_LABELS => engine.bad_labels.push(word(label)),
            _ => {}
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
    .filter_map(|(key, value)| Some((key, word(&value?))))
    .collect::<Labels>();
    let own = |text: Option<String>| word(text.as_deref().unwrap_or_default());
    engine.version = own(info.server_version);
    engine.api_version = own(version.api_version);
    engine.min_api_version = own(version.min_api_version);
    let resources = info.generic_resources.unwrap_or_default();
    (engine.devices, engine.bad_devices) = devices::of_resources(&resources);
    let time = info.system_time.as_deref();
    engine.system_time = time.and_then(|text| Timestamp::parse_rfc3339(text).ok().flatten());
    Ok(engine)
}

pub(super) fn word(text: &str) -> String {
    printable(text, LONGEST_WORD).into_owned()
}

/// More of a version, a system's name or a label that can't be used is not kept.
const LONGEST_WORD: usize = 256;
const LONGEST_LABEL: usize = 4096;
const MOST_LABELS: usize = 1000;
/// So many are named in the node's warnings.
const MOST_BAD_LABELS: usize = 20;

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
            "SystemTime": "2026-01-01T00:00:00.5Z",
            "GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}],
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
        assert_eq!(
            engine.devices,
            [longshore_core::Device::new("gpu", "GPU-1")]
        );
    }

    #[test]
    fn what_an_engine_says_of_itself_forges_no_log_line() {
        let forged = "x\n2026-01-01 INFO Registered Engine FAKE\u{1b}[2J\u{202e}";
        let bad = (0..100).map(|n| format!("k\n{n}=1"));
        let labels: Vec<_> = ["good=1".to_owned(), format!("a={forged}")]
            .into_iter()
            .chain(bad)
            .collect();
        let info = json!({
            "ID": "A", "Name": "host-1", "OperatingSystem": forged, "ServerVersion": forged,
            "Labels": labels,
        });
        let read = engine(
            serde_json::from_value(info).unwrap(),
            serde_json::from_value(json!({"ApiVersion": forged})).unwrap(),
        )
        .unwrap();
        assert_eq!(read.labels, Labels::new().with("good", "1"));
        assert_eq!(read.bad_labels.len(), MOST_BAD_LABELS);
        let system = read.attributes.get("operatingsystem").unwrap();
        let texts = read.bad_labels.iter().map(String::as_str);
        for text in texts.chain([system, &read.version, &read.api_version]) {
            assert!(longshore_core::is_printable(text), "{text:?}");
        }
    }

    #[test]
    fn what_has_no_id_is_no_engine() {
        assert!(engine(SystemInfo::default(), SystemVersion::default()).is_err());
    }
}
