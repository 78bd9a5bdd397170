//! Random histories: the scheduler agrees with the reference after every change, and its promises
//! hold whatever happens.

use std::collections::BTreeSet;

use longshore_core::*;
use longshore_sched::{ClusterScheduler, Strategy as Order};
use proptest::{collection::vec, prelude::*};

use crate::{
    reference::Reference,
    rules::amount,
    support::NOW,
    worlds::{Step, change, node, order, request, seen, step, workload},
};

/// Without the parts of scores, which the reference does not word.
fn bare(mut placement: Placement) -> Placement {
    placement.chosen.parts.clear();
    placement
        .runners_up
        .iter_mut()
        .for_each(|scored| scored.parts.clear());
    placement
}

fn is_unplaceable(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Unplaceable { .. })
}

/// S21: who waits is told which filters to watch: for each node the one that refuses it first.
fn names_who_refuses(scheduler: &ClusterScheduler, request: &PlacementRequest) -> bool {
    let Err(Refusal::Unplaceable { filters, .. }) = scheduler.place(request, NOW, 0) else {
        return true;
    };
    let nodes = scheduler.explain(request, NOW, 0).unwrap().nodes;
    let first = nodes
        .iter()
        .map(|verdict| verdict.failures[0].filter.clone());
    let expected: BTreeSet<String> = first.collect();
    let told: BTreeSet<String> = filters.iter().cloned().collect();
    told.len() == filters.len() && told == expected
}

fn feasible(scheduler: &ClusterScheduler, request: &PlacementRequest) -> Vec<NodeId> {
    let nodes = scheduler.explain(request, NOW, 0).unwrap().nodes;
    let feasible = nodes.iter().filter(NodeVerdict::is_feasible);
    let mut ids: Vec<NodeId> = feasible.map(|verdict| verdict.node).collect();
    ids.sort();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The same nodes could take the work, and under the same seed the same one is chosen, with the
    /// same runners-up and unmet wishes, after every change; the same changes are refused, alike.
    #[test]
    fn it_agrees_with_the_reference(
        order in order(),
        nodes in vec(node(), 2..6),
        steps in vec(step(), 1..40),
        probes in vec((request(), any::<u64>()), 1..6),
    ) {
        let (mut scheduler, mut reference) = (ClusterScheduler::new(order), Reference::new(order));
        for step in nodes.into_iter().map(Step::Node).chain(steps) {
            let Some(change) = change(step, &reference) else { continue };
            let told = scheduler.observe(change.clone()).map_err(|error| error.kind());
            let expected = reference.observe(change.clone()).map_err(|error| error.kind());
            prop_assert_eq!(told, expected, "{:?}", change);
            for (request, seed) in &probes {
                prop_assert_eq!(feasible(&scheduler, request), reference.feasible(request));
                prop_assert!(names_who_refuses(&scheduler, request), "{:?}", request);
                let found = scheduler.place(request, NOW, *seed).map(bare);
                let expected = reference.place(request, NOW, *seed);
                match expected {
                    Ok(expected) => prop_assert_eq!(found, Ok(expected)),
                    Err(_) => prop_assert!(found.is_err_and(is_unplaceable)),
                }
            }
        }
    }

    /// Work that comes only by placing, in a cluster that does not shrink, never exceeds capacity,
    /// never shares a port and never stands where its constraints forbid.
    #[test]
    fn placements_never_break_capacity_or_a_hard_filter(
        order in order(),
        mut nodes in vec(node(), 1..6),
        commits in vec((request(), any::<u64>(), 0..4u8), 1..60),
    ) {
        let mut scheduler = ClusterScheduler::new(order);
        // The reference is only the bookkeeper here: it is told what was decided.
        let mut books = Reference::new(order);
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        for node in &nodes {
            scheduler.observe(Change::Node(node.clone())).unwrap();
            books.observe(Change::Node(node.clone())).unwrap();
        }
        for (number, (mut request, seed, fate)) in commits.into_iter().enumerate() {
            request.name.clear();
            let Ok(placement) = scheduler.place(&request, NOW, seed) else { continue };
            let node = nodes.iter().find(|node| node.id == placement.chosen.node).unwrap();
            for constraint in request.constraints.iter().filter(|e| !e.is_soft() && e.key() == "zone") {
                let Pattern::Glob(text) = constraint.pattern() else { continue };
                if !text.contains('*') {
                    let equal = node.labels.get("zone") == Some(text.as_str());
                    prop_assert_eq!(equal, constraint.operator() == Operator::Equal);
                }
            }
            let id: ReservationId = format!("r{number}").parse().unwrap();
            let held = Reservation::new(id.clone(), node.id.clone(), request, Timestamp::from_secs(20))
                .with_devices(placement.chosen.devices.clone());
            let mut changes = vec![Change::Reserve(held.clone())];
            match fate {
                0 => changes.push(Change::Release(id)),
                1 | 2 => {
                    // Not `w…`: the reference does not know prefixes of ids.
                    let workload = seen(&held, format!("c{number}").parse().unwrap());
                    changes.push(Change::Fulfil(id, workload));
                }
                _ => {}
            }
            for change in changes {
                scheduler.observe(change.clone()).unwrap();
                books.observe(change).unwrap();
            }
            for node in &nodes {
                let mut held: Vec<DeviceId> = vec![];
                held.extend(books.workloads().iter().filter(|w| w.node == node.id).flat_map(|w| w.devices.clone()));
                held.extend(books.reservations().iter().filter(|r| r.node == node.id).flat_map(|r| r.devices.clone()));
                held.sort();
                prop_assert!(held.windows(2).all(|pair| pair[0] != pair[1]), "{held:?}");
                for kind in ["cpu", "memory", "gpu"] {
                    prop_assert!(books.used(node, kind) <= amount(&node.capacity, kind));
                }
                let ports: Vec<Vec<HostPort>> =
                    books.tenants(node).iter().map(|tenant| tenant.4.to_vec()).collect();
                for (at, held) in ports.iter().enumerate() {
                    let clash = ports[..at].iter().flatten()
                        .any(|other| held.iter().any(|port| port.conflicts_with(other)));
                    prop_assert!(!clash, "{ports:?}");
                }
            }
        }
    }

    /// When everything that came has gone, nothing is left behind: an empty cluster of the same
    /// nodes answers alike.
    #[test]
    fn nothing_leaks(
        nodes in vec(node(), 1..5),
        steps in vec(step(), 1..60),
        probes in vec(request(), 1..4),
    ) {
        let order = Order::Spread;
        let (mut scheduler, mut reference) = (ClusterScheduler::new(order), Reference::new(order));
        for step in nodes.into_iter().map(Step::Node).chain(steps) {
            let Some(change) = change(step, &reference) else { continue };
            let _ = scheduler.observe(change.clone());
            let _ = reference.observe(change);
        }
        // Half of the reservations expire, the others are released.
        for held in reference.reservations().iter().step_by(2) {
            scheduler.observe(Change::Release(held.id.clone())).unwrap();
        }
        scheduler.observe(Change::Tick(Timestamp::from_secs(1_000_000))).unwrap();
        for workload in reference.workloads() {
            let gone = Change::WorkloadGone(workload.node.clone(), workload.id.clone());
            scheduler.observe(gone).unwrap();
        }
        let mut fresh = ClusterScheduler::new(order);
        for node in reference.nodes() {
            fresh.observe(Change::Node(node.clone())).unwrap();
        }
        for mut request in probes {
            request.dependencies.clear();
            let after = scheduler.explain(&request, NOW, 0).unwrap();
            prop_assert_eq!(after, fresh.explain(&request, NOW, 0).unwrap());
        }
        for name in ["web", "db", "job"] {
            prop_assert!(!scheduler.is_name_taken(name));
        }
    }

    /// The order in which nodes and workloads came does not matter.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        order in order(),
        mut nodes in vec(node(), 1..8),
        mut workloads in vec(workload(), 0..20),
        rotation in 0..8usize,
        requests in vec((request(), any::<u64>()), 1..5),
    ) {
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        workloads.retain(|workload| nodes.iter().any(|node| node.id == workload.node));
        workloads.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
        workloads.dedup_by(|a, b| (&a.node, &a.id) == (&b.node, &b.id));
        let fill = |nodes: &[NodeState], workloads: &[PlacedWorkload]| {
            let mut scheduler = ClusterScheduler::new(order);
            for node in nodes {
                scheduler.observe(Change::Node(node.clone())).unwrap();
            }
            for workload in workloads {
                scheduler.observe(Change::Workload(workload.clone())).unwrap();
            }
            scheduler
        };
        let one = fill(&nodes, &workloads);
        let by = rotation % nodes.len();
        nodes.rotate_left(by);
        nodes.reverse();
        workloads.reverse();
        let other = fill(&nodes, &workloads);
        for (request, seed) in requests {
            prop_assert_eq!(
                one.explain(&request, NOW, seed).unwrap(),
                other.explain(&request, NOW, seed).unwrap()
            );
        }
    }
}
