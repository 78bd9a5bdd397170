//! How instances are marked, so that a control plane that knows nothing finds them again.

use std::fmt::Write;

use longshore_core::Labels;
use sha2::{Digest, Sha256};

use super::{ServiceSpec, Slot};
use crate::SWARM_ID_LABEL;

pub(crate) const STACK: &str = "longshore.stack";
pub(crate) const SERVICE: &str = "longshore.service";
pub(crate) const INSTANCE: &str = "longshore.instance";
pub(crate) const EPOCH: &str = "longshore.epoch";
pub(super) const SPEC: &str = "longshore.spec";

/// Marks what is about to be made.
pub(super) fn mark(labels: &mut Labels, slot: &Slot, epoch: u64, fingerprint: &str) {
    labels.insert(STACK, slot.stack.as_str());
    labels.insert(SERVICE, slot.service.as_str());
    labels.insert(INSTANCE, slot.index.to_string());
    labels.insert(EPOCH, epoch.to_string());
    labels.insert(SPEC, fingerprint);
    // The same after every move, and after a restart of the control plane.
    labels.insert(SWARM_ID_LABEL, hex(format!("{slot}").as_bytes(), 64));
}

/// Reads the marks: slot, epoch and fingerprint of the specification.
pub(crate) fn read(labels: &Labels) -> Option<(Slot, u64, String)> {
    let slot = Slot {
        stack: labels.get(STACK)?.parse().ok()?,
        service: labels.get(SERVICE)?.parse().ok()?,
        index: labels.get(INSTANCE)?.parse().ok()?,
    };
    let epoch = labels.get(EPOCH)?.parse().ok()?;
    if !(1..=LAST_EPOCH).contains(&epoch) {
        return None;
    }
    Some((slot, epoch, labels.get(SPEC)?.to_owned()))
}

/// No place is filled so often; and what comes behind it can still be counted.
const LAST_EPOCH: u64 = 1 << 53;

/// Short hash of all that makes an instance what it is. A changed demand on the node counts, too:
/// the instance may have to move.
pub(super) fn fingerprint(service: &ServiceSpec) -> String {
    let expressions = service.constraints.iter().chain(&service.affinities);
    let demands: Vec<String> = expressions
        .map(ToString::to_string)
        .chain(service.devices.iter().map(ToString::to_string))
        .collect();
    let template = serde_json::to_string(&service.template).unwrap_or_default();
    hex(format!("{template}\n{}", demands.join("\n")).as_bytes(), 16)
}

fn hex(bytes: &[u8], length: usize) -> String {
    let mut text = Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use longshore_core::WorkloadSpec;

    use super::*;

    #[test]
    fn marks_are_read_back() {
        let slot = Slot {
            stack: "shop".parse().unwrap(),
            service: "web".parse().unwrap(),
            index: 3,
        };
        let mut labels = Labels::new();
        mark(&mut labels, &slot, 7, "abc");
        assert_eq!(read(&labels), Some((slot, 7, "abc".to_owned())));
        assert_eq!(labels.get(SWARM_ID_LABEL).unwrap().len(), 64);
        for epoch in ["x", "0", "18446744073709551615"] {
            labels.insert(EPOCH, epoch);
            assert_eq!(read(&labels), None, "{epoch}");
        }
    }

    #[test]
    fn the_fingerprint_follows_what_counts() {
        let service =
            |image: &str| ServiceSpec::new("web".parse().unwrap(), WorkloadSpec::new(image));
        let one = fingerprint(&service("a"));
        assert_eq!(one, fingerprint(&service("a").with_replicas(5)));
        assert_ne!(one, fingerprint(&service("b")));
        let moved = service("a").with_constraint("zone==eu".parse().unwrap());
        assert_ne!(one, fingerprint(&moved));
        let accelerated = service("a").with_devices("2 gpu".parse().unwrap());
        assert_ne!(one, fingerprint(&accelerated));
    }
}
