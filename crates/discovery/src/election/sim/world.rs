//! Candidates, a store and the links between them, in virtual time.

use std::{sync::Arc, time::Duration};

use longshore_core::{Error, Random, Result, SeededRandom, Timestamp};

use super::{
    super::{
        call::{Answer, Call, Input, Output},
        machine::Machine,
        options::ElectionOptions,
    },
    store::Store,
};
use crate::agenda::Agenda;

pub(super) const TTL: Duration = Duration::from_secs(10);
const TROUBLE: Duration = Duration::from_secs(240);
/// Within which one leader must have emerged behind the trouble.
const CALM: Duration = Duration::from_secs(50);

#[derive(Debug)]
enum Event {
    /// A request reaches the store, which may have been wiped since it was sent.
    Request {
        node: usize,
        id: u64,
        call: Call,
        wipes: u64,
    },
    Answer {
        node: usize,
        id: u64,
        answer: Result<Answer>,
    },
    Wake {
        node: usize,
    },
    Hint {
        node: usize,
    },
    WatchLost {
        node: usize,
    },
    Expiry,
    Fault(Fault),
    End,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Requests are lost, or only answers are.
    Cut {
        node: usize,
        deaf: bool,
    },
    Heal {
        node: usize,
    },
    Down,
    Up,
    Wipe,
    /// The process stands still, its clock does not.
    Stall {
        node: usize,
        lasts: Duration,
    },
    Resign {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Start {
        node: usize,
    },
}

struct Node {
    options: ElectionOptions,
    machine: Option<Machine>,
    /// How fast its clock runs, and how far it is ahead.
    rate: f64,
    ahead: Duration,
    under_way: Option<u64>,
    cut: bool,
    deaf: bool,
    stalled_until: Timestamp,
    watching: bool,
    wake: Option<Timestamp>,
}

impl Node {
    fn local(&self, now: Timestamp) -> Timestamp {
        let micros = (now.as_micros() as f64 * self.rate) as u64;
        Timestamp::from_micros(micros).after(self.ahead)
    }

    /// When its clock shows `local`, rounded up.
    fn real(&self, local: Timestamp) -> Timestamp {
        let micros = local.before(self.ahead).as_micros() as f64 / self.rate;
        Timestamp::from_micros(micros.ceil() as u64 + 1)
    }
}

/// What a run shows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) terms: u64,
    pub(super) wipes: u64,
    pub(super) requests: u64,
}

pub(super) struct World {
    random: Arc<SeededRandom>,
    now: Timestamp,
    agenda: Agenda<Event>,
    calls: u64,
    store: Store,
    up: bool,
    told: u64,
    expiry: Option<Timestamp>,
    nodes: Vec<Node>,
    /// At the third party: the largest token and who acted with it.
    recorded: (u64, usize),
    calm: bool,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let mut world = Self {
            random,
            now: Timestamp::ZERO,
            agenda: Agenda::default(),
            calls: 0,
            store: Store::default(),
            up: true,
            told: 0,
            expiry: None,
            nodes: Vec::new(),
            recorded: (0, usize::MAX),
            calm: false,
            seen: Seen::default(),
        };
        for index in 0..2 + world.below(4) {
            let options =
                ElectionOptions::candidate("p", format!("10.0.0.{index}:1")).with_ttl(TTL);
            let rate = 0.99 + 0.02 * world.random.unit();
            let ahead = Duration::from_millis(world.below(2000));
            world.nodes.push(Node {
                options,
                machine: None,
                rate,
                ahead,
                under_way: None,
                cut: false,
                deaf: false,
                stalled_until: Timestamp::ZERO,
                watching: false,
                wake: None,
            });
        }
        if world.chance(0.2) {
            let key = world.nodes[0].options.key.clone();
            world.store.leave_ghost(&key);
        }
        for node in 0..world.nodes.len() {
            let at = Timestamp::ZERO.after(Duration::from_millis(world.below(3000)));
            world.at(at, Event::Fault(Fault::Start { node }));
        }
        world.plan();
        world.at(Timestamp::ZERO.after(TROUBLE), Event::End);
        world
    }

    /// Draws the faults.
    fn plan(&mut self) {
        for _ in 0..self.below(14) {
            let node = self.below(self.nodes.len() as u64) as usize;
            let start = Timestamp::ZERO.after(TROUBLE.mul_f64(self.random.unit()));
            let lasts = Duration::from_millis(200 + self.below(30_000));
            let (first, second) = match self.below(10) {
                0..=3 => {
                    let deaf = self.chance(0.5);
                    (Fault::Cut { node, deaf }, Some(Fault::Heal { node }))
                }
                4 => (Fault::Down, Some(Fault::Up)),
                5 => (Fault::Wipe, None),
                6 => (Fault::Stall { node, lasts }, None),
                7 => (Fault::Resign { node }, Some(Fault::Start { node })),
                8 => (Fault::Crash { node }, Some(Fault::Start { node })),
                _ => (Fault::Wipe, Some(Fault::Wipe)),
            };
            self.at(start, Event::Fault(first));
            if let Some(second) = second {
                self.at(start.after(lasts), Event::Fault(second));
            }
        }
    }

    pub(super) fn run(&mut self) -> std::result::Result<(), String> {
        let end = Timestamp::ZERO.after(TROUBLE + CALM);
        while let Some((at, event)) = self.agenda.next_until(end) {
            self.now = at;
            self.happen(event);
            self.look()?;
            if self.agenda.planned() > 2_000_000 {
                return Err("the candidates spin".to_owned());
            }
        }
        let leaders: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.acting(*node).is_some())
            .collect();
        let [leader] = leaders[..] else {
            return Err(format!("after the trouble {leaders:?} lead instead of one"));
        };
        let address = self.nodes[leader].options.advertise.clone();
        for (index, node) in self.nodes.iter().enumerate() {
            let machine = node.machine.as_ref();
            let known = machine.and_then(|machine| machine.leader(node.local(self.now)));
            if known != address.as_deref() {
                return Err(format!(
                    "{index} takes {known:?} for the leader {address:?}"
                ));
            }
        }
        Ok(())
    }

    fn acting(&self, node: usize) -> Option<u64> {
        let node = &self.nodes[node];
        let leading = node.machine.as_ref()?.leading(node.local(self.now));
        leading.map(|(token, _)| token)
    }

    /// What the third party sees: every leader acts all the time.
    fn look(&mut self) -> std::result::Result<(), String> {
        let acting: Vec<(usize, u64)> = (0..self.nodes.len())
            .filter_map(|node| Some((node, self.acting(node)?)))
            .collect();
        if acting.len() > 1 {
            return Err(format!(
                "{acting:?} act at the same time, {}",
                self.now.as_micros()
            ));
        }
        for (node, token) in acting {
            let (highest, by) = self.recorded;
            if token < highest || token == highest && node != by {
                return Err(format!("{node} acts with {token} behind {highest} by {by}"));
            }
            self.seen.terms += u64::from(token > highest);
            self.recorded = (token, node);
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request {
                node,
                id,
                call,
                wipes,
            } => {
                if wipes != self.store.wipes {
                    return;
                }
                let answer = match self.up {
                    true => {
                        let options = self.nodes[node].options.clone();
                        let random = self.random.clone();
                        self.store.apply(&call, &options, &*random, self.now)
                    }
                    false => Err(Error::unavailable("down")),
                };
                self.seen.requests += 1;
                self.await_expiry();
                if !self.nodes[node].cut && !self.mishap(0.03) {
                    let at = self.delay();
                    self.at(at, Event::Answer { node, id, answer });
                }
                self.tell();
            }
            Event::Answer { node, id, answer } => {
                let state = &mut self.nodes[node];
                if state.cut || state.under_way != Some(id) {
                    return;
                }
                if state.stalled_until > self.now {
                    let at = state.stalled_until;
                    return self.at(at, Event::Answer { node, id, answer });
                }
                self.nodes[node].under_way = None;
                self.give(node, Input::Answer(answer));
            }
            Event::Wake { node } => {
                let state = &mut self.nodes[node];
                if state.wake != Some(self.now) {
                    return;
                }
                if state.stalled_until > self.now {
                    let at = state.stalled_until;
                    state.wake = Some(at);
                    return self.at(at, Event::Wake { node });
                }
                state.wake = None;
                self.give(node, Input::Tick);
            }
            Event::Hint { node } if !self.nodes[node].cut => self.give(node, Input::Hint),
            Event::WatchLost { node } => self.give(node, Input::WatchLost),
            Event::Hint { .. } => {}
            Event::Expiry if self.expiry != Some(self.now) => {}
            Event::Expiry => {
                // A store that is down ends leases when it is up again.
                self.expiry = None;
                if self.up {
                    self.store.expire(self.now);
                    self.tell();
                    self.await_expiry();
                }
            }
            Event::Fault(fault) => self.befall(fault),
            Event::End => self.heal(),
        }
    }

    fn befall(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        match fault {
            Fault::Cut { node, deaf } => {
                let node = &mut self.nodes[node];
                (node.cut, node.deaf) = (true, deaf);
            }
            Fault::Heal { node } => {
                let node = &mut self.nodes[node];
                (node.cut, node.deaf) = (false, false);
            }
            Fault::Down => self.up = false,
            Fault::Up => self.up = true,
            Fault::Wipe => {
                self.store.wipe();
                self.seen.wipes += 1;
                for node in 0..self.nodes.len() {
                    // Some watches are told, some never hear again.
                    self.nodes[node].watching = false;
                    if self.chance(0.5) {
                        let at = self.delay();
                        self.at(at, Event::WatchLost { node });
                    }
                }
            }
            Fault::Stall { node, lasts } => self.nodes[node].stalled_until = self.now.after(lasts),
            Fault::Resign { node } => self.give(node, Input::Resign),
            Fault::Crash { node } => self.nodes[node].machine = None,
            Fault::Start { node } => self.start(node),
        }
    }

    fn heal(&mut self) {
        self.up = true;
        self.calm = true;
        for node in 0..self.nodes.len() {
            let state = &mut self.nodes[node];
            (state.cut, state.deaf) = (false, false);
            state.stalled_until = self.now;
            let ended = state.machine.as_ref().is_none_or(Machine::is_finished);
            let resigning = state.machine.as_ref().is_some_and(Machine::is_resigning);
            if ended || resigning {
                self.start(node);
            }
        }
        self.store.expire(self.now);
        self.await_expiry();
    }

    fn start(&mut self, node: usize) {
        let seed = self.random.next_u64();
        let state = &mut self.nodes[node];
        let local = state.local(self.now);
        let random = Arc::new(SeededRandom::new(seed));
        state.machine = Some(Machine::new(state.options.clone(), random, local));
        state.under_way = None;
        state.watching = false;
        self.drain(node);
    }

    fn give(&mut self, node: usize, input: Input) {
        let state = &mut self.nodes[node];
        if state.stalled_until > self.now {
            return;
        }
        let local = state.local(self.now);
        if let Some(machine) = &mut state.machine {
            machine.handle(input, local);
            self.drain(node);
        }
    }

    /// Does what a driver does.
    fn drain(&mut self, node: usize) {
        loop {
            let state = &mut self.nodes[node];
            let Some(machine) = &mut state.machine else {
                return;
            };
            match machine.poll_output() {
                None => break,
                Some(Output::Abandon) => state.under_way = None,
                Some(Output::Watch) => state.watching = true,
                Some(Output::Call(call)) => {
                    self.calls += 1;
                    let id = self.calls;
                    self.nodes[node].under_way = Some(id);
                    let lost = self.nodes[node].cut && !self.nodes[node].deaf;
                    if !lost && !self.mishap(0.02) {
                        let (at, wipes) = (self.delay(), self.store.wipes);
                        self.at(
                            at,
                            Event::Request {
                                node,
                                id,
                                call,
                                wipes,
                            },
                        );
                    }
                }
            }
        }
        let state = &self.nodes[node];
        let deadline = state.machine.as_ref().and_then(Machine::next_deadline);
        if let Some(deadline) = deadline {
            let at = state.real(deadline).max(self.now);
            if state.wake.is_none_or(|wake| at < wake) {
                self.nodes[node].wake = Some(at);
                self.at(at, Event::Wake { node });
            }
        }
    }

    fn await_expiry(&mut self) {
        if let Some(at) = self.store.next_expiry() {
            let at = at.max(self.now);
            if self.expiry.is_none_or(|expiry| at < expiry) {
                self.expiry = Some(at);
                self.at(at, Event::Expiry);
            }
        }
    }

    /// Tells watches of changes.
    fn tell(&mut self) {
        if self.told == self.store.changes {
            return;
        }
        self.told = self.store.changes;
        for node in 0..self.nodes.len() {
            if self.nodes[node].watching && !self.mishap(0.05) {
                let at = self.delay();
                self.at(at, Event::Hint { node });
            }
        }
    }

    /// Mostly milliseconds, sometimes seconds.
    fn delay(&mut self) -> Timestamp {
        let millis = match self.mishap(0.03) {
            true => self.below(15_000),
            false => 1 + self.below(40),
        };
        self.now.after(Duration::from_millis(millis))
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.agenda.plan(at, event);
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.next_u64() % limit.max(1)
    }

    fn mishap(&self, of: f64) -> bool {
        self.chance(of) && !self.calm
    }

    fn chance(&self, of: f64) -> bool {
        self.random.unit() < of
    }
}
