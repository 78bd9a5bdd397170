//! What a container asks of a node, by the flags of `platform explain` and `platform pending run`.

use longshore::core::{Bytes, Expression, MilliCpu};
use serde_json::{Map, Value, json};

use crate::{Failure, cli::Asked};

/// The body of a create request with what decides about placement.
pub fn create_body(image: &str, asked: &Asked) -> Result<Value, Failure> {
    let memory = match &asked.memory {
        Some(text) => text.parse::<Bytes>().map_err(longshore::Error::from)?,
        None => Bytes::ZERO,
    };
    let cpu = match &asked.cpus {
        Some(text) => text.parse::<MilliCpu>().map_err(longshore::Error::from)?,
        None => MilliCpu::ZERO,
    };
    for expression in &asked.env {
        check_expression(expression)?;
    }
    let mut bindings = Map::new();
    let mut exposed = Map::new();
    for ports in &asked.publish {
        let bad = || Failure::new(format!("invalid -p {ports:?}: expected host:container"));
        let (host, inside) = ports.split_once(':').ok_or_else(bad)?;
        host.parse::<u16>().map_err(|_| bad())?;
        let inside = if inside.contains('/') {
            inside.to_owned()
        } else {
            format!("{inside}/tcp")
        };
        bindings.insert(inside.clone(), json!([{ "HostIp": "", "HostPort": host }]));
        exposed.insert(inside, json!({}));
    }
    let devices: Option<Vec<Value>> = match &asked.gpus {
        Some(gpus) => Some(vec![device_request(gpus)?]),
        None => None,
    };
    Ok(json!({
        "Image": image,
        "Env": asked.env,
        "ExposedPorts": exposed,
        "HostConfig": {
            "Memory": memory.0,
            "NanoCpus": cpu.0.saturating_mul(1_000_000),
            "PortBindings": bindings,
            "DeviceRequests": devices,
        },
    }))
}

/// `all`, `2`, `device=GPU-1,GPU-2`, as `docker run --gpus` reads them.
fn device_request(text: &str) -> Result<Value, Failure> {
    let (count, ids): (i64, Vec<&str>) = match (text, text.strip_prefix("device=")) {
        ("all", _) => (-1, Vec::new()),
        (_, Some(ids)) => (0, ids.split(',').collect()),
        (number, None) => match number.parse() {
            Ok(count) if count > 0 => (count, Vec::new()),
            _ => {
                return Err(Failure::new(format!(
                    "invalid --gpus {text:?}: expected all, a number, or device=ID,ID"
                )));
            }
        },
    };
    Ok(json!({ "Count": count, "DeviceIDs": ids, "Capabilities": [["gpu"]] }))
}

/// The endpoint would refuse it, too, and not say which one.
fn check_expression(text: &str) -> Result<(), Failure> {
    let expression = text
        .strip_prefix("constraint:")
        .or_else(|| text.strip_prefix("affinity:"));
    match expression.map(str::parse::<Expression>) {
        Some(Err(error)) => Err(Failure::new(format!(
            "{error}: {text:?} (expected for example constraint:zone==eu)"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_expression_is_named() {
        let failure = check_expression("constraint:zone").unwrap_err();
        assert_eq!(
            format!("{failure:?}"),
            "One of operator ==, != is expected: \"constraint:zone\" (expected for example \
             constraint:zone==eu)"
        );
        assert!(check_expression("constraint:zone==eu").is_ok());
        assert!(check_expression("PATH=x").is_ok());
    }

    #[test]
    fn gpus_are_read_as_docker_does() {
        let read = |text: &str| device_request(text).unwrap();
        assert_eq!(read("all")["Count"], -1);
        assert_eq!(read("2")["Count"], 2);
        assert_eq!(read("device=a,b")["DeviceIDs"], json!(["a", "b"]));
        for text in ["", "0", "-1", "some"] {
            assert!(device_request(text).is_err(), "{text}");
        }
    }
}
