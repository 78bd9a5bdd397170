use longshore_core::{Error, ErrorKind, NodeHealth, Result, ServiceName};

use super::ControlPlane;
use crate::{StackSpec, StackStatus, stack};

/// Stacks: what is desired, and how it is doing.
impl ControlPlane {
    /// Desires a stack; one of the same name is changed to it. Instances that are there already, for
    /// example after a restart of the control plane, are taken over by their labels.
    ///
    /// With a [store of its state](crate::ControlPlaneBuilder::state) the stack is desired once the
    /// store has it: it outlives this process, and all managers over the store know of it. Without,
    /// it lives as long as this control plane: deploy again after a restart.
    ///
    /// # Errors
    /// As [`StackSpec::ordered`];
    /// [`ErrorKind::Stale`](longshore_core::ErrorKind::Stale) where another manager leads: tell that
    /// one; and what the store says: nothing changed then, or, where the store did not answer, it may
    /// have.
    ///
    /// # Cancel safety
    /// Not safe with a store: a dropped call may or may not have deployed. Deploying again is safe.
    pub async fn deploy(&self, stack: StackSpec) -> Result<()> {
        stack.ordered()?;
        let inner = &self.inner;
        match &inner.desired {
            Some(desired) => desired.deploy(inner, stack).await?,
            None => inner.stacks().deploy(stack)?,
        }
        inner.changed.notify_one();
        Ok(())
    }

    /// How a stack is doing: where its instances are and why, and what they wait for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) if there is no such stack.
    pub fn stack_status(&self, name: &str) -> Result<StackStatus> {
        let inner = &self.inner;
        let observed = stack::observe(inner);
        let now = inner.clock.now();
        let mut status = inner.stacks().status(name, &observed, now)?;
        let state = inner.cluster.lock();
        let waiting = state.pending_instances(name);
        for service in &mut status.services {
            for instance in &mut service.instances {
                // Its reason as of now: what it was first refused for may be over.
                if !instance.ready
                    && let Some(reason) = waiting.get(&(service.name.clone(), instance.index))
                {
                    instance.note = reason.to_string();
                }
                instance.placement = instance
                    .workload
                    .as_ref()
                    .and_then(|id| state.kept_explanation(id)?.placement)
                    .map(|placement| placement.reason());
            }
        }
        Ok(status)
    }

    /// The stacks' names.
    pub fn stacks(&self) -> Vec<ServiceName> {
        self.inner.stacks().stacks()
    }

    /// Desires that nothing of a stack is there: its instances are stopped and removed, their
    /// volumes kept. It is forgotten when the last one is gone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) if there is no such stack, and
    /// as [`deploy`](Self::deploy).
    ///
    /// # Cancel safety
    /// As [`deploy`](Self::deploy).
    pub async fn remove_stack(&self, name: &str) -> Result<()> {
        let inner = &self.inner;
        match &inner.desired {
            Some(desired) => desired.remove(inner, name).await?,
            None => inner.stacks().remove(name)?,
        }
        inner.changed.notify_one();
        Ok(())
    }

    /// Takes your word that nothing runs on a node any more (it was switched off, or its disk is
    /// gone), so that at-most-one services move away from it and it does not count as lost with
    /// others. Holds until the node answers again, and for this manager: tell the one that leads.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) for a node that was never heard
    /// of; [`ErrorKind::Conflict`](longshore_core::ErrorKind::Conflict) for one that answers.
    pub fn declare_dead(&self, reference: &str) -> Result<()> {
        let mut stacks = self.inner.stacks();
        match self.node(reference) {
            Some(node) if node.health == NodeHealth::Healthy => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("node {} answers: it is not dead", node.name),
                )
                .with_retryable(false));
            }
            Some(node) => stacks.declare_dead(match &node.id {
                Some(id) => id.as_str(),
                None => &node.name,
            }),
            None if stacks.remembers(reference) => stacks.declare_dead(reference),
            None => return Err(Error::not_found(format!("No such node: {reference}"))),
        }
        drop(stacks);
        self.inner.changed.notify_one();
        Ok(())
    }
}
