use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use longshore_core::{
    Announcement, ClockExt, Discovery, Error, MembershipEvent, MembershipStream, NodeId, NodeName,
    Result, TunnelListener, WatchMode,
};
use tokio::sync::mpsc;

use super::{
    Inner, leading,
    members::{MemberChange, Members},
};
use crate::{
    TunnelSession,
    cluster::Announced,
    node::{Driver, Note, Source},
    pending, stack,
};

impl Inner {
    pub(super) fn start(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        self.shutdown
            .spawn_until(async move { follow_discovery(&inner).await });
        let inner = Arc::clone(self);
        self.shutdown
            .spawn_until(async move { follow_tunnels(&inner).await });
        let inner = Arc::clone(self);
        self.shutdown
            .spawn_until(async move { stack::follow(&inner).await });
        let inner = Arc::clone(self);
        self.shutdown
            .spawn_until(async move { pending::follow(&inner).await });
        if self.desired.is_some() {
            let inner = Arc::clone(self);
            self.shutdown.spawn_until(async move {
                if let Some(desired) = &inner.desired {
                    desired.follow(&inner).await;
                }
            });
        }
        if let Some(election) = self.election.clone() {
            let inner = Arc::clone(self);
            self.shutdown
                .spawn_until(async move { leading::follow(&inner, &election).await });
        }
        for listener in self.listeners.clone() {
            self.listen(listener);
        }
    }

    fn listen(self: &Arc<Self>, listener: Arc<dyn TunnelListener>) {
        let hub = self.hub.clone();
        let shutdown = self.shutdown.clone();
        self.shutdown
            .spawn_until(async move { hub.serve(listener, &shutdown).await });
    }

    fn add(self: &Arc<Self>, address: String, ip: String, announced: Announced, source: Source) {
        let slot = {
            let mut state = self.cluster.lock();
            state.add_node(&address, &ip, self.clock.now())
        };
        let Some(slot) = slot else {
            return;
        };
        let (notes, inbox) = mpsc::channel(INBOX);
        {
            let mut state = self.cluster.lock();
            state.set_inbox(slot, notes);
            state.set_announced(slot, announced);
        }
        let driver = Driver::new(Arc::clone(self), slot, address, source, inbox);
        self.shutdown.spawn_until(driver.run());
    }

    async fn note(&self, address: &str, note: Note) {
        let inbox = {
            let state = self.cluster.lock();
            state.slot_at(address).and_then(|slot| state.inbox(slot))
        };
        if let Some(inbox) = inbox {
            // A driver that is gone has nothing to be told.
            let _ = inbox.send(note).await;
        }
    }
}

/// Waits until an address is free again: the driver of a node that left takes a moment to end.
async fn wait_gone(inner: &Inner, address: &str) {
    loop {
        let mut left = std::pin::pin!(inner.left.notified());
        left.as_mut().enable();
        if inner.cluster.lock().slot_at(address).is_none() {
            return;
        }
        left.await;
    }
}

async fn follow_discovery(inner: &Arc<Inner>) {
    let sources = &inner.discoveries;
    let mut members = Members::new(sources.len(), inner.options.heartbeat);
    let mut watches: FuturesUnordered<BoxFuture<'static, Step>> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| next_step(index, source.watch()))
        .collect();
    let mut reads: FuturesUnordered<BoxFuture<'static, (usize, Result<Vec<Announcement>>)>> =
        FuturesUnordered::new();
    let mut silent: HashSet<usize> = (0..sources.len()).collect();
    loop {
        let mut heard = 0;
        let deadline = members.next_deadline();
        let tick = async {
            match deadline {
                Some(at) => inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(step) = watches.next(), if !watches.is_empty() => match step {
                Step::Event(index, event, rest) => {
                    if let MembershipEvent::Problem(error) = &event {
                        tracing::error!(
                            source = %sources[index].describe(),
                            "Discovery error: {}",
                            error.chain()
                        );
                    }
                    if matches!(event, MembershipEvent::Reset(_)) && silent.remove(&index) {
                        // Counted down below, once its nodes are in the cluster.
                        heard += 1;
                    }
                    members.handle(index, event, inner.clock.now());
                    watches.push(next_step(index, rest));
                }
                Step::Ended(index) => {
                    // A fixed set has said all; any other watch is begun again.
                    if sources[index].capabilities().watch != WatchMode::Fixed {
                        watches.push(watch_again(inner, index, Arc::clone(&sources[index])));
                    }
                }
            },
            Some((index, outcome)) = reads.next(), if !reads.is_empty() => {
                members.reread(index, outcome, inner.clock.now());
            }
            () = tick => members.tick(inner.clock.now()),
        }
        while let Some(change) = members.poll_output() {
            match change {
                MemberChange::Join(node) => {
                    let (address, ip) =
                        (node.endpoint.to_string(), node.endpoint.host().to_owned());
                    wait_gone(inner, &address).await;
                    let announced = Announced {
                        name: node.name.clone(),
                        labels: node.labels.clone(),
                    };
                    inner.add(address, ip, announced, Source::Announced(node));
                }
                MemberChange::Leave(endpoint) => {
                    let reason = "it is no longer announced by discovery".to_owned();
                    inner
                        .note(&endpoint.to_string(), Note::Removed(reason))
                        .await;
                }
                MemberChange::Stale(endpoint, stale) => {
                    let mut state = inner.cluster.lock();
                    if let Some(slot) = state.slot_at(&endpoint.to_string()) {
                        state.set_stale(slot, stale);
                    }
                }
                MemberChange::Reread(index) => {
                    let (inner, source) = (Arc::clone(inner), Arc::clone(&sources[index]));
                    reads.push(Box::pin(async move {
                        let limit = inner.options.call_timeout;
                        let listed = inner
                            .clock
                            .timeout(limit, "reading the discovery backend", source.list())
                            .await;
                        let nodes = listed
                            .and_then(|listed: Result<_, Error>| listed)
                            .map(|members| members.nodes);
                        (index, nodes)
                    }));
                }
            }
        }
        if heard > 0 {
            inner.silent_sources.fetch_sub(heard, Ordering::Relaxed);
            inner.changed.notify_one();
        }
    }
}

enum Step {
    Event(usize, MembershipEvent, MembershipStream),
    Ended(usize),
}

fn next_step(index: usize, mut watch: MembershipStream) -> BoxFuture<'static, Step> {
    Box::pin(async move {
        match watch.next().await {
            Some(event) => Step::Event(index, event, watch),
            None => Step::Ended(index),
        }
    })
}

fn watch_again(
    inner: &Arc<Inner>,
    index: usize,
    source: Arc<dyn Discovery>,
) -> BoxFuture<'static, Step> {
    let inner = Arc::clone(inner);
    Box::pin(async move {
        inner.clock.sleep(inner.options.heartbeat).await;
        next_step(index, source.watch()).await
    })
}

/// Turns the hub's sessions into nodes: a node that dials in for the first time is added, one that
/// comes back is tried at once, one that stays away is forgotten.
async fn follow_tunnels(inner: &Arc<Inner>) {
    let mut changes = inner.hub.changes();
    let mut known: HashMap<NodeId, u64> = HashMap::new();
    loop {
        let now = inner.clock.now();
        let sessions = inner.hub.sessions();
        for session in &sessions {
            let address = format!("tunnel://{}", session.node);
            match known.get(&session.node) {
                None => {
                    let ip = session
                        .remote
                        .as_ref()
                        .map(|remote| remote.host().to_owned())
                        .unwrap_or_default();
                    wait_gone(inner, &address).await;
                    let source = Source::Tunnel(session.node.clone());
                    inner.add(address, ip, announced_by(session), source);
                }
                Some(before) if *before != session.generation && session.live => {
                    {
                        let mut state = inner.cluster.lock();
                        if let Some(slot) = state.slot_at(&address) {
                            state.set_announced(slot, announced_by(session));
                        }
                    }
                    inner.note(&address, Note::DialledIn).await;
                }
                Some(_) => {}
            }
            known.insert(session.node.clone(), session.generation);
            let mut state = inner.cluster.lock();
            if let Some(slot) = state.slot_at(&format!("tunnel://{}", session.node)) {
                state.set_agent_says(slot, session.engine_error.clone());
            }
        }
        let forget = inner.options.tunnel_forget;
        let mut next = None;
        for session in sessions.iter().filter(|session| !session.live) {
            let due = session.since.after(forget);
            if due <= now {
                let address = format!("tunnel://{}", session.node);
                let reason = "its agent has not dialled in for long".to_owned();
                inner.note(&address, Note::Removed(reason)).await;
                inner.hub.forget(&session.node);
                known.remove(&session.node);
            } else {
                next = Some(next.map_or(due, |next| due.min(next)));
            }
        }
        let tick = async {
            match next {
                Some(at) => inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return;
            },
            () = tick => {}
        }
    }
}

/// A node is who its certificate says, whatever its agent and its engine call it.
fn announced_by(session: &TunnelSession) -> Announced {
    Announced {
        name: NodeName::new(session.node.as_str()).ok(),
        labels: session.labels.clone(),
    }
}

/// Notes to a node's driver that may wait.
const INBOX: usize = 64;
