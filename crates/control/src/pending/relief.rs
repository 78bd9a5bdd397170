use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::BitOr,
};

use longshore_core::{Availability, NodeHealth, NodeState, Resources};

/// Kinds of changes that can let work in, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relief(u16);

impl Relief {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// A node takes work again.
    pub(crate) const OPENED: Self = Self(1);
    /// A node's name, labels or attributes are others.
    pub(crate) const LABELS: Self = Self(1 << 1);
    /// A node has more to hand out.
    pub(crate) const CAPACITY: Self = Self(1 << 2);
    /// Something on a node holds less, or is gone.
    pub(crate) const FREED: Self = Self(1 << 3);
    /// Something came to a node.
    pub(crate) const CAME: Self = Self(1 << 4);
    /// A node has other images.
    pub(crate) const IMAGES: Self = Self(1 << 5);
    /// A node has other volumes.
    pub(crate) const VOLUMES: Self = Self(1 << 6);
    /// A node has other devices.
    pub(crate) const DEVICES: Self = Self(1 << 7);
    /// A node left.
    pub(crate) const LEFT: Self = Self(1 << 8);
    /// All of them: a node came, or nobody knows.
    pub(crate) const ALL: Self = Self((1 << 9) - 1);

    /// What can change the mind of these filters; without any, everything.
    ///
    /// It holds because a node takes no work before the filter that refuses it first judges
    /// otherwise. The names are those of [`Refusal`](longshore_core::Refusal); what an unknown filter
    /// looks at is not known.
    pub(crate) fn of_filters(filters: &[String]) -> Self {
        if filters.is_empty() {
            return Self::ALL;
        }
        let of = |filter: &String| match filter.as_str() {
            "health" | "availability" => Self::OPENED,
            "port" => Self::FREED,
            "containerslots" => Self::FREED | Self::LABELS,
            // A reference that means several things may mean one when some are gone.
            "dependency" => Self::CAME | Self::FREED | Self::LEFT,
            "affinity" => Self::CAME | Self::FREED | Self::IMAGES,
            "constraint" | "whitelist" | "platform" | "tenant" => Self::LABELS,
            // Data that no node has may be anywhere.
            "volume" => Self::VOLUMES | Self::LEFT,
            "device" => Self::DEVICES | Self::FREED,
            // What is allowed in a domain depends on all the others.
            "topology" => Self::CAME | Self::FREED | Self::LABELS | Self::LEFT,
            "resources" => Self::CAPACITY | Self::FREED,
            _ => Self::ALL,
        };
        filters.iter().map(of).fold(Self::NONE, BitOr::bitor)
    }

    /// What a node's change brings.
    pub(crate) fn of_node(before: Option<&Told>, now: &Told) -> Self {
        let Some(before) = before else {
            return Self::ALL;
        };
        let if_so = |so: bool, relief: Self| if so { relief } else { Self::NONE };
        if_so(now.open && !before.open, Self::OPENED)
            | if_so(now.labels != before.labels, Self::LABELS)
            | if_so(has_more(&now.capacity, &before.capacity), Self::CAPACITY)
            | if_so(now.images != before.images, Self::IMAGES)
            | if_so(now.volumes != before.volumes, Self::VOLUMES)
            | if_so(now.devices != before.devices, Self::DEVICES)
    }

    /// Whether both have something in common.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Relief {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a scheduler was told of a node, as far as a change of it can matter: in a few words, since
/// it is kept for every node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    open: bool,
    capacity: Resources,
    labels: u64,
    images: u64,
    volumes: u64,
    devices: u64,
}

impl Told {
    pub(crate) fn of(node: &NodeState) -> Self {
        let devices = node.devices.iter().map(|device| {
            let attributes: Vec<_> = device.attributes.iter().collect();
            (&device.id, attributes)
        });
        Self {
            open: node.health == NodeHealth::Healthy
                && node.health_indicator > 0
                && node.availability == Availability::Active,
            capacity: node.capacity.clone(),
            labels: digest((&node.name, node.labels.iter().collect::<Vec<_>>())),
            images: digest(&node.images),
            volumes: digest(&node.volumes),
            devices: digest(devices.collect::<Vec<_>>()),
        }
    }
}

/// Whether there is more of anything.
pub(crate) fn has_more(now: &Resources, before: &Resources) -> bool {
    let mut generic = now.generic.iter();
    now.cpu > before.cpu
        || now.memory > before.memory
        || generic.any(|(name, amount)| before.generic.get(name).is_none_or(|had| amount > had))
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, Labels, MilliCpu};

    use super::*;

    fn node() -> NodeState {
        let capacity = Resources::new(MilliCpu(1000), Bytes(100));
        NodeState::new("n".parse().unwrap(), "n".parse().unwrap(), capacity)
    }

    #[track_caller]
    fn check(change: impl Fn(&mut NodeState), relief: Relief) {
        let mut changed = node();
        change(&mut changed);
        let (before, now) = (Told::of(&node()), Told::of(&changed));
        assert_eq!(Relief::of_node(Some(&before), &now), relief);
    }

    #[test]
    fn s21_a_node_s_change_brings_what_got_better() {
        check(|_| {}, Relief::NONE);
        check(|node| node.health_indicator = 34, Relief::NONE);
        check(|node| node.health = NodeHealth::Unhealthy, Relief::NONE);
        check(|node| node.capacity.cpu = MilliCpu(900), Relief::NONE);
        check(|node| node.capacity.cpu = MilliCpu(1100), Relief::CAPACITY);
        let zone = |node: &mut NodeState| node.labels = Labels::new().with("zone", "eu");
        check(zone, Relief::LABELS);
        check(|node| node.name = "other".parse().unwrap(), Relief::LABELS);
        check(|node| node.images.push("redis".into()), Relief::IMAGES);
        check(|node| node.volumes.push("data".into()), Relief::VOLUMES);
        let gpu = longshore_core::Device::new("gpu", "0");
        check(|node| node.devices.push(gpu.clone()), Relief::DEVICES);
        let mut closed = node();
        closed.availability = Availability::Cordoned;
        let opened = Relief::of_node(Some(&Told::of(&closed)), &Told::of(&node()));
        assert_eq!(opened, Relief::OPENED);
        assert_eq!(Relief::of_node(None, &Told::of(&node())), Relief::ALL);
    }

    #[test]
    fn s21_filters_wait_for_what_can_change_their_mind() {
        let of = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
            Relief::of_filters(&filters)
        };
        assert_eq!(of(&["constraint"]), Relief::LABELS);
        let both = Relief::CAPACITY | Relief::FREED | Relief::LABELS;
        assert_eq!(of(&["constraint", "resources"]), both);
        assert!(!of(&["constraint"]).meets(Relief::FREED | Relief::CAME));
        // A replica elsewhere lets one in here.
        assert!(of(&["topology"]).meets(Relief::CAME) && of(&["topology"]).meets(Relief::LEFT));
        assert_eq!(of(&["somebody's own"]), Relief::ALL);
        assert_eq!(of(&[]), Relief::ALL);
    }
}
