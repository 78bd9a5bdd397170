mod rules;
mod world;

use longshore_core::{SeededRandom, WorkloadSpec, WorkloadState};

use super::*;
use crate::stack::{NodeCondition, ObservedNode, labels};

fn policy() -> StackPolicy {
    StackPolicy::from(&PlaneOptions::default())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(10_000 + seconds)
}

fn service(name: &str, replicas: u32) -> ServiceSpec {
    ServiceSpec::new(name.parse().unwrap(), WorkloadSpec::new("host")).with_replicas(replicas)
}

fn stack(services: Vec<ServiceSpec>) -> StackSpec {
    StackSpec::new("shop".parse().unwrap(), services)
}

fn slot(service: &str, index: u32) -> Slot {
    Slot {
        stack: "shop".parse().unwrap(),
        service: service.parse().unwrap(),
        index,
    }
}

fn node(number: usize) -> NodeId {
    NodeId::new(format!("N{number}")).unwrap()
}

fn up(number: usize) -> ObservedNode {
    ObservedNode::up(node(number), format!("node-{number}"), at(0))
}

fn lost(number: usize, since: u64) -> ObservedNode {
    let mut node = up(number);
    node.condition = NodeCondition::Lost { since: at(since) };
    node
}

fn running(spec: &ServiceSpec, index: u32, epoch: u64, on: usize) -> Instance {
    Instance::new(
        slot(spec.name.as_str(), index),
        epoch,
        labels::fingerprint(spec),
        node(on),
        WorkloadId::new(format!("{}-{index}-{epoch}", spec.name)).unwrap(),
        WorkloadState::Running,
    )
}

fn done(machine: &mut Reconciler, action: &ReconcileAction, now: Timestamp) {
    machine.finish(action, ActionOutcome::Done, now, &SeededRandom::new(1));
}

/// `create web-1 @2`, `start web-1 @1`, `retire web-1 @1`.
fn said(actions: &[ReconcileAction]) -> Vec<String> {
    actions
        .iter()
        .map(|action| {
            let what = match action.kind {
                ActionKind::Create(_) => "create",
                ActionKind::Start { .. } => "start",
                ActionKind::Retire { .. } => "retire",
            };
            let (slot, epoch) = (&action.slot, action.epoch);
            format!("{what} {}-{} @{epoch}", slot.service, slot.index)
        })
        .collect()
}
