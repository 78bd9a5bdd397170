use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DeviceId, device_kind};
use crate::Result;

/// A request for devices in the form of Docker's API (`HostConfig.DeviceRequests`), which
/// `docker run --gpus` and Compose's `reservations.devices` send, and which engines answer in an
/// inspection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct ApiDeviceRequest {
    /// The engine's driver; empty: whichever has the capabilities.
    #[serde(deserialize_with = "or_nothing")]
    pub driver: String,
    /// How many, -1 for all; 0 where they are named.
    #[serde(deserialize_with = "or_nothing")]
    pub count: i64,
    /// These.
    #[serde(rename = "DeviceIDs", deserialize_with = "or_nothing")]
    pub device_ids: Vec<String>,
    /// What they must be capable of: an OR list of AND lists.
    #[serde(deserialize_with = "or_nothing")]
    pub capabilities: Vec<Vec<String>>,
    /// For the driver.
    #[serde(deserialize_with = "or_nothing")]
    pub options: BTreeMap<String, String>,
}

impl ApiDeviceRequest {
    /// Requests for these devices, one for each kind.
    pub fn of(devices: &[DeviceId]) -> Vec<Self> {
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for device in devices {
            let names = by_kind.entry(&device.kind).or_default();
            names.push(device.name.clone());
        }
        let request = |(kind, device_ids): (&str, Vec<String>)| Self {
            device_ids,
            capabilities: vec![vec![kind.to_owned()]],
            ..Self::default()
        };
        by_kind.into_iter().map(request).collect()
    }

    /// The kind of devices that it is for.
    ///
    /// # Errors
    /// As [`device_kind`].
    pub fn kind(&self) -> Result<String> {
        device_kind(&self.driver, &self.capabilities)
    }

    /// The devices that it names.
    ///
    /// # Errors
    /// As [`device_kind`] and [`DeviceId::parse`].
    pub fn named(&self) -> Result<Vec<DeviceId>> {
        let kind = self.kind()?;
        let ids = self.device_ids.iter();
        ids.map(|id| DeviceId::parse(&kind, id)).collect()
    }
}

/// Go writes what is empty as `null`.
fn or_nothing<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_client_sends_is_read() {
        // `docker run --gpus '"device=GPU-1,GPU-2"'`
        let sent = json!({"Driver": "", "Count": 0, "DeviceIDs": ["GPU-1", "GPU-2"],
            "Capabilities": [["gpu"]], "Options": {}});
        let request: ApiDeviceRequest = serde_json::from_value(sent).unwrap();
        let gpus = [DeviceId::new("gpu", "GPU-1"), DeviceId::new("gpu", "GPU-2")];
        assert_eq!(request.named().unwrap(), gpus);
        assert_eq!(ApiDeviceRequest::of(&gpus), [request]);
        // `docker run --gpus all`
        let all = json!({"Driver": "", "Count": -1, "DeviceIDs": null, "Capabilities": [["gpu"]],
            "Options": {}});
        let request: ApiDeviceRequest = serde_json::from_value(all).unwrap();
        assert_eq!(
            (request.count, request.kind().unwrap()),
            (-1, "gpu".to_owned())
        );
    }

    #[test]
    fn each_kind_has_a_request() {
        let devices = [
            DeviceId::new("tpu", "0"),
            DeviceId::new("gpu", "1"),
            DeviceId::new("tpu", "2"),
        ];
        let requests = ApiDeviceRequest::of(&devices);
        let named: Vec<DeviceId> = requests.iter().flat_map(|it| it.named().unwrap()).collect();
        let names: Vec<String> = named.iter().map(ToString::to_string).collect();
        assert_eq!(
            (requests.len(), names.join(", ")),
            (2, "gpu 1, tpu 0, tpu 2".to_owned())
        );
    }
}
