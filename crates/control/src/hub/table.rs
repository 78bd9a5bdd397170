use std::{collections::BTreeMap, sync::Arc};

use longshore_core::{Carrier, NodeId, Timestamp};

use super::TunnelSession;

/// Which session of which node counts: pure bookkeeping of epochs.
#[derive(Debug)]
pub(super) struct Table {
    nodes: BTreeMap<NodeId, Entry>,
    limit: usize,
    generations: u64,
}

#[derive(Debug)]
struct Entry {
    session: TunnelSession,
    carrier: Option<Arc<dyn Carrier>>,
}

/// What becomes of a hello.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is welcome. The carrier that it replaces is to be closed.
    Welcome {
        generation: u64,
        replaced: Option<Arc<dyn Carrier>>,
    },
    /// It is not.
    Refused(String),
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            limit,
            generations: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn hello(
        &mut self,
        mut session: TunnelSession,
        carrier: Arc<dyn Carrier>,
    ) -> Verdict {
        if let Some(known) = self.nodes.get(&session.node) {
            if known.session.live && session.epoch <= known.session.epoch {
                return Verdict::Refused(format!(
                    "stale epoch {}: a session of this node with epoch {} is live",
                    session.epoch, known.session.epoch
                ));
            }
        } else if self.nodes.len() >= self.limit {
            return Verdict::Refused(format!(
                "the control plane holds {} nodes already and takes no more",
                self.limit
            ));
        }
        self.generations += 1;
        let generation = self.generations;
        session.generation = generation;
        let entry = Entry {
            carrier: Some(carrier),
            session,
        };
        let replaced = self
            .nodes
            .insert(entry.session.node.clone(), entry)
            .and_then(|old| old.carrier);
        Verdict::Welcome {
            generation,
            replaced,
        }
    }

    /// Ends a session, unless a later one has taken its place. Says whether it did.
    pub(super) fn end(
        &mut self,
        node: &NodeId,
        generation: u64,
        reason: &str,
        now: Timestamp,
    ) -> bool {
        match self.nodes.get_mut(node) {
            Some(entry) if entry.session.generation == generation && entry.session.live => {
                entry.session.live = false;
                entry.session.since = now;
                entry.session.ended = Some(reason.to_owned());
                entry.carrier = None;
                true
            }
            _ => false,
        }
    }

    /// Takes what an agent says of its engine. Says whether that is news.
    pub(super) fn engine(&mut self, node: &NodeId, generation: u64, error: Option<String>) -> bool {
        match self.nodes.get_mut(node) {
            Some(entry) if entry.session.generation == generation => {
                let news = entry.session.engine_error != error;
                entry.session.engine_error = error;
                news
            }
            _ => false,
        }
    }

    pub(super) fn carrier(&self, node: &NodeId) -> Option<(u64, Arc<dyn Carrier>)> {
        let entry = self.nodes.get(node)?;
        let carrier = Arc::clone(entry.carrier.as_ref()?);
        Some((entry.session.generation, carrier))
    }

    pub(super) fn absence(&self, node: &NodeId) -> String {
        match self.nodes.get(node).map(|entry| &entry.session) {
            None => "its agent has not dialled in".to_owned(),
            Some(session) => format!(
                "{}, at {}",
                session.ended.as_deref().unwrap_or("its connection ended"),
                session.since
            ),
        }
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        if self
            .nodes
            .get(node)
            .is_some_and(|entry| !entry.session.live)
        {
            self.nodes.remove(node);
        }
    }

    pub(super) fn sessions(&self) -> Vec<TunnelSession> {
        self.nodes
            .values()
            .map(|entry| {
                let mut session = entry.session.clone();
                session.round_trip = entry
                    .carrier
                    .as_ref()
                    .and_then(|carrier| carrier.round_trip());
                session
            })
            .collect()
    }
}
