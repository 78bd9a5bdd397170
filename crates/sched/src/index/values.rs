use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use super::{Slot, node::Node, slots::SlotSet, texts::Text};
use crate::matcher::Matcher;

/// Which nodes have what, by value: so that an expression that was never seen is compared with each
/// distinct value, not with each node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    labels: HashMap<Text, LabelValues>,
    images: Values,
    volumes: Values,
}

/// The values of a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelValues {
    /// The nodes that have the label at all.
    any: SlotSet,
    values: Values,
}

/// The nodes of each value, none of them empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(BTreeMap<Text, SlotSet>);

impl Catalogue {
    /// The values of a label, if any node has it.
    pub(crate) fn label(&self, key: &str) -> Option<&LabelValues> {
        self.labels.get(key)
    }

    /// The nodes of each image, by every name that it has.
    pub(crate) fn images(&self) -> &Values {
        &self.images
    }

    /// The nodes that hold the data of each volume.
    pub(crate) fn volumes(&self) -> &Values {
        &self.volumes
    }

    pub(super) fn insert_label(&mut self, slot: Slot, key: &Text, value: &Text) {
        let of = match self.labels.get_mut(key) {
            Some(of) => of,
            None => self.labels.entry(key.clone()).or_default(),
        };
        of.any.insert(slot);
        of.values.insert(slot, value);
    }

    pub(super) fn remove_label(&mut self, slot: Slot, key: &str, value: &str) {
        if let Some(of) = self.labels.get_mut(key) {
            of.any.remove(slot);
            of.values.remove(slot, value);
            if of.any.len() == 0 {
                self.labels.remove(key);
            }
        }
    }

    /// The label had another value before.
    pub(super) fn change_label(&mut self, slot: Slot, key: &str, old: &str, new: &Text) {
        if let Some(of) = self.labels.get_mut(key) {
            of.values.remove(slot, old);
            of.values.insert(slot, new);
        }
    }

    pub(super) fn insert_image(&mut self, slot: Slot, name: &Text) {
        self.images.insert(slot, name);
    }

    pub(super) fn remove_image(&mut self, slot: Slot, name: &str) {
        self.images.remove(slot, name);
    }

    pub(super) fn insert_volume(&mut self, slot: Slot, name: &Text) {
        self.volumes.insert(slot, name);
    }

    pub(super) fn remove_volume(&mut self, slot: Slot, name: &str) {
        self.volumes.remove(slot, name);
    }

    /// The node left.
    pub(super) fn remove(&mut self, node: &Node) {
        for (key, value) in node.labels() {
            self.remove_label(node.slot, key, value);
        }
        for name in node.image_names() {
            self.remove_image(node.slot, name);
        }
        for name in &node.state.volumes {
            self.remove_volume(node.slot, name);
        }
    }

    /// Whether it is what a look at every node gives.
    #[cfg(test)]
    pub(super) fn is_consistent<'n>(&self, nodes: impl Iterator<Item = &'n Node>) -> bool {
        let mut fresh = Self::default();
        for node in nodes {
            for (key, value) in node.labels() {
                fresh.insert_label(node.slot, &key.into(), &value.into());
            }
            for name in node.image_names() {
                fresh.insert_image(node.slot, &name.into());
            }
            for name in &node.state.volumes {
                fresh.insert_volume(node.slot, &name.as_str().into());
            }
        }
        // Sets of the same nodes may have grown into different forms.
        let same = |a: &Values, b: &Values| {
            let plain = |values: &Values| -> Vec<(Text, Vec<Slot>)> {
                let all = values.0.iter();
                all.map(|(text, set)| (text.clone(), set.iter().collect()))
                    .collect()
            };
            plain(a) == plain(b)
        };
        self.labels.len() == fresh.labels.len()
            && self.labels.iter().all(|(key, of)| {
                fresh.label(key).is_some_and(|other| {
                    same(&of.values, &other.values) && of.any.iter().eq(other.any.iter())
                })
            })
            && same(&self.images, &fresh.images)
            && same(&self.volumes, &fresh.volumes)
    }
}

impl LabelValues {
    /// The nodes that have the label.
    pub(crate) fn any(&self) -> &SlotSet {
        &self.any
    }

    /// The nodes of each value.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }
}

impl Values {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The nodes of a value, if there is any.
    pub(crate) fn nodes(&self, value: &str) -> Option<&SlotSet> {
        self.0.get(value)
    }

    /// Every value with its nodes, in the order of values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text, &SlotSet)> {
        self.0.iter()
    }

    /// The nodes with a value that matches: one comparison for each value that begins as the
    /// pattern does.
    pub(crate) fn matching(&self, matcher: &Matcher) -> SlotSet {
        if let Matcher::Exact(text) = matcher {
            return self.nodes(text).cloned().unwrap_or_default();
        }
        let prefix = matcher.prefix();
        let from = self
            .0
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let like = from.take_while(|(value, _)| value.starts_with(prefix));
        let found = like.filter(|(value, _)| matcher.matches(value));
        SlotSet::union(found.map(|(_, set)| set))
    }

    fn insert(&mut self, slot: Slot, value: &Text) {
        match self.0.get_mut(value) {
            Some(set) => {
                set.insert(slot);
            }
            None => {
                self.0.insert(value.clone(), SlotSet::of(slot));
            }
        }
    }

    fn remove(&mut self, slot: Slot, value: &str) {
        if let Some(set) = self.0.get_mut(value) {
            set.remove(slot);
            if set.len() == 0 {
                self.0.remove(value);
            }
        }
    }
}
