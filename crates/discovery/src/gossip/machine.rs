//! Membership as a pure state machine: no clock, no socket, no encryption.
//!
//! SWIM (Das, Gupta, Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process Group
//! Membership Protocol*, DSN 2002): each period one member is probed, directly and then through
//! others; who does not answer is suspected, and declared dead unless it objects with a higher
//! version; news travel on the probes. From Lifeguard (Dadgar, Phillips, Currey, *Lifeguard:
//! SWIM-ing with Situational Awareness*, 2017): suspicion that shortens with independent accusers,
//! and a member that doubts its own health probes slower. Anti-entropy after Demers et al.,
//! *Epidemic Algorithms for Replicated Database Maintenance*, PODC 1987: two members compare
//! digests and tell each other what differs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use longshore_core::{Random, Timestamp};

use super::{
    GossipTimes,
    id_map::IdMap,
    member::Member,
    wire::{BUCKETS, Kind, LARGEST, Message, Record, Status},
};

mod compare;
mod news;
mod probe;
mod records;

use news::News;
use probe::Probe;

#[derive(Debug)]
pub(super) struct Machine {
    times: GossipTimes,
    random: Arc<dyn Random>,
    own: Arc<Record>,
    seeds: Vec<SocketAddr>,
    members: IdMap<Member>,
    by_address: BTreeMap<SocketAddr, u64>,
    digest: Box<[u32; BUCKETS]>,
    /// Whom to probe next: everybody once before anybody twice.
    order: Vec<u64>,
    position: usize,
    lost: BTreeSet<u64>,
    suspicions: BTreeSet<(Timestamp, u64)>,
    news: News,
    probe: Option<Probe>,
    /// Pings for others: our sequence, theirs, who asked, and until when.
    errands: VecDeque<(u64, u64, SocketAddr, Timestamp)>,
    sequence: u64,
    /// Lifeguard's local health: 0 is good.
    doubt: u32,
    next_probe: Timestamp,
    next_gossip: Timestamp,
    next_compare: Timestamp,
    next_call: Timestamp,
    outbox: VecDeque<(SocketAddr, Message)>,
    changes: u64,
}

impl Machine {
    pub(super) fn new(
        times: GossipTimes,
        id: u64,
        address: SocketAddr,
        seeds: Vec<SocketAddr>,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Self {
        let own = Arc::new(Record {
            id,
            version: now.as_micros(),
            status: Status::Alive,
            accuser: id,
            address,
            payload: Bytes::new(),
        });
        // Who starts at the same moment does not probe at the same moment.
        let spread = |time: Duration| now.after(time.mul_f64(random.unit()));
        Self {
            next_probe: spread(times.probe),
            next_gossip: spread(times.gossip),
            next_compare: spread(times.compare),
            next_call: now,
            times,
            own,
            seeds,
            members: IdMap::default(),
            by_address: BTreeMap::new(),
            digest: Box::new([0; BUCKETS]),
            order: Vec::new(),
            position: 0,
            lost: BTreeSet::new(),
            suspicions: BTreeSet::new(),
            news: News::default(),
            probe: None,
            errands: VecDeque::new(),
            sequence: random.next_u64(),
            random,
            doubt: 0,
            outbox: VecDeque::new(),
            changes: 0,
        }
    }

    /// Grows with every change of [`alive`](Self::alive).
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Everybody who is there, this one included.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Record> {
        let others = self.members.values().map(|member| &*member.record);
        let others = others.filter(|record| record.status <= Status::Suspect);
        std::iter::once(&*self.own)
            .filter(|own| own.status == Status::Alive)
            .chain(others)
    }

    /// How many others are there.
    #[cfg(test)]
    pub(super) fn others(&self) -> usize {
        self.order.len()
    }

    /// Says something else about this member.
    pub(super) fn set_payload(&mut self, payload: Bytes) {
        if self.own.payload != payload {
            let own = Arc::make_mut(&mut self.own);
            own.payload = payload;
            own.version += 1;
            self.changes += 1;
            self.spread(self.own.id);
        }
    }

    /// Says goodbye, to some at once; they tell the others.
    pub(super) fn leave(&mut self) {
        let own = Arc::make_mut(&mut self.own);
        own.version += 1;
        own.status = Status::Left;
        self.changes += 1;
        for _ in 0..2 * FANOUT {
            if let Some(address) = self.pick() {
                let records = vec![self.own.clone()];
                self.send(address, Kind::Tell, records);
            }
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Message)> {
        self.outbox.pop_front()
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        let probe = self.probe.as_ref();
        let probe = probe.map(|probe| probe.indirect_at.unwrap_or(probe.ends));
        let suspicion = self.suspicions.first().map(|(at, _)| *at);
        let gossip = (!self.news.is_empty()).then_some(self.next_gossip);
        [
            probe,
            suspicion,
            gossip,
            // With one under way, the next one waits for it.
            self.probe.is_none().then_some(self.next_probe),
            Some(self.next_compare),
            Some(self.next_call),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.next_call)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.own.status != Status::Alive {
            return;
        }
        while let Some((at, id)) = self.suspicions.first().copied()
            && at <= now
        {
            self.suspicions.pop_first();
            self.declare_dead(id, now);
        }
        self.probe(now);
        if now >= self.next_gossip && !self.news.is_empty() {
            self.next_gossip = now.after(self.times.gossip);
            for _ in 0..FANOUT {
                if let Some(address) = self.pick() {
                    let records = self.take_news(LARGEST - 9);
                    if !records.is_empty() {
                        self.send(address, Kind::Tell, records);
                    }
                }
            }
        }
        if now >= self.next_compare {
            self.next_compare = now.after(self.jittered(self.times.compare));
            if let Some(address) = self.pick() {
                self.compare(address, false);
            }
        }
        if now >= self.next_call {
            self.next_call = now.after(self.jittered(self.times.reconnect));
            self.call_lost(now);
        }
    }

    /// Takes a message in.
    pub(super) fn handle(&mut self, from: SocketAddr, message: Message, now: Timestamp) {
        if self.own.status != Status::Alive || message.sender == self.own.id {
            return;
        }
        for record in message.records {
            self.learn(record, now);
        }
        match message.kind {
            Kind::Ping { sequence, target } if target == self.own.id => {
                // Who is wrongly suspected says so at once.
                let records = self.take_news(LARGEST - 17);
                self.send(from, Kind::Ack { sequence }, records);
            }
            Kind::Ping { .. } => {}
            Kind::PingFor {
                sequence,
                target,
                address,
            } => {
                let own = self.next_sequence();
                let until = now.after(self.times.probe * 2);
                if self.errands.len() >= MOST_ERRANDS {
                    self.errands.pop_front();
                }
                self.errands.push_back((own, sequence, from, until));
                let ping = Kind::Ping {
                    sequence: own,
                    target,
                };
                self.send(address, ping, Vec::new());
            }
            Kind::Ack { sequence } => self.acknowledged(sequence, now),
            Kind::Compare { digest, answer } => {
                self.tell_differences(from, &digest);
                if !answer && digest != self.own_digest() {
                    self.compare(from, true);
                }
            }
            Kind::Tell => {}
        }
    }

    fn pick(&self) -> Option<SocketAddr> {
        let at = (self.random.next_u64() as usize) % self.order.len().max(1);
        let id = self.order.get(at)?;
        Some(self.members.get(id)?.record.address)
    }

    fn shuffle(&mut self) {
        for last in (1..self.order.len()).rev() {
            let other = (self.random.next_u64() as usize) % (last + 1);
            self.order.swap(last, other);
        }
    }

    fn send(&mut self, to: SocketAddr, kind: Kind, records: Vec<Arc<Record>>) {
        let sender = self.own.id;
        let message = Message {
            sender,
            kind,
            records,
        };
        self.outbox.push_back((to, message));
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn jittered(&self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.2 * self.random.unit())
    }
}

/// Whom news are told at a time, and who is asked to probe.
const FANOUT: usize = 3;
const MOST_DOUBT: u32 = 8;
const MOST_ERRANDS: usize = 256;
