use std::sync::Mutex as StdMutex;

use longshore_core::{
    Bytes, EngineInfo, Error, MilliCpu, NodeName, PlacedWorkload, Placement, Refusal, Resources,
    WorkloadDetail, WorkloadState,
};
use proptest::prelude::*;

use super::*;
use crate::pending::Shares;

type Told = Arc<StdMutex<BTreeMap<(NodeId, WorkloadId), PlacedWorkload>>>;

/// Remembers what it was told, as a scheduler would.
#[derive(Debug)]
struct Listener(Told);

impl Scheduler for Listener {
    fn observe(&mut self, change: Change) -> Result<()> {
        let mut told = self.0.lock().unwrap();
        match change {
            Change::Workload(placed) | Change::Fulfil(_, placed) => {
                told.insert((placed.node.clone(), placed.id.clone()), placed);
            }
            Change::WorkloadGone(node, id) => {
                told.remove(&(node, id));
            }
            Change::NodeGone(id) => told.retain(|(node, _), _| *node != id),
            _ => {}
        }
        Ok(())
    }
    fn place(&self, _: &PlacementRequest, _: Timestamp, _: u64) -> Result<Placement, Refusal> {
        Err(Refusal::Invalid {
            message: "not needed here".to_owned(),
        })
    }
    fn explain(&self, _: &PlacementRequest, _: Timestamp, _: u64) -> Result<Explanation> {
        Err(Error::unsupported("not needed here"))
    }
    fn strategy(&self) -> &str {
        "none"
    }
    fn filters(&self) -> Vec<String> {
        Vec::new()
    }
}

fn state() -> (State, Told) {
    state_counting(Accounting::All)
}

fn state_counting(accounting: Accounting) -> (State, Told) {
    let told = Told::default();
    let listener = Box::new(Listener(Arc::clone(&told)));
    (
        State::new(
            listener,
            0.0,
            accounting,
            100,
            Arc::default(),
            Waiting::new(Shares::new("places", 10, None)),
        ),
        told,
    )
}

fn join(state: &mut State, number: usize) -> SlotId {
    let slot = state
        .add_node(&format!("10.0.0.{number}:1"), "10.0.0.1", Timestamp::ZERO)
        .unwrap();
    identify(state, slot, number);
    slot
}

fn identify(state: &mut State, slot: SlotId, number: usize) {
    let id = NodeId::new(format!("E{number}")).unwrap();
    let name = NodeName::new(format!("node-{number}")).unwrap();
    if state.claim_identity(slot, &id).is_ok() {
        let info = EngineInfo::new(id, name, MilliCpu::from_cpus(8), Bytes::from_gib(8));
        state.set_info(slot, Arc::new(info), None);
    }
}

fn container(id: usize, name: &str, cpus: u64) -> Workload {
    let mut workload = Workload::new(WorkloadId::new(format!("c{id}")).unwrap());
    workload.names = vec![name.to_owned()];
    workload.state = WorkloadState::Running;
    let mut detail = WorkloadDetail::default();
    detail.resources = Resources::new(MilliCpu::from_cpus(cpus), Bytes::ZERO);
    workload.detail = Some(detail);
    workload
}

fn names(state: &mut State) -> Vec<String> {
    state
        .listing()
        .iter()
        .map(|view| view.workload.name().to_owned())
        .collect()
}

#[test]
fn s18_stopped_containers_count_unless_only_running_ones_do() {
    for (accounting, expected) in [(Accounting::All, 3), (Accounting::Running, 1)] {
        let (mut state, told) = state_counting(accounting);
        let slot = join(&mut state, 1);
        let mut stopped = container(1, "stopped", 2);
        stopped.state = WorkloadState::Exited;
        let mut made = container(2, "made", 1);
        made.state = WorkloadState::Created;
        for workload in [stopped, made] {
            let look = state.begin_look();
            state.upsert(slot, workload, look);
        }
        let view = state.view(slot).unwrap();
        assert_eq!(
            view.reserved.cpu,
            MilliCpu::from_cpus(expected),
            "{accounting:?}"
        );
        let told: u64 = told
            .lock()
            .unwrap()
            .values()
            .map(|placed| placed.resources.cpu.0)
            .sum();
        assert_eq!(MilliCpu(told), MilliCpu::from_cpus(expected));
    }
}

#[test]
fn an_older_look_changes_nothing() {
    let (mut state, _) = state();
    let slot = join(&mut state, 1);
    let (older, newer) = (state.begin_look(), state.begin_look());
    state.upsert(slot, container(1, "new-name", 1), newer);
    state.upsert(slot, container(1, "old-name", 1), older);
    assert_eq!(names(&mut state), ["new-name"]);
    // Nor does it remove what a newer one saw.
    state.remove(slot, &WorkloadId::new("c1").unwrap(), older);
    state.replace_all(slot, Vec::new(), older, Timestamp::ZERO);
    assert_eq!(names(&mut state), ["new-name"]);
}

#[test]
fn an_older_look_does_not_bring_back_what_went() {
    let (mut state, _) = state();
    let slot = join(&mut state, 1);
    let first = state.begin_look();
    state.upsert(slot, container(1, "web", 1), first);
    let (list, inspect) = (state.begin_look(), state.begin_look());
    let gone = state.begin_look();
    state.remove(slot, &WorkloadId::new("c1").unwrap(), gone);
    state.upsert(slot, container(1, "web", 1), inspect);
    state.replace_all(slot, vec![container(1, "web", 1)], list, Timestamp::ZERO);
    assert_eq!(names(&mut state), Vec::<String>::new());
    // The same id may come anew.
    let later = state.begin_look();
    state.upsert(slot, container(1, "web", 1), later);
    assert_eq!(names(&mut state), ["web"]);
}

#[test]
fn tombstones_do_not_pile_up() {
    let (mut state, _) = state();
    let slot = join(&mut state, 1);
    for id in 0..1000 {
        let look = state.begin_look();
        state.remove(slot, &WorkloadId::new(format!("c{id}")).unwrap(), look);
    }
    let look = state.begin_look();
    state.replace_all(slot, Vec::new(), look, Timestamp::ZERO);
    assert!(state.slots[&slot].tombstones.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Upsert(usize, usize, usize, u64, bool),
    Remove(usize, usize),
    Replace(usize, Vec<(usize, usize, u64)>),
    Forget(usize),
    Identify(usize),
    Health(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (node, id, name, cpus) = (0..3usize, 0..6usize, 0..4usize, 0..4u64);
    let one = (id.clone(), name.clone(), cpus.clone());
    prop_oneof![
        6 => (node.clone(), id.clone(), name, cpus, any::<bool>())
            .prop_map(|(node, id, name, cpus, run)| Step::Upsert(node, id, name, cpus, run)),
        3 => (node.clone(), id).prop_map(|(node, id)| Step::Remove(node, id)),
        2 => (node.clone(), prop::collection::vec(one, 0..5))
            .prop_map(|(node, list)| Step::Replace(node, list)),
        1 => node.clone().prop_map(Step::Forget),
        2 => node.clone().prop_map(Step::Identify),
        1 => (node, any::<bool>()).prop_map(|(node, up)| Step::Health(node, up)),
    ]
}

proptest! {
    /// Totals, indexes, listing and what the scheduler was told are kept up step by step; they are
    /// what counting anew gives.
    #[test]
    fn what_is_kept_up_is_what_counting_anew_gives(steps in prop::collection::vec(step(), 1..80)) {
        let (mut state, told) = state();
        let slots: Vec<SlotId> = (0..3).map(|number| join(&mut state, number)).collect();
        for step in steps {
            let look = state.begin_look();
            match step {
                Step::Upsert(node, id, name, cpus, run) => {
                    let mut workload = container(id, &format!("n{name}"), cpus);
                    if !run {
                        workload.state = WorkloadState::Exited;
                    }
                    state.upsert(slots[node], workload, look);
                }
                Step::Remove(node, id) => {
                    state.remove(slots[node], &WorkloadId::new(format!("c{id}")).unwrap(), look);
                }
                Step::Replace(node, list) => {
                    let list = list
                        .into_iter()
                        .map(|(id, name, cpus)| container(id, &format!("n{name}"), cpus))
                        .collect();
                    state.replace_all(slots[node], list, look, Timestamp::ZERO);
                }
                Step::Forget(node) => state.give_up_identity(slots[node]),
                Step::Identify(node) => identify(&mut state, slots[node], node),
                Step::Health(node, up) => {
                    let mut status = state.slots[&slots[node]].status.clone();
                    status.health = if up { NodeHealth::Healthy } else { NodeHealth::Unhealthy };
                    state.set_status(slots[node], status);
                }
            }
            check(&mut state, &told)?;
        }
    }
}

fn check(state: &mut State, told: &Told) -> Result<(), TestCaseError> {
    let mut all: Vec<Arc<ContainerView>> = Vec::new();
    let mut placed = BTreeMap::new();
    for slot in state.slots.values() {
        let mut used = Resources::default();
        let mut running = 0;
        for record in slot.records.values() {
            used.add(&record.placed.resources);
            running += usize::from(record.view.workload.state == WorkloadState::Running);
            prop_assert_eq!(record.view.node_health, slot.status.health);
            prop_assert_eq!(Some(&record.view.node), slot.id.as_ref());
            let key = (record.view.node.clone(), record.view.workload.id.clone());
            placed.insert(key, record.placed.clone());
            all.push(Arc::clone(&record.view));
        }
        prop_assert_eq!(&slot.reserved, &used);
        prop_assert_eq!(slot.counts.total, slot.records.len());
        prop_assert_eq!(slot.counts.running, running);
    }
    prop_assert_eq!(&*told.lock().unwrap(), &placed);
    let listing = state.listing();
    prop_assert_eq!(listing.len(), all.len());
    for view in &all {
        prop_assert!(listing.iter().any(|listed| Arc::ptr_eq(listed, view)));
        let name = view.workload.name();
        let named = all
            .iter()
            .filter(|other| other.workload.name() == name)
            .count();
        prop_assert_eq!(state.containers.by_name(name).len(), named);
        let exact = format!("{}/{name}", view.node);
        let here = all
            .iter()
            .filter(|other| other.node == view.node && other.workload.name() == name)
            .count();
        prop_assert_eq!(state.find(&exact).is_ok(), here == 1);
    }
    Ok(())
}

/// A list is a node's own word: it takes room for so many containers, not for as many as it names.
#[test]
fn a_node_fills_the_view_only_so_far() {
    let (mut state, told) = state();
    let slot = join(&mut state, 1);
    let workload =
        |number: usize| Workload::new(WorkloadId::new(format!("{number:064x}")).unwrap());
    let look = state.begin_look();
    let list = (0..MOST_CONTAINERS + 5).map(workload).collect();
    let inspect = state.replace_all(slot, list, look, Timestamp::ZERO);
    assert_eq!(inspect.len(), MOST_CONTAINERS);
    let look = state.begin_look();
    state.upsert(slot, workload(MOST_CONTAINERS + 9), look);
    assert_eq!(state.listing().len(), MOST_CONTAINERS);
    assert_eq!(told.lock().unwrap().len(), MOST_CONTAINERS);
    let warnings = state.view(slot).unwrap().warnings;
    assert!(
        warnings[0].contains("more than 10000 containers"),
        "{warnings:?}"
    );
    let look = state.begin_look();
    state.replace_all(slot, vec![workload(1)], look, Timestamp::ZERO);
    assert!(state.view(slot).unwrap().warnings.is_empty());
}
