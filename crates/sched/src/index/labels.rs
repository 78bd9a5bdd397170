use std::sync::Arc;

use longshore_core::{Labels, ServiceName};

use super::{
    load::share_labels,
    profiles::{Profile, Shared},
    texts::{Pool, Text},
};

/// The labels of a node in key order. Nodes of one cluster mostly have the same keys: the list of
/// them is shared, so that looking for one touches little memory that other nodes don't.
#[derive(Clone, Debug)]
pub(crate) struct NodeLabels {
    keys: Arc<[Text]>,
    values: Box<[Text]>,
}

impl NodeLabels {
    /// Takes over what is new, and tells it: each key whose value is another, with the old and the
    /// new one. Mostly it is one.
    pub(crate) fn update(
        &mut self,
        labels: &Labels,
        pools: &mut Pools,
        mut tell: impl FnMut(&Text, Option<&Text>, Option<&Text>),
    ) {
        let texts = &mut pools.texts;
        if labels
            .iter()
            .map(|(key, _)| key)
            .eq(self.keys.iter().map(|key| &**key))
        {
            let values = self.keys.iter().zip(&mut self.values);
            for ((_, new), (key, value)) in labels.iter().zip(values) {
                if **value != *new {
                    let old = std::mem::replace(value, texts.share(new));
                    tell(key, Some(&old), Some(value));
                }
            }
            return;
        }
        let keys: Vec<Text> = labels.iter().map(|(key, _)| texts.share(key)).collect();
        let new = Self {
            values: labels.iter().map(|(_, value)| texts.share(value)).collect(),
            keys: pools.keys.share(keys),
        };
        let old = std::mem::replace(self, new);
        for (key, value) in old.keys.iter().zip(&old.values) {
            let new = self.get(key);
            if new != Some(value) {
                tell(key, Some(value), new);
            }
        }
        for (key, value) in self.keys.iter().zip(&self.values) {
            if old.get(key).is_none() {
                tell(key, None, Some(value));
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Text> {
        let at = self.keys.binary_search_by(|other| (**other).cmp(key));
        at.ok().map(|at| &self.values[at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.keys.iter().zip(&self.values);
        pairs.map(|(key, value)| (&**key, &**value))
    }
}

impl Default for NodeLabels {
    fn default() -> Self {
        Self {
            keys: Arc::new([]),
            values: Box::default(),
        }
    }
}

/// Texts, and lists of them, that nodes and workloads share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    pub(crate) texts: Pool<str>,
    keys: Pool<[Text]>,
    profiles: Pool<Profile>,
}

impl Pools {
    /// The one copy of a profile.
    pub(crate) fn profile(&mut self, service: Option<&ServiceName>, labels: &Labels) -> Shared {
        let service = service.map(|name| self.texts.share(name.as_str()));
        let labels = share_labels(labels, &mut self.texts);
        Shared(self.profiles.share(Profile::new(service, labels)))
    }
}
