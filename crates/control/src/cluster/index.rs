use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use longshore_core::{NodeId, WorkloadId};

use super::ContainerView;
use crate::stack::labels;

/// Where a container is found: clones of a machine can hold the same container id.
pub(super) type ContainerKey = (WorkloadId, NodeId);

/// All containers by id (and id prefix), name and swarm id.
#[derive(Debug, Default)]
pub(super) struct ContainerIndex {
    by_key: BTreeMap<ContainerKey, Arc<ContainerView>>,
    by_name: HashMap<String, BTreeSet<ContainerKey>>,
    by_swarm_id: BTreeMap<String, BTreeSet<ContainerKey>>,
    /// Those that belong to a stack.
    managed: BTreeMap<ContainerKey, Arc<ContainerView>>,
}

impl ContainerIndex {
    pub(super) fn insert(&mut self, view: Arc<ContainerView>) {
        let key = (view.workload.id.clone(), view.node.clone());
        if view.workload.labels.get(labels::STACK).is_some() {
            self.managed.insert(key.clone(), Arc::clone(&view));
        }
        match self.by_key.insert(key.clone(), Arc::clone(&view)) {
            // The usual change (a state, a health) leaves the names alone.
            Some(old)
                if old.workload.names == view.workload.names && old.swarm_id == view.swarm_id =>
            {
                return;
            }
            Some(old) => self.unlink(&key, &old),
            None => {}
        }
        for name in &view.workload.names {
            self.by_name
                .entry(name.clone())
                .or_default()
                .insert(key.clone());
        }
        if let Some(id) = &view.swarm_id {
            self.by_swarm_id.entry(id.clone()).or_default().insert(key);
        }
    }

    pub(super) fn remove(&mut self, id: &WorkloadId, node: &NodeId) -> Option<Arc<ContainerView>> {
        let key = (id.clone(), node.clone());
        let old = self.by_key.remove(&key)?;
        self.managed.remove(&key);
        self.unlink(&key, &old);
        Some(old)
    }

    pub(super) fn views(&self) -> impl Iterator<Item = &Arc<ContainerView>> {
        self.by_key.values()
    }

    pub(super) fn managed(&self) -> Vec<Arc<ContainerView>> {
        self.managed.values().cloned().collect()
    }

    pub(super) fn by_name(&self, name: &str) -> Vec<&Arc<ContainerView>> {
        self.resolve(self.by_name.get(name))
    }

    pub(super) fn by_swarm_id(&self, id: &str) -> Vec<&Arc<ContainerView>> {
        self.resolve(self.by_swarm_id.get(id))
    }

    /// Containers whose id begins like this. `limit` bounds the work on short prefixes.
    pub(super) fn by_id_prefix(&self, prefix: &str, limit: usize) -> Vec<&Arc<ContainerView>> {
        let Ok(start) = WorkloadId::new(prefix) else {
            return Vec::new();
        };
        // "!" is the smallest node id there can be.
        let Ok(first) = NodeId::new("!") else {
            return Vec::new();
        };
        self.by_key
            .range((start, first)..)
            .take_while(|((id, _), _)| id.as_str().starts_with(prefix))
            .take(limit)
            .map(|(_, view)| view)
            .collect()
    }

    pub(super) fn by_swarm_id_prefix(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Vec<&Arc<ContainerView>> {
        self.by_swarm_id
            .range(prefix.to_owned()..)
            .take_while(|(id, _)| id.starts_with(prefix))
            .flat_map(|(_, keys)| keys.iter().filter_map(|key| self.by_key.get(key)))
            .take(limit)
            .collect()
    }

    fn resolve(&self, keys: Option<&BTreeSet<ContainerKey>>) -> Vec<&Arc<ContainerView>> {
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.by_key.get(key))
            .collect()
    }

    fn unlink(&mut self, key: &ContainerKey, old: &ContainerView) {
        for name in &old.workload.names {
            if let Some(keys) = self.by_name.get_mut(name) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        if let Some(id) = &old.swarm_id
            && let Some(keys) = self.by_swarm_id.get_mut(id)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_swarm_id.remove(id);
            }
        }
    }
}
