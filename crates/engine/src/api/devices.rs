//! `HostConfig.DeviceRequests` and `GenericResources`, over any engine's devices.

use longshore_core::{ApiDeviceRequest, Device, DeviceId, Error, Result};
use serde_json::{Value, json};

/// The devices that a create asks for. As Docker does, a number is taken from the first ones: engines
/// keep no account of who has what.
pub(super) fn asked(asked: &Value, has: &[Device]) -> Result<Vec<DeviceId>> {
    let requests = match asked.pointer("/HostConfig/DeviceRequests") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(requests) => serde_json::from_value::<Vec<ApiDeviceRequest>>(requests.clone())
            .map_err(|error| {
                Error::invalid(format!("invalid HostConfig.DeviceRequests: {error}"))
            })?,
    };
    let mut given = Vec::new();
    for request in requests {
        let kind = request.kind()?;
        let of_kind = || {
            has.iter()
                .map(|device| &device.id)
                .filter(|id| id.kind == kind)
        };
        if of_kind().next().is_none() {
            // Docker's words.
            return Err(Error::internal(format!(
                "could not select device driver {:?} with capabilities: [{}]",
                request.driver,
                request
                    .capabilities
                    .iter()
                    .map(|all| format!("[{}]", all.join(" ")))
                    .collect::<String>()
            )));
        }
        if request.count != 0 && !request.device_ids.is_empty() {
            return Err(Error::invalid(
                "cannot set both Count and DeviceIDs on device request",
            ));
        }
        if request.device_ids.is_empty() {
            let count = usize::try_from(request.count).unwrap_or(usize::MAX);
            given.extend(of_kind().take(count).cloned());
        } else {
            given.extend(request.named()?);
        }
    }
    Ok(given)
}

/// How an inspection tells what it was given.
pub(super) fn given(devices: &[DeviceId]) -> Value {
    match devices.is_empty() {
        true => Value::Null,
        false => json!(ApiDeviceRequest::of(devices)),
    }
}

/// A node's devices as a daemon tells its generic resources.
pub(super) fn resources(devices: &[Device]) -> Value {
    let resource = |device: &Device| {
        let kind = match device.attributes.get("vendor") {
            Some(vendor) => format!("{vendor}-{}", device.id.kind),
            None => device.id.kind.clone(),
        };
        json!({ "NamedResourceSpec": { "Kind": kind, "Value": device.id.name } })
    };
    match devices.is_empty() {
        true => Value::Null,
        false => devices.iter().map(resource).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(requests: Value) -> Result<String> {
        let has = [
            Device::new("gpu", "0"),
            Device::new("gpu", "1"),
            Device::new("ssd", "0"),
        ];
        let given = asked(&json!({"HostConfig": {"DeviceRequests": requests}}), &has)?;
        let words: Vec<String> = given.iter().map(ToString::to_string).collect();
        Ok(words.join(", "))
    }

    #[test]
    fn devices_are_given_by_name_or_number() {
        let of = |count: i64, ids: Value, kind: &str| json!({"Count": count, "DeviceIDs": ids, "Capabilities": [[kind]]});
        assert_eq!(ask(Value::Null).unwrap(), "");
        assert_eq!(
            ask(json!([of(-1, Value::Null, "gpu")])).unwrap(),
            "gpu 0, gpu 1"
        );
        let both = json!([of(1, Value::Null, "gpu"), of(0, json!(["0"]), "ssd")]);
        assert_eq!(ask(both).unwrap(), "gpu 0, ssd 0");
        let refused = |requests: Value| ask(requests).unwrap_err().message().to_owned();
        assert_eq!(
            refused(json!([of(1, Value::Null, "tpu")])),
            "could not select device driver \"\" with capabilities: [[tpu]]"
        );
        assert_eq!(
            refused(json!([of(1, json!(["0"]), "gpu")])),
            "cannot set both Count and DeviceIDs on device request"
        );
        assert!(refused(json!({})).contains("DeviceRequests"));
    }

    #[test]
    fn a_node_s_devices_are_its_generic_resources() {
        let gpu = Device::new("gpu", "GPU-1").with("vendor", "nvidia");
        assert_eq!(
            resources(&[gpu, Device::new("ssd", "0")]),
            json!([
                {"NamedResourceSpec": {"Kind": "nvidia-gpu", "Value": "GPU-1"}},
                {"NamedResourceSpec": {"Kind": "ssd", "Value": "0"}},
            ])
        );
        assert_eq!((resources(&[]), given(&[])), (Value::Null, Value::Null));
    }
}
