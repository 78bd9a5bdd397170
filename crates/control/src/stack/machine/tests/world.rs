//! A small world with real trouble: nodes freeze, are cut off and leave discovery, answers are lost,
//! starts happen late. What must never happen is checked after every step; that it comes to rest is
//! checked when the trouble is over.

use proptest::prelude::*;

use super::*;

const NODES: usize = 5;

#[derive(Debug, Clone)]
struct Container {
    slot: Slot,
    epoch: u64,
    fingerprint: String,
    running: bool,
}

#[derive(Debug)]
struct Machine {
    /// Whether the control plane reaches it. Its containers run on either way.
    linked: bool,
    /// Whether discovery announces it.
    announced: bool,
    /// Since when the control plane calls it lost.
    lost_since: Option<Timestamp>,
    containers: BTreeMap<WorkloadId, Container>,
    /// As last seen, and when.
    seen: BTreeMap<WorkloadId, Container>,
    listed_at: Option<Timestamp>,
    /// Starts that the engine took and has not carried out yet.
    late_starts: Vec<WorkloadId>,
}

/// Where an action is.
#[derive(Debug)]
enum Stage {
    Begin,
    Made(usize, WorkloadId),
}

struct World {
    machine: Reconciler,
    nodes: Vec<Machine>,
    going: Vec<(ReconcileAction, Stage)>,
    /// Creates that found no node.
    waiting: Vec<ReconcileAction>,
    /// Actions that a driver believes in though their answer was given up: a second driver, a task
    /// that woke late.
    zombies: Vec<ReconcileAction>,
    now: Timestamp,
    random: SeededRandom,
    made: usize,
    stack: StackSpec,
    alarms: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut machine = Reconciler::new(policy());
        let stack = stack(vec![service("db", 1).with_at_most_one(), service("web", 3)]);
        machine.deploy(stack.clone()).unwrap();
        let node = || Machine {
            linked: true,
            announced: true,
            lost_since: None,
            containers: BTreeMap::new(),
            seen: BTreeMap::new(),
            listed_at: Some(at(0)),
            late_starts: Vec::new(),
        };
        Self {
            machine,
            nodes: (0..NODES).map(|_| node()).collect(),
            going: Vec::new(),
            waiting: Vec::new(),
            zombies: Vec::new(),
            now: at(1),
            random: SeededRandom::new(seed),
            made: 0,
            stack,
            alarms: 0,
        }
    }

    fn pick(&self, below: usize) -> usize {
        usize::try_from(self.random.next_u64() % below as u64).unwrap()
    }

    fn observed(&mut self) -> Observed {
        let now = self.now;
        let (mut nodes, mut instances) = (Vec::new(), Vec::new());
        for (number, machine) in self.nodes.iter_mut().enumerate() {
            if !machine.announced {
                // Its driver ended: nothing of it is left in the view.
                machine.seen.clear();
                machine.listed_at = None;
                continue;
            }
            if machine.linked {
                machine.lost_since = None;
                // Looked at a moment ago; what happens from now on is not in it.
                machine.seen = machine.containers.clone();
                machine.listed_at = Some(now);
            } else {
                machine.lost_since.get_or_insert(now);
            }
            let mut observed = up(number);
            observed.listed_at = machine.listed_at;
            if let Some(since) = machine.lost_since {
                observed.condition = NodeCondition::Lost { since };
                if machine.listed_at.is_none() {
                    observed.condition = NodeCondition::Unknown;
                    observed.id = None;
                }
            }
            for (id, container) in &machine.seen {
                let state = match container.running {
                    true => WorkloadState::Running,
                    false => WorkloadState::Created,
                };
                instances.push(Instance::new(
                    container.slot.clone(),
                    container.epoch,
                    container.fingerprint.clone(),
                    node(number),
                    id.clone(),
                    state,
                ));
            }
            nodes.push(observed);
        }
        Observed::new(nodes, instances)
    }

    fn reconcile(&mut self) {
        let observed = self.observed();
        let actions = self.machine.reconcile(&observed, self.now);
        self.alarms += self.machine.take_alarms().len();
        self.going
            .extend(actions.into_iter().map(|action| (action, Stage::Begin)));
        let withdrawn = self.machine.take_withdrawn();
        let waiting = std::mem::take(&mut self.waiting);
        let room = !self.linked().is_empty();
        for action in waiting {
            if withdrawn.contains(&action.op) {
                let outcome = ActionOutcome::GivenUp;
                self.machine
                    .finish(&action, outcome, self.now, &self.random);
                self.zombies.push(action);
            } else if room {
                self.going.push((action, Stage::Begin));
            } else {
                self.waiting.push(action);
            }
        }
    }

    fn linked(&self) -> Vec<usize> {
        (0..NODES)
            .filter(|n| self.nodes[*n].linked && self.nodes[*n].announced)
            .collect()
    }

    /// One step of one action, with or without an answer.
    fn step(&mut self, answered: bool, late: bool) {
        if self.going.is_empty() {
            return;
        }
        let index = self.pick(self.going.len());
        let (action, stage) = self.going.swap_remove(index);
        let stopped = |outcome| Some(outcome);
        let outcome = match (&action.kind, stage) {
            (ActionKind::Create(service), Stage::Begin) => self.make(&action, service, answered),
            (ActionKind::Create(_), Stage::Made(number, id)) => {
                self.start(&action, number, &id, answered, late)
            }
            (ActionKind::Start { node: on, id }, _) => {
                let number = number_of(on);
                let id = id.clone();
                self.start(&action, number, &id, answered, late)
            }
            (ActionKind::Retire { node: on, id, .. }, _) => {
                let machine = &mut self.nodes[number_of(on)];
                if machine.linked && self.machine.check(&action).is_ok() {
                    machine.containers.remove(id);
                    machine.late_starts.retain(|late| late != id);
                }
                stopped(match answered && machine.linked {
                    true => ActionOutcome::Done,
                    false => ActionOutcome::Failed("no answer".into()),
                })
            }
        };
        if let Some(outcome) = outcome {
            if !matches!(outcome, ActionOutcome::Done) {
                self.zombies.push(action.clone());
            }
            self.machine
                .finish(&action, outcome, self.now, &self.random);
        }
    }

    fn make(
        &mut self,
        action: &ReconcileAction,
        service: &ServiceSpec,
        answered: bool,
    ) -> Option<ActionOutcome> {
        let linked = self.linked();
        if linked.is_empty() {
            self.machine.waits(action, "no healthy node");
            self.waiting.push(action.clone());
            return None;
        }
        if self.machine.check(action).is_err() {
            return Some(ActionOutcome::NotMade("stale".into()));
        }
        let number = linked[self.pick(linked.len())];
        self.made += 1;
        let id = WorkloadId::new(format!("c{}", self.made)).unwrap();
        let container = Container {
            slot: action.slot.clone(),
            epoch: action.epoch,
            fingerprint: labels::fingerprint(service),
            running: false,
        };
        self.nodes[number].containers.insert(id.clone(), container);
        if !answered {
            return Some(ActionOutcome::Failed("no answer".into()));
        }
        self.going.push((action.clone(), Stage::Made(number, id)));
        None
    }

    fn start(
        &mut self,
        action: &ReconcileAction,
        number: usize,
        id: &WorkloadId,
        answered: bool,
        late: bool,
    ) -> Option<ActionOutcome> {
        let claimed = self.machine.claim(action, &node(number), id, self.now);
        if claimed.is_err() {
            return Some(ActionOutcome::Failed("stale".into()));
        }
        let machine = &mut self.nodes[number];
        if machine.linked {
            if late {
                machine.late_starts.push(id.clone());
            } else if let Some(container) = machine.containers.get_mut(id) {
                container.running = true;
            }
        }
        Some(match answered && machine.linked && !late {
            true => ActionOutcome::Done,
            false => ActionOutcome::Failed("no answer".into()),
        })
    }

    /// A start that was given up long ago happens after all.
    fn wake_late_start(&mut self, number: usize) {
        let machine = &mut self.nodes[number];
        if let Some(id) = machine.late_starts.pop()
            && let Some(container) = machine.containers.get_mut(&id)
        {
            container.running = true;
        }
    }

    /// Somebody who was asleep tries to go on with an old action: to claim a container of it.
    fn wake_zombie(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        let index = self.pick(self.zombies.len());
        let action = self.zombies.swap_remove(index);
        let number = self.pick(NODES);
        let id = WorkloadId::new(format!("z{}", self.made)).unwrap();
        assert!(self.machine.check(&action).is_err());
        assert!(
            self.machine
                .claim(&action, &node(number), &id, self.now)
                .is_err()
        );
    }

    fn live(&self, slot: &Slot) -> usize {
        self.nodes
            .iter()
            .flat_map(|machine| machine.containers.values())
            .filter(|container| container.running && container.slot == *slot)
            .count()
    }

    fn heal(&mut self) {
        for number in 0..NODES {
            self.nodes[number].linked = true;
            self.nodes[number].announced = true;
            while !self.nodes[number].late_starts.is_empty() {
                self.wake_late_start(number);
            }
        }
    }
}

fn number_of(node: &NodeId) -> usize {
    node.as_str()[1..].parse().unwrap()
}

#[derive(Debug, Clone)]
enum Trouble {
    Reconcile,
    Step { answered: bool, late: bool },
    Cut(usize),
    Link(usize),
    Leave(usize),
    Announce(usize),
    Wait(u64),
    LateStart(usize),
    Zombie,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        6 => Just(Trouble::Reconcile),
        8 => (prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(answered, late)| Trouble::Step { answered, late }),
        2 => (0..NODES).prop_map(Trouble::Cut),
        2 => (0..NODES).prop_map(Trouble::Link),
        1 => (0..NODES).prop_map(Trouble::Leave),
        1 => (0..NODES).prop_map(Trouble::Announce),
        3 => (1u64..120).prop_map(Trouble::Wait),
        1 => (0..NODES).prop_map(Trouble::LateStart),
        1 => Just(Trouble::Zombie),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never_two_live_instances_and_rest_in_the_end(
        seed in any::<u64>(),
        troubles in prop::collection::vec(trouble(), 1..250),
    ) {
        let mut world = World::new(seed);
        let db = slot("db", 1);
        for trouble in troubles {
            match trouble {
                Trouble::Reconcile => world.reconcile(),
                Trouble::Step { answered, late } => world.step(answered, late),
                Trouble::Cut(number) => world.nodes[number].linked = false,
                Trouble::Link(number) => world.nodes[number].linked = true,
                Trouble::Leave(number) => world.nodes[number].announced = false,
                Trouble::Announce(number) => world.nodes[number].announced = true,
                Trouble::Wait(seconds) => world.now = world.now.after(Duration::from_secs(seconds)),
                Trouble::LateStart(number) => world.wake_late_start(number),
                Trouble::Zombie => world.wake_zombie(),
            }
            prop_assert!(world.live(&db) <= 1, "two live databases");
        }
        world.heal();
        for _ in 0..200 {
            world.now = world.now.after(Duration::from_secs(61));
            world.reconcile();
            while !world.going.is_empty() {
                world.step(true, false);
                prop_assert!(world.live(&db) <= 1, "two live databases");
            }
        }
        world.reconcile();
        prop_assert!(world.going.is_empty(), "it never rests: {:?}", world.going);
        prop_assert!(world.waiting.is_empty(), "it never finds room: {:?}", world.waiting);
        for service in &world.stack.services {
            for index in 1..=service.replicas {
                let slot = slot(service.name.as_str(), index);
                prop_assert_eq!(world.live(&slot), 1, "{}", slot);
            }
        }
        let all: usize = world.nodes.iter().map(|node| node.containers.len()).sum();
        prop_assert_eq!(all, 4, "nothing is left over");
    }

    /// However many nodes are lost at once, if it is half of them or more nothing is made.
    #[test]
    fn mass_failure_makes_nothing(seed in any::<u64>(), lost in 3..=NODES, ticks in 1usize..50) {
        let mut world = World::new(seed);
        for _ in 0..20 {
            world.reconcile();
            while !world.going.is_empty() {
                world.step(true, false);
            }
        }
        let made = world.made;
        for number in 0..lost {
            world.nodes[number].linked = false;
        }
        for _ in 0..ticks {
            world.reconcile();
            while !world.going.is_empty() {
                world.step(true, false);
            }
            world.now = world.now.after(Duration::from_secs(17));
        }
        prop_assert_eq!(world.made, made);
        prop_assert_eq!(world.alarms, 1, "one loud event");
    }
}
