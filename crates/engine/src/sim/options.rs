use std::{collections::BTreeMap, time::Duration};

use longshore_core::{Bytes, Device, Labels, MilliCpu, NodeId};

use super::Script;

/// What a [`SimEngine`](super::SimEngine) is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimOptions {
    /// Its id; its name if missing.
    pub id: Option<NodeId>,
    /// Processors.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Labels.
    pub labels: Labels,
    /// Devices that workloads can be given.
    pub devices: Vec<Device>,
    /// How long each call takes at least.
    pub latency: Duration,
    /// How much longer it may take, by chance.
    pub jitter: Duration,
    /// What workloads of an image do when their command says nothing else.
    pub scripts: BTreeMap<String, Script>,
    /// The images that can't be found; all others can.
    pub missing_images: Vec<String>,
    /// How many bytes of output are kept for each workload: 64 KiB.
    pub log_capacity: usize,
    /// How many events are remembered: 256.
    pub event_capacity: usize,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            id: None,
            cpu: MilliCpu::from_cpus(4),
            memory: Bytes::from_gib(8),
            labels: Labels::new(),
            devices: Vec::new(),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            scripts: BTreeMap::new(),
            missing_images: Vec::new(),
            log_capacity: 64 * 1024,
            event_capacity: 256,
        }
    }
}

impl SimOptions {
    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: NodeId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the resources.
    #[must_use]
    pub fn with_capacity(mut self, cpu: MilliCpu, memory: Bytes) -> Self {
        self.cpu = cpu;
        self.memory = memory;
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key, value);
        self
    }

    /// Adds a device.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// Sets how long calls take.
    #[must_use]
    pub fn with_latency(mut self, least: Duration, jitter: Duration) -> Self {
        self.latency = least;
        self.jitter = jitter;
        self
    }

    /// Sets what workloads of an image do.
    #[must_use]
    pub fn with_script(mut self, image: impl Into<String>, script: Script) -> Self {
        self.scripts.insert(image.into(), script);
        self
    }

    /// Makes an image unknown.
    #[must_use]
    pub fn with_missing_image(mut self, image: impl Into<String>) -> Self {
        self.missing_images.push(image.into());
        self
    }
}
