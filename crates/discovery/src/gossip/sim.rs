//! A thousand members in virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use longshore_core::{Random, SeededRandom, Timestamp};

use super::{GossipTimes, machine::Machine};

struct Net {
    now: Timestamp,
    random: SeededRandom,
    nodes: Vec<Option<Machine>>,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: std::collections::BTreeMap<u64, Event>,
    numbers: u64,
    /// Which side of a partition each node is on.
    side: Vec<u8>,
    wakes: Vec<Timestamp>,
    loss: f64,
}

enum Event {
    Wake(usize),
    Arrive {
        to: usize,
        from: usize,
        data: Vec<u8>,
    },
}

fn address(index: usize) -> SocketAddr {
    let ip = Ipv4Addr::from(0x0a00_0000 + index as u32);
    SocketAddr::new(ip.into(), 7946)
}

fn index(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => (u32::from(*v4.ip()) - 0x0a00_0000) as usize,
        SocketAddr::V6(_) => unreachable!("nobody has one"),
    }
}

impl Net {
    fn new(count: usize, seed: u64) -> Self {
        let mut net = Self {
            now: Timestamp::from_secs(1_000_000),
            random: SeededRandom::new(seed),
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            events: std::collections::BTreeMap::new(),
            numbers: 0,
            side: vec![0; count],
            wakes: vec![Timestamp::ZERO; count],
            loss: 0.01,
        };
        for node in 0..count {
            net.nodes.push(None);
            net.start(node);
        }
        net
    }

    fn start(&mut self, node: usize) {
        let random = Arc::new(SeededRandom::new(self.random.next_u64()));
        let (id, times) = (self.random.next_u64(), GossipTimes::default());
        let seeds = vec![address(0), address(1), address(2)];
        let mut machine = Machine::new(times, id, address(node), seeds, random, self.now);
        machine.set_payload(Bytes::from(format!(
            "[{{\"endpoint\":\"10.0.0.{node}:2375\"}}]"
        )));
        self.nodes[node] = Some(machine);
        self.wakes[node] = Timestamp::ZERO;
        self.drain(node);
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.numbers += 1;
        self.events.insert(self.numbers, event);
        self.queue.push(Reverse((at, self.numbers)));
    }

    fn drain(&mut self, node: usize) {
        let Some(machine) = &mut self.nodes[node] else {
            return;
        };
        let mut out = Vec::new();
        while let Some(datagram) = machine.poll_transmit() {
            out.push(datagram);
        }
        let deadline = machine
            .next_deadline()
            .max(self.now.after(Duration::from_micros(1)));
        for (to, data) in out {
            assert!(data.len() <= super::wire::LARGEST, "{} bytes", data.len());
            if self.random.unit() >= self.loss {
                let delay = Duration::from_micros(1000 + self.random.next_u64() % 50_000);
                let (to, from) = (index(to), node);
                self.at(self.now.after(delay), Event::Arrive { to, from, data });
            }
        }
        if self.wakes[node] <= self.now || deadline < self.wakes[node] {
            self.wakes[node] = deadline;
            self.at(deadline, Event::Wake(node));
        }
    }

    fn run_until(&mut self, end: Timestamp) {
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            let node = match self.events.remove(&number) {
                Some(Event::Wake(node)) if self.wakes[node] == at => {
                    if let Some(machine) = &mut self.nodes[node] {
                        machine.tick(at);
                    }
                    node
                }
                Some(Event::Arrive { to, from, data }) if self.side[to] == self.side[from] => {
                    if let Some(machine) = &mut self.nodes[to] {
                        machine.handle(address(from), &data, at);
                    }
                    to
                }
                _ => continue,
            };
            self.drain(node);
        }
        self.now = end;
    }

    fn run(&mut self, seconds: u64) {
        self.run_until(self.now.after(Duration::from_secs(seconds)));
    }

    /// Everybody who runs knows everybody who runs and nobody else, on each side by itself.
    fn converged(&self) -> bool {
        let running = |side: u8| -> BTreeSet<SocketAddr> {
            let all = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_some());
            all.filter(|node| self.side[*node] == side)
                .map(address)
                .collect()
        };
        let sides = [running(0), running(1)];
        let nodes = || self.nodes.iter().zip(&self.side);
        let mut counts = nodes().filter_map(|(machine, side)| Some((machine.as_ref()?, side)));
        // Counting first: it is cheap, and rarely right by chance.
        counts.all(|(machine, side)| machine.others() + 1 == sides[usize::from(*side)].len())
            && nodes().all(|(machine, side)| {
                let expected = &sides[usize::from(*side)];
                let mut known = machine.iter().flat_map(Machine::alive);
                known.all(|record| expected.contains(&record.address))
            })
    }

    /// Seconds until converged.
    #[track_caller]
    fn converge(&mut self, limit: u64, what: &str) -> u64 {
        for second in 0..limit {
            if self.converged() {
                return second;
            }
            self.run(1);
        }
        panic!("{what}: not converged after {limit} s of virtual time");
    }

    fn sent(&self) -> u64 {
        self.nodes
            .iter()
            .flatten()
            .map(|machine| machine.sent)
            .sum()
    }

    /// Messages per node and second within the next seconds.
    fn rate(&mut self, seconds: u64) -> f64 {
        let before = self.sent();
        self.run(seconds);
        (self.sent() - before) as f64 / (self.nodes.len() as f64 * seconds as f64)
    }
}

#[test]
fn a_thousand_members_converge_after_a_partition_of_30_percent_heals() {
    let mut net = Net::new(1000, 42);
    let joined = net.converge(60, "joining");
    net.run(90);
    let steady = net.rate(10);
    for node in 0..300 {
        // The seeds are on the smaller side.
        net.side[node] = 1;
    }
    let before = net.sent();
    let split = net.converge(240, "both sides of the partition");
    let splitting = (net.sent() - before) as f64 / (1000.0 * split as f64);
    net.run(30);
    net.side.fill(0);
    let before = net.sent();
    let healed = net.converge(120, "the healed cluster");
    let healing = (net.sent() - before) as f64 / (1000.0 * healed as f64);
    println!(
        "1,000 members: joined in {joined} s, both sides agreed in {split} s, healed in {healed} s; \
         messages per node and second: {steady:.2} steady, {splitting:.2} while splitting, \
         {healing:.2} while healing"
    );
    assert!(
        steady < 6.0,
        "{steady} messages per node and second in a calm cluster"
    );
    assert!(
        healing < 40.0,
        "{healing} messages per node and second while healing"
    );
}

#[test]
fn dead_members_are_found_and_those_that_start_again_replace_themselves() {
    let mut net = Net::new(60, 7);
    net.loss = 0.05;
    net.converge(60, "joining");
    for node in [5, 6, 7] {
        net.nodes[node] = None;
    }
    let found = net.converge(90, "three died");
    assert!(found > 1);
    for node in [5, 6, 7, 8] {
        net.start(node);
    }
    net.converge(90, "four started again");
    if let Some(machine) = &mut net.nodes[9] {
        machine.leave();
    }
    net.drain(9);
    net.nodes[9] = None;
    let left = net.converge(20, "one left");
    assert!(left < found, "saying goodbye is faster than dying");
}

#[test]
fn nobody_is_declared_dead_in_a_lossy_network() {
    let mut net = Net::new(40, 3);
    net.loss = 0.15;
    net.converge(90, "joining");
    let mut wrong = 0;
    for _ in 0..300 {
        net.run(1);
        wrong += u32::from(!net.converged());
    }
    assert_eq!(wrong, 0, "seconds in which somebody was missed");
}
