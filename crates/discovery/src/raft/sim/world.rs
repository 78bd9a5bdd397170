//! Members, their disks and the network between them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use longshore_core::{Random, Result as CoreResult, SeededRandom, Timestamp};

use super::{
    super::{
        RaftTimes,
        command::Outcome,
        message::Message,
        node::{Compaction, Loaded, Node, NodeOptions, Save, Ticket},
        wire,
    },
    clients::Clients,
    disk,
};
use crate::agenda::Agenda;

pub(super) type Problem = String;

/// How much happened.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) terms: u64,
    pub(super) increments: u64,
    pub(super) crashes: u64,
    pub(super) lost_disks: u64,
    pub(super) snapshots: u64,
    pub(super) holders: u64,
    pub(super) watched: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.terms += other.terms;
        self.increments += other.increments;
        self.crashes += other.crashes;
        self.lost_disks += other.lost_disks;
        self.snapshots += other.snapshots;
        self.holders += other.holders;
        self.watched += other.watched;
    }
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) seen: Seen,
    pub(super) random: SeededRandom,
    pub(super) members: Vec<Member>,
    names: Vec<String>,
    clients: Option<Clients>,
    agenda: Agenda<Event>,
    /// From whom to whom nothing arrives.
    blocked: Vec<Vec<bool>>,
    loss: f64,
    troubled: bool,
    /// What members agreed on, by index.
    agreed: BTreeMap<u64, (u64, Bytes)>,
    leaders: BTreeMap<u64, usize>,
    answers: VecDeque<(usize, u64, Ticket, CoreResult<Outcome>)>,
}

pub(super) struct Member {
    pub(super) node: Option<Node>,
    /// Counts starts; calls and writes of an earlier one come to nothing.
    pub(super) epoch: u64,
    disk: Loaded,
    saving: Option<(Save, Vec<(usize, Message)>)>,
    inbox: VecDeque<(usize, Bytes)>,
    /// Its clock's speed, in parts per thousand.
    rate: u64,
    checked: u64,
    /// How often in a row there was more to do at once.
    spins: u32,
    wake: Timestamp,
}

enum What {
    Deliver(usize, Bytes),
    Wake,
    Saved(u64),
    Clients,
    Trouble,
}

struct Event {
    member: usize,
    what: What,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let count = if seed.is_multiple_of(4) { 5 } else { 3 };
        let names: Vec<String> = (0..count).map(|member| format!("m{member}")).collect();
        let member = |nonce| Member {
            node: None,
            epoch: 0,
            disk: disk::new(&names, nonce, 0),
            saving: None,
            inbox: VecDeque::new(),
            rate: 990 + random.next_u64() % 21,
            checked: 0,
            spins: 0,
            wake: Timestamp::ZERO,
        };
        let members = (0..count).map(|_| member(random.next_u64())).collect();
        let mut world = Self {
            now: Timestamp::from_secs(1000),
            seen: Seen::default(),
            members,
            clients: Some(Clients::new(count)),
            agenda: Agenda::default(),
            blocked: vec![vec![false; count]; count],
            loss: 0.0,
            troubled: true,
            agreed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            answers: VecDeque::new(),
            names,
            random,
        };
        for member in 0..count {
            world.start(member);
        }
        world
    }

    /// Trouble for a while, then peace; all has to be well in the end.
    pub(super) fn run(&mut self) -> Result<(), Problem> {
        self.at(Duration::ZERO, 0, What::Clients);
        self.at(Duration::from_secs(3), 0, What::Trouble);
        self.run_until(self.now.after(TROUBLED))?;
        self.heal();
        self.run_until(self.now.after(PEACEFUL))?;
        self.seen.terms = self.leaders.len() as u64;
        let mut clients = self.clients.take().expect("they are between two steps");
        let result = clients.finish(self);
        self.clients = Some(clients);
        result
    }

    fn run_until(&mut self, end: Timestamp) -> Result<(), Problem> {
        while let Some((at, Event { member, what })) = self.agenda.next_until(end) {
            self.now = at;
            match what {
                What::Deliver(from, bytes) => {
                    if self.members[member].node.is_some() {
                        self.members[member].inbox.push_back((from, bytes));
                        self.pump(member)?;
                    }
                }
                What::Wake if self.members[member].wake == self.now => self.pump(member)?,
                What::Wake => {}
                What::Saved(epoch) => self.saved(member, epoch)?,
                What::Clients => {
                    let mut clients = self.clients.take().expect("they are between two steps");
                    let result = clients.step(self);
                    self.clients = Some(clients);
                    result?;
                    self.at(Duration::from_millis(10), 0, What::Clients);
                }
                What::Trouble => {
                    self.trouble();
                    let wait = 50 + self.random.next_u64() % 1500;
                    self.at(Duration::from_millis(wait), 0, What::Trouble);
                }
            }
            self.tell_answers()?;
        }
        self.now = end;
        Ok(())
    }

    fn tell_answers(&mut self) -> Result<(), Problem> {
        while let Some((member, epoch, ticket, answer)) = self.answers.pop_front() {
            let mut clients = self.clients.take().expect("they are between two steps");
            let result = clients.answer(self, (member, epoch, ticket), answer);
            self.clients = Some(clients);
            result?;
        }
        Ok(())
    }

    /// A member's own time.
    pub(super) fn local(&self, member: usize) -> Timestamp {
        Timestamp::from_micros(
            self.now.as_micros() / 1000 * self.members[member].rate
                + self.now.as_micros() % 1000 * self.members[member].rate / 1000,
        )
    }

    fn start(&mut self, member: usize) {
        let random = Arc::new(SeededRandom::new(self.random.next_u64()));
        let local = self.local(member);
        let this = &mut self.members[member];
        this.disk.identity.incarnation += 1;
        this.epoch += 1;
        let options = NodeOptions {
            me: member,
            names: self.names.clone(),
            times: RaftTimes::default(),
            compaction: Compaction {
                entries: 60,
                bytes: 1 << 20,
                trail: 20,
            },
        };
        let node = Node::new(options, this.disk.clone(), random, local);
        this.node = Some(node.expect("a disk that was written by us"));
        this.checked = 0;
        this.wake = self.now;
        self.at(Duration::ZERO, member, What::Wake);
    }

    fn crash(&mut self, member: usize) {
        self.seen.crashes += 1;
        let this = &mut self.members[member];
        this.node = None;
        this.inbox.clear();
        // A write that was under way is there, or not.
        if let Some((save, _)) = this.saving.take()
            && self.random.next_u64().is_multiple_of(2)
        {
            disk::write(&mut self.members[member].disk, save);
        }
    }

    /// Runs a member as far as it goes, as the driver does.
    pub(super) fn pump(&mut self, member: usize) -> Result<(), Problem> {
        let local = self.local(member);
        let this = &mut self.members[member];
        let Some(node) = this.node.as_mut().filter(|_| this.saving.is_none()) else {
            return Ok(());
        };
        while let Some((from, bytes)) = this.inbox.pop_front() {
            let (cluster, message) = wire::decode(bytes).map_err(|error| error.to_string())?;
            node.handle(from, cluster, message, local);
        }
        node.tick(local);
        let ready = node.ready(local);
        let (cluster, deadline) = (node.cluster(), node.next_deadline());
        let rest = deadline.since(local).as_micros() as u64;
        let epoch = this.epoch;
        while let Some((ticket, answer)) = node.poll_answer() {
            self.answers.push_back((member, epoch, ticket, answer));
        }
        self.members[member].spins = match deadline <= local {
            true => self.members[member].spins + 1,
            false => 0,
        };
        if self.members[member].spins > 3 {
            return Err(format!("m{member} is never done: a driver would spin"));
        }
        self.check(member)?;
        self.send(member, cluster, ready.at_once);
        if ready.save.is_empty() {
            self.send(member, cluster, ready.once_saved);
            // Never early, whatever the clock's speed.
            let wait = Duration::from_micros(rest * 1000 / self.members[member].rate + 2);
            self.members[member].wake = self.now.after(wait);
            self.at(wait, member, What::Wake);
            return Ok(());
        }
        self.seen.snapshots += u64::from(ready.save.snapshot.is_some());
        self.members[member].saving = Some((ready.save, ready.once_saved));
        let wait = match self.random.next_u64() % 400 {
            // A disk that stalls.
            0 if self.troubled => Duration::from_millis(self.random.next_u64() % 3000),
            _ => Duration::from_micros(200 + self.random.next_u64() % 8000),
        };
        self.at(wait, member, What::Saved(epoch));
        Ok(())
    }

    fn saved(&mut self, member: usize, epoch: u64) -> Result<(), Problem> {
        let this = &mut self.members[member];
        if this.epoch != epoch {
            return Ok(());
        }
        let (Some(node), Some((save, messages))) = (this.node.as_mut(), this.saving.take()) else {
            return Ok(());
        };
        let up_to = save.up_to;
        disk::write(&mut this.disk, save);
        node.saved(up_to);
        let cluster = node.cluster();
        self.send(member, cluster, messages);
        self.pump(member)
    }

    fn send(&mut self, from: usize, cluster: Option<u128>, messages: Vec<(usize, Message)>) {
        for (to, message) in messages {
            let bytes = wire::encode(cluster, &message);
            let copies = match self.random.next_u64() % 50 {
                0 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                if self.blocked[from][to] || self.random.unit() < self.loss {
                    continue;
                }
                let delay = match self.random.next_u64() % 200 {
                    0 => Duration::from_millis(self.random.next_u64() % 5000),
                    _ => Duration::from_micros(300 + self.random.next_u64() % 20_000),
                };
                self.at(delay, to, What::Deliver(from, bytes.clone()));
            }
        }
    }

    /// One leader per term, and one entry per place.
    fn check(&mut self, member: usize) -> Result<(), Problem> {
        let this = &mut self.members[member];
        let Some(node) = &this.node else {
            return Ok(());
        };
        if node.is_leader() {
            let other = *self.leaders.entry(node.term()).or_insert(member);
            if other != member {
                return Err(format!(
                    "m{other} and m{member} lead in term {}",
                    node.term()
                ));
            }
        }
        let applied = node.machine().applied.index;
        let base = node.log().base().index;
        for index in this.checked.max(base) + 1..=applied {
            let Some(entry) = node.log().entry(index) else {
                continue;
            };
            let ours = (entry.at.term, entry.data.clone());
            let agreed = self.agreed.entry(index).or_insert_with(|| ours.clone());
            if *agreed != ours {
                return Err(format!(
                    "m{member} has another entry {index} than was agreed on"
                ));
            }
        }
        this.checked = applied;
        Ok(())
    }

    fn heal(&mut self) {
        self.loss = 0.0;
        self.troubled = false;
        self.unblock();
        for member in 0..self.members.len() {
            if self.members[member].node.is_none() {
                self.start(member);
            }
        }
        self.agenda
            .retain(|event| !matches!(event.what, What::Trouble));
    }

    fn unblock(&mut self) {
        for row in &mut self.blocked {
            row.fill(false);
        }
    }

    fn trouble(&mut self) {
        let count = self.members.len();
        let member = self.random.next_u64() as usize % count;
        match self.random.next_u64() % 12 {
            // A partition.
            0 | 1 => {
                let side = self.random.next_u64();
                for from in 0..count {
                    for to in 0..count {
                        self.blocked[from][to] = (side >> from) & 1 != (side >> to) & 1;
                    }
                }
            }
            // One member hears nothing, or is not heard.
            2 => {
                for other in (0..count).filter(|other| *other != member) {
                    self.blocked[other][member] = true;
                }
            }
            3 => {
                for other in (0..count).filter(|other| *other != member) {
                    self.blocked[member][other] = true;
                }
            }
            4..=6 => self.unblock(),
            7 => self.loss = self.random.unit() * 0.3,
            8 => self.loss = 0.0,
            9 | 10 => match self.members[member].node.is_some() {
                true => self.crash(member),
                false => self.start(member),
            },
            _ => {
                // As many as a majority can make up for: one, when all others have all they had.
                let is_whole = |node: &Node| node.cluster().is_some() && !node.is_joining();
                let whole = |member: &Member| member.node.as_ref().is_some_and(is_whole);
                if self.members.iter().all(whole) {
                    self.crash(member);
                    self.seen.lost_disks += 1;
                    let incarnation = self.members[member].disk.identity.incarnation;
                    let nonce = self.random.next_u64();
                    // Its clock may have gone back.
                    let incarnation = incarnation.saturating_sub(self.random.next_u64() % 4);
                    self.members[member].disk = disk::new(&self.names, nonce, incarnation);
                    self.start(member);
                }
            }
        }
    }

    pub(super) fn describe(&self) -> String {
        let members = self.members.iter().enumerate();
        let one = |(number, member): (usize, &Member)| match &member.node {
            None => format!("m{number} is down"),
            Some(node) => format!(
                "m{number} in term {}, led by {:?}, log to {:?}, applied {}, joining {:?}, cluster {:?}",
                node.term(),
                node.leader(),
                node.log().last(),
                node.machine().applied.index,
                member.disk.identity.joining,
                node.cluster(),
            ),
        };
        members.map(one).collect::<Vec<_>>().join("; ")
    }

    /// Something was asked of a member from outside.
    pub(super) fn wake(&mut self, member: usize) {
        self.members[member].wake = self.now;
        self.at(Duration::ZERO, member, What::Wake);
    }

    fn at(&mut self, wait: Duration, member: usize, what: What) {
        self.agenda
            .plan(self.now.after(wait), Event { member, what });
    }
}

const TROUBLED: Duration = Duration::from_secs(40);
const PEACEFUL: Duration = Duration::from_secs(20);
