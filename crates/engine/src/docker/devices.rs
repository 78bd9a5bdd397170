//! Devices as Docker knows them: a daemon's generic resources, and what containers are given.

use std::collections::BTreeSet;

use bollard::models::{DeviceRequest, GenericResourcesInner};
use longshore_core::{ApiDeviceRequest, Device, DeviceId, device_of_resource};

use super::info::word;

/// The devices among a daemon's generic resources (`node-generic-resources`), and those that can't be
/// used. A counted resource is so many devices with the names 0, 1 and so on, which is how drivers of
/// GPUs number them.
pub(super) fn of_resources(resources: &[GenericResourcesInner]) -> (Vec<Device>, Vec<String>) {
    let (mut devices, mut bad): (Vec<Device>, Vec<String>) = (Vec::new(), Vec::new());
    let mut seen: BTreeSet<DeviceId> = BTreeSet::new();
    let mut left_out = 0;
    let mut tell = |reason: String| {
        if bad.len() < MOST_BAD {
            bad.push(reason);
        }
    };
    let mut add = |kind: &str, name: &str| match device_of_resource(kind, name) {
        Ok(device) if devices.len() < MOST && seen.insert(device.id.clone()) => {
            devices.push(device);
        }
        Ok(device) if seen.contains(&device.id) => {
            tell(format!("{} is there twice", device.id));
        }
        Ok(_) => left_out += 1,
        Err(error) => tell(word(error.message())),
    };
    for resource in resources.iter().take(MOST + 1) {
        if let Some(named) = &resource.named_resource_spec {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            add(&text(&named.kind), &text(&named.value));
        }
        if let Some(counted) = &resource.discrete_resource_spec {
            let kind = counted.kind.as_deref().unwrap_or_default();
            // One more than there is room for, so that it is told of.
            for number in 0..counted.value.unwrap_or(0).min(MOST as i64 + 1) {
                add(kind, &number.to_string());
            }
        }
    }
    if left_out > 0 {
        bad.push(format!("more than {MOST} of them"));
    }
    (devices, bad)
}

/// How a create asks for these.
pub(super) fn requests(devices: &[DeviceId]) -> Option<Vec<DeviceRequest>> {
    let request = |request: ApiDeviceRequest| DeviceRequest {
        driver: Some(request.driver),
        count: Some(request.count),
        device_ids: Some(request.device_ids),
        capabilities: Some(request.capabilities),
        options: Some(request.options.into_iter().collect()),
    };
    let requests = ApiDeviceRequest::of(devices).into_iter().map(request);
    (!devices.is_empty()).then(|| requests.collect())
}

/// The devices that an inspection names. What can't be read is none of ours.
pub(super) fn given(requests: &[DeviceRequest]) -> Vec<DeviceId> {
    let named = |request: &DeviceRequest| {
        let mut asked = ApiDeviceRequest::default();
        asked.driver = request.driver.clone().unwrap_or_default();
        asked.device_ids = request.device_ids.clone().unwrap_or_default();
        asked.capabilities = request.capabilities.clone().unwrap_or_default();
        asked.named().unwrap_or_default()
    };
    requests.iter().flat_map(named).take(MOST).collect()
}

/// Devices of a node.
const MOST: usize = 256;
/// So many are named in the node's warnings.
const MOST_BAD: usize = 20;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(resources: Value) -> (Vec<String>, Vec<String>) {
        let resources: Vec<GenericResourcesInner> = serde_json::from_value(resources).unwrap();
        let (devices, bad) = of_resources(&resources);
        (
            devices.iter().map(|device| device.id.to_string()).collect(),
            bad,
        )
    }

    #[test]
    fn generic_resources_are_devices() {
        // As dockerd 20.10 tells `node-generic-resources`.
        let (devices, bad) = read(json!([
            {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-1"}},
            {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-2"}},
            {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}},
        ]));
        assert_eq!(
            devices,
            ["gpu GPU-1", "gpu GPU-2", "ssd 0", "ssd 1", "ssd 2"]
        );
        assert!(bad.is_empty());
    }

    #[test]
    fn what_is_no_device_is_told_of_and_the_number_is_bounded() {
        let (devices, bad) = read(json!([
            {"NamedResourceSpec": {"Kind": "gpu", "Value": "a,b"}},
            {"NamedResourceSpec": {"Kind": "gpu", "Value": "0"}},
            {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}},
            {"DiscreteResourceSpec": {"Kind": "ssd", "Value": -1}},
            {"NamedResourceSpec": {}},
            {},
        ]));
        assert_eq!(devices, ["gpu 0"]);
        assert_eq!(bad.len(), 3, "{bad:?}");
        assert_eq!(bad[1], "gpu 0 is there twice");
        let (devices, bad) =
            read(json!([{"DiscreteResourceSpec": {"Kind": "a", "Value": i64::MAX}}]));
        assert_eq!(
            (devices.len(), bad),
            (MOST, vec!["more than 256 of them".to_owned()])
        );
        let bad_ones: Value = (0..500)
            .map(|_| json!({"NamedResourceSpec": {"Kind": "\n"}}))
            .collect();
        let (_, bad) = read(bad_ones);
        assert_eq!(bad.len(), MOST_BAD);
        assert!(bad.iter().all(|text| longshore_core::is_printable(text)));
    }

    #[test]
    fn what_was_asked_for_is_read_back() {
        let gpus = [DeviceId::new("gpu", "1"), DeviceId::new("gpu", "2")];
        assert_eq!(given(&requests(&gpus).unwrap()), gpus);
        assert!(requests(&[]).is_none());
        // `--gpus all` names none.
        let all = json!([{"Count": -1, "Capabilities": [["gpu"]]}]);
        assert!(given(&serde_json::from_value::<Vec<DeviceRequest>>(all).unwrap()).is_empty());
    }
}
