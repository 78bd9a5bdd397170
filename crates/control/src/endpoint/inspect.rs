//! `GET /containers/{name}/json`: asked live, with the node added. Only the published ports are
//! read; everything else of the engine's answer passes through as it is.

use http::{HeaderMap, Method, StatusCode};
use longshore_core::http::empty_body;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{
    Shared,
    call::{Call, raw_json},
    error::{ApiError, ApiResult},
    list::is_unspecified,
    proxy::request,
};
use crate::NodeView;

/// A JSON object whose values are not looked into, in the engine's order.
#[derive(Debug, Default)]
struct RawObject(Vec<(String, Box<RawValue>)>);

impl RawObject {
    fn get_mut(&mut self, key: &str) -> Option<&mut Box<RawValue>> {
        self.0
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.get_mut(key) {
            Some(old) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawObject;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut fields = Vec::with_capacity(32);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawObject(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

pub(super) async fn inspect(shared: &Shared, call: &Call, name: &str) -> ApiResult {
    let missing = || format!("No such container {name}");
    let owned = shared.find_healthy(name, missing)?;
    let path = format!("/containers/{}/json", owned.id());
    let target = shared.target_at(&owned.node, call.version, &path, &call.raw_query);
    let request = request(Method::GET, &target, &HeaderMap::new(), empty_body())?;
    let asked = shared
        .ask(&owned.node, shared.options.call_limit, request)
        .await;
    let (_, body) = match asked {
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            shared.observe(&owned).await;
            return Err(ApiError::not_found(missing()));
        }
        other => other?,
    };
    let body = decorate(&body, &owned.node).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_GATEWAY,
            "protocol",
            format!(
                "the answer of node {} is malformed: {error}",
                owned.node.name
            ),
        )
    })?;
    Ok(raw_json(StatusCode::OK, body))
}

/// Adds `Node` and puts the node's address in place of "all addresses" in published ports.
fn decorate(body: &[u8], node: &NodeView) -> serde_json::Result<Vec<u8>> {
    let mut object: RawObject = serde_json::from_slice(body)?;
    if !node.ip.is_empty()
        && let Some(settings) = object.get_mut("NetworkSettings")
        && settings.get().contains("\"HostIp\"")
    {
        let mut parsed: RawObject = serde_json::from_str(settings.get())?;
        if let Some(ports) = parsed.get_mut("Ports") {
            let mut value: Value = serde_json::from_str(ports.get())?;
            localize(&mut value, &node.ip);
            *ports = to_raw_value(&value)?;
        }
        *settings = to_raw_value(&parsed)?;
    }
    object.set("Node", to_raw_value(&describe(node))?);
    serde_json::to_vec(&object)
}

/// IPv4's and IPv6's "all addresses" become one and the same binding.
fn localize(ports: &mut Value, ip: &str) {
    let lists = ports
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut());
    for list in lists.filter_map(Value::as_array_mut) {
        let mut seen = Vec::with_capacity(list.len());
        for mut binding in list.drain(..) {
            let address = binding.get("HostIp").and_then(Value::as_str).unwrap_or("");
            if is_unspecified(address) {
                binding["HostIp"] = ip.into();
            }
            if !seen.contains(&binding) {
                seen.push(binding);
            }
        }
        *list = seen;
    }
}

/// The node of a container, in Swarm's form.
fn describe(node: &NodeView) -> Value {
    let info = node.info.as_deref();
    let labels: serde_json::Map<String, Value> = info
        .into_iter()
        .flat_map(|info| info.attributes.iter().chain(info.labels.iter()))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    json!({
        "ID": node.id.as_ref().map_or("", |id| id.as_str()),
        "IP": node.ip,
        "Addr": node.address,
        "Name": node.name,
        "Cpus": info.map_or(0, |info| info.cpu.0 / 1000),
        "Memory": info.map_or(0, |info| info.memory.0),
        "Labels": labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_parts_pass_byte_for_byte() {
        let text = r#"{"Id":"a","Big":12345678901234567890,"Odd":{"b":1.0e2, "a":[ ]}}"#;
        let object: RawObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }

    #[test]
    fn all_addresses_become_the_node_s() {
        let mut ports = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"},
            {"HostIp": "::", "HostPort": "80"}, {"HostIp": "127.0.0.1", "HostPort": "81"}],
            "90/tcp": null});
        localize(&mut ports, "10.0.0.1");
        assert_eq!(
            ports,
            json!({"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "80"},
                {"HostIp": "127.0.0.1", "HostPort": "81"}], "90/tcp": null})
        );
    }
}
