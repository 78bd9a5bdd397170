use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use longshore_core::{
    BoxFuture, ClockExt, DeviceId, Engine, Error, ErrorKind, NodeHealth, NodeId, PlacementRequest,
    PullOptions, RegistryCredentials, RemoveOptions, Result, WorkloadId, WorkloadSpec,
};

use tokio::sync::oneshot;

use super::{
    ActionKind, ActionOutcome, Instance, Observed, ObservedNode, ReconcileAction, ServiceSpec,
    observed::condition,
};
use crate::{
    Admission, ClusterEvent, NodeView, Pending,
    devices::{self, DEVICES_LABEL},
    node,
    pending::Owner,
    plane::Inner,
    registry::registry_of,
};

/// Compares desired with observed whenever one of them changes, and carries out what follows.
pub(crate) async fn follow(inner: &Arc<Inner>) {
    let mut jobs: FuturesUnordered<BoxFuture<'static, Option<u64>>> = FuturesUnordered::new();
    // Told to a create that waits for room and is not wanted any more, by the action's number.
    let mut withdrawals: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    loop {
        let now = inner.clock.now();
        let idle = inner.stacks().is_idle();
        let deadline = match idle {
            true => None,
            false => {
                let latest = now.after(TICK);
                let due = inner.stacks().next_deadline(now);
                Some(due.map_or(latest, |due| due.min(latest)))
            }
        };
        let tick = async {
            match deadline {
                Some(at) => inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = inner.changed.notified() => inner.clock.sleep(GATHER).await,
            Some(done) = jobs.next(), if !jobs.is_empty() => {
                done.and_then(|op| withdrawals.remove(&op));
            }
            () = tick => {}
        }
        if inner.stacks().is_idle() {
            continue;
        }
        if !inner.leads() {
            let withdrawn = {
                let mut stacks = inner.stacks();
                stacks.withdraw_all();
                stacks.take_withdrawn()
            };
            withdraw(&mut withdrawals, &withdrawn);
            continue;
        }
        let observed = observe(inner);
        let now = inner.clock.now();
        let (actions, alarms, over, withdrawn) = {
            let mut stacks = inner.stacks();
            let actions = stacks.reconcile(&observed, now);
            let withdrawn = stacks.take_withdrawn();
            (actions, stacks.take_alarms(), stacks.take_over(), withdrawn)
        };
        withdraw(&mut withdrawals, &withdrawn);
        for name in over {
            let inner = Arc::clone(inner);
            jobs.push(Box::pin(async move {
                if let Some(desired) = &inner.desired {
                    desired.forget(&inner, &name).await;
                }
                None
            }));
        }
        for reason in alarms {
            tracing::error!("{reason}");
            inner.events.push(ClusterEvent::Alarm { at: now, reason });
        }
        for action in actions {
            let inner = Arc::clone(inner);
            let (withdraw, withdrawn) = oneshot::channel();
            withdrawals.insert(action.op, withdraw);
            jobs.push(
                async move {
                    let op = action.op;
                    carry_out(&inner, action, withdrawn).await;
                    Some(op)
                }
                .boxed(),
            );
        }
    }
}

fn withdraw(waiting: &mut HashMap<u64, oneshot::Sender<()>>, ops: &[u64]) {
    for told in ops.iter().filter_map(|op| waiting.remove(op)) {
        // It may just have ended by itself.
        let _ = told.send(());
    }
}

/// The cluster as stacks see it.
pub(crate) fn observe(inner: &Inner) -> Observed {
    let now = inner.clock.now();
    let (views, managed) = {
        let state = inner.cluster.lock();
        (state.views_with_listing(), state.managed())
    };
    let reached = views
        .iter()
        .all(|(view, _)| view.health != NodeHealth::Pending);
    let uptime = now.since(inner.started_at());
    let options = &inner.options;
    let dialling = inner.dialling;
    let grace = options.node_loss_grace.max(options.settle);
    let nodes = views
        .into_iter()
        .map(|(view, listed_at)| ObservedNode {
            condition: condition(view.health, view.since, view.health_indicator),
            id: view.id,
            name: view.name,
            listed_at,
        })
        .collect();
    Observed {
        nodes,
        instances: managed
            .iter()
            .filter_map(|view| Instance::read(view))
            .collect(),
        settled: uptime >= options.settle || (inner.membership_known() && reached && !dialling),
        complete: uptime >= grace || (inner.membership_known() && !dialling),
    }
}

async fn carry_out(inner: &Arc<Inner>, action: ReconcileAction, withdrawn: oneshot::Receiver<()>) {
    let outcome = match &action.kind {
        _ if !inner.leads() => ActionOutcome::NotMade("another manager leads now".to_owned()),
        ActionKind::Create(service) => create(inner, &action, service, withdrawn).await,
        ActionKind::Start { node, id } => start(inner, &action, node, id).await,
        ActionKind::Retire { node, id, reason } => {
            tracing::info!(slot = %action.slot, %node, container = %id, "retiring: {reason}");
            retire(inner, &action, node, id).await
        }
    };
    match &outcome {
        ActionOutcome::Done | ActionOutcome::GivenUp => {}
        ActionOutcome::NotMade(reason) | ActionOutcome::Failed(reason) => {
            tracing::warn!(slot = %action.slot, epoch = action.epoch, "{reason}");
        }
    }
    let now = inner.clock.now();
    inner.stacks().finish(&action, outcome, now, &*inner.random);
    inner.changed.notify_one();
}

/// Finds a node, waiting for room if there is none; makes, claims and starts an instance there. Where
/// an engine refuses to make it, the next ranked node is tried.
async fn create(
    inner: &Arc<Inner>,
    action: &ReconcileAction,
    service: &ServiceSpec,
    withdrawn: oneshot::Receiver<()>,
) -> ActionOutcome {
    let not_made = |error: Error| ActionOutcome::NotMade(error.chain());
    // Many may wait at a time: what is made is spelled out when there is room for it.
    let specify = || service.workload(&action.slot, action.epoch);
    let request = match specify() {
        Ok(spec) => service.request(&action.slot, &spec),
        Err(error) => return not_made(error),
    };
    let admitted = tokio::select! {
        admitted = admit(inner, action, request) => admitted,
        Ok(()) = withdrawn => return ActionOutcome::GivenUp,
    };
    let mut admission = match admitted {
        Ok(admission) => admission,
        // The name is taken: another epoch has another name.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return ActionOutcome::Failed(error.chain());
        }
        Err(error) => return not_made(error),
    };
    let spec = match specify() {
        Ok(spec) => spec,
        Err(error) => return not_made(error),
    };
    let mut sure = true;
    loop {
        if let Err(error) = inner.stacks().check(action) {
            return not_made(error);
        }
        let made = match admission.node() {
            Ok(view) => {
                let spec = on_node(&spec, &view, admission.devices());
                let credentials = service.registry_credentials.as_deref();
                make(inner, &view, &spec, credentials).await
            }
            Err(error) => Err(error),
        };
        let error = match made {
            Ok((engine, id)) => {
                let node = admission.node_id().clone();
                admission.fulfil(&id);
                return start_on(inner, action, &node, &*engine, &id).await;
            }
            Err(error) => error,
        };
        // An engine that did not answer may have made it, or make it yet. It is not started, so it
        // is not live; but its epoch is used up.
        sure &= !node::is_connection_failure(&error);
        let text = error.chain();
        match admission.next().await {
            Ok(true) => tracing::info!(slot = %action.slot, "{text}: trying the next node"),
            _ if sure => return ActionOutcome::NotMade(text),
            _ => return ActionOutcome::Failed(text),
        }
    }
}

/// Waits until a node can take it, as long as that takes: what could help is what wakes it.
async fn admit(
    inner: &Arc<Inner>,
    action: &ReconcileAction,
    request: PlacementRequest,
) -> Result<Admission> {
    let owner = Owner::Stack(action.slot.stack.clone());
    let mut pending = Pending::take(inner, request, owner, None)?;
    if let Some(waiting) = pending.view() {
        tracing::warn!(slot = %action.slot, epoch = action.epoch, "waits for room: {}", waiting.reason);
        inner.stacks().waits(action, waiting.reason);
        // What is desired may have changed meanwhile.
        inner.changed.notify_one();
    }
    pending.admitted().await
}

/// Tells the program inside where it is, unless the template does, and names its devices.
fn on_node(spec: &WorkloadSpec, node: &NodeView, devices: &[DeviceId]) -> WorkloadSpec {
    let mut spec = spec.clone();
    spec.devices = devices.to_vec();
    spec.labels.remove(DEVICES_LABEL);
    if !devices.is_empty() {
        spec.labels
            .insert(DEVICES_LABEL, devices::to_label(devices));
    }
    spec.env.insert(0, format!("LONGSHORE_NODE={}", node.name));
    spec
}

async fn make(
    inner: &Inner,
    node: &NodeView,
    spec: &WorkloadSpec,
    credentials: Option<&str>,
) -> Result<(Arc<dyn Engine>, WorkloadId)> {
    let engine = engine_of(node)?;
    let create = || async {
        inner
            .clock
            .timeout(
                inner.options.call_timeout,
                "making a container",
                engine.create(spec),
            )
            .await?
    };
    let made = match create().await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            pull(inner, &*engine, &spec.image, credentials).await?;
            create().await
        }
        made => made,
    };
    made.map(|id| (Arc::clone(&engine), id))
}

async fn pull(
    inner: &Inner,
    engine: &dyn Engine,
    image: &str,
    credentials: Option<&str>,
) -> Result<()> {
    let mut options = PullOptions::default();
    if let Some(name) = credentials {
        options.credentials = Some(credentials_for(inner, name, image).await?);
    }
    let pulled = async {
        let mut steps = engine.pull(image, &options).await?;
        while let Some(step) = steps.next().await {
            step?;
        }
        Ok(())
    };
    inner
        .clock
        .timeout(PULL_LIMIT, "pulling the image", pulled)
        .await?
}

/// As they are now: not kept from pull to pull (S25).
async fn credentials_for(inner: &Inner, name: &str, image: &str) -> Result<RegistryCredentials> {
    let Some(registries) = &inner.registries else {
        return Err(Error::invalid(format!(
            "it names the registry credentials {name}, and this manager has none: give it a source"
        )));
    };
    let asked = registries.credentials(name, registry_of(image));
    let limit = inner.options.call_timeout;
    let clock = &inner.clock;
    clock
        .timeout(limit, "asking for registry credentials", asked)
        .await?
}

async fn start(
    inner: &Arc<Inner>,
    action: &ReconcileAction,
    node: &NodeId,
    id: &WorkloadId,
) -> ActionOutcome {
    match reach(inner, node) {
        Ok(engine) => start_on(inner, action, node, &*engine, id).await,
        Err(error) => ActionOutcome::Failed(error.chain()),
    }
}

/// Claims before it starts: from the moment of the call on it may be live, whatever is answered.
async fn start_on(
    inner: &Arc<Inner>,
    action: &ReconcileAction,
    node: &NodeId,
    engine: &dyn Engine,
    id: &WorkloadId,
) -> ActionOutcome {
    let now = inner.clock.now();
    if let Err(error) = inner.stacks().claim(action, node, id, now) {
        return ActionOutcome::Failed(error.chain());
    }
    let limit = inner.options.call_timeout;
    let started = inner
        .clock
        .timeout(limit, "starting a container", engine.start(id))
        .await
        .and_then(|started| started);
    look(inner, node, engine, id).await;
    match started {
        Ok(()) => ActionOutcome::Done,
        Err(error) => ActionOutcome::Failed(error.chain()),
    }
}

async fn retire(
    inner: &Arc<Inner>,
    action: &ReconcileAction,
    node: &NodeId,
    id: &WorkloadId,
) -> ActionOutcome {
    if let Err(error) = inner.stacks().check(action) {
        return ActionOutcome::Failed(error.chain());
    }
    let engine = match reach(inner, node) {
        Ok(engine) => engine,
        Err(error) => return ActionOutcome::Failed(error.chain()),
    };
    let clock = &inner.clock;
    let ended = async {
        let limit = STOP_GRACE + inner.options.call_timeout;
        let gone = |outcome: Result<()>| match outcome {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let stopping = engine.stop(id, STOP_GRACE);
        gone(
            clock
                .timeout(limit, "stopping a container", stopping)
                .await?,
        )?;
        let removing = engine.remove(id, RemoveOptions::default());
        gone(
            clock
                .timeout(limit, "removing a container", removing)
                .await?,
        )
    };
    let outcome: Result<()> = ended.await;
    look(inner, node, &*engine, id).await;
    match outcome {
        Ok(()) => ActionOutcome::Done,
        Err(error) => ActionOutcome::Failed(error.chain()),
    }
}

/// The next comparison shall see what was done, and not wait for the event about it.
async fn look(inner: &Inner, node: &NodeId, engine: &dyn Engine, id: &WorkloadId) {
    let slot = inner.cluster.lock().slot_of(node);
    if let Some(slot) = slot
        && let Err(error) = node::observe(inner, slot, engine, id).await
    {
        tracing::debug!(%node, container = %id, error = %error.chain(), "cannot look at it");
    }
}

fn reach(inner: &Inner, node: &NodeId) -> Result<Arc<dyn Engine>> {
    let view = {
        let state = inner.cluster.lock();
        state.slot_of(node).and_then(|slot| state.view(slot))
    };
    engine_of(&view.ok_or_else(|| Error::unavailable(format!("node {node} left")))?)
}

fn engine_of(node: &NodeView) -> Result<Arc<dyn Engine>> {
    node.engine
        .clone()
        .ok_or_else(|| Error::unavailable(format!("node {} has no engine yet", node.name)))
}

/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// At least so often desired and observed are compared.
const TICK: Duration = Duration::from_secs(5);
/// How long a retired instance may take to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a pull may take.
const PULL_LIMIT: Duration = Duration::from_secs(600);
