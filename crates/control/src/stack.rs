mod desired;
mod fence;
pub(crate) mod labels;
mod machine;
mod observed;
mod run;
mod spec;
mod status;

pub(crate) use self::{
    desired::Desired,
    run::{follow, observe},
};
pub use self::{
    machine::{ActionKind, ActionOutcome, ReconcileAction, Reconciler, StackPolicy},
    observed::{Instance, NodeCondition, Observed, ObservedNode},
    spec::{ServiceSpec, Slot, StackSpec},
    status::{InstanceStatus, ServiceStatus, StackStatus},
};
