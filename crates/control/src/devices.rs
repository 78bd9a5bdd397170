//! Devices of nodes and of containers: what engines and labels say of them.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::{
    Device, DeviceId, DeviceRequest, EngineInfo, Labels, Workload, device_of_resource, printable,
};

/// Says which devices a container holds, so that a control plane that knows nothing finds out:
/// `gpu=GPU-1,gpu=GPU-2`.
pub(crate) const DEVICES_LABEL: &str = "longshore.devices";

/// The devices of a node, and what is wrong with those that are not among them.
///
/// They are what its engine tells, and what its labels say: `longshore.devices.gpu=GPU-1
/// memory=80GiB model=A100; GPU-2` names two, or adds attributes to those that the engine tells.
pub(crate) fn of_node(info: &EngineInfo) -> (Vec<Device>, Vec<String>) {
    let mut warnings: Vec<String> = info
        .bad_devices
        .iter()
        .map(|reason| format!("Some of its generic resources are no devices: {reason}"))
        .collect();
    let mut devices: BTreeMap<DeviceId, Labels> = BTreeMap::new();
    let mut left_out = 0;
    let mut add = |device: Device| {
        if devices.len() >= MOST_DEVICES && !devices.contains_key(&device.id) {
            left_out += 1;
            return;
        }
        let attributes = devices.entry(device.id).or_default();
        attributes.extend(device.attributes.iter());
    };
    for device in &info.devices {
        match device_of_resource(&device.id.kind, &device.id.name) {
            Ok(mut read) => {
                read.attributes.extend(device.attributes.iter());
                add(read);
            }
            Err(error) => warnings.push(format!("One of its devices is skipped: {error}")),
        }
    }
    let labels = info.labels.iter();
    for (kind, value) in
        labels.filter_map(|(key, value)| Some((key.strip_prefix(NODE_LABEL)?, value)))
    {
        match of_label(kind, value) {
            Ok(read) => read.into_iter().for_each(&mut add),
            Err(reason) => {
                let key = printable(kind, LONGEST_SHOWN);
                warnings.push(format!(
                    "Engine label {NODE_LABEL}{key} is skipped: {reason}"
                ));
            }
        }
    }
    if left_out > 0 {
        warnings.push(format!(
            "It says that it has more than {MOST_DEVICES} devices: the rest is not used"
        ));
    }
    (devices.into_iter().map(described).collect(), warnings)
}

/// `GPU-1 memory=80GiB model=A100; GPU-2`
fn of_label(kind: &str, text: &str) -> Result<Vec<Device>, String> {
    if text.len() > LONGEST_LABEL {
        return Err(format!("it is longer than {LONGEST_LABEL} bytes"));
    }
    let mut devices = Vec::new();
    for part in text.split(';') {
        let mut words = part.split_whitespace();
        let Some(name) = words.next() else { continue };
        let mut device =
            device_of_resource(kind, name).map_err(|error| error.message().to_owned())?;
        for word in words {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => device.attributes.insert(key, value),
                _ => {
                    return Err(format!(
                        "{:?} is no attribute of device {name}: expected for example memory=16GiB",
                        printable(word, LONGEST_SHOWN)
                    ));
                }
            }
        }
        devices.push(device);
    }
    Ok(devices)
}

/// With the attributes by which requests of Docker's API choose: what it is called, and who made it.
fn described((id, mut attributes): (DeviceId, Labels)) -> Device {
    let vendor = attributes
        .get(VENDOR)
        .unwrap_or(NO_VENDOR)
        .to_ascii_lowercase();
    attributes.insert(VENDOR, vendor);
    attributes.insert(NAME, id.name.as_str());
    let mut device = Device::new(id.kind, id.name);
    device.attributes = attributes;
    device
}

/// The devices that a container holds. Its engine's word counts once it was inspected; until then its
/// label's.
pub(crate) fn of_workload(workload: &Workload) -> Vec<DeviceId> {
    match (&workload.detail, workload.labels.get(DEVICES_LABEL)) {
        (Some(detail), _) => detail.devices.iter().take(MOST_DEVICES).cloned().collect(),
        (None, Some(label)) => from_label(label).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

/// What is wrong with what a container's label says of its devices, if anything.
pub(crate) fn mistrust(workload: &Workload) -> Option<String> {
    let label = workload.labels.get(DEVICES_LABEL)?;
    let said: BTreeSet<DeviceId> = match from_label(label) {
        Ok(said) => said.into_iter().collect(),
        Err(reason) => return Some(format!("its label {DEVICES_LABEL} is ignored: {reason}")),
    };
    let has = &workload.detail.as_ref()?.devices;
    (said != has.iter().cloned().collect()).then(|| {
        let shown = printable(label, LONGEST_SHOWN);
        format!("its label {DEVICES_LABEL} is ignored: it says {shown}, and its engine does not")
    })
}

/// As a label.
pub(crate) fn to_label(devices: &[DeviceId]) -> String {
    let words: Vec<String> = devices
        .iter()
        .map(|device| format!("{}={}", device.kind, device.name))
        .collect();
    words.join(",")
}

fn from_label(text: &str) -> Result<Vec<DeviceId>, String> {
    if text.len() > MOST_DEVICES * LONGEST_DEVICE {
        return Err("it is too long".to_owned());
    }
    let mut devices = Vec::new();
    for part in text.split(',') {
        let device = match part.split_once('=') {
            Some((kind, name)) => {
                DeviceId::parse(kind, name).map_err(|error| error.message().to_owned())
            }
            None => Err(format!(
                "{:?} is no kind=name",
                printable(part, LONGEST_SHOWN)
            )),
        };
        devices.push(device?);
    }
    if devices.len() > MOST_DEVICES {
        return Err(format!(
            "{} devices are more than a node has",
            devices.len()
        ));
    }
    Ok(devices)
}

/// What to ask for in order to get as many devices of the same kinds.
pub(crate) fn alike(devices: &[DeviceId]) -> Vec<DeviceRequest> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for device in devices {
        *counts.entry(&device.kind).or_default() += 1;
    }
    let requests = counts.into_iter();
    requests
        .filter_map(|(kind, count)| DeviceRequest::new(count, kind).ok())
        .collect()
}

/// The attribute that holds a device's name.
pub(crate) const NAME: &str = "id";
/// The attribute that holds a device's maker, in small letters.
pub(crate) const VENDOR: &str = "vendor";
/// The maker of a device of which nobody says who made it.
pub(crate) const NO_VENDOR: &str = "unknown";
/// How the labels of a node begin that name its devices.
const NODE_LABEL: &str = "longshore.devices.";
/// A scheduler takes no more of one node.
const MOST_DEVICES: usize = 256;
/// A kind, a name, and what stands between them.
const LONGEST_DEVICE: usize = 200;
const LONGEST_LABEL: usize = 16 << 10;
const LONGEST_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, MilliCpu, WorkloadDetail, WorkloadId};

    use super::*;

    fn info(labels: &[(&str, &str)]) -> EngineInfo {
        let (id, name) = ("E".parse().unwrap(), "n".parse().unwrap());
        let mut info = EngineInfo::new(id, name, MilliCpu(1000), Bytes(1));
        info.labels = labels.iter().copied().collect();
        info
    }

    fn words(device: &Device) -> String {
        let pairs = device
            .attributes
            .iter()
            .map(|(key, value)| format!(" {key}={value}"));
        format!("{}{}", device.id, pairs.collect::<String>())
    }

    #[track_caller]
    fn warns(info: &EngineInfo, warning: &str) {
        let (_, warnings) = of_node(info);
        assert_eq!(warnings, [warning]);
    }

    #[test]
    fn a_node_s_devices_are_its_engine_s_and_its_labels_() {
        let mut info = info(&[(
            "longshore.devices.gpu",
            "GPU-1 memory=80GiB vendor=NVIDIA; GPU-2 ;",
        )]);
        info.devices = vec![Device::new("gpu", "GPU-1"), Device::new("ssd", "0")];
        let (devices, warnings) = of_node(&info);
        let devices: Vec<String> = devices.iter().map(words).collect();
        assert_eq!(
            devices,
            [
                "gpu GPU-1 id=GPU-1 memory=80GiB vendor=nvidia",
                "gpu GPU-2 id=GPU-2 vendor=unknown",
                "ssd 0 id=0 vendor=unknown",
            ]
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_no_device_is_told_of() {
        warns(
            &info(&[("longshore.devices.gpu", "GPU-1 large")]),
            "Engine label longshore.devices.gpu is skipped: \"large\" is no attribute of device \
             GPU-1: expected for example memory=16GiB",
        );
        warns(
            &info(&[("longshore.devices.where", "GPU-1")]),
            "Engine label longshore.devices.where is skipped: invalid kind of devices \"where\": \
             expected a name such as gpu",
        );
        let many: String = (0..300).map(|n| format!("{n};")).collect();
        let many = info(&[("longshore.devices.gpu", &many)]);
        warns(
            &many,
            "It says that it has more than 256 devices: the rest is not used",
        );
        assert_eq!(of_node(&many).0.len(), MOST_DEVICES);
        let mut bad = info(&[]);
        bad.bad_devices = vec!["x".to_owned()];
        warns(&bad, "Some of its generic resources are no devices: x");
    }

    fn workload(label: &str, has: Option<&[DeviceId]>) -> Workload {
        let mut workload = Workload::new(WorkloadId::new("c").unwrap());
        workload.labels.insert(DEVICES_LABEL, label);
        workload.detail = has.map(|has| {
            let mut detail = WorkloadDetail::default();
            detail.devices = has.to_vec();
            detail
        });
        workload
    }

    #[test]
    fn a_label_is_read_back_and_the_engine_s_word_wins() {
        let gpus = [
            DeviceId::new("gpu", "GPU-1"),
            DeviceId::new("gpu", "a.b/c=0"),
        ];
        let label = to_label(&gpus);
        assert_eq!(of_workload(&workload(&label, None)), gpus);
        assert_eq!(of_workload(&workload(&label, Some(&gpus[..1]))), gpus[..1]);
        assert!(of_workload(&workload(&label, Some(&[]))).is_empty());
        assert_eq!(mistrust(&workload(&label, Some(&gpus))), None);
        assert_eq!(
            mistrust(&workload("gpu=GPU-1", Some(&[]))).unwrap(),
            "its label longshore.devices is ignored: it says gpu=GPU-1, and its engine does not"
        );
    }

    #[test]
    fn a_hostile_label_holds_nothing_and_is_told_of() {
        let many: Vec<String> = (0..300).map(|n| format!("gpu={n}")).collect();
        let long = format!("gpu={}", "x".repeat(100_000));
        for label in [
            "",
            "gpu",
            "gpu=",
            "gpu=*",
            "gpu=a,,gpu=b",
            "\u{1b}[2J=1",
            &many.join(","),
            &long,
        ] {
            let workload = workload(label, None);
            assert!(of_workload(&workload).is_empty(), "{label}");
            let reason = mistrust(&workload).unwrap();
            assert!(
                reason.len() < 400 && longshore_core::is_printable(&reason),
                "{reason}"
            );
        }
    }

    #[test]
    fn what_is_alike_is_as_many_of_each_kind() {
        let devices = [("gpu", "1"), ("ssd", "1"), ("gpu", "2")]
            .map(|(kind, name)| DeviceId::new(kind, name));
        let asked: Vec<String> = alike(&devices).iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["2 gpu", "1 ssd"]);
    }
}
