mod claims;
mod forget;
mod loss;
mod services;
mod slots;
mod status;
mod waits;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use longshore_core::{
    Backoff, Error, ErrorKind, NodeId, Random, Result, ServiceName, Timestamp, WorkloadId,
};

pub(super) use self::status::SlotStatus;
use self::{claims::Claims, loss::Losses, services::Services};
use super::{Instance, Observed, ServiceSpec, Slot, StackSpec};
use crate::PlaneOptions;

/// When lost work is replaced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackPolicy {
    /// How long a node must be lost before its instances are replaced.
    pub grace: Duration,
    /// The share of nodes whose loss within `window` stops all replacement.
    pub mass_ratio: f64,
    /// Losses within this time count as one event.
    pub window: Duration,
    /// Longest time between two tries of what failed.
    pub retry_cap: Duration,
}

impl From<&PlaneOptions> for StackPolicy {
    fn from(options: &PlaneOptions) -> Self {
        Self {
            grace: options.node_loss_grace,
            mass_ratio: options.mass_failure_ratio,
            window: options.mass_failure_window,
            retry_cap: options.retry_cap,
        }
    }
}

/// One step towards what is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconcileAction {
    /// Its number; tell [`Reconciler::finish`].
    pub op: u64,
    /// The place that it is about.
    pub slot: Slot,
    /// The epoch that it makes or is about.
    pub epoch: u64,
    /// What to do.
    pub kind: ActionKind,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionKind {
    /// Find a node, make an instance there, [claim](Reconciler::claim) it, start it.
    Create(Arc<ServiceSpec>),
    /// [Claim](Reconciler::claim) it and start it.
    Start {
        /// Where it is.
        node: NodeId,
        /// The container.
        id: WorkloadId,
    },
    /// Stop it and remove it, without its volumes.
    Retire {
        /// Where it is.
        node: NodeId,
        /// The container.
        id: WorkloadId,
        /// Why.
        reason: String,
    },
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionOutcome {
    /// It was done.
    Done,
    /// No engine was asked to make anything, or each refused: nothing was made.
    NotMade(String),
    /// It was [withdrawn](Reconciler::take_withdrawn) while it waited for room: nothing was made.
    GivenUp,
    /// It failed, and something may have happened.
    Failed(String),
}

/// Brings what is there to what is desired, as a pure state machine: told what is desired and what
/// is observed, it says what to do next, one action per place at a time. It waits for nothing and
/// asks nobody.
///
/// What it holds to: never two live instances of an at-most-one service; no action on an epoch older
/// than the newest; a node must be lost for the grace period before its work is replaced; when many
/// nodes are lost at once, none of their work is replaced and one alarm says so; instances that it
/// does not know are left alone.
#[derive(Debug)]
pub struct Reconciler {
    policy: StackPolicy,
    stacks: BTreeMap<ServiceName, Stack>,
    /// The highest epoch given out or seen.
    epochs: BTreeMap<Slot, u64>,
    busy: BTreeMap<Slot, Busy>,
    retries: BTreeMap<Slot, Retry>,
    notes: BTreeMap<Slot, String>,
    claims: Claims,
    losses: Losses,
    next_op: u64,
    alarms: Vec<String>,
    keeps_removed: bool,
    /// Kept stacks of which nothing is left, to be told of.
    over: Vec<ServiceName>,
    /// Creates that wait for room and are to be given up, to be told of.
    withdrawn: Vec<u64>,
    /// When each of them is told of again.
    forget_at: BTreeMap<ServiceName, Timestamp>,
}

#[derive(Debug)]
struct Stack {
    services: Arc<Services>,
    removing: bool,
}

#[derive(Debug)]
struct Busy {
    op: u64,
    epoch: u64,
    what: &'static str,
    /// What is being made, if anything.
    create: Option<Arc<ServiceSpec>>,
    waits: Option<Waits>,
}

/// A create that no node can take yet.
#[derive(Debug)]
struct Waits {
    reason: String,
    /// Whether it is still what would be made.
    wanted: bool,
}

#[derive(Debug)]
struct Retry {
    backoff: Backoff,
    next: Timestamp,
    reason: String,
}

impl Reconciler {
    /// Nothing desired.
    pub fn new(policy: StackPolicy) -> Self {
        Self {
            policy,
            stacks: BTreeMap::new(),
            epochs: BTreeMap::new(),
            busy: BTreeMap::new(),
            retries: BTreeMap::new(),
            notes: BTreeMap::new(),
            claims: Claims::default(),
            losses: Losses::default(),
            next_op: 0,
            alarms: Vec::new(),
            keeps_removed: false,
            over: Vec::new(),
            withdrawn: Vec::new(),
            forget_at: BTreeMap::new(),
        }
    }

    /// Desires a stack; a stack of the same name is changed to it. Instances that are there already
    /// are taken over by their labels, also while a stack of that name is being removed.
    ///
    /// # Errors
    /// As [`StackSpec::ordered`].
    pub fn deploy(&mut self, spec: StackSpec) -> Result<()> {
        let services = Arc::new(Services::of(spec)?);
        let name = services.name.clone();
        self.forget_at.remove(&name);
        self.retries.retain(|slot, _| slot.stack != name);
        let removing = false;
        self.stacks.insert(name, Stack { services, removing });
        Ok(())
    }

    /// As [`deploy`](Self::deploy) or [`remove`](Self::remove), where that would change something.
    pub(super) fn desire(&mut self, spec: StackSpec, removing: bool) -> Result<()> {
        let name = spec.name.clone();
        let same = |stack: &Stack| stack.services.are_of(&spec) && stack.removing == removing;
        if self.stacks.get(&name).is_some_and(same) {
            return Ok(());
        }
        self.deploy(spec)?;
        if removing {
            self.remove(name.as_str())?;
        }
        Ok(())
    }

    /// Desires that nothing of a stack is there. It is forgotten when that is so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such stack.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        match self.stacks.get_mut(name) {
            Some(stack) => {
                stack.removing = true;
                self.retries.retain(|slot, _| slot.stack.as_str() != name);
                Ok(())
            }
            None => Err(no_stack(name)),
        }
    }

    /// Takes an operator's word that nothing runs on a node any more, given by id, or by address if
    /// it was never reached. It holds until the node answers again.
    pub fn declare_dead(&mut self, node: &str) {
        self.losses.declare_dead(node);
        self.claims.drop_node(node);
    }

    /// Whether the node was ever seen, or is waited for.
    pub(crate) fn remembers(&self, node: &str) -> bool {
        self.losses.remembers(node) || self.claims.holds_node(node)
    }

    /// Whether there is anything to care for.
    pub(crate) fn is_idle(&self) -> bool {
        self.stacks.is_empty() && self.busy.is_empty()
    }

    /// The stacks' names.
    pub fn stacks(&self) -> Vec<ServiceName> {
        self.stacks.keys().cloned().collect()
    }

    /// Says what to do now.
    pub fn reconcile(&mut self, observed: &Observed, now: Timestamp) -> Vec<ReconcileAction> {
        let careful: BTreeSet<Slot> = self.at_most_one_slots();
        self.losses
            .observe(observed, &self.policy, now, &mut self.alarms);
        self.claims.observe(observed, &careful, &self.losses);
        for instance in &observed.instances {
            let epoch = self.epochs.entry(instance.slot.clone()).or_default();
            *epoch = instance.epoch.max(*epoch);
        }
        self.notes.clear();
        let scene = slots::Scene::new(observed, &self.losses, now);
        let mut actions = Vec::new();
        self.doubt_waits();
        let names: Vec<ServiceName> = self.stacks.keys().cloned().collect();
        for name in &names {
            self.reconcile_stack(name, &scene, &mut actions);
        }
        self.withdraw();
        self.forget(&names, &scene, now);
        actions
    }

    /// Whether an action is still to be carried out. Ask right before every call that changes
    /// something.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when a newer action or epoch has taken its place.
    pub fn check(&self, action: &ReconcileAction) -> Result<()> {
        let newest = self.epochs.get(&action.slot).copied().unwrap_or_default();
        let current = self
            .busy
            .get(&action.slot)
            .is_some_and(|busy| busy.op == action.op);
        let create = matches!(action.kind, ActionKind::Create(_));
        if current && !(create && action.epoch < newest) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Stale,
            format!(
                "the action on epoch {} of {} is stale: the newest epoch is {newest}",
                action.epoch, action.slot
            ),
        ))
    }

    /// Says that a container is about to be started for a place: from here on it may be live. Must
    /// be told before the engine is.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn claim(
        &mut self,
        action: &ReconcileAction,
        node: &NodeId,
        id: &WorkloadId,
        now: Timestamp,
    ) -> Result<()> {
        self.check(action)?;
        self.claims
            .add(action.slot.clone(), node.clone(), id.clone(), now);
        Ok(())
    }

    /// Says how an action ended.
    pub fn finish(
        &mut self,
        action: &ReconcileAction,
        outcome: ActionOutcome,
        now: Timestamp,
        random: &dyn Random,
    ) {
        let slot = &action.slot;
        if self.busy.get(slot).is_none_or(|busy| busy.op != action.op) {
            return;
        }
        let busy = self.busy.remove(slot);
        let nothing_made = matches!(outcome, ActionOutcome::NotMade(_) | ActionOutcome::GivenUp);
        // Nobody has this epoch: the next try may.
        if nothing_made
            && busy.is_some_and(|busy| busy.create.is_some())
            && let Some(epoch) = self.epochs.get_mut(slot)
            && *epoch == action.epoch
        {
            *epoch -= 1;
        }
        let reason = match outcome {
            ActionOutcome::Done => {
                self.retries.remove(slot);
                return;
            }
            ActionOutcome::GivenUp => return,
            ActionOutcome::NotMade(reason) | ActionOutcome::Failed(reason) => reason,
        };
        let cap = self.policy.retry_cap;
        let retry = self.retries.entry(slot.clone()).or_insert_with(|| Retry {
            backoff: Backoff::new(FIRST_RETRY.min(cap), cap),
            next: now,
            reason: String::new(),
        });
        retry.next = now.after(retry.backoff.next_delay(random));
        retry.reason = reason;
    }

    /// What an operator must be told, each thing once.
    pub fn take_alarms(&mut self) -> Vec<String> {
        std::mem::take(&mut self.alarms)
    }

    /// When something is due even if nothing changes.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let retries = self.retries.values().map(|retry| retry.next);
        retries
            .chain(self.losses.deadlines(&self.policy))
            .filter(|at| *at > now)
            .min()
    }

    fn at_most_one_slots(&self) -> BTreeSet<Slot> {
        self.stacks
            .values()
            .flat_map(|stack| {
                let careful = stack.services.ordered.iter();
                careful
                    .filter(|service| service.at_most_one)
                    .map(|service| Slot::new(&stack.services.name, service, 1))
            })
            .collect()
    }
}

pub(super) fn no_stack(name: &str) -> Error {
    Error::not_found(format!("No such stack: {name}"))
}

const RETIRING: &str = "being removed";
/// The first retry comes after this much at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
