use std::{collections::BTreeMap, sync::Arc};

use longshore_core::{Result, ServiceName};

use crate::stack::{ServiceSpec, StackSpec};

/// A stack that was checked. Each of its services is held once, however many instances are made of it
/// or wait.
#[derive(Debug)]
pub(in crate::stack) struct Services {
    pub(in crate::stack) name: ServiceName,
    /// As they were given.
    all: Vec<Arc<ServiceSpec>>,
    /// Each behind those that it depends on.
    pub(in crate::stack) ordered: Vec<Arc<ServiceSpec>>,
}

impl Services {
    /// # Errors
    /// As [`StackSpec::ordered`].
    pub(super) fn of(spec: StackSpec) -> Result<Self> {
        let order: Vec<ServiceName> = spec
            .ordered()?
            .into_iter()
            .map(|service| service.name.clone())
            .collect();
        let all: Vec<Arc<ServiceSpec>> = spec.services.into_iter().map(Arc::new).collect();
        let by_name: BTreeMap<&ServiceName, &Arc<ServiceSpec>> =
            all.iter().map(|service| (&service.name, service)).collect();
        let ordered = order.iter().filter_map(|name| by_name.get(name));
        let ordered = ordered.map(|service| Arc::clone(service)).collect();
        Ok(Self {
            name: spec.name,
            ordered,
            all,
        })
    }

    /// Whether they are what a stack says.
    pub(super) fn are_of(&self, spec: &StackSpec) -> bool {
        let of_both = || self.all.iter().zip(&spec.services);
        self.name == spec.name
            && self.all.len() == spec.services.len()
            && of_both().all(|(ours, theirs)| **ours == *theirs)
    }

    /// The one of that name.
    pub(super) fn find(&self, name: &ServiceName) -> Option<&Arc<ServiceSpec>> {
        self.all.iter().find(|service| service.name == *name)
    }
}
