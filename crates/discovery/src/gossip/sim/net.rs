//! Members and the network between them, in virtual time. Messages are passed on as they are:
//! encoding has tests in `wire.rs`, sealing in `seal.rs`, both together run over loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use longshore_core::{Random, SeededRandom, Timestamp};

use super::{
    super::{
        GossipTimes,
        machine::Machine,
        wire::{LARGEST, Message},
    },
    traffic::{Cause, Traffic},
};
use crate::agenda::Agenda;

pub(super) struct Net {
    pub(super) now: Timestamp,
    pub(super) nodes: Vec<Option<Machine>>,
    /// Which side of a partition each node is on.
    pub(super) side: Vec<u8>,
    pub(super) loss: f64,
    pub(super) sent: Traffic,
    random: SeededRandom,
    ids: Vec<u64>,
    agenda: Agenda<Event>,
    wakes: Vec<Timestamp>,
}

struct Event {
    node: usize,
    /// From whom; without one, it is time for something.
    message: Option<(usize, Message)>,
}

impl Net {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut net = Self {
            now: Timestamp::from_secs(1_000_000),
            nodes: Vec::new(),
            side: vec![0; count],
            loss: 0.01,
            sent: Traffic::default(),
            random: SeededRandom::new(seed),
            ids: vec![0; count],
            agenda: Agenda::default(),
            wakes: vec![Timestamp::ZERO; count],
        };
        for node in 0..count {
            net.nodes.push(None);
            net.start(node);
        }
        net
    }

    pub(super) fn start(&mut self, node: usize) {
        let random = Arc::new(SeededRandom::new(self.random.next_u64()));
        let (id, times) = (self.random.next_u64(), GossipTimes::default());
        let seeds = vec![address(0), address(1), address(2)];
        let mut machine = Machine::new(times, id, address(node), seeds, random, self.now);
        machine.set_payload(payload(node));
        self.ids[node] = id;
        self.nodes[node] = Some(machine);
        self.wakes[node] = Timestamp::ZERO;
        self.drain(node, Cause::Time);
    }

    /// Says goodbye and ends.
    pub(super) fn leave(&mut self, node: usize) {
        if let Some(machine) = &mut self.nodes[node] {
            machine.leave();
        }
        self.drain(node, Cause::Time);
        self.nodes[node] = None;
    }

    pub(super) fn run(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        while let Some((at, Event { node, message })) = self.agenda.next_until(end) {
            self.now = at;
            let Some(machine) = &mut self.nodes[node] else {
                continue;
            };
            let cause = match message {
                Some((from, message)) if self.side[node] == self.side[from] => {
                    let cause = Cause::of(&message);
                    machine.handle(address(from), message, self.now);
                    cause
                }
                None if self.wakes[node] == self.now => {
                    machine.tick(self.now);
                    Cause::Time
                }
                _ => continue,
            };
            self.drain(node, cause);
        }
        self.now = end;
    }

    /// Everybody who runs knows exactly who runs on the same side, and what they announce.
    pub(super) fn converged(&self) -> bool {
        let runs = |node: usize, side| self.nodes[node].is_some() && self.side[node] == side;
        let count = |side| {
            (0..self.nodes.len())
                .filter(|node| runs(*node, side))
                .count()
        };
        let counts = [count(0), count(1)];
        // Counting first: it is cheap, and rarely right by chance.
        self.running()
            .all(|(node, machine)| machine.others() + 1 == counts[usize::from(self.side[node])])
            && self.running().all(|(node, machine)| {
                let (mut count, side) = (0, self.side[node]);
                // Ids are unique, so as many right ones as there are members are all of them.
                machine.alive().inspect(|_| count += 1).all(|record| {
                    let other = index(record.address);
                    runs(other, side)
                        && record.id == self.ids[other]
                        && record.payload == payload(other)
                }) && count == counts[usize::from(side)]
            })
    }

    /// Seconds until converged.
    pub(super) fn converge(&mut self, limit: u64, what: &str) -> Result<u64, String> {
        for second in 0..limit {
            if self.converged() {
                return Ok(second);
            }
            self.run(1);
        }
        Err(self.describe(what, limit))
    }

    pub(super) fn describe(&self, what: &str, limit: u64) -> String {
        let counts = || self.running().map(|(_, machine)| machine.others() + 1);
        let (least, most) = (counts().min(), counts().max());
        format!(
            "{what}: not converged after {limit} s of virtual time; members know between {} and {} \
             members",
            least.unwrap_or(0),
            most.unwrap_or(0)
        )
    }

    /// The most that one member misses of those whom it could reach.
    pub(super) fn missed_on_the_own_side(&self) -> usize {
        let size = |side| {
            self.running()
                .filter(|(node, _)| self.side[*node] == side)
                .count()
        };
        let sizes = [size(0), size(1)];
        let missed = self.running().map(|(node, machine)| {
            let side = self.side[node];
            let records = machine
                .alive()
                .filter(|record| self.side[index(record.address)] == side);
            sizes[usize::from(side)] - records.count()
        });
        missed.max().unwrap_or(0)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &Machine)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(node, machine)| Some((node, machine.as_ref()?)))
    }

    /// Sends what a member has to send, and notes when it wants to be woken.
    fn drain(&mut self, node: usize, cause: Cause) {
        while let Some(machine) = &mut self.nodes[node]
            && let Some((to, message)) = machine.poll_transmit()
        {
            assert!(message.size() <= LARGEST, "{} bytes", message.size());
            self.sent.count(cause, &message);
            if self.random.unit() >= self.loss {
                let delay = Duration::from_micros(1000 + self.random.next_u64() % 50_000);
                self.at(self.now.after(delay), index(to), Some((node, message)));
            }
        }
        let Some(machine) = &self.nodes[node] else {
            return;
        };
        let soonest = self.now.after(Duration::from_micros(1));
        let deadline = machine.next_deadline().max(soonest);
        if self.wakes[node] <= self.now || deadline < self.wakes[node] {
            self.wakes[node] = deadline;
            self.at(deadline, node, None);
        }
    }

    fn at(&mut self, at: Timestamp, node: usize, message: Option<(usize, Message)>) {
        self.agenda.plan(at, Event { node, message });
    }
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(FIRST + node as u32).into(), 7946)
}

fn index(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => (u32::from(*v4.ip()) - FIRST) as usize,
        SocketAddr::V6(_) => unreachable!("nobody has one"),
    }
}

fn payload(node: usize) -> Bytes {
    format!("[{{\"endpoint\":\"n{node}:2375\"}}]").into()
}

const FIRST: u32 = 0x0a00_0000;
