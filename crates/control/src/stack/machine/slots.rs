use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use longshore_core::{RestartPolicy, ServiceName, Timestamp, WorkloadState};

use super::{
    ActionKind, Busy, Instance, Losses, Observed, ReconcileAction, Reconciler, ServiceSpec,
    Services, Slot, loss::Verdict,
};
use crate::stack::labels;

/// The instances of every place, at one moment.
pub(super) struct Scene<'a> {
    by_slot: BTreeMap<&'a Slot, Vec<&'a Instance>>,
    ghosts: BTreeMap<Slot, Vec<Instance>>,
    up: BTreeSet<&'a longshore_core::NodeId>,
    settled: bool,
    complete: bool,
    now: Timestamp,
}

impl<'a> Scene<'a> {
    pub(super) fn new(observed: &'a Observed, losses: &Losses, now: Timestamp) -> Self {
        let mut by_slot: BTreeMap<&Slot, Vec<&Instance>> = BTreeMap::new();
        for instance in &observed.instances {
            by_slot.entry(&instance.slot).or_default().push(instance);
        }
        let mut ghosts: BTreeMap<Slot, Vec<Instance>> = BTreeMap::new();
        for ghost in losses.ghosts() {
            ghosts
                .entry(ghost.slot.clone())
                .or_default()
                .push(ghost.clone());
        }
        let up = observed
            .nodes
            .iter()
            .filter(|node| node.is_up())
            .filter_map(|node| node.id.as_ref())
            .collect();
        Self {
            by_slot,
            ghosts,
            up,
            settled: observed.settled,
            complete: observed.complete,
            now,
        }
    }

    pub(super) fn has_stack(&self, stack: &ServiceName) -> bool {
        self.by_slot.keys().any(|slot| slot.stack == *stack)
            || self.ghosts.keys().any(|slot| slot.stack == *stack)
    }

    /// On nodes that answer, and on those that do not.
    fn instances(&self, slot: &Slot) -> (Vec<&Instance>, Vec<&Instance>) {
        let seen = self.by_slot.get(slot).into_iter().flatten().copied();
        let (up, mut lost): (Vec<_>, Vec<_>) =
            seen.partition(|instance| self.up.contains(&instance.node));
        lost.extend(self.ghosts.get(slot).into_iter().flatten());
        (up, lost)
    }

    /// The one that stays when several are there: a running one, and of those the newest.
    pub(super) fn survivor(&self, slot: &Slot) -> Option<&Instance> {
        let (up, _) = self.instances(slot);
        up.into_iter()
            .max_by_key(|instance| (instance.is_running(), instance.epoch, instance.node.clone()))
    }

    /// The newest on a node that does not answer.
    pub(super) fn last_seen(&self, slot: &Slot) -> Option<&Instance> {
        let (_, lost) = self.instances(slot);
        lost.into_iter().max_by_key(|instance| instance.epoch)
    }

    pub(super) fn is_ready(&self, slot: &Slot) -> bool {
        self.survivor(slot).is_some_and(|instance| {
            (instance.state == WorkloadState::Running && instance.healthy)
                || (instance.state == WorkloadState::Exited && instance.succeeded)
        })
    }

    fn service_is_ready(&self, stack: &ServiceName, service: &ServiceSpec) -> bool {
        (1..=service.replicas).all(|index| self.is_ready(&Slot::new(stack, service, index)))
    }
}

impl Reconciler {
    pub(super) fn reconcile_stack(
        &mut self,
        name: &ServiceName,
        scene: &Scene<'_>,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let Some(stack) = self.stacks.get(name) else {
            return;
        };
        let (services, removing) = (Arc::clone(&stack.services), stack.removing);
        let mut wanted: BTreeSet<Slot> = BTreeSet::new();
        if !removing {
            for service in &services.ordered {
                let waiting: Vec<&str> = service
                    .depends_on
                    .iter()
                    .filter(|other| {
                        services
                            .find(other)
                            .is_some_and(|other| !scene.service_is_ready(name, other))
                    })
                    .map(ServiceName::as_str)
                    .collect();
                let fingerprint = labels::fingerprint(service);
                // One instance at a time is exchanged for a changed specification.
                let mut exchange = scene.service_is_ready(name, service);
                for index in 1..=service.replicas {
                    let slot = Slot::new(name, service, index);
                    exchange &= !self.busy.contains_key(&slot);
                    wanted.insert(slot);
                }
                for index in 1..=service.replicas {
                    let slot = Slot::new(name, service, index);
                    let plan = Plan {
                        service,
                        fingerprint: &fingerprint,
                        waiting: &waiting,
                        exchange: &mut exchange,
                    };
                    self.reconcile_slot(&slot, plan, scene, actions);
                }
            }
        }
        let surplus: Vec<Slot> = scene
            .by_slot
            .keys()
            .filter(|slot| slot.stack == *name && !wanted.contains(*slot))
            .map(|slot| Slot::clone(slot))
            .collect();
        for slot in surplus {
            self.retire_surplus(&slot, &services, removing, scene, actions);
        }
    }

    /// What is no longer desired goes, those first that others do not depend on.
    fn retire_surplus(
        &mut self,
        slot: &Slot,
        services: &Services,
        removing: bool,
        scene: &Scene<'_>,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let needed = removing
            && services.ordered.iter().any(|service| {
                service.depends_on.contains(&slot.service)
                    && scene.by_slot.iter().any(|(other, instances)| {
                        other.stack == slot.stack
                            && other.service == service.name
                            && instances.iter().any(|i| scene.up.contains(&i.node))
                    })
            });
        let (up, _) = scene.instances(slot);
        if let (false, Some(instance)) = (needed, up.first()) {
            let reason = match removing {
                true => "its stack is removed",
                false => "it is no longer wanted",
            };
            self.retire(instance, reason.to_owned(), scene.now, actions);
        }
    }

    fn reconcile_slot(
        &mut self,
        slot: &Slot,
        plan: Plan<'_>,
        scene: &Scene<'_>,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let Some(survivor) = scene.survivor(slot) else {
            if let Some(reason) = self.reason_to_wait(slot, &plan, scene) {
                self.notes.insert(slot.clone(), reason);
                return;
            }
            let epoch = self.epochs.get(slot).copied().unwrap_or_default() + 1;
            let kind = ActionKind::Create(Arc::clone(plan.service));
            self.act(slot, epoch, "being made", kind, scene.now, actions);
            return;
        };
        let (up, _) = scene.instances(slot);
        // Another one only goes once it is sure which one stays, or if it does not run anyway.
        if let Some(other) = up
            .iter()
            .filter(|other| (&other.node, &other.id) != (&survivor.node, &survivor.id))
            .find(|other| survivor.is_running() || !other.is_running())
        {
            let reason = format!(
                "epoch {} on node {} is the one that stays",
                survivor.epoch,
                self.losses.name(&survivor.node)
            );
            self.retire(other, reason, scene.now, actions);
            return;
        }
        if survivor.state == WorkloadState::Dead {
            let reason = "the engine says it is dead".to_owned();
            self.retire(survivor, reason, scene.now, actions);
        } else if survivor.fingerprint != plan.fingerprint {
            if *plan.exchange || !scene.is_ready(slot) {
                *plan.exchange = false;
                let reason = "its specification changed".to_owned();
                self.retire(survivor, reason, scene.now, actions);
            } else {
                let note = "its specification changed: it is exchanged when the others are ready";
                self.notes.insert(slot.clone(), note.to_owned());
            }
        } else if wants_start(survivor) {
            self.start(slot, survivor, plan.service.at_most_one, scene.now, actions);
        }
    }

    fn start(
        &mut self,
        slot: &Slot,
        instance: &Instance,
        at_most_one: bool,
        now: Timestamp,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let own = (&instance.node, &instance.id);
        let other = self
            .claims
            .of(slot)
            .find(|(node, id)| (node, id) != own)
            .filter(|_| at_most_one);
        if let Some((node, _)) = other {
            let note = self.may_be_live(node);
            self.notes.insert(slot.clone(), note);
            return;
        }
        let tries = self.retries.get(slot).map(|retry| retry.backoff.attempts());
        let never_ran = instance.state == WorkloadState::Created;
        if never_ran && tries.is_some_and(|tries| tries >= START_TRIES) {
            let reason = "it could not be started there".to_owned();
            self.retire(instance, reason, now, actions);
            return;
        }
        let kind = ActionKind::Start {
            node: instance.node.clone(),
            id: instance.id.clone(),
        };
        self.act(slot, instance.epoch, "being started", kind, now, actions);
    }

    fn reason_to_wait(&self, slot: &Slot, plan: &Plan<'_>, scene: &Scene<'_>) -> Option<String> {
        let (_, lost) = scene.instances(slot);
        if !scene.settled {
            return Some("the control plane is still finding out what runs".to_owned());
        }
        if let Some((node, _)) = self.claims.of(slot).next() {
            return Some(match plan.service.at_most_one {
                true => self.may_be_live(node),
                false => format!(
                    "it was made on node {}, not seen yet",
                    self.losses.name(node)
                ),
            });
        }
        for instance in &lost {
            match self.losses.verdict(&instance.node, &self.policy, scene.now) {
                Verdict::Wait(reason) => return Some(reason),
                Verdict::Up | Verdict::Replace => {}
            }
        }
        if plan.service.at_most_one && !scene.complete {
            return Some("nodes that dial in may still come back with it".to_owned());
        }
        if plan.service.at_most_one
            && let Some(node) = self.losses.unknown().first()
        {
            return Some(format!(
                "node {node} was never reached: it may run there; declare the node dead to go on \
                 without it"
            ));
        }
        if !plan.waiting.is_empty() {
            return Some(format!("waits for {}", plan.waiting.join(", ")));
        }
        None
    }

    fn may_be_live(&self, node: &longshore_core::NodeId) -> String {
        format!(
            "it may still run on node {}: waits for the node, or for it to be declared dead",
            self.losses.name(node)
        )
    }

    fn retire(
        &mut self,
        instance: &Instance,
        reason: String,
        now: Timestamp,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let kind = ActionKind::Retire {
            node: instance.node.clone(),
            id: instance.id.clone(),
            reason,
        };
        self.act(
            &instance.slot,
            instance.epoch,
            super::RETIRING,
            kind,
            now,
            actions,
        );
    }

    /// Hands out an action, unless one goes on for the place or the last one failed just now.
    fn act(
        &mut self,
        slot: &Slot,
        epoch: u64,
        what: &'static str,
        kind: ActionKind,
        now: Timestamp,
        actions: &mut Vec<ReconcileAction>,
    ) {
        let create = match &kind {
            ActionKind::Create(service) => Some(service),
            _ => None,
        };
        if let Some(busy) = self.busy.get_mut(slot) {
            busy.would(create.map(|service| &**service));
            return;
        }
        if let Some(retry) = self.retries.get(slot)
            && retry.next > now
        {
            self.notes.insert(slot.clone(), retry.reason.clone());
            return;
        }
        let create = create.cloned();
        if create.is_some() {
            self.epochs.insert(slot.clone(), epoch);
        }
        self.next_op += 1;
        let op = self.next_op;
        self.busy.insert(
            slot.clone(),
            Busy {
                op,
                epoch,
                what,
                create,
                waits: None,
            },
        );
        actions.push(ReconcileAction {
            op,
            slot: slot.clone(),
            epoch,
            kind,
        });
    }
}

/// What is desired of a place.
struct Plan<'a> {
    service: &'a Arc<ServiceSpec>,
    fingerprint: &'a str,
    waiting: &'a [&'a str],
    exchange: &'a mut bool,
}

/// Whether an instance that does not run should. The engine itself starts again what its policy
/// says; what was stopped by hand under `unless-stopped` stays so.
fn wants_start(instance: &Instance) -> bool {
    match instance.state {
        WorkloadState::Created => true,
        WorkloadState::Exited => instance.restart == RestartPolicy::Always,
        _ => false,
    }
}

/// An instance that could not be started so often is made anew, perhaps elsewhere.
const START_TRIES: u32 = 3;
