//! A scheduler written for obviousness: it keeps lists of what it was told, sums everything up for
//! every question, and shares no code with the crate.

use std::collections::HashMap;

use longshore_core::*;
use longshore_sched::Strategy;
use regex::Regex;

use crate::rules::{amount, constrained, given, holds, is_like, listed, lots};

#[derive(Debug)]
pub(crate) struct Reference {
    strategy: Strategy,
    nodes: Vec<NodeState>,
    workloads: Vec<PlacedWorkload>,
    reservations: Vec<Reservation>,
    /// Positions in the two lists by node: made anew after each change.
    homes: HashMap<NodeId, (Vec<usize>, Vec<usize>)>,
    now: Timestamp,
}

/// Name, container id, labels, resources, ports, service: of a workload or a reservation.
type Tenant<'a> = (
    &'a str,
    Option<&'a str>,
    &'a Labels,
    &'a Resources,
    &'a [HostPort],
    Option<&'a ServiceName>,
);

impl Reference {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self::loaded(strategy, vec![], vec![])
    }

    /// With all this on board.
    pub(crate) fn loaded(
        strategy: Strategy,
        nodes: Vec<NodeState>,
        workloads: Vec<PlacedWorkload>,
    ) -> Self {
        let mut this = Self {
            strategy,
            nodes,
            workloads,
            reservations: vec![],
            homes: HashMap::new(),
            now: Timestamp::ZERO,
        };
        this.settle();
        this
    }

    pub(crate) fn nodes(&self) -> &[NodeState] {
        &self.nodes
    }

    pub(crate) fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    pub(crate) fn workloads(&self) -> &[PlacedWorkload] {
        &self.workloads
    }

    /// The ids of the nodes that could take the work, sorted.
    pub(crate) fn feasible(&self, request: &PlacementRequest) -> Vec<NodeId> {
        let fits = |node: &&NodeState| self.failures(request, node).is_empty();
        let mut ids: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(fits)
            .map(|n| n.id.clone())
            .collect();
        ids.sort();
        ids
    }

    pub(crate) fn tenants<'a>(&'a self, node: &'a NodeState) -> Vec<Tenant<'a>> {
        let Some((workloads, reservations)) = self.homes.get(&node.id) else {
            return vec![];
        };
        let workloads = workloads.iter().map(|at| &self.workloads[*at]).map(|w| {
            (
                &*w.name,
                Some(w.id.as_str()),
                &w.labels,
                &w.resources,
                w.ports.as_slice(),
                w.service.as_ref(),
            )
        });
        let reservations = reservations
            .iter()
            .map(|at| &self.reservations[*at])
            .map(|r| {
                let request = &r.request;
                (
                    &*request.name,
                    None,
                    &request.labels,
                    &request.resources,
                    request.ports.as_slice(),
                    request.service.as_ref(),
                )
            });
        workloads.chain(reservations).collect()
    }

    /// Used amounts: CPU, memory, and a generic resource by name.
    pub(crate) fn used(&self, node: &NodeState, resource: &str) -> u128 {
        self.tenants(node)
            .iter()
            .map(|tenant| amount(tenant.3, resource))
            .sum()
    }

    /// What a request would get on a node, if that is enough.
    pub(crate) fn devices(
        &self,
        request: &PlacementRequest,
        node: &NodeState,
    ) -> Option<Vec<DeviceId>> {
        let mut taken: Vec<&DeviceId> = vec![];
        if let Some((workloads, reservations)) = self.homes.get(&node.id) {
            taken.extend(workloads.iter().flat_map(|at| &self.workloads[*at].devices));
            let held = reservations.iter().map(|at| &self.reservations[*at]);
            taken.extend(held.flat_map(|held| &held.devices));
        }
        let mut free: Vec<&Device> = node.devices.iter().collect();
        free.retain(|device| !taken.contains(&&device.id));
        free.sort_by(|a, b| a.id.cmp(&b.id));
        let mut pieces = vec![];
        for wanted in &request.devices {
            let like = node.devices.iter().filter(|device| is_like(device, wanted));
            let count = match wanted.is_all() {
                true => like.count().max(1),
                false => wanted.count() as usize,
            };
            pieces.extend((0..count).map(|_| wanted));
        }
        given(&pieces, &free)
    }

    /// The filters that refuse the node.
    fn failures(&self, request: &PlacementRequest, node: &NodeState) -> Vec<&'static str> {
        let tenants = self.tenants(node);
        let mut failures = vec![];
        if node.health != NodeHealth::Healthy
            || node.health_indicator == 0
            || node.availability != Availability::Active
        {
            failures.push("health");
        }
        if request.ports.iter().any(|port| {
            tenants
                .iter()
                .any(|tenant| tenant.4.iter().any(|held| held.conflicts_with(port)))
        }) {
            failures.push("port");
        }
        let slots = node
            .labels
            .get("containerslots")
            .and_then(|text| text.parse::<usize>().ok());
        if slots.is_some_and(|slots| tenants.len() >= slots) {
            failures.push("containerslots");
        }
        if !request
            .dependencies
            .iter()
            .all(|d| self.is_only_on(&d.target, node))
        {
            failures.push("dependency");
        }
        let hard = |e: &&Expression| !e.is_soft();
        if !request
            .affinities
            .iter()
            .filter(hard)
            .all(|e| self.affine(e, node))
        {
            failures.push("affinity");
        }
        if !request
            .constraints
            .iter()
            .filter(hard)
            .all(|e| constrained(e, node))
        {
            failures.push("constraint");
        }
        if !request
            .whitelists
            .iter()
            .filter(hard)
            .all(|e| listed(e, node))
        {
            failures.push("whitelist");
        }
        let fits = |wanted: &str, label: &str| {
            let name = |text: &str| text.replace("x86_64", "amd64");
            wanted.is_empty()
                || node
                    .labels
                    .get(label)
                    .is_some_and(|had| name(had) == name(wanted))
        };
        if !request.platforms.is_empty()
            && !request
                .platforms
                .iter()
                .any(|p| fits(&p.os, "ostype") && fits(&p.architecture, "architecture"))
        {
            failures.push("platform");
        }
        if let Some(tenants) = node.labels.get("tenant") {
            let listed: Vec<&str> = tenants.split(',').collect();
            if !request
                .tenant
                .as_deref()
                .is_some_and(|tenant| listed.contains(&tenant))
            {
                failures.push("tenant");
            }
        }
        if request.volumes.iter().any(|volume| {
            !node.volumes.contains(volume) && self.nodes.iter().any(|n| n.volumes.contains(volume))
        }) {
            failures.push("volume");
        }
        if self.devices(request, node).is_none() {
            failures.push("device");
        }
        if request
            .topology
            .iter()
            .any(|spread| !self.stays_even(request, spread, node))
        {
            failures.push("topology");
        }
        let mut kinds = vec!["cpu", "memory"];
        kinds.extend(request.resources.generic.keys().map(String::as_str));
        if kinds.iter().any(|kind| {
            let needed = amount(&request.resources, kind);
            needed > 0 && self.used(node, kind) + needed > amount(&node.capacity, kind)
        }) {
            failures.push("resources");
        }
        failures
    }

    fn replicas(&self, request: &PlacementRequest, on: impl Fn(&NodeState) -> bool) -> u64 {
        let nodes = self.nodes.iter().filter(|node| on(node));
        let tenants = nodes.flat_map(|node| self.tenants(node));
        tenants
            .filter(|t| t.5.is_some() && t.5 == request.service.as_ref())
            .count() as u64
    }

    fn stays_even(
        &self,
        request: &PlacementRequest,
        spread: &TopologySpread,
        node: &NodeState,
    ) -> bool {
        let hard = || request.constraints.iter().filter(|e| !e.is_soft());
        let eligible = self
            .nodes
            .iter()
            .filter(|n| hard().all(|e| constrained(e, n)));
        let mut domains: Vec<&str> = eligible
            .filter_map(|n| n.labels.get(&spread.label))
            .collect();
        domains.sort();
        domains.dedup();
        let there =
            |domain: &str| self.replicas(request, |n| n.labels.get(&spread.label) == Some(domain));
        let Some(own) = node
            .labels
            .get(&spread.label)
            .filter(|own| domains.contains(own))
        else {
            return false;
        };
        let least = domains.iter().map(|domain| there(domain)).min().unwrap();
        there(own) + 1 - least <= u64::from(spread.max_skew.max(1))
    }

    /// Whether the node, and no other, has a container of this id or, failing that, of this name.
    fn is_only_on(&self, target: &str, node: &NodeState) -> bool {
        let on = |has: &dyn Fn(&Tenant<'_>) -> bool| -> Vec<&NodeId> {
            let nodes = self
                .nodes
                .iter()
                .filter(|node| self.tenants(node).iter().any(has));
            nodes.map(|node| &node.id).collect()
        };
        let mut homes = on(&|tenant| tenant.1 == Some(target));
        if homes.is_empty() {
            homes = on(&|tenant| tenant.0 == target);
        }
        homes == [&node.id]
    }

    fn affine(&self, expression: &Expression, node: &NodeState) -> bool {
        let mut values: Vec<String> = vec![];
        for (name, id, labels, _, _, service) in self.tenants(node) {
            match expression.key() {
                "service" => {
                    values.extend(service.map(|name| name.as_str().to_owned()));
                    values.extend(labels.get("service").map(str::to_owned));
                }
                "container" => {
                    values.extend(id.map(str::to_owned));
                    values.extend(Some(name.to_owned()).filter(|name| !name.is_empty()));
                }
                "image" => {}
                key => values.extend(labels.get(key).map(str::to_owned)),
            }
        }
        if expression.key() == "image" {
            for image in &node.images {
                values.push(image.clone());
                // `host:5000/name:tag`: the tag is what follows a colon in the last path segment.
                let last = image.rfind('/').map_or(0, |at| at + 1);
                if let Some(colon) = image[last..].find(':')
                    && !image.starts_with("sha256:")
                {
                    values.push(image[..last + colon].to_owned());
                }
            }
        }
        holds(expression, values.iter().map(String::as_str))
    }

    fn wishes_met(&self, request: &PlacementRequest, node: &NodeState) -> Vec<bool> {
        let soft = |e: &&Expression| e.is_soft();
        let mut met = vec![];
        met.extend(
            request
                .constraints
                .iter()
                .filter(soft)
                .map(|e| constrained(e, node)),
        );
        met.extend(
            request
                .affinities
                .iter()
                .filter(soft)
                .map(|e| self.affine(e, node)),
        );
        met.extend(
            request
                .whitelists
                .iter()
                .filter(soft)
                .map(|e| listed(e, node)),
        );
        met
    }

    /// Sorts nodes best first, by building a key whose smallest value is best.
    fn rank(&self, request: &PlacementRequest, seed: u64) -> Vec<&NodeState> {
        let mut nodes: Vec<&NodeState> = self
            .nodes
            .iter()
            .filter(|node| self.failures(request, node).is_empty())
            .collect();
        let mut roll: Vec<_> = self
            .nodes
            .iter()
            .map(|node| (&node.name, &node.id))
            .collect();
        roll.sort();
        let lots = lots(seed, roll.len());
        nodes.sort_by_key(|node| {
            let met = self.wishes_met(request, node);
            let weights = wishes(request).map(|wish| u64::from(wish.weight()));
            let missed: u64 = weights
                .zip(&met)
                .map(|(weight, met)| if *met { 0 } else { weight })
                .sum();
            let missed_first: Vec<bool> = met.iter().map(|met| !met).collect();
            let score = |kind: &str| -> i128 {
                let needed = amount(&request.resources, kind);
                if needed == 0 {
                    return 100;
                }
                let after = self.used(node, kind) + needed;
                i128::try_from(after * 100 / amount(&node.capacity, kind)).unwrap()
            };
            let load = score("cpu") + score("memory");
            let health = 10 * i128::from(node.health_indicator);
            let containers = self.tenants(node).len() as i128;
            let order = match self.strategy {
                Strategy::Spread => (load - health, containers, 0),
                Strategy::BinPack => (-(load + health), -containers, 0),
                _ => {
                    let at = roll.iter().position(|(_, id)| **id == node.id).unwrap();
                    (0, 0, lots[at])
                }
            };
            let branches: Vec<u64> = (1..=request.preferences.len())
                .map(|depth| {
                    let branch = |n: &NodeState| -> Vec<String> {
                        let labels = request.preferences[..depth].iter();
                        labels
                            .map(|key| n.labels.get(key).unwrap_or("").to_owned())
                            .collect()
                    };
                    self.replicas(request, |n| branch(n) == branch(node))
                })
                .collect();
            (
                missed,
                missed_first,
                branches,
                order,
                node.name.clone(),
                node.id.clone(),
            )
        });
        nodes
    }

    fn check(&self, request: &PlacementRequest) -> Result<(), String> {
        let all = request.constraints.iter().chain(&request.affinities);
        for expression in all {
            if let Pattern::Regex(text) = expression.pattern() {
                Regex::new(text).map_err(|error| format!("{expression}: {error}"))?;
            }
        }
        Ok(())
    }
}

/// The soft expressions in the order in which they are preferred.
fn wishes(request: &PlacementRequest) -> impl Iterator<Item = &Expression> {
    let all = request
        .constraints
        .iter()
        .chain(&request.affinities)
        .chain(&request.whitelists);
    all.filter(|expression| expression.is_soft())
}

impl Reference {
    fn settle(&mut self) {
        self.homes.clear();
        for (at, workload) in self.workloads.iter().enumerate() {
            self.homes
                .entry(workload.node.clone())
                .or_default()
                .0
                .push(at);
        }
        for (at, held) in self.reservations.iter().enumerate() {
            self.homes.entry(held.node.clone()).or_default().1.push(at);
        }
    }

    fn change(&mut self, change: Change) -> Result<()> {
        let known = |node: &NodeId| match self.nodes.iter().any(|n| n.id == *node) {
            true => Ok(()),
            false => Err(Error::not_found(format!("node {node} is not known"))),
        };
        match change {
            Change::Node(state) => {
                self.nodes.retain(|n| n.id != state.id);
                self.nodes.push(state);
            }
            Change::NodeGone(id) => {
                self.nodes.retain(|n| n.id != id);
                self.workloads.retain(|w| w.node != id);
                self.reservations.retain(|r| r.node != id);
            }
            Change::Workload(mut workload) => {
                known(&workload.node)?;
                let mut before = self.workloads.iter();
                let before = before.find(|w| w.id == workload.id && w.node == workload.node);
                if let (true, Some(before)) = (workload.devices.is_empty(), before) {
                    workload.devices = before.devices.clone();
                }
                self.workloads
                    .retain(|w| w.id != workload.id || w.node != workload.node);
                self.workloads.push(workload);
            }
            Change::WorkloadGone(node, id) => {
                self.workloads.retain(|w| w.id != id || w.node != node);
            }
            Change::Reserve(mut reservation) => {
                if let Some(held) = self.reservations.iter().find(|r| r.id == reservation.id) {
                    if reservation.devices.is_empty() {
                        reservation.devices = held.devices.clone();
                    }
                    return match *held == reservation {
                        true => Ok(()),
                        false => Err(Error::new(ErrorKind::AlreadyExists, "id")),
                    };
                }
                known(&reservation.node)?;
                let name = &reservation.request.name;
                let taken = self.workloads.iter().any(|w| w.name == *name)
                    || self.reservations.iter().any(|r| r.request.name == *name);
                if reservation.expires <= self.now {
                    return Err(Error::new(ErrorKind::Conflict, "expired"));
                }
                if !name.is_empty() && taken {
                    return Err(Error::new(ErrorKind::AlreadyExists, "name"));
                }
                self.check(&reservation.request).map_err(Error::invalid)?;
                let node = self
                    .nodes
                    .iter()
                    .find(|n| n.id == reservation.node)
                    .unwrap();
                if !self.failures(&reservation.request, node).is_empty() {
                    return Err(Error::new(ErrorKind::Conflict, "no room"));
                }
                if reservation.devices.is_empty() {
                    reservation.devices = self.devices(&reservation.request, node).unwrap();
                }
                // The least devices must be those named, if no others are there to choose from.
                let mut only = node.clone();
                only.devices
                    .retain(|device| reservation.devices.contains(&device.id));
                let named = self.devices(&reservation.request, &only);
                if named.map(|named| named.len()) != Some(reservation.devices.len()) {
                    return Err(Error::new(ErrorKind::Conflict, "no such devices"));
                }
                self.reservations.push(reservation);
            }
            Change::Release(id) => self.reservations.retain(|r| r.id != id),
            Change::Fulfil(id, mut workload) => {
                known(&workload.node)?;
                let held = self.reservations.iter().find(|r| r.id == id);
                if let (true, Some(held)) = (workload.devices.is_empty(), held)
                    && held.node == workload.node
                {
                    workload.devices = held.devices.clone();
                }
                self.reservations.retain(|r| r.id != id);
                return self.change(Change::Workload(workload));
            }
            Change::Tick(now) => {
                self.now = self.now.max(now);
                self.reservations.retain(|r| r.expires > self.now);
            }
            other => panic!("unknown change {other:?}"),
        }
        Ok(())
    }
}

impl Scheduler for Reference {
    fn observe(&mut self, change: Change) -> Result<()> {
        let outcome = self.change(change);
        self.settle();
        outcome
    }

    fn place(
        &self,
        request: &PlacementRequest,
        _now: Timestamp,
        seed: u64,
    ) -> Result<Placement, Refusal> {
        self.check(request)
            .map_err(|message| Refusal::Invalid { message })?;
        let ranked = self.rank(request, seed);
        let scored = |node: &NodeState| {
            let mut scored = Scored::new(node.id.clone(), node.name.clone(), vec![]);
            scored.devices = self.devices(request, node).unwrap();
            scored
        };
        let Some((winner, others)) = ranked.split_first() else {
            return Err(Refusal::Unplaceable {
                message: "no node".into(),
                summary: String::new(),
                filters: Vec::new(),
            });
        };
        let mut placement = Placement::new(scored(winner), self.strategy.as_str());
        placement.runners_up = others.iter().take(4).map(|node| scored(node)).collect();
        placement.feasible = ranked.len();
        placement.considered = self.nodes.len();
        placement.unmet_wishes = wishes(request)
            .zip(self.wishes_met(request, winner))
            .filter(|(_, met)| !met)
            .map(|(e, _)| e.to_string())
            .collect();
        Ok(placement)
    }

    fn explain(
        &self,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        self.check(request).map_err(Error::invalid)?;
        let ranked = self.rank(request, seed);
        let mut nodes: Vec<NodeVerdict> = ranked
            .iter()
            .map(|n| NodeVerdict::new(n.id.clone(), n.name.clone()))
            .collect();
        for (node, verdict) in nodes.iter_mut().zip(&ranked).map(|(v, n)| (n, v)) {
            // What is left of everything, so that comparing explanations compares the state.
            let reason = format!("{} {}", self.used(node, "cpu"), self.used(node, "memory"));
            verdict.score = vec![ScorePart::new(
                "used",
                self.tenants(node).len() as i64,
                reason,
            )];
        }
        let mut refused: Vec<&NodeState> = self
            .nodes
            .iter()
            .filter(|n| ranked.iter().all(|r| r.id != n.id))
            .collect();
        refused.sort_by(|a, b| a.id.cmp(&b.id));
        for node in refused {
            let mut verdict = NodeVerdict::new(node.id.clone(), node.name.clone());
            let failures = self.failures(request, node);
            verdict.failures = failures
                .iter()
                .map(|f| FilterFailure::new(*f, "no"))
                .collect();
            nodes.push(verdict);
        }
        let mut explanation = Explanation::new("summary", nodes);
        match self.place(request, now, seed) {
            Ok(placement) => explanation.placement = Some(placement),
            Err(Refusal::Unplaceable { message, .. }) => explanation.refusal = Some(message),
            Err(_) => unreachable!("the request was checked"),
        }
        Ok(explanation)
    }

    fn strategy(&self) -> &str {
        self.strategy.as_str()
    }

    fn filters(&self) -> Vec<String> {
        let names = "health port containerslots dependency affinity constraint whitelist";
        names.split(' ').map(str::to_owned).collect()
    }
}
