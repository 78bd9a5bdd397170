use std::sync::Arc;

use longshore_core::Labels;

use super::texts::{Pool, Text};

/// The labels of a node in key order. Nodes of one cluster mostly have the same keys: the list of
/// them is shared, so that looking for one touches little memory that other nodes don't.
#[derive(Clone, Debug)]
pub(crate) struct NodeLabels {
    keys: Arc<[Text]>,
    values: Box<[Text]>,
}

impl NodeLabels {
    /// Takes over what is new; says whether anything is. Mostly it is one value.
    pub(crate) fn update(&mut self, labels: &Labels, pools: &mut Pools) -> bool {
        let texts = &mut pools.texts;
        if labels
            .iter()
            .map(|(key, _)| key)
            .eq(self.keys.iter().map(|key| &**key))
        {
            let mut changed = false;
            for ((_, new), value) in labels.iter().zip(&mut self.values) {
                if **value != *new {
                    (*value, changed) = (texts.share(new), true);
                }
            }
            return changed;
        }
        let keys: Vec<Text> = labels.iter().map(|(key, _)| texts.share(key)).collect();
        self.values = labels.iter().map(|(_, value)| texts.share(value)).collect();
        self.keys = pools.keys.share(keys);
        true
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
}
