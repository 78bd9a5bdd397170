//! Clients that know what they may see.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use longshore_core::{
    ErrorKind, Expect, KvEvent, LeaseId, PutOptions, Random, Result as CoreResult, Revision,
    Timestamp, TransactionOp,
};

use super::{
    super::{
        command::{Action, Outcome},
        node::Ticket,
    },
    world::{Problem, World},
};
use crate::memory_kv::Told;

type Call = (usize, u64, Ticket);

pub(super) struct Clients {
    counters: Vec<Counter>,
    lockers: Vec<Locker>,
    watchers: Vec<Watcher>,
    waiting: BTreeMap<Call, Who>,
    /// Values of the counter that somebody knows to have written.
    won: BTreeSet<u64>,
    /// Values that may or may not have been written.
    unknown: BTreeSet<u64>,
    /// The least that whoever begins to read now has to see.
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Counter(usize),
    Locker(usize),
    Watcher(usize),
}

#[derive(Debug, Default)]
struct Counter {
    pause: Timestamp,
    state: Counting,
}

#[derive(Clone, Copy, Debug, Default)]
enum Counting {
    #[default]
    Idle,
    Reading {
        floor: u64,
    },
    Writing {
        value: u64,
    },
}

#[derive(Debug, Default)]
struct Locker {
    pause: Timestamp,
    lease: Option<LeaseId>,
    /// Until when it may act, if it holds the lock.
    acts_until: Option<Timestamp>,
    state: Locking,
    asked: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
enum Locking {
    #[default]
    Idle,
    Granting,
    Taking,
    Keeping,
    Leaving,
}

#[derive(Debug, Default)]
struct Watcher {
    member: usize,
    behind: Revision,
    value: u64,
    reading: bool,
    pause: Timestamp,
}

impl Clients {
    pub(super) fn new(members: usize) -> Self {
        Self {
            counters: (0..4).map(|_| Counter::default()).collect(),
            lockers: (0..3).map(|_| Locker::default()).collect(),
            watchers: (0..2)
                .map(|number| Watcher {
                    member: number % members,
                    ..Watcher::default()
                })
                .collect(),
            waiting: BTreeMap::new(),
            won: BTreeSet::new(),
            unknown: BTreeSet::new(),
            floor: 0,
        }
    }

    /// Begins what is to be begun.
    pub(super) fn step(&mut self, world: &mut World) -> Result<(), Problem> {
        self.forget_the_crashed(world);
        for number in 0..self.counters.len() {
            let counter = &mut self.counters[number];
            if matches!(counter.state, Counting::Idle) && counter.pause <= world.now {
                counter.state = Counting::Reading { floor: self.floor };
                if self.call(world, Who::Counter(number), None).is_none() {
                    self.counters[number].state = Counting::Idle;
                }
            }
        }
        for number in 0..self.lockers.len() {
            self.lock(world, number);
        }
        for number in 0..self.watchers.len() {
            self.watch(world, number)?;
        }
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        world: &mut World,
        call: Call,
        answer: CoreResult<Outcome>,
    ) -> Result<(), Problem> {
        match self.waiting.remove(&call) {
            None => Ok(()),
            Some(Who::Counter(number)) => self.counted(world, number, call.0, answer),
            Some(Who::Locker(number)) => self.locked(world, number, answer),
            Some(Who::Watcher(number)) => {
                self.watchers[number].reading = false;
                if answer.is_ok()
                    && let Some(node) = &world.members[call.0].node
                {
                    let watcher = &mut self.watchers[number];
                    watcher.member = call.0;
                    watcher.behind = node.machine().store.revision();
                    watcher.value = value_at(world, call.0).1;
                }
                Ok(())
            }
        }
    }

    /// Nothing acknowledged is missing, nothing happened twice, and every member works.
    pub(super) fn finish(&mut self, world: &mut World) -> Result<(), Problem> {
        for member in 0..world.members.len() {
            let (_, value) = value_at(world, member);
            if !world.members[member].node.as_ref().is_some_and(|node| {
                node.leader().is_some() && node.cluster().is_some() && !node.is_joining()
            }) {
                return Err(format!("m{member} has not recovered: {}", world.describe()));
            }
            let least = self.won.last().copied().unwrap_or(0);
            // Writes go on, so a member may be a few behind.
            if value + 20 < least {
                return Err(format!(
                    "m{member} is at {value}, {least} were acknowledged"
                ));
            }
            let is_known = |value: &u64| self.won.contains(value) || self.unknown.contains(value);
            let writing = self
                .counters
                .iter()
                .filter_map(|counter| match counter.state {
                    Counting::Writing { value } => Some(value),
                    _ => None,
                });
            let writing: BTreeSet<u64> = writing.collect();
            if let Some(strange) = (1..=value).find(|v| !is_known(v) && !writing.contains(v)) {
                return Err(format!("m{member}: {strange} was refused, and written"));
            }
        }
        world.seen.increments = self.won.len() as u64;
        let before = world.now.before(Duration::from_secs(10));
        if self.counters.iter().any(|counter| counter.pause < before) {
            return Err("a call was never answered".to_owned());
        }
        Ok(())
    }

    /// A crash ends the calls of a member, and leaves open what came of them.
    fn forget_the_crashed(&mut self, world: &World) {
        let is_gone = |call: &Call| {
            let member = &world.members[call.0];
            member.node.is_none() || member.epoch != call.1
        };
        let gone: Vec<(Call, Who)> = self
            .waiting
            .extract_if(.., |call, _| is_gone(call))
            .collect();
        for (_, who) in gone {
            match who {
                Who::Counter(number) => {
                    let counter = &mut self.counters[number];
                    if let Counting::Writing { value } = counter.state {
                        self.unknown.insert(value);
                    }
                    counter.state = Counting::Idle;
                    counter.pause = world.now;
                }
                Who::Locker(number) => self.lockers[number].state = Locking::Idle,
                Who::Watcher(number) => self.watchers[number].reading = false,
            }
        }
    }

    /// Calls any member that runs: a change, or a confirmation.
    fn call(&mut self, world: &mut World, who: Who, action: Option<Action>) -> Option<()> {
        let member = world.random.next_u64() as usize % world.members.len();
        self.call_at(world, member, who, action, None)
    }

    fn call_at(
        &mut self,
        world: &mut World,
        member: usize,
        who: Who,
        action: Option<Action>,
        lease: Option<LeaseId>,
    ) -> Option<()> {
        let (local, epoch) = (world.local(member), world.members[member].epoch);
        let node = world.members[member].node.as_mut()?;
        let ticket = match action {
            Some(action) => node.request(action, local),
            None => node.confirm(lease, local),
        };
        self.waiting.insert((member, epoch, ticket), who);
        world.wake(member);
        Some(())
    }

    fn counted(
        &mut self,
        world: &mut World,
        number: usize,
        member: usize,
        answer: CoreResult<Outcome>,
    ) -> Result<(), Problem> {
        let pause = world
            .now
            .after(Duration::from_millis(world.random.next_u64() % 150));
        let state = std::mem::take(&mut self.counters[number].state);
        self.counters[number].pause = pause;
        match (state, answer) {
            (Counting::Reading { floor }, Ok(_)) => {
                let (revision, value) = value_at(world, member);
                if value < floor {
                    return Err(format!("m{member} read {value} after {floor} was seen"));
                }
                self.floor = self.floor.max(value);
                let expect = revision.map_or(Expect::Absent, Expect::Revision);
                let step = TransactionOp::put(
                    COUNTER,
                    (value + 1).to_string(),
                    PutOptions::default().with_expect(expect),
                );
                self.counters[number].state = Counting::Writing { value: value + 1 };
                let who = Who::Counter(number);
                if self
                    .call(world, who, Some(Action::Apply(vec![step])))
                    .is_none()
                {
                    self.counters[number].state = Counting::Idle;
                }
            }
            (Counting::Writing { value }, Ok(Outcome::Done { .. })) => {
                if !self.won.insert(value) {
                    return Err(format!("{value} was written twice"));
                }
                self.floor = self.floor.max(value);
            }
            (Counting::Writing { value }, Err(error)) if error.kind() == ErrorKind::Timeout => {
                self.unknown.insert(value);
            }
            // Refused, so not written.
            _ => {}
        }
        Ok(())
    }

    fn lock(&mut self, world: &mut World, number: usize) {
        let locker = &mut self.lockers[number];
        if !matches!(locker.state, Locking::Idle) || locker.pause > world.now {
            return;
        }
        locker.asked = world.now;
        if locker.acts_until.is_some_and(|end| end <= world.now) {
            locker.acts_until = None;
            locker.lease = None;
        }
        let (state, action, lease) = match (locker.lease, locker.acts_until) {
            (None, _) => (Locking::Granting, Some(Action::Grant(TTL)), None),
            (Some(lease), None) => {
                let options = PutOptions::default()
                    .with_expect(Expect::Absent)
                    .with_lease(lease);
                let step = TransactionOp::put("lock", number.to_string(), options);
                (Locking::Taking, Some(Action::Apply(vec![step])), None)
            }
            (Some(lease), Some(_)) if world.random.next_u64().is_multiple_of(20) => {
                locker.acts_until = None;
                locker.lease = None;
                (Locking::Leaving, Some(Action::Revoke(lease)), None)
            }
            (Some(lease), Some(_)) => (Locking::Keeping, None, Some(lease)),
        };
        locker.state = state;
        let member = world.random.next_u64() as usize % world.members.len();
        let who = Who::Locker(number);
        if self.call_at(world, member, who, action, lease).is_none() {
            self.lockers[number].state = Locking::Idle;
        }
    }

    fn locked(
        &mut self,
        world: &mut World,
        number: usize,
        answer: CoreResult<Outcome>,
    ) -> Result<(), Problem> {
        let wait = 100 + world.random.next_u64() % 700;
        let until = self.lockers[number].asked.after(TTL.mul_f64(0.9));
        let others = self.lockers.iter().enumerate();
        let acting = others
            .filter(|(other, _)| *other != number)
            .find(|(_, other)| other.acts_until.is_some_and(|end| end > world.now))
            .map(|(other, _)| other);
        let locker = &mut self.lockers[number];
        locker.pause = world.now.after(Duration::from_millis(wait));
        match (std::mem::take(&mut locker.state), answer) {
            (Locking::Granting, Ok(Outcome::Granted { lease, .. })) => {
                locker.lease = Some(lease);
                locker.pause = world.now;
            }
            (Locking::Taking, Ok(Outcome::Done { .. })) => {
                if let Some(other) = acting {
                    return Err(format!("{other} holds the lock, and {number} took it"));
                }
                world.seen.holders += 1;
                // The lease is older than this call; so the holder renews before it acts.
                locker.acts_until = Some(world.now);
                locker.pause = world.now;
                locker.state = Locking::Keeping;
                let lease = locker.lease;
                locker.asked = world.now;
                let member = world.random.next_u64() as usize % world.members.len();
                let who = Who::Locker(number);
                if self.call_at(world, member, who, None, lease).is_none() {
                    self.lockers[number].state = Locking::Idle;
                }
            }
            (Locking::Keeping, Ok(_)) => {
                if let Some(other) = acting {
                    return Err(format!("{other} holds the lock, and {number} keeps it"));
                }
                locker.acts_until = Some(until);
            }
            (Locking::Keeping, Err(error)) if error.kind() == ErrorKind::NotFound => {
                locker.acts_until = None;
                locker.lease = None;
            }
            (Locking::Keeping, Err(_)) => {}
            _ => locker.lease = None,
        }
        Ok(())
    }

    /// Follows the counter, also from one member to the next.
    fn watch(&mut self, world: &mut World, number: usize) -> Result<(), Problem> {
        let watcher = &mut self.watchers[number];
        if watcher.reading || watcher.pause > world.now {
            return Ok(());
        }
        if world.random.next_u64().is_multiple_of(40) {
            watcher.member = world.random.next_u64() as usize % world.members.len();
        }
        let member = watcher.member;
        let Some(node) = &world.members[member].node else {
            watcher.member = (member + 1) % world.members.len();
            return Ok(());
        };
        let store = &node.machine().store;
        if watcher.behind > store.revision() {
            // The member has not come so far yet.
            return Ok(());
        }
        match store.changes_after(watcher.behind, COUNTER) {
            Told::Events { events, up_to } => {
                for event in events {
                    let KvEvent::Put(entry) = &event else {
                        return Err(format!("m{member} told {event:?}"));
                    };
                    let value = parse(&entry.value);
                    if value != watcher.value + 1 {
                        return Err(format!("m{member} told {value} after {}", watcher.value));
                    }
                    watcher.value = value;
                    world.seen.watched += 1;
                }
                watcher.behind = up_to;
            }
            Told::Forgotten { .. } => {
                watcher.reading = true;
                let who = Who::Watcher(number);
                if self.call_at(world, member, who, None, None).is_none() {
                    self.watchers[number].reading = false;
                }
            }
        }
        Ok(())
    }
}

fn value_at(world: &World, member: usize) -> (Option<Revision>, u64) {
    let node = world.members[member].node.as_ref();
    let entry = node.and_then(|node| node.machine().store.get(COUNTER));
    match entry {
        None => (None, 0),
        Some(entry) => (Some(entry.revision), parse(&entry.value)),
    }
}

fn parse(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("written by us");
    text.parse().expect("written by us")
}

const COUNTER: &str = "counter";
const TTL: Duration = Duration::from_secs(3);
