mod directory;
mod node;
mod totals;

use std::collections::{BTreeSet, HashMap};

use longshore_core::{
    Dependency, DependencyKind, Error, NodeId, NodeState, PlacedWorkload, Reservation,
    ReservationId, Result, Timestamp, WorkloadId,
};

use self::directory::{Directory, Holder};
pub(crate) use self::{directory::Found, node::Node};

/// Everything a scheduler was told, kept so that placing sums nothing up: per-node totals, ports,
/// counts and names are maintained with every change.
#[derive(Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<Option<Node>>,
    free: Vec<Slot>,
    by_id: HashMap<NodeId, Slot>,
    directory: Directory,
    reservations: HashMap<ReservationId, Slot>,
    expiries: BTreeSet<(Timestamp, ReservationId)>,
    now: Timestamp,
}

/// Where a node stands in the index; valid while the node is known.
pub(crate) type Slot = u32;

impl Index {
    /// How many nodes are known.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All nodes, in no particular order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// A node by its id.
    pub(crate) fn node(&self, id: &NodeId) -> Option<&Node> {
        self.by_id.get(id).and_then(|slot| self.at(*slot))
    }

    /// The latest time that it was told.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// A reservation that is held.
    pub(crate) fn reservation(&self, id: &ReservationId) -> Option<&Reservation> {
        let slot = self.reservations.get(id)?;
        self.at(*slot)?.reservation(id)
    }

    /// Whether a workload or a reservation has this name.
    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        self.directory.is_name_taken(name)
    }

    /// The node that holds a dependency's target.
    pub(crate) fn find_dependency(&self, dependency: &Dependency) -> Found {
        let whole = self.find_workload(&dependency.target);
        if whole != Found::Nowhere || dependency.kind == DependencyKind::Network {
            return whole;
        }
        // `--volumes-from name:mode` and `--link name:alias`.
        match dependency.target.split_once(':') {
            Some((name, _)) => self.find_workload(name),
            None => Found::Nowhere,
        }
    }

    fn find_workload(&self, target: &str) -> Found {
        self.directory.find(target, |slot, engine| {
            self.at(slot).is_some_and(|node| {
                node.state.id.as_str() == engine || node.state.name.as_str() == engine
            })
        })
    }

    /// A node came or changed; what is on it stays.
    pub(crate) fn set_node(&mut self, state: NodeState) -> Result<()> {
        if state.health_indicator > 100 {
            return Err(Error::invalid(format!(
                "invalid health indicator {} of node {}: expected 0 to 100",
                state.health_indicator, state.id
            )));
        }
        if let Some(node) = self
            .by_id
            .get(&state.id)
            .and_then(|slot| slot_of(&mut self.nodes, *slot))
        {
            node.update(state);
            return Ok(());
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot::try_from(self.nodes.len())
                    .map_err(|_| Error::invalid("a scheduler knows at most 2^32 nodes"))?;
                self.nodes.push(None);
                slot
            }
        };
        self.by_id.insert(state.id.clone(), slot);
        self.nodes[slot as usize] = Some(Node::new(slot, state));
        Ok(())
    }

    /// A node left: what was on it is forgotten, reservations too.
    pub(crate) fn remove_node(&mut self, id: &NodeId) {
        let Some(slot) = self.by_id.remove(id) else {
            return;
        };
        let Some(node) = self.nodes[slot as usize].take() else {
            return;
        };
        for workload in node.workloads() {
            self.directory
                .remove(&Holder::workload(slot, &workload.id), workload.into());
        }
        for reservation in node.reservations() {
            self.directory.remove(
                &Holder::reservation(slot, &reservation.id),
                reservation.into(),
            );
            self.reservations.remove(&reservation.id);
            self.expiries
                .remove(&(reservation.expires, reservation.id.clone()));
        }
        self.free.push(slot);
    }

    /// A workload is on a node, or changed.
    pub(crate) fn set_workload(&mut self, workload: PlacedWorkload) -> Result<()> {
        let slot = self.slot(&workload.node, "workload", workload.id.as_str())?;
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return Ok(());
        };
        let holder = Holder::workload(slot, &workload.id);
        if let Some(old) = node.remove_workload(&workload.id) {
            self.directory.remove(&holder, (&old).into());
        }
        self.directory.insert(&holder, (&workload).into());
        node.insert_workload(workload);
        Ok(())
    }

    /// A workload left a node. Nothing to do if it was never there.
    pub(crate) fn remove_workload(&mut self, node: &NodeId, id: &WorkloadId) {
        let Some(&slot) = self.by_id.get(node) else {
            return;
        };
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return;
        };
        if let Some(old) = node.remove_workload(id) {
            self.directory
                .remove(&Holder::workload(slot, id), (&old).into());
        }
    }

    /// Holds room. The caller has checked that the id is new and that the request fits.
    pub(crate) fn reserve(&mut self, reservation: Reservation) -> Result<()> {
        let slot = self.slot(&reservation.node, "reservation", reservation.id.as_str())?;
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return Ok(());
        };
        self.directory.insert(
            &Holder::reservation(slot, &reservation.id),
            (&reservation).into(),
        );
        self.reservations.insert(reservation.id.clone(), slot);
        self.expiries
            .insert((reservation.expires, reservation.id.clone()));
        node.insert_reservation(reservation);
        Ok(())
    }

    /// Gives room back. Nothing to do if it is not held (any more).
    pub(crate) fn release(&mut self, id: &ReservationId) {
        let Some(slot) = self.reservations.remove(id) else {
            return;
        };
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return;
        };
        if let Some(old) = node.remove_reservation(id) {
            self.expiries.remove(&(old.expires, old.id.clone()));
            self.directory
                .remove(&Holder::reservation(slot, id), (&old).into());
        }
    }

    /// The work of a reservation was seen. A reservation that is gone already (expired, or
    /// fulfilled before) does not matter: the workload is a fact.
    pub(crate) fn fulfil(&mut self, id: &ReservationId, workload: PlacedWorkload) -> Result<()> {
        self.slot(&workload.node, "workload", workload.id.as_str())?;
        self.release(id);
        self.set_workload(workload)
    }

    /// Gives up reservations that expired. Time never runs backwards.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while self
            .expiries
            .first()
            .is_some_and(|(expires, _)| *expires <= self.now)
        {
            if let Some((_, id)) = self.expiries.pop_first() {
                self.release(&id);
            }
        }
    }

    /// Whether the running totals equal a sum over everything that is held: what incremental
    /// maintenance must never lose.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let held: usize = self.nodes().map(|node| node.reservations().count()).sum();

        self.nodes().all(Node::is_consistent)
            && held == self.reservations.len()
            && held == self.expiries.len()
            && self.directory.is_consistent(self.nodes())
    }

    fn at(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot as usize)?.as_ref()
    }

    fn slot(&self, node: &NodeId, what: &str, id: &str) -> Result<Slot> {
        self.by_id.get(node).copied().ok_or_else(|| {
            Error::not_found(format!("{what} {id} is on node {node}, which is not known"))
        })
    }
}

/// Borrows the nodes only, so that the directory stays free for the caller.
fn slot_of(nodes: &mut [Option<Node>], slot: Slot) -> Option<&mut Node> {
    nodes.get_mut(slot as usize)?.as_mut()
}
