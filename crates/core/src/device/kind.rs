//! What kinds of devices are called: by requests, by what Docker's API calls capabilities, and by the
//! generic resources of a daemon.

use super::Device;
use crate::{Error, Result};

/// Which kind of devices a request of Docker's API is for (`DeviceRequest` in its reference): an OR
/// list of AND lists of capabilities, and perhaps a driver.
///
/// `gpu` if that is among the capabilities, or the driver is one of GPUs; else the first capability.
///
/// # Errors
/// No capability at all, alternatives of different kinds, or a kind that is no name.
pub fn device_kind(driver: &str, capabilities: &[Vec<String>]) -> Result<String> {
    let alternatives = || capabilities.iter().filter(|all| !all.is_empty());
    let is_of_gpus = GPU_DRIVERS.contains(&driver.to_ascii_lowercase().as_str());
    let kind_of = |all: &Vec<String>| match all.iter().any(|one| one == GPU) || is_of_gpus {
        true => GPU.to_owned(),
        false => all[0].clone(),
    };
    let mut kinds = alternatives().map(kind_of);
    let kind = match kinds.next() {
        Some(kind) => kind,
        None if is_of_gpus => GPU.to_owned(),
        None => {
            return Err(Error::invalid(
                "a device request names no capability: expected one such as gpu",
            ));
        }
    };
    check(&kind)?;
    match kinds.find(|other| *other != kind) {
        Some(other) => Err(Error::invalid(format!(
            "a device request is for {kind} or {:?}: expected capabilities of one kind of devices, \
             and a request of its own for each kind",
            other.chars().take(80).collect::<String>()
        ))),
        None => Ok(kind),
    }
}

/// A device as a daemon's generic resource of this kind and name tells it: kinds are in small
/// letters, and `NVIDIA-GPU` is a `gpu` with the attribute `vendor`.
///
/// # Errors
/// As [`DeviceId::parse`](super::DeviceId::parse).
pub fn device_of_resource(kind: &str, name: &str) -> Result<Device> {
    let kind = kind.to_ascii_lowercase();
    let vendor = kind
        .strip_suffix(GPU)
        .and_then(|rest| rest.strip_suffix(['-', '_', '.']))
        .filter(|vendor| !vendor.is_empty());
    let id = super::DeviceId::parse(if vendor.is_some() { GPU } else { &kind }, name)?;
    let device = Device::new(id.kind, id.name);
    Ok(match vendor {
        Some(vendor) => device.with("vendor", vendor),
        None => device,
    })
}

/// Checks a kind of devices.
pub(super) fn check(kind: &str) -> Result<()> {
    let is_name = !kind.is_empty()
        && kind.len() <= 64
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    if is_name && kind != "where" {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid kind of devices {:?}: expected a name such as gpu",
        kind.chars().take(80).collect::<String>()
    )))
}

const GPU: &str = "gpu";
/// Drivers of engines that are for nothing else.
const GPU_DRIVERS: [&str; 2] = ["nvidia", "amd"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_kind(driver: &str, capabilities: &[&[&str]], kind: Option<&str>) {
        let capabilities: Vec<Vec<String>> = capabilities
            .iter()
            .map(|all| all.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(device_kind(driver, &capabilities).ok().as_deref(), kind);
    }

    #[test]
    fn the_kind_is_told_by_capabilities_and_driver() {
        check_kind("", &[&["gpu"]], Some("gpu"));
        // As `docker run --gpus 'all,"capabilities=compute,utility"'` sends it.
        check_kind("", &[&["compute", "utility", "gpu"]], Some("gpu"));
        check_kind("nvidia", &[&["utility"]], Some("gpu"));
        check_kind("nvidia", &[], Some("gpu"));
        check_kind("", &[&["tpu", "v4"], &["tpu"]], Some("tpu"));
        check_kind("", &[], None);
        check_kind("", &[&[]], None);
        check_kind("", &[&["gpu"], &["tpu"]], None);
        check_kind("", &[&["two words"]], None);
        check_kind("cdi", &[], None);
    }

    #[test]
    fn resources_of_a_daemon_become_devices() {
        let device = device_of_resource("NVIDIA-GPU", "GPU-1").unwrap();
        assert_eq!((&*device.id.kind, &*device.id.name), ("gpu", "GPU-1"));
        assert_eq!(device.attributes.get("vendor"), Some("nvidia"));
        let device = device_of_resource("FPGA", "0").unwrap();
        assert_eq!(
            (&*device.id.kind, device.attributes.is_empty()),
            ("fpga", true)
        );
        assert_eq!(
            device_of_resource("gpu", "0")
                .unwrap()
                .attributes
                .get("vendor"),
            None
        );
        assert!(device_of_resource("gpu", "a,b").is_err());
        assert!(device_of_resource("", "a").is_err());
    }
}
