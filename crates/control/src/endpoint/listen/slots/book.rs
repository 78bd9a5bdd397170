use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use tokio::sync::Notify;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) handshaking: usize,
    pub(super) idle: usize,
    /// Of one peer's address.
    pub(super) per_peer: usize,
}

/// Which connections there are, and which of them wait, those that have waited longest first.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    entries: HashMap<u64, Entry>,
    /// By when they began to wait.
    handshaking: BTreeMap<u64, u64>,
    idle: BTreeMap<u64, u64>,
    peers: HashMap<IpAddr, Peer>,
    next: u64,
    turned_away: u64,
}

#[derive(Debug)]
struct Entry {
    peer: Option<IpAddr>,
    phase: Phase,
    evicted: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Handshaking(u64),
    Idle(u64),
    Busy,
}

#[derive(Debug, Default)]
struct Peer {
    count: usize,
    waiting: BTreeMap<u64, u64>,
}

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            handshaking: BTreeMap::new(),
            idle: BTreeMap::new(),
            peers: HashMap::new(),
            next: 0,
            turned_away: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.limits.all
            || !self.idle.is_empty()
            || !self.handshaking.is_empty()
    }

    pub(super) fn enter(
        &mut self,
        peer: Option<IpAddr>,
        handshakes: bool,
        evicted: Arc<Notify>,
    ) -> Option<u64> {
        let of_peer = peer.and_then(|peer| self.peers.get(&peer));
        if let Some(of_peer) = of_peer.filter(|peer| peer.count >= self.limits.per_peer) {
            let Some((_, &oldest)) = of_peer.waiting.first_key_value() else {
                self.turned_away += 1;
                return None;
            };
            self.evict(oldest);
        }
        if self.entries.len() >= self.limits.all {
            // Who got as far as a request has shown more than who only knocked.
            let mut waiting = self.handshaking.values().chain(self.idle.values());
            // There was room when it was accepted; if the last that waited has work since, it is one
            // more than allowed.
            if let Some(oldest) = waiting.next().copied() {
                self.evict(oldest);
            }
        }
        let id = self.number();
        let entry = Entry {
            peer,
            phase: Phase::Busy,
            evicted,
        };
        self.entries.insert(id, entry);
        if let Some(peer) = peer {
            self.peers.entry(peer).or_default().count += 1;
        }
        let order = self.number();
        let phase = if handshakes {
            Phase::Handshaking(order)
        } else {
            Phase::Idle(order)
        };
        self.set(id, phase);
        Some(id)
    }

    pub(super) fn wait(&mut self, id: u64) {
        let order = self.number();
        self.set(id, Phase::Idle(order));
    }

    pub(super) fn work(&mut self, id: u64) -> bool {
        self.set(id, Phase::Busy);
        self.entries.contains_key(&id)
    }

    pub(super) fn leave(&mut self, id: u64) -> Option<Arc<Notify>> {
        self.set(id, Phase::Busy);
        let entry = self.entries.remove(&id)?;
        if let Some(peer) = entry.peer
            && let Some(known) = self.peers.get_mut(&peer)
        {
            known.count -= 1;
            if known.count == 0 {
                self.peers.remove(&peer);
            }
        }
        Some(entry.evicted)
    }

    /// How many were closed or refused since the last time.
    pub(super) fn take_turned_away(&mut self) -> u64 {
        std::mem::take(&mut self.turned_away)
    }

    fn evict(&mut self, id: u64) {
        if let Some(evicted) = self.leave(id) {
            evicted.notify_one();
            self.turned_away += 1;
        }
    }

    fn set(&mut self, id: u64, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut entry.phase, phase);
        let mut of_peer = entry.peer.and_then(|peer| self.peers.get_mut(&peer));
        match old {
            Phase::Handshaking(order) => self.handshaking.remove(&order),
            Phase::Idle(order) => self.idle.remove(&order),
            Phase::Busy => None,
        };
        if let (Phase::Handshaking(order) | Phase::Idle(order), Some(peer)) = (old, &mut of_peer) {
            peer.waiting.remove(&order);
        }
        let (among, limit, order) = match phase {
            Phase::Handshaking(order) => (&mut self.handshaking, self.limits.handshaking, order),
            Phase::Idle(order) => (&mut self.idle, self.limits.idle, order),
            Phase::Busy => return,
        };
        among.insert(order, id);
        if let Some(peer) = of_peer {
            peer.waiting.insert(order, id);
        }
        if among.len() > limit
            && let Some((_, &oldest)) = among.first_key_value()
        {
            self.evict(oldest);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests;
